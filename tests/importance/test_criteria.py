"""Each criterion on weights and samples small enough to work its scores out by hand."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tfcompress.graph import ChannelGroups, LayerGraph
from tfcompress.importance import (
    ActivationMean,
    Evidence,
    FeatureMapTaylor,
    Fisher,
    RandomScores,
    Taylor,
    bn_scale,
    by_name,
    geometric_median,
    group_l1_norm,
    group_l2_norm,
    l2_norm,
    next_layer_l1_norm,
    ranking,
)


def groups_of(model):
    return ChannelGroups.of(LayerGraph.from_keras(model))


def set_weights(model, **values):
    for name, arrays in values.items():
        model.get_layer(name).set_weights([np.asarray(a, "float32") for a in arrays])


def chain(activation=None):
    """2 inputs, 2 hidden units, 1 output, no biases."""
    x = keras.Input((2,))
    hidden = layers.Dense(2, activation, use_bias=False, name="hidden")(x)
    model = keras.Model(x, layers.Dense(1, use_bias=False, name="out")(hidden))
    set_weights(model, hidden=[[[1, -2], [3, 1]]], out=[[[2], [-1]]])
    return model


SAMPLES = np.array([[1, 0], [0, 1]], "float32"), np.array([1, 2], "float32")


class GroupNormTest(tf.test.TestCase):
    def assertNorms(self, model, name, l1, squares):
        groups = groups_of(model)
        evidence = Evidence(groups)
        for norm, expected in ((group_l1_norm, l1), (group_l2_norm, np.sqrt(squares))):
            scores = norm(groups[name], evidence)
            self.assertEqual(scores.dtype, np.float32)
            self.assertAllClose(scores, np.asarray(expected, "float32"), rtol=1e-6)

    def test_a_chain(self):
        """Unit 0 is written by 1 and 3 and read by 2; unit 1 by -2 and 1, and -1."""
        self.assertNorms(chain(), "hidden", [1 + 3 + 2, 2 + 1 + 1], [1 + 9 + 4, 4 + 1 + 1])

    def test_scales_count_and_offsets_and_statistics_do_not(self):
        x = keras.Input((4, 4, 1))
        y = layers.BatchNormalization(name="bn")(layers.Conv2D(2, 1, name="conv")(x))
        y = layers.DepthwiseConv2D((1, 2), name="depthwise")(y)
        model = keras.Model(x, layers.Conv2D(1, 1, name="end")(y))
        set_weights(
            model,
            conv=[[[[[1, -2]]]], [70, 80]],
            bn=[[3, -5], [90, 91], [92, 93], [94, 95]],  # gamma, beta, mean, variance
            depthwise=[[[[[1], [2]], [[0], [-6]]]], [60, 61]],  # taps (1, 0) and (2, -6)
            end=[[[[[4], [7]]]], [50]],
        )
        self.assertNorms(model, "conv", [1 + 3 + 1 + 4, 2 + 5 + 8 + 7], [1 + 9 + 1 + 16, 4 + 25 + 40 + 49])

    def test_flattened_channels_are_read_at_every_position(self):
        """2 positions x 2 channels: rows 0 and 2 of the dense kernel read channel 0."""
        x = keras.Input((2, 1))
        y = layers.Flatten()(layers.Conv1D(2, 1, use_bias=False, name="conv")(x))
        model = keras.Model(x, layers.Dense(1, use_bias=False, name="dense")(y))
        set_weights(model, conv=[[[[1, 2]]]], dense=[[[3], [4], [-5], [0]]])
        self.assertNorms(model, "conv", [1 + 3 + 5, 2 + 4], [1 + 9 + 25, 4 + 16])

    def test_a_residual_sum_counts_all_that_write_and_read_it(self):
        """The kernel of `inner` reads and writes the same channels: once in each role."""
        x = keras.Input((1,))
        stem = layers.Dense(2, use_bias=False, name="stem")(x)
        y = layers.Add()([stem, layers.Dense(2, use_bias=False, name="inner")(stem)])
        model = keras.Model(x, layers.Dense(1, use_bias=False, name="end")(y))
        set_weights(model, stem=[[[1, -1]]], inner=[[[2, 3], [5, 7]]], end=[[[11], [13]]])
        l1 = [1 + (2 + 5) + (2 + 3) + 11, 1 + (3 + 7) + (5 + 7) + 13]
        squares = [1 + (4 + 25) + (4 + 9) + 121, 1 + (9 + 49) + (25 + 49) + 169]
        self.assertNorms(model, "stem", l1, squares)


class NextLayerNormTest(tf.test.TestCase):
    def assertScores(self, model, **expected):
        groups = groups_of(model)
        for name, scores in expected.items():
            found = next_layer_l1_norm(groups[name], Evidence(groups))
            self.assertEqual(found.dtype, np.float32)
            self.assertAllClose(found, scores)

    def test_a_chain(self):
        self.assertScores(chain(), hidden=[2, 1])

    def test_what_passes_channels_on_counts_for_nothing(self):
        """Two kernels read them behind the normalisation and the depthwise convolution: `[1, 1, 2 inputs, filters]`."""
        x = keras.Input((4, 4, 1))
        y = layers.BatchNormalization(name="bn")(layers.Conv2D(2, 1, name="conv")(x))
        y = layers.ReLU()(layers.DepthwiseConv2D(2, name="depthwise")(y))
        ends = [layers.Conv2D(2, (1, 2), padding="same", name="wide")(y), layers.Conv2D(2, 1, name="small")(y)]
        model = keras.Model(x, [layers.Dense(1)(layers.GlobalAveragePooling2D()(end)) for end in ends])
        set_weights(
            model,
            conv=[[[[[70, -80]]]], [81, 82]],
            bn=[[3, -5], [90, 91], [92, 93], [94, 95]],
            depthwise=[np.full((2, 2, 2, 1), 60), [61, 62]],
            wide=[[[[[1, -2], [0, 4]], [[3, 0], [-5, 5]]]], [50, 51]],
            small=[[[[[-7, 1], [0, 2]]]], [52, 53]],
        )
        self.assertScores(model, conv=[(1 + 2 + 3) + (7 + 1), (4 + 5 + 5) + 2])

    def test_flattened_channels_are_read_at_every_position(self):
        x = keras.Input((2, 1))
        y = layers.Flatten()(layers.Conv1D(2, 1, name="conv")(x))
        model = keras.Model(x, layers.Dense(1, name="dense")(y))
        set_weights(model, dense=[[[3], [4], [-5], [0]], [100]])
        self.assertScores(model, conv=[3 + 5, 4 + 0])

    def test_a_concatenation_is_read_part_by_part(self):
        x = keras.Input((1,))
        parts = [layers.Dense(2, name=name)(x) for name in ("left", "right")]
        model = keras.Model(x, layers.Dense(2, name="end")(layers.Concatenate()(parts)))
        set_weights(model, end=[[[1, -1], [2, -2], [-3, 3], [0, 4]], [9, 9]])
        self.assertScores(model, left=[2, 4], right=[6, 4])

    def test_a_residual_sum_is_read_by_the_block_and_by_what_follows(self):
        x = keras.Input((1,))
        stem = layers.Dense(2, use_bias=False, name="stem")(x)
        y = layers.Add()([stem, layers.Dense(2, use_bias=False, name="inner")(stem)])
        model = keras.Model(x, layers.Dense(1, use_bias=False, name="end")(y))
        set_weights(model, stem=[[[50, 60]]], inner=[[[2, 3], [5, 7]]], end=[[[11], [-13]]])
        self.assertScores(model, stem=[2 + 3 + 11, 5 + 7 + 13])

    def test_the_query_reads_the_keys(self):
        """Kernel of the query `[1 input, 1 head, 2 keys]`; its bias says nothing."""
        x = keras.Input((3, 1))
        y = layers.MultiHeadAttention(1, 2, name="attention")(x, x)
        groups = ChannelGroups.of(LayerGraph.from_keras(keras.Model(x, y)), through_norms=True)
        attention = groups.graph.operations["attention"]
        for dense, values in ((attention._query_dense, [3, -4]), (attention._key_dense, [80, 90])):
            dense.set_weights([np.reshape(values, (1, 1, 2)), np.full((1, 2), 70)])
        self.assertAllClose(next_layer_l1_norm(groups["attention:key"], Evidence(groups)), [3, 4])

    def test_what_a_slice_drops_is_read_by_nothing(self):
        x = keras.Input((1,))
        model = keras.Model(x, layers.Dense(1, name="end")(layers.Dense(3, name="wide")(x)[:, :2]))
        set_weights(model, wide=[[[7, 8, 9]], [7, 8, 9]], end=[[[1], [-2]], [70]])
        groups = groups_of(model)
        scores = [next_layer_l1_norm(group, Evidence(groups)).tolist() for group in groups]
        self.assertCountEqual(scores, [[1, 2], [0]])


class BatchNormScaleTest(tf.test.TestCase):
    def model(self, **settings):
        x = keras.Input((1,))
        stem = layers.Dense(2, name="stem")(x)
        y = layers.BatchNormalization(name="bn1", **settings)(stem)
        y = layers.BatchNormalization(name="bn2", **settings)(layers.ReLU()(y))
        return keras.Model(x, layers.Dense(1)(y))

    def test_all_scales_that_a_channel_passes(self):
        model = self.model(center=False)
        set_weights(model, bn1=[[1, -3], [9, 9], [8, 8]], bn2=[[-0.5, 4], [7, 7], [6, 6]])
        groups = groups_of(model)
        self.assertAllClose(bn_scale(groups["stem"], Evidence(groups)), [1.5, 7])

    def test_a_group_without_a_scale_is_refused(self):
        for model in (self.model(scale=False), chain()):
            groups = groups_of(model)
            (group,) = groups
            with self.assertRaisesRegex(ValueError, f"{group.name!r} to pass a BatchNormalization with a scale.*Rec"):
                ranking(group, Evidence(groups), bn_scale)


class GeometricMedianTest(tf.test.TestCase):
    def scores(self, kernel):
        kernel = np.asarray(kernel, "float32")
        x = keras.Input((len(kernel),))
        model = keras.Model(x, layers.Dense(1)(layers.Dense(kernel.shape[1], use_bias=False, name="dense")(x)))
        set_weights(model, dense=[kernel])
        groups = groups_of(model)
        return geometric_median(groups["dense"], Evidence(groups))

    def test_distances_to_all_others(self):
        """Filters (0, 0), (3, 4), (0, 0), (6, 8): distances 5 and 10 from the origin, 5 between the second and last."""
        self.assertAllClose(self.scores([[0, 3, 0, 6], [0, 4, 0, 8]]), [5 + 0 + 10, 5 + 5 + 5, 15, 10 + 5 + 10])

    def test_the_one_in_the_middle_goes_first_however_large_it_is(self):
        scores = self.scores([[100, 101, 102]])
        self.assertAllClose(scores, [3, 2, 3])

    def test_equal_filters_and_single_ones(self):
        self.assertAllEqual(self.scores([[1e3, 1e3], [7, 7]]), [0, 0])
        self.assertAllEqual(self.scores([[5]]), [0])


class TaylorTest(tf.test.TestCase):
    """The outputs are 2 * 1 - -2 = 4 and 2 * 3 - 1 = 5, the labels 1 and 2: both errors are 3, dE/dout = 6.

    Sample 1: hidden (1, -2); gradient of `out` 6 * (1, -2), of row 0 of `hidden` 6 * (2, -1).
    Sample 2: hidden (3, 1); gradient of `out` 6 * (3, 1), of row 1 of `hidden` 6 * (2, -1).
    g * w of unit 0: 12 and 12 in sample 1 (written, read), 36 and 36 in sample 2; of unit 1: 12, 12 and -6, -6.
    """

    def setUp(self):
        super().setUp()
        self.groups = groups_of(chain())
        self.evidence = Evidence(self.groups, SAMPLES, "mean_squared_error")

    def scores(self, criterion):
        found = criterion(self.groups["hidden"], self.evidence)
        self.assertEqual((found.shape, found.dtype), ((2,), np.float32))
        return found

    def test_sample_by_sample(self):
        """Means over the two of 24^2 and 72^2; of 24^2 and 12^2."""
        self.assertAllClose(self.scores(Taylor(batch_size=1)), [(576 + 5184) / 2, (576 + 144) / 2])
        self.assertAllClose(self.scores(Taylor(absolute=True, batch_size=1)), [(24 + 72) / 2, (24 + 12) / 2])
        self.assertAllClose(
            self.scores(Taylor(joint=False, batch_size=1)),
            [(2 * 12**2 + 2 * 36**2) / 2, (2 * 12**2 + 2 * 6**2) / 2],
        )
        self.assertAllClose(
            self.scores(Taylor(joint=False, absolute=True, batch_size=1)), [(24 + 72) / 2, (24 + 12) / 2]
        )

    def test_one_batch(self):
        """Mean gradients: hidden ((6, -3), (6, -3)), out (12, -3).

        g * w: unit 0: 6 * 1, 6 * 3, 12 * 2; unit 1: -3 * -2, -3 * 1, -3 * -1.
        """
        self.assertAllClose(self.scores(Taylor()), [48**2, 6**2])
        self.assertAllClose(self.scores(Taylor(absolute=True)), [48, 6])
        self.assertAllClose(self.scores(Taylor(joint=False)), [36 + 324 + 576, 36 + 9 + 9])
        self.assertAllClose(self.scores(Taylor(joint=False, absolute=True)), [48, 6 + 3 + 3])

    def test_so_many_samples(self):
        self.assertAllClose(self.scores(Taylor(samples=1)), [24**2, 24**2])

    def test_the_rest_of_the_samples_counts_by_its_size(self):
        """Three samples in batches of two: 2/3 of the first batch, 1/3 of the last."""
        x, y = (np.concatenate([array, array[:1]]) for array in SAMPLES)
        self.evidence = Evidence(self.groups, (x, y), "mean_squared_error")
        expected = [(2 * 48**2 + 24**2) / 3, (2 * 6**2 + 24**2) / 3]
        self.assertAllClose(self.scores(Taylor(batch_size=2)), expected)

    def test_biases_and_the_offsets_of_normalisations_count(self):
        """Output gamma * (w * x - 0) + beta, with w = 2, x = 1, gamma = 3, beta = 1 (and a variance of 1): 7.

        Read by 1 with offset 0, label 0, dE/dout = 14. g * w: w and bias of the dense layer 14 * 3 * 2 and 0, gamma
        14 * 2 * 3, beta 14, the reader 14 * 7.
        """
        x = keras.Input((1,))
        y = layers.BatchNormalization(epsilon=0.0, name="bn")(layers.Dense(1, name="hidden")(x))
        model = keras.Model(x, layers.Dense(1, use_bias=False, name="out")(y))
        set_weights(model, hidden=[[[2]], [0]], bn=[[3], [1], [0], [1]], out=[[[1]]])
        groups = groups_of(model)
        evidence = Evidence(groups, (np.ones((1, 1)), np.zeros(1)), "mean_squared_error")
        self.assertAllClose(Taylor(absolute=True)(groups["hidden"], evidence), [84 + 84 + 14 + 98])
        expected = [84**2 + 84**2 + 14**2 + 98**2]
        self.assertAllClose(Taylor(joint=False)(groups["hidden"], evidence), expected)

    def test_settings_are_checked(self):
        for settings in ({"samples": 0}, {"batch_size": 2.5}, {"batch_size": True}):
            with self.assertRaisesRegex(ValueError, f"Expected `{next(iter(settings))}`.*Received"):
                Taylor(**settings)


class FisherTest(tf.test.TestCase):
    def test_squared_gradients_of_single_samples(self):
        """Half of the mean of (2 * 12^2, 2 * 36^2), and of (2 * 12^2, 2 * 6^2): see TaylorTest."""
        groups = groups_of(chain())
        evidence = Evidence(groups, SAMPLES, "mean_squared_error")
        self.assertAllClose(Fisher()(groups["hidden"], evidence), [1440 / 2, 180 / 2])
        self.assertAllClose(Fisher(samples=1)(groups["hidden"], evidence), [144, 144])
        self.assertAllClose(Fisher(batch_size=2)(groups["hidden"], evidence), [936 / 2, 54 / 2])

    def test_settings_are_checked(self):
        with self.assertRaisesRegex(ValueError, "Expected `samples`.*Received: samples=-3"):
            Fisher(samples=-3)


class ActivationMeanTest(tf.test.TestCase):
    def scores(self, model, name, criterion, x):
        groups = groups_of(model)
        found = criterion(groups[name], Evidence(groups, (np.asarray(x, "float32"), None)))
        self.assertEqual(found.dtype, np.float32)
        return found

    def test_behind_the_layers_own_activation(self):
        """Hidden (1, -2) and (3, 1): behind a ReLU (1, 0) and (3, 1); without, absolute values."""
        self.assertAllClose(self.scores(chain("relu"), "hidden", ActivationMean(), SAMPLES[0]), [2, 0.5])
        self.assertAllClose(self.scores(chain(), "hidden", ActivationMean(), SAMPLES[0]), [2, 1.5])
        self.assertAllClose(self.scores(chain("relu"), "hidden", ActivationMean(of="nonzero"), SAMPLES[0]), [1, 0.5])

    def test_what_is_read(self):
        """Written (1, -2) and (3, 1); behind gamma (1, -1), beta (-1, 0) and a ReLU: (0, 2) and (2, 0)."""
        x = keras.Input((2,))
        y = layers.BatchNormalization(epsilon=0.0, name="bn")(layers.Dense(2, use_bias=False, name="hidden")(x))
        model = keras.Model(x, layers.Dense(1, name="out")(layers.ReLU()(y)))
        set_weights(model, hidden=[[[1, -2], [3, 1]]], bn=[[1, -1], [-1, 0], [0, 0], [1, 1]])
        self.assertAllClose(self.scores(model, "hidden", ActivationMean(), SAMPLES[0]), [2, 1.5])
        self.assertAllClose(self.scores(model, "hidden", ActivationMean(at="read"), SAMPLES[0]), [1, 1])
        criterion = ActivationMean(at="read", of="nonzero", batch_size=1)
        self.assertAllClose(self.scores(model, "hidden", criterion, SAMPLES[0]), [0.5, 0.5])

    def test_positions_of_images_in_either_format(self):
        """Two filters of 1 and -2 on pixels 1, 2, 3, 6."""
        pixels = np.array([1, 2, 3, 6], "float32").reshape(1, 2, 2, 1)
        x = keras.Input((2, 2, 1))
        y = layers.Conv2D(2, 1, use_bias=False, name="conv")(x)
        model = keras.Model(x, layers.Dense(1)(layers.Flatten()(y)))
        set_weights(model, conv=[[[[[1, -2]]]]])
        self.assertAllClose(self.scores(model, "conv", ActivationMean(), pixels), [3, 6])
        self.assertAllClose(self.scores(model, "conv", ActivationMean(at="read"), pixels), [3, 6])

    def test_calls_of_a_shared_layer_and_branches_of_a_sum(self):
        """The shared layer gives 1 * (1, -2) and 3 * (1, -2): means of 2 and 4; the other branch (10, 0)."""
        a, b = keras.Input((1,), name="a"), keras.Input((1,), name="b")
        shared = layers.Dense(2, use_bias=False, name="shared")
        other = layers.Dense(2, use_bias=False, name="other")(a)
        model = keras.Model([a, b], layers.Dense(1)(layers.Add()([shared(a), shared(b), other])))
        set_weights(model, shared=[[[1, -2]]], other=[[[10, 0]]])
        groups = groups_of(model)
        x = [np.array([[1]]), np.array([[3]])]
        for inputs in (x, tuple(x), {"b": x[1], "a": x[0]}):
            scores = ActivationMean()(groups["shared"], Evidence(groups, (inputs, None)))
            self.assertAllClose(scores, [(2 + 10) / 2, (4 + 0) / 2])

    def test_settings_are_checked(self):
        for settings in ({"at": "input"}, {"of": "mean"}, {"samples": 0}):
            with self.assertRaisesRegex(ValueError, f"Expected `{next(iter(settings))}`.*Received"):
                ActivationMean(**settings)


class RandomScoresTest(tf.test.TestCase):
    def test_a_seed_gives_the_same_numbers_whatever_the_names_and_weights_are(self):
        def scores(seed=None, of_evidence=0):
            x = keras.Input((1,))
            y = layers.Dense(50)(layers.Dense(50)(x))  # other names each time
            groups = groups_of(keras.Model(x, layers.Dense(1)(y)))
            return [RandomScores(seed)(group, Evidence(groups, seed=of_evidence)) for group in groups]

        self.assertAllEqual(scores(3), scores(3))
        self.assertAllEqual(scores(3), scores(of_evidence=3))
        self.assertAllEqual(scores(3), scores(3, of_evidence=1))
        self.assertNotAllClose(scores(3), scores(4))
        first, second = scores(3)
        self.assertNotAllClose(first, second)
        self.assertAllInRange(first, 0, 1)

    def test_settings_are_checked(self):
        for seed in (-1, 1.5, True):
            with self.assertRaisesRegex(ValueError, "Expected `seed`.*Received"):
                RandomScores(seed)


class NamesTest(tf.test.TestCase):
    def test_names_stand_for_the_defaults(self):
        for name, criterion in {
            "activation_mean": ActivationMean(),
            "bn_scale": bn_scale,
            "feature_map_taylor": FeatureMapTaylor(),
            "fisher": Fisher(),
            "geometric_median": geometric_median,
            "group_l1_norm": group_l1_norm,
            "group_l2_norm": group_l2_norm,
            "l2_norm": l2_norm,
            "next_layer_l1_norm": next_layer_l1_norm,
            "random": RandomScores(),
            "taylor": Taylor(),
        }.items():
            self.assertEqual(by_name(name), criterion)
        mine = Taylor(joint=False)
        self.assertIs(by_name(mine), mine)

    def test_a_class_lacks_its_parentheses(self):
        with self.assertRaisesRegex(ValueError, r"Received: the class Taylor.*Taylor\(\)"):
            by_name(Taylor)


if __name__ == "__main__":
    tf.test.main()
