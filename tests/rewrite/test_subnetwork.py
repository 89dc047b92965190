"""A model run as its own sub-network gives the outputs of the cut model, through one trace."""

import keras
import numpy as np
import oracles
import tensorflow as tf
import topologies

from tfcompress import zoo
from tfcompress.channels import pruning_units
from tfcompress.graph import ChannelGroups, LayerGraph
from tfcompress.plan import Plan
from tfcompress.rewrite import apply
from tfcompress.rewrite.subnetwork import Subnetwork


def _flat(outputs):
    return [keras.ops.convert_to_numpy(keras.ops.cast(t, "float32")) for t in keras.tree.flatten(outputs)]


class SubnetworkTest(tf.test.TestCase):
    def test_layers_are_as_before_a_trace(self):
        name = next(iter(topologies.TOPOLOGIES))
        model, groups, inputs = topologies.build(name)
        before = model.to_json()
        Subnetwork(model, groups).predict(oracles.plan_of(name, "some"), inputs)
        self.assertEqual(model.to_json(), before)

    def test_inner_channels_of_residual_blocks_are_sliced_not_masked(self):
        model = zoo.resnet20((8, 8, 1), 10)
        groups = ChannelGroups.of(LayerGraph.from_keras(model))
        names = tuple(unit.name for unit in pruning_units(groups))
        subnetwork = Subnetwork(model, groups, names)
        self.assertEqual(subnetwork.sliced, names)

    def test_a_plan_for_other_groups_is_refused(self):
        model = zoo.resnet20((8, 8, 1), 10)
        groups = ChannelGroups.of(LayerGraph.from_keras(model))
        subnetwork = Subnetwork(model, groups, ("section1_block1_conv1",))
        with self.assertRaisesRegex(KeyError, "stem_conv"):
            subnetwork.predict(Plan.keeping({"stem_conv": (0,)}), np.zeros((1, 8, 8, 1), "float32"))


class MeanTest(tf.test.TestCase):
    def test_mean_over_unequal_batches(self):
        inputs = keras.Input((3,))
        model = keras.Model(inputs, keras.layers.Dense(2, use_bias=False)(keras.layers.Identity()(inputs)))
        model.layers[-1].set_weights([np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])])
        x = np.array([[2, 1, 0], [1, 2, 0], [3, 0, 0], [0, 1, 0], [0, 5, 0]], "float32")
        y = np.array([0, 0, 0, 1, 1])
        subnetwork = Subnetwork(model, ChannelGroups.of(LayerGraph.from_keras(model)))
        score = keras.metrics.sparse_categorical_accuracy
        self.assertAllClose(subnetwork.mean(Plan(), x, y, score, batch_size=2), 4 / 5)


class EagerTest(tf.test.TestCase):
    def test_functions_that_run_eagerly_change_nothing(self):
        """The sub-network hides widths from its layers, which only a graph allows."""
        inputs = keras.Input((6, 6, 2))
        x = keras.layers.Conv2D(5, 3, name="first")(inputs)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
        x = keras.layers.Conv2D(3, 3, name="second")(x)
        model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(x)))
        samples = np.random.default_rng(0).normal(size=(7, 6, 6, 2)).astype("float32")
        plan, labels, score = Plan.keeping({"first": (0, 3)}), np.zeros(7), lambda y, outputs: outputs[:, 0]

        def everything():
            subnetwork = Subnetwork(model, ChannelGroups.of(LayerGraph.from_keras(model)))
            statistics = subnetwork.recalibrate(plan, [samples, samples[:3]])
            scores = [subnetwork.mean(plan, samples, labels, score, statistics=s) for s in (None, statistics)]
            return [*_flat(subnetwork.predict(plan, samples)), *_flat(statistics), scores, subnetwork.traces]

        expected = everything()
        tf.config.run_functions_eagerly(True)
        try:
            received = everything()
        finally:
            tf.config.run_functions_eagerly(False)
        for first, second in zip(received, expected, strict=True):
            self.assertAllEqual(first, second)


class RecalibrateTest(tf.test.TestCase):
    def test_statistics_are_those_of_the_cut_model(self):
        """By an independent route: numpy moments of the cut model's own activations."""
        keras.utils.set_random_seed(3)
        inputs = keras.Input((6, 6, 2))
        x = keras.layers.Conv2D(5, 3, use_bias=False, name="first")(inputs)
        x = keras.layers.ReLU()(x)
        x = keras.layers.Conv2D(3, 3, use_bias=False, name="second")(x)
        x = keras.layers.BatchNormalization(momentum=0.7, epsilon=1e-3, name="bn")(x)
        x = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x))
        model = keras.Model(inputs, keras.layers.Dense(2, name="head")(x))
        groups = ChannelGroups.of(LayerGraph.from_keras(model))
        plan = Plan.keeping({"first": (0, 3), "second": (1, 2)})
        rng = np.random.default_rng(0)
        batches = [rng.normal(size=(7, 6, 6, 2)).astype("float32") for _ in range(2)]
        before = [np.array(weight) for weight in model.get_weights()]

        subnetwork = Subnetwork(model, groups)
        statistics = subnetwork.recalibrate(plan, batches)
        student = apply(model, plan)
        second = keras.Model(student.inputs, student.get_layer("second").output)
        activations = [second(batch).numpy() for batch in batches]
        mean = np.mean([a.mean((0, 1, 2)) for a in activations], axis=0)
        variance = np.mean([a.var((0, 1, 2)) for a in activations], axis=0)
        self.assertAllClose(statistics[0], mean, rtol=1e-4, atol=1e-6)
        self.assertAllClose(statistics[1], variance, rtol=1e-4, atol=1e-6)

        student.get_layer("bn").moving_mean.assign(mean)
        student.get_layer("bn").moving_variance.assign(variance)
        expected = student(batches[0]).numpy()[:, 0]
        received = subnetwork.mean(
            plan, batches[0], np.zeros(7), lambda y, outputs: outputs[:, 0], statistics=statistics
        )
        self.assertAllClose(received, expected.mean(), rtol=1e-4)
        for weight, old in zip(model.get_weights(), before, strict=True):
            self.assertAllEqual(weight, old)


if __name__ == "__main__":
    tf.test.main()
