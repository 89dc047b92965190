"""Bad batches and weights in training and measuring: one error that names split and batch, the last good state kept."""

import io

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tfcompress import evaluation, training
from tfcompress.training.penalized import LabelRange
from tfcompress.training.state import check_finite_weights

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(12, 4)).astype("float32"), RNG.integers(0, 3, 12)
OBJECTIVE = training.Objective(keras.losses.SparseCategoricalCrossentropy(from_logits=True), None)


def stream(x=X, y=Y):
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(4)


def network(*extra):
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((4,)), *extra, layers.Dense(3)])


def fit(model, train, **settings):
    return training.fit(model, train, OBJECTIVE, optimizer=keras.optimizers.SGD(0.1), epochs=1, **settings)


def unchanged(model, before):
    for weight, value in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, value)


def with_nan(y=Y):
    x = X.copy()
    x[9, 1] = np.nan
    return stream(x, y)


def with_a_label_too_many():
    y = Y.copy()
    y[9] = 3
    return stream(y=y)


def that_breaks_off():
    def batches():
        yield from stream().take(2).as_numpy_iterator()
        raise OSError("disk gone")

    return tf.data.Dataset.from_generator(batches, output_signature=stream().element_spec)


def test_a_training_batch_with_nan():
    model = network()
    before = model.get_weights()
    words = "step 3, and batch 3 of the training data of epoch 1 holds NaN or infinity. The initial weights"
    with pytest.raises(training.TrainingDiverged, match=words) as caught:
        fit(model, with_nan())
    assert caught.value.step == 3
    unchanged(model, before)


def test_a_training_batch_with_a_weight_that_is_no_number():
    weights = np.ones(12, "float32")
    weights[9] = np.nan
    with pytest.raises(training.TrainingDiverged, match="batch 3 of the training data of epoch 1 holds NaN"):
        fit(network(), tf.data.Dataset.from_tensor_slices((X, Y, weights)).batch(4))


def test_a_training_batch_with_a_label_that_binary_crossentropy_does_not_read():
    loss = training.Objective(keras.losses.BinaryCrossentropy(from_logits=True), None)
    y = (Y[:, None] == np.arange(3)).astype("float32") * 0.9
    training.fit(network(), stream(y=y), loss, optimizer=keras.optimizers.SGD(0.1), epochs=1)
    y[9, 0] = 2
    model = network()
    before = model.get_weights()
    words = "batch 3 of the training data of epoch 1 holds labels below 0 or above 1. The"
    with pytest.raises(training.TrainingDiverged, match=words):
        training.fit(model, stream(y=y), loss, optimizer=keras.optimizers.SGD(0.1), epochs=1)
    unchanged(model, before)


def test_labels_that_are_indices():
    y, outputs = keras.ops.convert_to_tensor([[0], [2], [-1]]), keras.ops.zeros((3, 3))
    assert not LabelRange(are_indices=True).holds(y, outputs)
    assert LabelRange(are_indices=True, ignored=-1).holds(y, outputs)
    assert not LabelRange(are_indices=True, ignored=-1).holds(y + 1, outputs)
    assert LabelRange(are_indices=True).holds(y, keras.ops.zeros((3, 4, 3)))


@pytest.mark.parametrize(
    ("batches", "reason"),
    [(with_a_label_too_many, r"label value of 3 .*valid range of \[0, 3\)"), (that_breaks_off, "OSError: disk gone")],
)
def test_a_training_batch_that_the_loss_cannot_serve_or_that_cannot_be_read(batches, reason):
    model = network()
    before = model.get_weights()
    words = rf"Expected batch 3 of the training data \(epoch 1 of training\) .* Received: .*{reason}"
    with pytest.raises(ValueError, match=words) as caught:
        fit(model, batches())
    assert "Graph" not in str(caught.value)
    unchanged(model, before)


def test_a_validation_batch():
    with pytest.raises(ValueError, match=r"Expected batch 3 of the validation data .* Received: .*label value of 3"):
        fit(network(), stream(), validation=with_a_label_too_many())
    with pytest.raises(ValueError, match=r"Expected batch 3 of the test data .* Received: .*label value of 3"):
        evaluation.Evaluator(network(), OBJECTIVE)(with_a_label_too_many(), "test data")


def test_validation_that_is_no_number_is_said():
    shown = io.StringIO()
    fit(
        network(),
        stream(),
        validation=with_nan(),
        phase=training.Phase("fine-tuning", progress=training.Progress(2, shown)),
    )
    assert "Warning: fine-tuning: val_loss is NaN or infinite after epoch 1" in shown.getvalue()


def test_statistics_that_become_infinite():
    model = network(layers.BatchNormalization(name="normalization", momentum=0.5))
    before = model.get_weights()
    with pytest.raises(training.TrainingDiverged, match="normalization/moving_variance became NaN or infinite"):
        fit(model, stream(X * 1e30))
    unchanged(model, before)


class Masked(layers.Layer):
    """Adds a constant that is minus infinity at one place, and takes it away again."""

    def build(self, shape):
        self.mask = self.add_weight(shape=(2,), initializer="zeros", trainable=False, name="mask")
        self.mask.assign([0.0, -np.inf])

    def call(self, inputs):
        return inputs + self.mask[0]


def test_infinite_constants_are_the_users_own():
    model = network(Masked())
    check_finite_weights(model)
    fit(model, stream())


def test_weights_that_are_no_numbers_from_the_start():
    model = network(layers.BatchNormalization(name="normalization"))
    model.layers[0].moving_mean.assign([0, np.nan, 0, 0])
    with pytest.raises(
        ValueError, match=r"Expected a model with finite weights. Received: .*normalization/moving_mean"
    ):
        check_finite_weights(model)
