"""Norms of channels on weights small enough to add up by hand, for each kind of layer that writes a group."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from tfcompress.graph import ChannelGroups, LayerGraph
from tfcompress.importance import Evidence, by_name, l1_norm, l2_norm, ranking


def groups_of(inputs, outputs):
    """Groups of a network that ends in something which reads `outputs`."""
    x = layers.Dense(2, name="end")(layers.GlobalAveragePooling2D()(outputs) if len(outputs.shape) == 4 else outputs)
    return ChannelGroups.of(LayerGraph.from_keras(keras.Model(inputs, x)))


def set_weights(groups, **values):
    for name, arrays in values.items():
        groups.graph.operations[name].set_weights([np.asarray(a, "float32") for a in arrays])


class NormsTest(tf.test.TestCase):
    def assertNorms(self, groups, name, l1, squares):
        evidence = Evidence(groups)
        for norm, expected in ((l1_norm, l1), (l2_norm, np.sqrt(squares))):
            scores = norm(groups[name], evidence)
            self.assertEqual((scores.dtype, scores.shape), (np.float32, (groups[name].size,)))
            self.assertAllClose(scores, np.asarray(expected, "float32"), rtol=1e-6)

    def test_convolution(self):
        """Kernel `[1, 2, 2 inputs, 3 filters]`; the bias says nothing of a filter's size."""
        inputs = keras.Input((4, 4, 2))
        groups = groups_of(inputs, layers.Conv2D(3, (1, 2), name="conv")(inputs))
        kernel = [[[[1, 0, -2], [0, 3, 1]], [[-1, 0, 0], [2, -4, 0]]]]
        set_weights(groups, conv=[kernel, [100, 200, 300]])
        self.assertNorms(groups, "conv", [1 + 1 + 2, 3 + 4, 2 + 1], [1 + 1 + 4, 9 + 16, 4 + 1])

    def test_convolution_in_one_dimension(self):
        inputs = keras.Input((5, 2))
        x = layers.GlobalAveragePooling1D()(layers.Conv1D(2, 2, use_bias=False, name="conv")(inputs))
        groups = groups_of(inputs, x)
        set_weights(groups, conv=[[[[1, 2], [3, 4]], [[-5, 6], [0, -7]]]])
        self.assertNorms(groups, "conv", [1 + 3 + 5, 2 + 4 + 6 + 7], [1 + 9 + 25, 4 + 16 + 36 + 49])

    def test_transposed_convolution(self):
        """Keras has its filters on the axis before the last: `[1, 1, 3 filters, 2 inputs]`."""
        inputs = keras.Input((4, 4, 2))
        groups = groups_of(inputs, layers.Conv2DTranspose(3, 1, name="up")(inputs))
        set_weights(groups, up=[[[[[1, -2], [0, 5], [3, 3]]]], [9, 9, 9]])
        self.assertNorms(groups, "up", [3, 5, 6], [5, 25, 18])

    def test_dense(self):
        """Kernel `[2 inputs, 3 units]`."""
        inputs = keras.Input((2,))
        groups = groups_of(inputs, layers.Dense(3, activation="relu", name="dense")(inputs))
        set_weights(groups, dense=[[[1, -2, 0], [3, 1, -5]], [7, 7, 7]])
        self.assertNorms(groups, "dense", [4, 3, 5], [10, 5, 25])

    def test_separable_convolution(self):
        """Its pointwise kernel `[1, 1, 2 inputs * 1, 3 filters]` writes the channels; the depthwise one does not."""
        inputs = keras.Input((4, 4, 2))
        groups = groups_of(inputs, layers.SeparableConv2D(3, 2, name="separable")(inputs))
        depthwise, pointwise = np.full((2, 2, 2, 1), 50.0), [[[[1, 2, 3], [-4, 0, 6]]]]
        set_weights(groups, separable=[depthwise, pointwise, [8, 8, 8]])
        self.assertNorms(groups, "separable", [5, 2, 9], [17, 4, 45])

    def test_a_depthwise_convolution_passes_channels_on(self):
        """It belongs to the group but does not write it: only the expansion before it counts."""
        inputs = keras.Input((4, 4, 2))
        x = layers.Conv2D(3, 1, use_bias=False, name="expand")(inputs)
        x = layers.BatchNormalization(name="bn")(x)
        groups = groups_of(inputs, layers.DepthwiseConv2D(2, use_bias=False, name="depthwise")(x))
        set_weights(groups, expand=[[[[[1, 2, 3], [1, 0, -3]]]]], depthwise=[np.full((2, 2, 3, 1), 9.0)])
        self.assertNorms(groups, "expand", [2, 2, 6], [2, 4, 18])

    def test_a_residual_sum_adds_what_its_branches_write(self):
        inputs = keras.Input((4, 4, 1))
        x = layers.Conv2D(2, 1, use_bias=False, name="stem")(inputs)
        y = layers.Conv2D(3, 1, use_bias=False, name="inner")(x)
        y = layers.Conv2D(2, 1, use_bias=False, name="outer")(layers.ReLU()(y))
        groups = groups_of(inputs, layers.Add()([x, y]))
        self.assertEqual(groups["stem"].producers, ("stem", "outer"))
        set_weights(
            groups,
            stem=[[[[[3, -4]]]]],
            inner=[[[[[1, 1, 1], [1, 1, -1]]]]],
            outer=[[[[[1, 2], [0, -1], [-1, 2]]]]],
        )
        self.assertNorms(groups, "stem", [3 + 2, 4 + 5], [9 + 2, 16 + 9])
        self.assertNorms(groups, "inner", [2, 2, 2], [2, 2, 2])

    def test_a_shortcut_padded_with_channels(self):
        """2 channels padded to 4, one on each side: the stem's lie on the sum's middle two, the outer ones are alone."""
        inputs = keras.Input((4, 4, 1))
        x = layers.Conv2D(2, 1, use_bias=False, name="stem")(inputs)
        y = layers.Conv2D(4, 1, use_bias=False, name="conv")(layers.ReLU()(x))
        shortcut = ops.pad(x, [[0, 0], [0, 0], [0, 0], [1, 1]])
        groups = groups_of(inputs, layers.Add()([y, shortcut]))
        set_weights(groups, stem=[[[[[5, -6]]]]], conv=[[[[[1, 2, 3, 4], [10, 20, 30, 40]]]]])
        found = {group.producers: group for group in groups}
        self.assertCountEqual(found, [("stem", "conv"), ("conv",)])
        self.assertNorms(groups, found["stem", "conv"].name, [5 + 22, 6 + 33], [25 + 404, 36 + 909])
        self.assertNorms(groups, found["conv",].name, [11, 44], [101, 1616])

    def test_a_concatenation_keeps_its_parts_apart(self):
        inputs = keras.Input((4, 4, 1))
        parts = [layers.Conv2D(2, 1, use_bias=False, name=name)(inputs) for name in ("left", "right")]
        groups = groups_of(inputs, layers.Concatenate()(parts))
        set_weights(groups, left=[[[[[1, -2]]]]], right=[[[[[3, 4]]]]])
        self.assertNorms(groups, "left", [1, 2], [1, 4])
        self.assertNorms(groups, "right", [3, 4], [9, 16])

    def test_weights_are_read_when_they_are_asked_for(self):
        inputs = keras.Input((2,))
        groups = groups_of(inputs, layers.Dense(2, name="dense")(inputs))
        evidence = Evidence(groups)
        for factor in (1, 10):
            set_weights(groups, dense=[[[factor, 0], [0, 2 * factor]], [0, 0]])
            self.assertAllClose(l1_norm(groups["dense"], evidence), [factor, 2 * factor])


class RankingTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        inputs = keras.Input((2,))
        groups = groups_of(inputs, layers.Dense(6, name="dense")(inputs))
        cls.group, cls.evidence = groups["dense"], Evidence(groups)

    def rank(self, *scores):
        return ranking(self.group, self.evidence, lambda group, evidence: np.array(scores)).tolist()

    def test_the_most_important_first(self):
        self.assertEqual(self.rank(3, 1, 2, 6, 5, 4), [3, 4, 5, 0, 2, 1])

    def test_equal_scores_stay_in_their_own_order(self):
        self.assertEqual(self.rank(1, 2, 1, 2, 1, 2), [1, 3, 5, 0, 2, 4])
        self.assertEqual(self.rank(0, 0, 0, 0, 0, 0), [0, 1, 2, 3, 4, 5])

    def test_a_list_and_whole_numbers_will_do(self):
        order = ranking(self.group, self.evidence, lambda group, evidence: [0, 0, 0, 0, 0, 7])
        self.assertEqual(order.tolist(), [5, 0, 1, 2, 3, 4])

    def test_the_criterion_is_given_group_and_evidence(self):
        def last_first(group, evidence):
            (kernel,) = evidence.written(group)
            self.assertEqual(kernel.shape, (6, 2))
            return np.arange(group.size)

        self.assertEqual(ranking(self.group, self.evidence, last_first).tolist(), [5, 4, 3, 2, 1, 0])

    def test_another_shape_is_refused(self):
        for scores in (np.ones(5), np.ones((6, 1)), 1.0):
            with self.assertRaisesRegex(
                ValueError, r"one number for each of the 6 channels of 'dense'. Received: .*shape \(.* dtype"
            ):
                ranking(self.group, self.evidence, lambda group, evidence, scores=scores: scores)

    def test_nan_is_refused(self):
        with self.assertRaisesRegex(ValueError, "scores of 'dense' to be numbers. Received: NaN"):
            self.rank(1, 2, np.nan, 4, 5, 6)

    def test_what_is_no_number_is_refused(self):
        with self.assertRaisesRegex((TypeError, ValueError), "Expected the criterion.*'dense'.*Received"):
            ranking(self.group, self.evidence, lambda group, evidence: None)
        with self.assertRaisesRegex((TypeError, ValueError), "Expected the criterion.*'dense'.*Received"):
            ranking(self.group, self.evidence, lambda group, evidence: ["high"] * 6)


class ByNameTest(tf.test.TestCase):
    def test_names_and_functions(self):
        self.assertIs(by_name("l1_norm"), l1_norm)
        self.assertIs(by_name("l2_norm"), l2_norm)
        self.assertIs(by_name(min), min)

    def test_an_unknown_name_lists_the_known_ones(self):
        with self.assertRaisesRegex(
            ValueError,
            r"'l1_norm', 'l2_norm', 'next_layer_l1_norm', 'random', 'taylor'\]\. Received: criterion='magnitude'",
        ):
            by_name("magnitude")
        with self.assertRaisesRegex((TypeError, ValueError), "Received: criterion="):
            by_name(["l1_norm"])
