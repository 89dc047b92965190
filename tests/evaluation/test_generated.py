"""Inception score and Frechet distance, worked out by hand."""

import keras
import numpy as np
import tensorflow as tf

from tfcompress.evaluation import features_and_probabilities, frechet_distance, inception_score


class InceptionScoreTest(tf.test.TestCase):
    def test_sure_of_all_classes(self):
        self.assertAllClose(inception_score(np.eye(4)), 4.0)

    def test_all_alike(self):
        self.assertAllClose(inception_score([[0.5, 0.5], [0.5, 0.5]]), 1.0)
        self.assertAllClose(inception_score([[1.0, 0.0], [1.0, 0.0]]), 1.0)

    def test_by_hand(self):
        # Marginal (0.5, 0.5); KL of each is 0.9 ln 1.8 + 0.1 ln 0.2.
        expected = np.exp(0.9 * np.log(1.8) + 0.1 * np.log(0.2))
        self.assertAllClose(inception_score([[0.9, 0.1], [0.1, 0.9]]), expected)

    def test_logits_are_refused(self):
        with self.assertRaisesRegex(ValueError, r"sum to 1. Received: shape \(1, 2\)"):
            inception_score([[2.0, -1.0]])


class FrechetTest(tf.test.TestCase):
    def test_equal_sets(self):
        features = np.random.default_rng(0).normal(size=(50, 3))
        self.assertAllClose(frechet_distance(features, features), 0.0, atol=1e-9)

    def test_moved(self):
        features = np.random.default_rng(0).normal(size=(50, 3))
        self.assertAllClose(frechet_distance(features, features + np.array([1.0, 2.0, 0.0])), 5.0)

    def test_one_feature(self):
        """Of one dimension it is (mean - mean')^2 + (deviation - deviation')^2: deviations 2 and 6, means 1 and 4."""
        a = np.array([[1 - np.sqrt(2)], [1 + np.sqrt(2)]])
        b = np.array([[4 - 3 * np.sqrt(2)], [4 + 3 * np.sqrt(2)]])
        self.assertAllClose(frechet_distance(a, b), 9.0 + 16.0)

    def test_features_of_other_networks(self):
        with self.assertRaisesRegex(ValueError, r"\(3, 2\) and \(3, 4\)"):
            frechet_distance(np.zeros((3, 2)), np.zeros((3, 4)))


class FeaturesTest(tf.test.TestCase):
    def test_what_the_last_layer_reads(self):
        for activation in (None, "softmax"):
            x = keras.Input((4, 4, 1))
            y = keras.layers.Flatten()(keras.layers.Conv2D(2, 3, activation="relu", name="conv")(x))
            model = keras.Model(x, keras.layers.Dense(3, activation=activation)(y))
            images = np.random.default_rng(0).random((5, 4, 4, 1), dtype="float32")
            features, probabilities = features_and_probabilities(model, images)
            self.assertAllClose(features, np.reshape(model.get_layer("conv")(images), (5, 8)))
            kernel, bias = model.layers[-1].get_weights()
            logits = features @ kernel + bias
            expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            self.assertAllClose(probabilities, expected)


if __name__ == "__main__":
    tf.test.main()
