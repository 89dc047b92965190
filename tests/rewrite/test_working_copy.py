"""The working copy computes what the user's model does, for any number of samples."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from tfcompress.rewrite.working_copy import any_batch, working_copy

X = np.random.default_rng(0).normal(size=(11, 6, 4)).astype("float32")


def model_of(function, batch=4):
    keras.utils.set_random_seed(0)
    x = keras.Input(batch_shape=(batch, 6, 4))
    return keras.Model(x, layers.Dense(2, name="last")(function(layers.Dense(8, name="first")(x))))


@pytest.mark.parametrize(
    "function",
    [
        lambda y: ops.reshape(y, (4, 48)),
        lambda y: ops.reshape(y, (4, -1, 8)),
        lambda y: ops.reshape(layers.Dense(3)(ops.reshape(y, (24, 8))), (4, 18)),
        lambda y: layers.Dropout(0.5, noise_shape=(4, 1, 8))(y),
        lambda y: y,
    ],
)
def test_a_fixed_batch_is_given_up(function):
    model = model_of(function)
    copy = working_copy(model, X).model
    assert copy.input_shape[0] is None
    np.testing.assert_allclose(copy(X)[4:8], model(X[4:8]), atol=1e-5)
    assert copy(X[:3]).shape[0] == 3
    assert model.input_shape[0] == 4


def test_a_sequential_model_built_by_fit_had_its_batch_by_accident():
    model = keras.Sequential([layers.Dense(8), layers.Flatten(), layers.Dense(2)])
    model(X[:5])
    assert model.input_shape[0] == 5
    assert working_copy(model, X[:3]).model.input_shape == (None, 6, 4)


@pytest.mark.parametrize(
    "function",
    [
        lambda y: y + np.arange(4, dtype="float32").reshape(4, 1, 1),
        lambda y: y - ops.mean(y, axis=0, keepdims=True),
        lambda y: ops.reshape(ops.transpose(ops.reshape(y, (4, 48))), (4, 48)),
    ],
)
def test_samples_that_need_one_another_are_refused(function):
    with pytest.raises(ValueError, match=r"takes any number of samples.*made for 4.*keras\.Input\(shape\)"):
        working_copy(model_of(function), X)


def test_states_between_batches_are_refused_by_name():
    model = model_of(layers.LSTM(3, stateful=True, name="memory"))
    with pytest.raises(ValueError, match="'memory' with stateful=True"):
        working_copy(model, X)


def test_models_for_any_batch_are_left_alone():
    model = model_of(lambda y: y, batch=None)
    assert any_batch(model) is model
    assert any_batch(model_of(lambda y: y)).input_shape[0] is None
