"""Multiply-adds, parameters and bytes: closed forms with prime dimensions, and plans by hand.

Plans against the models they make are in tests/end_to_end/test_topologies.py.
"""

from unittest import mock

import keras
import numpy as np
import oracles
import tensorflow as tf
import topologies
from keras import layers

from tfcompress.costs import Cost, CostModel, cost
from tfcompress.graph import ChannelGroups, LayerGraph
from tfcompress.plan import Plan


def cost_model(model):
    return CostModel(ChannelGroups.of(LayerGraph.from_keras(model)))


class ClosedFormTest(tf.test.TestCase):
    """One layer at a time on inputs of 7 x 11 x 5 (or 13 x 5), with bias unless said otherwise."""

    def check(self, layer, shape, macs, params, statistics=0):
        x = keras.Input(shape)
        result = cost(keras.Model(x, layer(x)))
        self.assertEqual(result, Cost(macs=macs, params=params, bytes=4 * (params + statistics)))

    def test_convolutions(self):
        image = (7, 11, 5)
        # 3 x 2 kernel, 5 -> 13 channels, at every position, or without a border: (7 - 2) x (11 - 1).
        self.check(layers.Conv2D(13, (3, 2), padding="same"), image, 7 * 11 * 6 * 5 * 13, 6 * 5 * 13 + 13)
        self.check(layers.Conv2D(13, (3, 2), use_bias=False), image, 5 * 10 * 6 * 5 * 13, 6 * 5 * 13)
        # Stride 2: ceil(7 / 2) x ceil(11 / 2). Dilation 2: a 3 x 3 kernel covers 5 x 5.
        self.check(layers.Conv2D(13, 3, 2, "same"), image, 4 * 6 * 9 * 5 * 13, 9 * 5 * 13 + 13)
        self.check(layers.Conv2D(13, 3, dilation_rate=2), image, 3 * 7 * 9 * 5 * 13, 9 * 5 * 13 + 13)
        self.check(layers.Conv1D(7, 3, padding="causal"), (13, 5), 13 * 3 * 5 * 7, 3 * 5 * 7 + 7)
        self.check(layers.Conv3D(7, 2), (3, 5, 7, 2), 2 * 4 * 6 * 8 * 2 * 7, 8 * 2 * 7 + 7)

    def test_grouped_convolutions_read_their_own_group_only(self):
        # 15 inputs in 5 groups of 3, 35 outputs.
        grouped = layers.Conv2D(35, 3, padding="same", groups=5)
        self.check(grouped, (7, 11, 15), 7 * 11 * 9 * 3 * 35, 9 * 3 * 35 + 35)
        self.check(layers.Conv1D(6, 3, groups=3, use_bias=False), (13, 21), 11 * 3 * 7 * 6, 3 * 7 * 6)

    def test_depthwise_convolutions(self):
        depthwise = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2)
        self.check(depthwise, (7, 11, 5), 7 * 11 * 9 * 5 * 2, 9 * 5 * 2 + 5 * 2)
        self.check(layers.DepthwiseConv2D(3, 2, "same", use_bias=False), (7, 11, 5), 4 * 6 * 9 * 5, 9 * 5)
        self.check(layers.DepthwiseConv1D(3), (13, 5), 11 * 3 * 5, 3 * 5 + 5)

    def test_separable_convolutions(self):
        # 9 taps a channel, then 10 -> 13 at each output position.
        separable = layers.SeparableConv2D(13, 3, 2, "same", depth_multiplier=2)
        self.check(separable, (7, 11, 5), 4 * 6 * (9 * 10 + 10 * 13), 9 * 10 + 10 * 13 + 13)
        self.check(layers.SeparableConv1D(7, 3, use_bias=False), (13, 5), 11 * (3 * 5 + 5 * 7), 3 * 5 + 5 * 7)

    def test_transposed_convolutions_count_input_positions(self):
        transposed = layers.Conv2DTranspose(13, 3, strides=2, padding="same")
        self.check(transposed, (7, 11, 5), 7 * 11 * 9 * 5 * 13, 9 * 5 * 13 + 13)
        self.check(layers.Conv1DTranspose(7, 2, 2, use_bias=False), (13, 5), 13 * 2 * 5 * 7, 2 * 5 * 7)

    def test_dense(self):
        self.check(layers.Dense(13), (11,), 11 * 13, 11 * 13 + 13)
        self.check(layers.Dense(13, use_bias=False), (7, 5, 11), 7 * 5 * 11 * 13, 11 * 13)

    def test_layers_with_weights_and_without_multiply_adds_that_count(self):
        self.check(layers.BatchNormalization(), (7, 11, 5), 0, 2 * 5, statistics=2 * 5)
        self.check(layers.BatchNormalization(scale=False), (7, 11, 5), 0, 5, statistics=2 * 5)
        self.check(layers.PReLU(), (7, 11, 5), 0, 7 * 11 * 5)
        self.check(layers.PReLU(shared_axes=[1, 2]), (7, 11, 5), 0, 5)
        self.check(layers.LayerNormalization(), (7, 11, 5), 0, 2 * 5)
        self.check(layers.GroupNormalization(5), (7, 11, 5), 0, 2 * 5)
        self.check(layers.Embedding(17, 5), (13,), 0, 17 * 5)

    def test_normalization_has_statistics_only(self):
        x = keras.Input((7, 11, 5))
        result = cost(keras.Model(x, layers.Normalization()(x)))
        self.assertEqual(result, Cost(macs=0, params=0, bytes=4 * (5 + 5) + 8))  # mean, variance; count is int64

    def test_layers_without_weights_cost_nothing(self):
        for layer in (layers.ReLU(), layers.MaxPooling2D(2), layers.Flatten(), layers.Dropout(0.5), layers.Softmax()):
            self.check(layer, (7, 11, 5), 0, 0)

    def test_channels_first(self):
        first = {"data_format": "channels_first"}
        self.check(layers.Conv2D(13, 3, padding="same", **first), (5, 7, 11), 7 * 11 * 9 * 5 * 13, 9 * 5 * 13 + 13)
        self.check(layers.Conv2D(6, 3, groups=2, **first), (10, 7, 11), 5 * 9 * 9 * 5 * 6, 9 * 5 * 6 + 6)
        self.check(layers.DepthwiseConv2D(3, **first), (5, 7, 11), 5 * 9 * 9 * 5, 9 * 5 + 5)

    def test_bytes_follow_the_type_of_the_weights(self):
        x = keras.Input((11,))
        for dtype, size in (("float16", 2), ("bfloat16", 2), ("float32", 4), ("float64", 8), ("mixed_bfloat16", 4)):
            with self.subTest(dtype=dtype):
                result = cost(keras.Model(x, layers.Dense(7, dtype=dtype)(x)))
                self.assertEqual(result, Cost(macs=77, params=84, bytes=84 * size))

    def test_a_shared_layer_multiplies_at_each_call_and_is_stored_once(self):
        shared = layers.Conv2D(5, 3, padding="same")
        x = keras.Input((7, 11, 5))
        result = cost(keras.Model(x, shared(layers.MaxPooling2D()(shared(x)))))
        self.assertEqual(result.macs, (7 * 11 + 3 * 5) * 9 * 5 * 5)
        self.assertEqual(result.params, 9 * 5 * 5 + 5)

    def test_frozen_weights_are_parameters_and_running_statistics_are_not(self):
        x = keras.Input((11,))
        model = keras.Model(x, layers.BatchNormalization()(layers.Dense(7)(x)))
        before = cost(model)
        model.trainable = False
        self.assertEqual(cost(model), before)
        self.assertEqual((before.params, before.bytes), (11 * 7 + 7 + 14, 4 * (11 * 7 + 7 + 28)))


