"""Mixup: the loss of mixed labels, worked out with numpy; what is measured; composition with a loss of its own."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tfcompress.training import Objective, OwnLoss, fit
from tfcompress.training.mixup import Mixup


def linear(seed=0):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((3,))
    return keras.Model(inputs, layers.Dense(4)(inputs))


def cross_entropy(y, logits):
    return keras.ops.mean(keras.losses.sparse_categorical_crossentropy(y, logits, from_logits=True))


class OfOutputs(OwnLoss):
    """A loss of its own: the mean output, and ten times the mean label."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, inputs, training=None):
        return self.inner(inputs, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return keras.ops.mean(y_pred) + 10 * keras.ops.mean(keras.ops.cast(y[:1], "float32"))


class MixupTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        rng = np.random.default_rng(0)
        self.x = rng.normal(size=(5, 3)).astype("float32")
        self.y = np.array([0, 1, 2, 3, 1])

    def test_the_loss_is_that_of_mixed_one_hot_labels(self):
        model = linear()
        mixed = Mixup(model, cross_entropy, seed=3)
        given = mixed(self.x, training=True)
        share = float(given["share"])
        self.assertBetween(share, 0.0, 1.0)
        images = share * self.x + (1 - share) * self.x[::-1]
        kernel, bias = (np.array(w) for w in model.weights)
        logits = images @ kernel + bias
        self.assertAllClose(given["mixed"], logits, atol=1e-5)
        one_hot = np.eye(4)
        labels = share * one_hot[self.y] + (1 - share) * one_hot[self.y[::-1]]
        log_softmax = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        expected = -(labels * log_softmax).sum(-1).mean()
        self.assertAllClose(mixed.compute_loss(self.x, self.y, given), expected, atol=1e-5)
        self.assertIsNone(mixed.outputs_of(given))

    def test_shares_differ_and_follow_the_seed(self):
        shares = [
            [float(mixed(self.x, training=True)["share"]) for _ in range(4)]
            for mixed in (Mixup(linear(), cross_entropy, seed=seed) for seed in (1, 1, 2))
        ]
        self.assertLen(set(shares[0]), 4)
        self.assertAllClose(shares[0], shares[1])
        self.assertNotAllClose(shares[0], shares[2])

    def test_measured_is_the_model_on_images_as_they_are(self):
        model = linear()
        mixed = Mixup(model, cross_entropy)
        outputs = mixed(self.x, training=False)
        self.assertAllClose(outputs, model(self.x))
        self.assertIs(mixed.outputs_of(outputs), outputs)
        self.assertAllClose(mixed.compute_loss(self.x, self.y, outputs, training=False), cross_entropy(self.y, outputs))

    def test_a_loss_of_its_own_is_taken_for_both_labels(self):
        mixed = Mixup(OfOutputs(linear()), cross_entropy, seed=3)
        given = mixed(self.x, training=True)
        share = float(given["share"])
        labels = share * self.y[0] + (1 - share) * self.y[-1]
        expected = float(keras.ops.mean(given["mixed"])) + 10 * labels
        self.assertAllClose(mixed.compute_loss(self.x, self.y, given), expected, atol=1e-5)

    def test_fit_trains_the_model_in_place(self):
        model = linear()
        before = np.array(model.weights[0])
        batches = tf.data.Dataset.from_tensor_slices((self.x, self.y)).batch(5)
        objective = Objective(
            keras.losses.SparseCategoricalCrossentropy(from_logits=True), keras.metrics.SparseCategoricalAccuracy
        )
        history = fit(
            Mixup(model, cross_entropy), batches, objective, optimizer=keras.optimizers.SGD(0.1), epochs=2,
            validation=batches,
        )  # fmt: skip
        self.assertNotAllClose(before, model.weights[0])
        self.assertNotIn("sparse_categorical_accuracy", history)
        self.assertIn("val_sparse_categorical_accuracy", history)


if __name__ == "__main__":
    tf.test.main()
