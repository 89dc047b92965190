"""The reshape rule, by hand: which axes belong together, where labels go, and what is tied."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from tfcompress.graph import ChannelGroups, LayerGraph
from tfcompress.graph.handlers.base import Call
from tfcompress.graph.handlers.reshape import block_of, reshaped
from tfcompress.graph.labels import LabelBook, Labels
from tfcompress.graph.layer_graph import Node, TensorRef
from tfcompress.plan import Plan
from tfcompress.rewrite import apply


class BlockTest(tf.test.TestCase):
    def test_smallest_blocks_of_equal_products(self):
        for source, target, axis, expected in [
            ((None, 6, 5, 4), (None, 6, 5, 4), 3, (3, 4, 3, 4)),
            ((None, 6, 5, 4), (None, 30, 4), 3, (3, 4, 2, 3)),
            ((None, 6, 5, 4), (None, 120), 3, (1, 4, 1, 2)),
            ((None, 6, 5, 4), (None, 6, 20), 3, (2, 4, 2, 3)),
            ((None, 6, 5, 4), (None, 6, 5, 2, 2), 3, (3, 4, 3, 5)),
            ((None, 6, 5, 4), (None, 6, 10, 2), 3, (2, 4, 2, 4)),
            ((None, 6, 5, 4), (None, 6, 10, 2), 1, (1, 2, 1, 2)),
            ((None, 120), (None, 6, 5, 4), 1, (1, 2, 1, 4)),
            ((None, 4), (None, 1, 1, 4), 1, (1, 2, 3, 4)),
            ((None, 4), (None, 4, 1), 1, (1, 2, 1, 3)),
            ((None, 6, 5, 1), (None, 6, 5), 3, (2, 4, 2, 3)),
            ((None, 2, 3, 6, 5), (None, 6, 6, 5), 1, (1, 3, 1, 2)),
        ]:
            with self.subTest(source=source, target=target, axis=axis):
                self.assertEqual(block_of(source, target, axis), expected)

    def test_unknown_sizes(self):
        for source, target, axis, expected in [
            # Positions of unknown number, channels behind them.
            ((None, None, None, 6), (None, None, 6), 3, (3, 4, 2, 3)),
            ((None, None, None, 6), (None, None, 2, 3), 3, (3, 4, 2, 4)),
            ((None, None, 6, 5), (None, None, 30), 3, (2, 4, 2, 3)),
            # In front of them.
            ((None, 6, None, 5), (None, 6, None), 1, (1, 2, 1, 2)),
            # 4 * 3 is no multiple of 6 alone: an unknown size is in the channels' block.
            ((None, None, None, 6), (None, None, 4, 3), 3, None),
            # The batch itself becomes positions: what looks like the same leading axes is not.
            ((None, 6, None, 5), (None, 6, 15), 1, None),
        ]:
            with self.subTest(source=source, target=target, axis=axis):
                self.assertEqual(block_of(source, target, axis), expected)


class RuleTest(tf.test.TestCase):
    """Labels count from 0 here."""

    def follow(self, source, target, axis, ties=()):
        book = LabelBook()
        ids = book.new(source[axis])
        for first, second in ties:
            book.tie(np.array([first]), np.array([second]))
        source, target = (None, *source[1:]), (None, *target[1:])
        node = Node("reshape", "reshape", layers.Identity(), (), {}, (TensorRef("x"),), (source,), (target,))
        labels = reshaped(Call(node, (Labels(ids, axis),), book), Labels(ids, axis), source, target)
        return labels, book.roots()

    def test_flattening_repeats_the_labels(self):
        labels, roots = self.follow((1, 2, 3), (1, 6), 2)
        self.assertAllEqual(labels.ids, [0, 1, 2, 0, 1, 2])
        self.assertAllEqual(roots, [0, 1, 2])
        labels, _ = self.follow((1, 2, 3), (1, 6), 1)  # channels first: each label for 3 positions
        self.assertAllEqual(labels.ids, [0, 0, 0, 1, 1, 1])
        self.assertEqual(labels.axis, 1)

    def test_two_factors_tie_along_the_shorter(self):
        """8 as [2, 4]: 0-3 and 4-7 lie in the same places of the second axis."""
        labels, roots = self.follow((1, 8), (1, 2, 4), 1)
        self.assertEqual(labels.axis, 2)
        self.assertAllEqual(labels.ids, [0, 1, 2, 3])
        self.assertAllEqual(roots, [0, 1, 2, 3, 0, 1, 2, 3])
        labels, roots = self.follow((1, 8), (1, 4, 2), 1)
        self.assertEqual(labels.axis, 1)
        self.assertAllEqual(roots, [0, 0, 2, 2, 4, 4, 6, 6])

    def test_what_is_tied_already_costs_nothing(self):
        """6 as [2, 3], with each half tied: along the first axis nothing more is tied; along the second all would."""
        labels, roots = self.follow((1, 6), (1, 2, 3), 1, ties=[(0, 1), (1, 2), (3, 4), (4, 5)])
        self.assertEqual(labels.axis, 1)
        self.assertAllEqual(roots, [0, 0, 0, 3, 3, 3])

    def test_merging_two_axes_one_of_which_has_the_channels(self):
        """[3 channels, 2] to 6: each label twice. [2, 3 channels] to 6: all of them twice."""
        self.assertAllEqual(self.follow((1, 3, 2), (1, 6), 1)[0].ids, [0, 0, 1, 1, 2, 2])
        self.assertAllEqual(self.follow((1, 2, 3), (1, 6), 2)[0].ids, [0, 1, 2, 0, 1, 2])

    def test_axes_that_share_elements_crosswise(self):
        """[5, 4 channels] to [10, 2]: 0 and 2 come to even places, 1 and 3 to odd ones."""
        labels, roots = self.follow((1, 5, 4), (1, 10, 2), 2)
        self.assertAllEqual(roots, [0, 1, 0, 1])
        self.assertEqual(len(labels), (2, 10)[labels.axis == 1])

    def test_a_channel_of_size_one_is_spread(self):
        labels, _ = self.follow((1, 6, 5, 1), (1, 6, 5), 3)
        self.assertEqual(labels.axis, 2)
        self.assertAllEqual(labels.ids, [0, 0, 0, 0, 0])

    def test_unknown_sizes_fix(self):
        book = LabelBook()
        ids = book.new(6)
        shapes = ((None, None, None, 6), (None, None, 4, 3))
        node = Node("r", "r", layers.Identity(), (), {}, (TensorRef("x"),), shapes[:1], shapes[1:])
        labels = reshaped(Call(node, (Labels(ids, 3),), book), Labels(ids, 3), *shapes)
        self.assertEqual(len(labels), 3)
        self.assertEqual(set(book.fixed_reasons), set(range(9)))


class ReadersTest(tf.test.TestCase):
    """Which axis of several the channels take: one that the readers leave free."""

    def kept(self, outputs, inputs):
        groups = ChannelGroups.of(LayerGraph.from_keras(keras.Model(inputs, outputs)))
        return {group.name: (group.size, group.readers) for group in groups}

    def test_few_channels_of_an_image_are_found_although_its_sides_are_longer(self):
        x = keras.Input((3,))
        y = layers.LeakyReLU()(layers.Reshape((7, 7, 2))(layers.Dense(98, name="dense")(x)))
        self.assertEqual(self.kept(layers.Conv2D(1, 3, name="conv")(y), x), {"dense": (2, ("conv",))})

    def test_a_reduction_wants_the_other_axis(self):
        x = keras.Input((3,))
        y = ops.max(layers.Reshape((2, 5))(layers.Dense(10, name="dense")(x)), axis=2)
        self.assertEqual(self.kept(layers.Dense(1, name="after")(y), x), {"dense": (2, ("after",))})


class ArgumentsTest(tf.test.TestCase):
    """Arguments of calls after a cut, by hand."""

    def cut(self, outputs, inputs, kept):
        return apply(keras.Model(inputs, outputs), Plan.keeping(kept))

    def operation(self, model, kind):
        (found,) = [op for op in model.operations if type(op).__name__ == kind]
        return found

    def test_targets_points_pads_and_shifts(self):
        x = keras.Input((4, 3))
        y = layers.Conv1D(6, 1, name="conv")(x)

        def last(tensor):
            return layers.Dense(1)(layers.GlobalMaxPooling1D()(tensor))

        kept = {"conv": (0, 1, 4)}
        target = self.operation(self.cut(last(layers.Reshape((2, 2, 6))(y)[:, 0]), x, kept), "Reshape").target_shape
        self.assertEqual(tuple(target), (2, 2, 3))
        target = self.operation(self.cut(last(ops.reshape(y, (-1, 2, 2, 6))[:, 0]), x, kept), "Reshape").newshape
        self.assertEqual(tuple(target), (-1, 2, 2, 3))
        # Of 0, 1, 4 the last one moves to the front when all move by 2: 4, 5, 0, 1, 2, 3.
        self.assertEqual(self.operation(self.cut(last(ops.roll(y, 2, axis=-1)), x, kept), "Roll").shift, 1)
        one, two = ops.split(y, 2, axis=-1)
        model = self.cut([last(layers.Dense(1)(one)), last(layers.Dense(2)(two))], x, {"conv": (0, 2), "conv:2": (1,)})
        self.assertEqual(tuple(self.operation(model, "Split").indices_or_sections), (2,))

    def test_keys_of_slices(self):
        x = keras.Input((4, 3))
        for key, kept, expected in [
            (slice(2, 5), {"conv": (0, 2), "conv:2": (1,)}, slice(1, 2, 1)),  # 0, 3 and 5 stay
            (slice(None, None, -1), {"conv": (0, 2, 3)}, slice(2, None, -1)),
            (slice(4, 1, -1), {"conv": (0, 1), "conv:2": (1, 2)}, slice(3, 1, -1)),  # 0, 1, 3 and 4 stay
            (slice(1, None, 2), {"conv": (0, 2)}, slice(1, 4, 2)),  # 0, 1, 4 and 5 stay
        ]:
            with self.subTest(key=key):
                y = layers.Conv1D(6, 1, name="conv")(x)
                model = self.cut(layers.Dense(1)(layers.GlobalMaxPooling1D()(y[..., key])), x, kept)
                (node,) = self.operation(model, "GetItem")._inbound_nodes
                self.assertEqual(node.arguments.args[1][-1], expected)

    def test_constants_are_cut_along_the_channels_only(self):
        x = keras.Input((4, 3))
        y = layers.Conv1D(6, 1, name="conv")(x) * np.arange(24.0, dtype="float32").reshape(4, 6)
        model = self.cut(layers.Dense(1)(layers.GlobalMaxPooling1D()(y)), x, {"conv": (0, 2, 5)})
        (node,) = self.operation(model, "Multiply")._inbound_nodes
        self.assertAllEqual(node.arguments.args[1], np.arange(24.0).reshape(4, 6)[:, [0, 2, 5]])

    def test_an_operation_without_a_config(self):
        """Keras writes no config where an argument is an array: channels 0, 2 and 5 once, twice and three times."""
        x = keras.Input((4, 3))
        y = ops.repeat(layers.Conv1D(6, 1, name="conv")(x), np.array([1, 1, 2, 1, 1, 3]), axis=-1)
        graph = LayerGraph.from_keras(keras.Model(x, layers.Dense(1)(layers.GlobalMaxPooling1D()(y))))
        kept = {"conv": (0, 3), "conv:2": (0,), "conv:3": (0,)}
        self.assertEqual([group.size for group in ChannelGroups.of(graph)], [4, 1, 1])
        model = self.cut(layers.Dense(1)(layers.GlobalMaxPooling1D()(y)), x, kept)
        self.assertAllEqual(self.operation(model, "Repeat").repeats, [1, 2, 1, 3])


if __name__ == "__main__":
    tf.test.main()
