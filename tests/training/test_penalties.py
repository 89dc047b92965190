"""Penalties and regularisation losses, by hand on four numbers."""

import keras
import numpy as np
import tensorflow as tf

from tfcompress import training


def linear(regularizer=None):
    """`y = w x` with four weights 1, 2, 3, 4, no bias."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, use_bias=False, kernel_regularizer=regularizer)])
    model.set_weights([np.array([[1], [2], [3], [4]], "float32")])
    return model


def one_step(model, penalties, rate=0.5):
    """One SGD step on a batch of zeros, whose data loss and data gradient are 0 for `linear`. Returns its loss."""
    data = tf.data.Dataset.from_tensors((np.zeros((2, 4), "float32"), np.zeros((2, 1), "float32")))
    objective = training.Objective("mse", None)
    optimizer = keras.optimizers.SGD(rate)
    return training.fit(model, data, objective, optimizer=optimizer, epochs=1, penalties=penalties)["loss"][0]


class Switched:
    """A penalty with a mask that changes without a new trace: the sum of `mask * w`."""

    name = "switched"

    def __init__(self):
        self.mask = keras.Variable(np.zeros((4, 1), "float32"), trainable=False)
        self.traces = 0

    def build(self, model):
        self.kernel = model.trainable_variables[0]

    def __call__(self):
        if not tf.executing_eagerly():
            self.traces += 1
        return keras.ops.sum(self.mask * self.kernel)


class MaskChanger(keras.callbacks.Callback):
    def __init__(self, penalty):
        super().__init__()
        self.penalty = penalty

    def on_epoch_begin(self, epoch, logs=None):
        self.penalty.mask.assign(np.full((4, 1), epoch, "float32"))


class PenaltiesTest(tf.test.TestCase):
    def test_weight_decay_value_and_gradient(self):
        model = linear()
        decay = training.WeightDecay(0.1)
        decay.build(model)
        with tf.GradientTape() as tape:
            value = decay()
        self.assertAllClose(value, 0.05 * (1 + 4 + 9 + 16))
        gradient = tape.gradient(value, model.trainable_variables[0].value)
        self.assertAllClose(gradient, [[0.1], [0.2], [0.3], [0.4]])

    def test_weight_decay_covers_biases_and_scales_but_not_statistics(self):
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1), keras.layers.BatchNormalization()])
        # kernel 2, bias 3, gamma 5, beta 7, moving mean 11, moving variance 13
        values = (2, 3, 5, 7, 11, 13)
        model.set_weights([np.full(w.shape, v, "float32") for w, v in zip(model.weights, values, strict=True)])
        decay = training.WeightDecay(2.0)
        decay.build(model)
        self.assertAllClose(decay(), 4 + 9 + 25 + 49)

    def test_weight_decay_of_zero_strength_and_refusals(self):
        decay = training.WeightDecay(0.0)
        decay.build(linear())
        self.assertAllEqual(decay(), 0.0)
        for strength in (-1e-4, float("nan")):
            with self.assertRaisesRegex(ValueError, "strength"):
                training.WeightDecay(strength)

    def test_fit_steps_along_the_penalty(self):
        model = linear()
        loss = one_step(model, [training.WeightDecay(0.1)], rate=0.5)
        self.assertAllClose(loss, 1.5)
        self.assertAllClose(model.get_weights()[0][:, 0], 0.95 * np.array([1, 2, 3, 4]))

    def test_penalties_add_up_and_the_models_regularizer_counts_once(self):
        model = linear(keras.regularizers.L2(0.01))  # 0.01 * 30 = 0.3, gradient 0.02 w
        loss = one_step(model, [training.WeightDecay(0.1), training.WeightDecay(0.2, name="more")], rate=1.0)
        self.assertAllClose(loss, 0.3 + 1.5 + 3.0)
        self.assertAllClose(model.get_weights()[0][:, 0], (1 - 0.02 - 0.1 - 0.2) * np.array([1, 2, 3, 4]))

    def test_activity_regularizer_of_a_nested_model_counts_once(self):
        nested = linear()
        nested.layers[-1].activity_regularizer = keras.regularizers.L1(0.5)
        inputs = keras.Input((4,))
        model = keras.Model(inputs, nested(inputs))
        x = np.ones((1, 4), "float32")  # output 10, activity 0.5 * 10
        data = tf.data.Dataset.from_tensors((x, np.full((1, 1), 10, "float32")))
        optimizer = keras.optimizers.SGD(0.0)
        history = training.fit(model, data, training.Objective("mse", None), optimizer=optimizer, epochs=2)
        self.assertAllClose(history["loss"], [5.0, 5.0])

    def test_validation_loss_is_that_of_the_objective_alone(self):
        model = linear(keras.regularizers.L2(0.01))
        data = tf.data.Dataset.from_tensors((np.ones((1, 4), "float32"), np.full((1, 1), 8, "float32")))
        history = training.fit(
            model,
            data,
            training.Objective("mse", None),
            optimizer=keras.optimizers.SGD(0.0),
            epochs=1,
            validation=data,
            penalties=[training.WeightDecay(0.1)],
        )
        self.assertAllClose(history["loss"], [4 + 0.3 + 1.5])
        self.assertAllClose(history["val_loss"], [4.0])
        self.assertAllClose(history["weight_decay"], [1.5])

    def test_a_mask_that_changes_between_epochs_counts_and_traces_once(self):
        model, penalty = linear(), Switched()
        data = tf.data.Dataset.from_tensors((np.zeros((2, 4), "float32"), np.zeros((2, 1), "float32")))
        history = training.fit(
            model,
            data,
            training.Objective("mse", None),
            optimizer=keras.optimizers.SGD(0.0),
            epochs=3,
            penalties=[penalty],
            callbacks=[MaskChanger(penalty)],
        )
        self.assertAllClose(history["loss"], [0.0, 10.0, 20.0])
        self.assertAllClose(history["switched"], [0.0, 10.0, 20.0])
        self.assertEqual(penalty.traces, 1)

    def test_a_model_with_its_own_compute_loss_is_trained_on_it(self):
        class Distilled(keras.Model):
            def __init__(self, student):
                super().__init__()
                self.student = student

            def build(self, input_shape):
                self.built = True

            def call(self, x):
                return self.student(x)

            def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
                return keras.ops.mean(keras.ops.sum(x, axis=-1, keepdims=True) - y_pred)  # -9 a sample below

        model = Distilled(linear())
        model.build((None, 4))
        data = tf.data.Dataset.from_tensors((np.eye(4, dtype="float32")[3:], np.zeros((1, 1), "float32")))
        history = training.fit(
            model,
            data,
            training.Objective(None, None),
            optimizer=keras.optimizers.SGD(1.0),
            epochs=1,
            penalties=[training.WeightDecay(0.1)],
        )
        self.assertAllClose(history["loss"], [1 - 4 + 1.5])
        self.assertAllClose(model.student.get_weights()[0][:, 0], [0.9, 1.8, 2.7, 4 + 1 - 0.4])
