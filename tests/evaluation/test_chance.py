"""What guessing gives, and when a model counts as trained."""

import types

import keras
import numpy as np
import pytest
from keras import layers

import tfcompress
from tfcompress import Budget
from tfcompress.evaluation import guessing
from tfcompress.task import Task
from tfcompress.training import Objective, infer

ROWS = np.arange(64)
X = np.stack([np.cos(ROWS), np.sin(ROWS)], axis=1).astype("float32")


def task(accuracy, chance, samples=10_000, luck=None, higher_is_better=True, output=(None, 10)):
    model = types.SimpleNamespace(outputs=[types.SimpleNamespace(shape=output)])
    splits = types.SimpleNamespace(validation=types.SimpleNamespace(num_samples=samples))
    objective = Objective("mse", keras.metrics.BinaryAccuracy, higher_is_better=higher_is_better)
    return Task(model, splits, objective, Budget(), accuracy=accuracy, chance=chance, luck=luck)


@pytest.mark.parametrize(
    ("accuracy", "chance", "samples", "warned", "trained"),
    [
        (0.99, 0.92, 500, False, True),
        # Naming the other class at random in a share q: -0.84 q + 3 * sqrt(q * (1 - q) / 500), 0.0053 at the most.
        (0.924, 0.92, 500, True, False),
        (0.926, 0.92, 500, False, False),  # and by 0.08 ** 2 = 0.0064
        (0.95, 0.92, 500, False, True),
        (1.0, 0.97, 200, False, True),  # all right, of 6 samples of the other class
        (0.95, 0.92, 10_000, False, True),
        (0.92, 0.92, 10_000, True, False),
        (0.90, 0.92, 10_000, True, False),
        (0.12, 0.10, 10_000, False, False),  # 0.009: better than guessing, and still far from trained
        (0.108, 0.10, 10_000, True, False),
        (0.21, 0.10, 10_000, False, True),
        (0.74, 0.50, 10_000, False, False),
        (0.76, 0.50, 10_000, False, True),
        (0.60, 0.50, 100, True, False),  # 0.15
        (0.9, 0.5, None, False, True),
    ],
)
def test_accuracies(accuracy, chance, samples, warned, trained):
    model = task(accuracy, chance, samples)
    assert (model.warning is not None, model.is_trained) == (warned, trained)


def test_maps_are_guessed_place_by_place():
    # Of 6 images 3 * sqrt(0.25 / 6) = 0.61; of their 6 x 64 places 0.077.
    assert task(0.92, 0.5, samples=6).warning is not None
    assert task(0.92, 0.5, samples=6, output=(None, 8, 8, 2)).warning is None
    assert task(0.92, 0.5, samples=6, output=(None, 8, 8, 2)).is_trained
    assert task(0.57, 0.5, samples=6, output=(None, 8, 8, 2)).warning is not None


def test_metrics_of_which_less_is_better():
    for error, warned in ((0.5, False), (0.89, False), (0.91, True), (2.0, True)):
        model = task(error, chance=1.0, luck=0.1, higher_is_better=False)
        assert (model.warning is not None, model.is_trained) == (warned, not warned)


def network(units, loss, metrics=None, activation=None):
    """Gives its two inputs, times a kernel."""
    inputs = keras.Input((2,))
    model = keras.Model(inputs, layers.Dense(units, activation=activation, use_bias=False)(inputs))
    model.compile("sgd", loss, metrics=metrics)
    return model


def guessed(model, y):
    objective = infer(model, y)
    return objective, guessing(model, objective, y, lambda count: (X[:count], y[:count]))


def test_the_most_frequent_class_and_none_that_is_ignored():
    loss = keras.losses.SparseCategoricalCrossentropy(ignore_class=255)
    y = np.where(ROWS < 32, 255, ROWS % 8 // 6).astype("uint8")  # 24 of class 0, 8 of class 1, 32 of none
    _, found = guessed(network(2, loss), y)
    assert found == (24 / 64, None)


def test_errors_are_compared_with_those_on_labels_of_other_samples():
    model = network(2, "mse")
    model.layers[-1].set_weights([np.eye(2)])
    rng = np.random.default_rng(0)
    for y, better in ((X + 0.1 * rng.normal(size=X.shape), True), (rng.normal(size=X.shape), False)):
        objective, (chance, luck) = guessed(model, y)
        assert chance == pytest.approx(np.mean(np.square(X - np.roll(y, 32, axis=0))), rel=1e-5)
        assert (objective.sign * (np.mean(np.square(X - y)) - chance) > luck) == better


def test_an_autoencoder_with_binary_crossentropy_comes_trained():
    """Its answers are its labels, sigmoid(8 x): no accuracy could say so, as they are not 0 or 1."""
    model = network(2, keras.losses.BinaryCrossentropy(from_logits=True))
    model.layers[-1].set_weights([8 * np.eye(2)])
    y = 1 / (1 + np.exp(-8 * X))
    objective, (chance, luck) = guessed(model, y.astype("float32"))
    assert objective.metric_name == "loss"
    own = float(keras.ops.mean(keras.losses.binary_crossentropy(y, 8 * X, from_logits=True)))
    assert chance - own > luck


def test_a_loss_that_compares_the_samples_of_a_batch_has_no_chance():
    def spread(y, outputs):
        return keras.ops.mean(keras.ops.square(outputs[:, None] - outputs[None]), axis=(1, 2)) * keras.ops.sum(
            outputs**2
        )

    assert guessed(network(2, spread), ROWS)[1] == (None, None)


def test_an_objective_that_fails_is_told_as_such():
    model = network(2, "mse")
    with pytest.raises(
        ValueError, match=r"`objective\(y, outputs\)` to work for labels of shape \[None, 2\] .*AttributeError"
    ):
        tfcompress.sensitivity(model, (X, X), objective=lambda y, outputs: y.nothing, verbose=0)