class PlanTest(tf.test.TestCase):
    def test_a_plan_by_hand(self):
        """conv 3 -> 5 at 5 x 4, norm, conv 5 -> 7 at 3 x 2, dense 7 -> 2; kept are 2 of 5 and 3 of 7."""
        x = keras.Input((7, 6, 3))
        y = layers.BatchNormalization()(layers.Conv2D(5, 3, name="first")(x))
        y = layers.GlobalAveragePooling2D()(layers.Conv2D(7, 3, name="second")(y))
        predicted = cost_model(keras.Model(x, layers.Dense(2)(y)))
        whole = 20 * 9 * 3 * 5 + 6 * 9 * 5 * 7 + 7 * 2
        self.assertEqual(predicted.total.macs, whole)
        plan = Plan.keeping({"first": (0, 3), "second": (1, 2, 6)})
        params = (27 * 2 + 2) + 2 * 2 + (9 * 2 * 3 + 3) + (3 * 2 + 2)
        expected = Cost(20 * 9 * 3 * 2 + 6 * 9 * 2 * 3 + 3 * 2, params, 4 * (params + 2 * 2))
        self.assertEqual(predicted.of(plan), expected)
        self.assertEqual(predicted.kept(plan).tolist(), [2, 3])
        self.assertEqual(predicted.of_kept([2, 3]), expected)

    def test_many_plans_at_once(self):
        predicted = CostModel(topologies.build("residual").groups)
        rng = np.random.default_rng(3)
        kept = rng.integers(1, predicted.sizes + 1, (4, 5, len(predicted.sizes)))
        for metric in ("macs", "params", "bytes"):
            counts = predicted.count(metric, kept)
            self.assertEqual(counts.shape, (4, 5))
            for index in np.ndindex(4, 5):
                self.assertEqual(counts[index], getattr(predicted.of_kept(kept[index]), metric))

    def test_each_layer_by_hand(self):
        shared = layers.Dense(5, name="shared")
        x = keras.Input((5,), name="x")
        y = layers.BatchNormalization(name="norm")(shared(shared(x)))
        rows = cost_model(keras.Model(x, layers.Dense(2, name="logits")(y))).by_layer()
        self.assertEqual(
            [(row.layer, row.type_name, row.output_shape, row.macs, row.params, row.bytes) for row in rows],
            [
                ("x", "InputLayer", (None, 5), 0, 0, 0),
                ("shared", "Dense", (None, 5), 2 * 25, 30, 120),
                ("norm", "BatchNormalization", (None, 5), 0, 10, 80),
                ("logits", "Dense", (None, 2), 10, 12, 48),
            ],
        )

    def test_layers_whose_multiply_adds_are_not_counted_are_named(self):
        self.assertEqual(CostModel(topologies.build("unknown_layer").groups).unknown, ("roll",))
        self.assertEqual(CostModel(topologies.build("residual").groups).unknown, ())

    def test_the_cost_of_a_plan_builds_nothing(self):
        """No model, no layer, no call of a layer, and the graph is not read again."""
        groups = topologies.build("residual_padded_shortcut").groups
        plan = oracles.plan_of("residual_padded_shortcut", "some")
        expected = cost(oracles.student_of("residual_padded_shortcut", "some"))
        refuse = AssertionError("built something")
        x = keras.Input((3,))
        with (
            mock.patch.object(keras.Model, "__init__", side_effect=refuse),
            mock.patch.object(keras.Layer, "__init__", side_effect=refuse),
            mock.patch.object(keras.Operation, "__call__", side_effect=refuse),
            mock.patch.object(LayerGraph, "from_keras", side_effect=refuse),
        ):
            self.assertEqual(CostModel(groups).of(plan), expected)
            with self.assertRaises(AssertionError):  # the patches hold
                keras.Model(x, x)


class RefusalTest(tf.test.TestCase):
    def test_not_a_model(self):
        with self.assertRaisesRegex(TypeError, r"Expected `model` to be a keras\.Model"):
            cost(3)
        with self.assertRaisesRegex(FileNotFoundError, "an existing file. Received: 'model.keras'"):
            cost("model.keras")

    def test_unknown_dimensions(self):
        x = keras.Input((None, 11, 3))
        model = keras.Model(x, layers.Conv2D(5, 3, name="conv")(x))
        with self.assertRaisesRegex(ValueError, r"static shapes.*'conv'.*input_shape="):
            cost(model)

    def test_plans_for_another_model(self):
        predicted = CostModel(topologies.build("conv_chain").groups)
        with self.assertRaisesRegex(KeyError, "third"):
            predicted.of(Plan.keeping({"third": (0,)}))
        with self.assertRaisesRegex(ValueError, "below 7, the size of group 'second'"):
            predicted.of(Plan.keeping({"second": (7,)}))


if __name__ == "__main__":
    tf.test.main()
