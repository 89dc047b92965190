"""Gradient x activation of feature maps, on numbers small enough to work them out by hand."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tfcompress.graph import ChannelGroups, LayerGraph
from tfcompress.importance import Evidence, FeatureMapTaylor, MissingData, Taylor


class FeatureMapTaylorTest(tf.test.TestCase):
    """The loss is the squared error to labels of 0, so that the gradient of an output f is 2 f."""

    def scores(self, model, name, x, **settings):
        for weights, values in self.weights.items():
            model.get_layer(weights).set_weights([np.asarray(value, "float32") for value in values])
        groups = ChannelGroups.of(LayerGraph.from_keras(model))
        x = tuple(np.asarray(array, "float32") for array in x) if isinstance(x, tuple) else np.asarray(x, "float32")
        labels = np.zeros((len(keras.tree.flatten(x)[0]), 1))
        evidence = Evidence(groups, (x, labels), "mean_squared_error")
        found = FeatureMapTaylor(**settings)(groups[name], evidence)
        self.assertEqual(found.dtype, np.float32)
        return found

    def test_samples_do_not_cancel_out(self):
        """Hidden (1, -2) and (3, 1), read by (2, -1): outputs 4 and 5, gradients 8 and 10.

        Unit 0: 8 * 2 * 1 = 16 and 10 * 2 * 3 = 60; unit 1: 8 * -1 * -2 = 16 and 10 * -1 * 1 = -10.
        """
        x = keras.Input((2,))
        hidden = layers.Dense(2, use_bias=False, name="hidden")(x)
        model = keras.Model(x, layers.Dense(1, use_bias=False, name="out")(hidden))
        self.weights = {"hidden": [[[1, -2], [3, 1]]], "out": [[[2], [-1]]]}
        for batch_size in (1, 2, 32):
            scores = self.scores(model, "hidden", [[1, 0], [0, 1]], batch_size=batch_size)
            self.assertAllClose(scores, [(16 + 60) / 2, (16 + 10) / 2])
        self.assertAllClose(self.scores(model, "hidden", [[1, 0], [0, 1]], samples=1), [16, 16])

    def test_what_is_read_behind_normalisation_and_activation(self):
        """Hidden (1, -2), gamma (2, -3), beta (1, -5): (3, 1), which a ReLU leaves; read by (1, 4): 7, gradient 14.

        A third unit is -1 before the ReLU and 0 behind it.
        """
        x = keras.Input((1,))
        y = layers.Dense(3, use_bias=False, name="hidden")(x)
        y = layers.ReLU()(layers.BatchNormalization(epsilon=0.0, name="bn")(y))
        model = keras.Model(x, layers.Dense(1, use_bias=False, name="out")(y))
        bn = [[2, -3, 1], [1, -5, 0], [0, 0, 0], [1, 1, 1]]
        self.weights = {"hidden": [[[1, -2, -1]]], "bn": bn, "out": [[[1], [4], [9]]]}
        self.assertAllClose(self.scores(model, "hidden", [[1]]), [14 * 3, 14 * 4, 0])

    def test_the_mean_over_positions_comes_before_the_absolute_value(self):
        """Filters 1 and 2 on pixels (1, 3), flattened and read by (5, 1) and (-2, 1): 5 + 2 - 6 + 6 = 7, gradient 14.

        Filter 0: (5 * 1 - 2 * 3) * 14 over 2 positions; filter 1: (1 * 2 + 1 * 6) * 14 over 2.
        """
        x = keras.Input((2, 1))
        y = layers.Flatten()(layers.Conv1D(2, 1, use_bias=False, name="conv")(x))
        model = keras.Model(x, layers.Dense(1, use_bias=False, name="out")(y))
        self.weights = {"conv": [[[[1, 2]]]], "out": [[[5], [1], [-2], [1]]]}
        self.assertAllClose(self.scores(model, "conv", [[[1], [3]]]), [14 * 1 / 2, 14 * 8 / 2])

    def test_several_layers_that_read_a_channel(self):
        """The stem gives (1, 3), `inner` reads it and gives (4, 8), the sum is (5, 11), `out` reads it: 16, gradient 32.

        The stem's map moves the sum by itself and through `inner`: (1 + 1 + 2, 1 + 1 + 2) * 32. `inner` reads
        4 * 32 * (1, 3), `out` reads 32 * (5, 11).
        """
        x = keras.Input((1,))
        stem = layers.Dense(2, use_bias=False, name="stem")(x)
        y = layers.Add()([stem, layers.Dense(2, use_bias=False, name="inner")(stem)])
        model = keras.Model(x, layers.Dense(1, use_bias=False, name="out")(y))
        self.weights = {"stem": [[[1, 3]]], "inner": [[[1, 2], [1, 2]]], "out": [[[1], [1]]]}
        self.assertAllClose(self.scores(model, "stem", [[1]]), [32 * (4 + 5) / 2, 32 * (12 + 11) / 2])

    def test_calls_of_a_shared_layer_are_one_map(self):
        """`end` reads (1, -2) with input 1 and (-3, 6) with input -3, by (1, 1): -1 and 3, whose sum is 2, gradient 4.

        Unit 0: 4 * (1 - 3) over two calls; unit 1: 4 * (-2 + 6) over two.
        """
        a, b = keras.Input((1,), name="a"), keras.Input((1,), name="b")
        shared, end = layers.Dense(2, use_bias=False, name="shared"), layers.Dense(1, use_bias=False, name="end")
        model = keras.Model([a, b], layers.Add()([end(shared(a)), end(shared(b))]))
        self.weights = {"shared": [[[1, -2]]], "end": [[[1], [1]]]}
        self.assertAllClose(self.scores(model, "shared", ([[1]], [[-3]])), [4 * 2 / 2, 4 * 4 / 2])

    def test_channels_that_no_tensor_shows_are_scored_by_their_weights(self):
        keras.utils.set_random_seed(0)
        x = keras.Input((3, 4))
        y = layers.MultiHeadAttention(2, 3, name="attention")(x, x)
        model = keras.Model(x, layers.Dense(1)(layers.Flatten()(y)))
        groups = ChannelGroups.of(LayerGraph.from_keras(model))
        data = np.random.default_rng(0).normal(size=(4, 3, 4)), np.zeros((4, 1))
        evidence = Evidence(groups, data, "mean_squared_error")
        hidden = [group for group in groups if not evidence.gates(group).layers.all()]
        self.assertNotEmpty(hidden)
        for group in hidden:
            scores = FeatureMapTaylor()(group, evidence)
            self.assertAllClose(scores, Taylor(absolute=True, batch_size=1)(group, evidence))
            self.assertTrue(np.all(scores > 0))

    def test_what_it_needs(self):
        x = keras.Input((2,))
        model = keras.Model(x, layers.Dense(1)(layers.Dense(2, name="hidden")(x)))
        groups = ChannelGroups.of(LayerGraph.from_keras(model))
        with self.assertRaisesRegex(MissingData, "Expected a loss, for the gradients of 'hidden'"):
            FeatureMapTaylor()(groups["hidden"], Evidence(groups, (np.ones((1, 2)), np.ones(1))))
        for settings in ({"samples": 0}, {"batch_size": 2.5}):
            with self.assertRaisesRegex(ValueError, f"Expected `{next(iter(settings))}`.*Received"):
                FeatureMapTaylor(**settings)


if __name__ == "__main__":
    tf.test.main()
