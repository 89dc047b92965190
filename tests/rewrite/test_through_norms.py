"""Streams cut through normalisation: the layer's own formula, in numpy, over the channels that stay."""

import formulas
import keras
import numpy as np
import oracles
import tensorflow as tf
import topologies
from keras import layers
from topologies.registry import randomise

from tfcompress.channels import Control
from tfcompress.costs import CostModel, cost
from tfcompress.graph import ChannelGroups, LayerGraph
from tfcompress.plan import Plan
from tfcompress.report.inspect import describe
from tfcompress.rewrite import apply
from tfcompress.rewrite.subnetwork import Subnetwork
from tfcompress.rewrite.verify import verify

RNG = np.random.default_rng(5)


def array(variable, kept):
    return keras.ops.convert_to_numpy(variable).astype("float64")[..., kept]


class NormTest(tf.test.TestCase):
    """A dense layer of 6 channels at 4 steps, a normalisation, and a dense layer that reads it."""

    def check(self, norm, formula, positions=(0, 2, 5), kept=None):
        """Cuts to `positions` of the group, which are the channels `kept`, and compares with the formula."""
        kept = list(kept or positions)
        x = keras.Input((4, 3))
        y = norm(layers.Dense(6, name="stream")(x))
        model = keras.Model(x, layers.Dense(2, name="logits")(y))
        randomise(model, RNG)
        groups = ChannelGroups.of(LayerGraph.from_keras(model), through_norms=True)
        plan = Plan.keeping({"stream": positions})
        student = apply(model, plan, groups)
        inputs = RNG.normal(size=(5, 4, 3)).astype("float32")
        kernel, bias = (array(w, kept) for w in model.get_layer("stream").weights)
        dense, offset = (np.array(w, "float64") for w in model.get_layer("logits").get_weights())
        expected = formula(norm, inputs @ kernel + bias, kept) @ dense[kept] + offset
        self.assertAllClose(student(inputs), expected, 1e-5, 1e-5)
        self.assertNotAllClose(student(inputs), model(inputs), 1e-2, 1e-2)
        # Without building: removed channels are there, and left out of the statistics.
        subnetwork = Subnetwork(model, groups)
        self.assertAllClose(subnetwork.predict(plan, inputs), expected, 1e-5, 1e-5)
        self.assertAllClose(subnetwork.predict(Plan(), inputs), model(inputs), 1e-5, 1e-5)
        self.assertNotIn("call", vars(norm))
        self.assertLess(verify(model, plan, student, inputs, 1e-5, groups), 1e-5)
        self.assertEqual(CostModel(groups).of(plan), cost(student))
        return student

    def test_layer_normalization(self):
        def formula(norm, x, kept):
            return formulas.normalised(x, -1, 1e-3) * array(norm.gamma, kept) + array(norm.beta, kept)

        self.check(layers.LayerNormalization(), formula)

    def test_layer_normalization_without_weights(self):
        norm = layers.LayerNormalization(epsilon=0.1, center=False, scale=False)
        self.check(norm, lambda norm, x, kept: formulas.normalised(x, -1, 0.1))

    def test_layer_normalization_over_steps_and_channels(self):
        def formula(norm, x, kept):
            return formulas.normalised(x, (1, 2), 1e-3) * array(norm.gamma, kept) + array(norm.beta, kept)

        self.check(layers.LayerNormalization(axis=(1, 2)), formula)

    def test_rms_normalization(self):
        def formula(norm, x, kept):
            return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * array(norm.scale, kept)

        self.check(layers.RMSNormalization(), formula)

    def test_unit_normalization(self):
        formula = lambda norm, x, kept: x / np.linalg.norm(x, axis=-1, keepdims=True)  # noqa: E731
        self.check(layers.UnitNormalization(), formula)

    def test_group_normalization(self):
        """Three groups of two: position 1 of the group is the second channel of each."""

        def formula(norm, x, kept):
            x = np.concatenate([formulas.normalised(part, (1, 2), 1e-3) for part in np.split(x, 3, -1)], -1)
            return x * array(norm.gamma, kept) + array(norm.beta, kept)

        student = self.check(layers.GroupNormalization(3, name="norm"), formula, (1,), (1, 3, 5))
        self.assertEqual(student.get_layer("norm").groups, 3)

    def test_group_normalization_of_two_groups(self):
        def formula(norm, x, kept):
            x = np.concatenate([formulas.normalised(part, (1, 2), 1e-3) for part in np.split(x, 2, -1)], -1)
            return x * array(norm.gamma, kept) + array(norm.beta, kept)

        self.check(layers.GroupNormalization(2), formula, (0, 2), (0, 2, 3, 5))

    def test_batch_normalization_over_the_channels(self):
        """Statistics of each step, which the running statistics keep."""

        def formula(norm, x, kept):
            gamma, beta, mean, variance = (
                keras.ops.convert_to_numpy(v).astype("float64")[:, None]
                for v in (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)
            )
            return (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta

        self.check(layers.BatchNormalization(axis=1), formula)


class WithoutTest(tf.test.TestCase):
    def test_each_channel_on_its_own_needs_no_leave(self):
        """Statistics over other axes, and groups of one channel. (Keras' RMSNormalization only runs on the last axis.)"""
        for norm in (
            layers.LayerNormalization(axis=1),
            layers.UnitNormalization(axis=1),
            layers.GroupNormalization(groups=-1),
        ):
            with self.subTest(type(norm).__name__):
                x = keras.Input((4, 3))
                y = norm(layers.Dense(6, name="stream")(x))
                model = keras.Model(x, layers.Dense(2, name="logits")(y))
                randomise(model, RNG)
                groups = ChannelGroups.of(LayerGraph.from_keras(model))
                plan = Plan.keeping({"stream": (1, 2, 5)})
                inputs = RNG.normal(size=(5, 4, 3)).astype("float32")
                student = oracles.call(apply(model, plan, groups), inputs)
                expected = oracles.masked_outputs(model, groups, plan, inputs)
                self.assertLess(oracles.relative_error(student, expected), 1e-5)
                received = [Subnetwork(model, groups).predict(plan, inputs).numpy()]
                self.assertLess(oracles.relative_error(received, expected), 1e-5)

    def test_groups_on_another_axis_than_the_channels(self):
        """The 6 channels are positions to the layer, whose groups are of the 4 steps: they stay, and nothing is masked."""
        x = keras.Input((4, 3))
        y = layers.GroupNormalization(2)(layers.Permute((2, 1))(layers.Dense(6, name="stream")(x)))
        model = keras.Model(x, layers.Dense(2)(layers.Dense(5, name="behind")(y)))
        randomise(model, RNG)
        groups = ChannelGroups.of(LayerGraph.from_keras(model), through_norms=True)
        self.assertEqual([group.name for group in groups], ["behind"])
        inputs, plan = RNG.normal(size=(5, 4, 3)).astype("float32"), Plan.keeping({"behind": (1, 4)})
        student = apply(model, plan, groups)
        self.assertLess(verify(model, plan, student, inputs, 1e-5, groups), 1e-5)
        received = Subnetwork(model, groups).predict(plan, inputs)
        self.assertAllClose(received, student(inputs), 1e-5, 1e-5)

    def test_a_norm_shared_by_two_streams_ties_them(self):
        """It has no weights, and yet its mask is one."""
        norm = layers.UnitNormalization(name="norm")
        x = keras.Input((4, 3))
        parts = [norm(layers.Dense(6, name=name)(x)) for name in ("left", "right")]
        model = keras.Model(x, layers.Dense(2)(layers.Concatenate()(parts)))
        groups = ChannelGroups.of(LayerGraph.from_keras(model), through_norms=True)
        self.assertEqual([group.producers for group in groups], [("left", "right")])

    def test_inspect_says_what_it_opens(self):
        model = topologies.build("layer_normalization").model
        self.assertIn("stream: 5 channels stay: LayerNormalization normalises over the channels", describe(model))
        self.assertIn(
            "stream: 5 channels, written by stream, through norm", describe(model, Control(through_norms=True))
        )


class TransformerTest(tf.test.TestCase):
    def test_whole_transformers(self):
        """The streams of encoders and decoders; masked original, sub-network, cost and saved file agree with the cut."""
        for name in ("bert_like_encoder", "vision_transformer", "decoder_with_grouped_queries"):
            with self.subTest(name):
                model, default, inputs = topologies.build(name)
                groups = ChannelGroups.of(LayerGraph.from_keras(model), through_norms=True)
                self.assertLess(CostModel(groups).smallest.macs, CostModel(default).smallest.macs / 5)
                plan = oracles.some_channels(groups, np.random.default_rng(3))
                student = apply(model, plan, groups)
                self.assertLess(verify(model, plan, student, inputs, 1e-5, groups), 1e-5)
                self.assertEqual(oracles.walked_macs(student), CostModel(groups).of(plan).macs)
                received = [Subnetwork(model, groups).predict(plan, inputs).numpy()]
                self.assertLess(oracles.relative_error(received, oracles.call(student, inputs)), 1e-5)
                path = f"{self.get_temp_dir()}/{name}.keras"
                student.save(path)
                loaded = oracles.call(keras.models.load_model(path), inputs)
                self.assertLess(oracles.relative_error(loaded, oracles.call(student, inputs)), 1e-6)


if __name__ == "__main__":
    tf.test.main()
