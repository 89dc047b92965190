"""Precision of a phase: it reaches the layers inside other layers, and goes back."""

import keras
import numpy as np
import pytest
from keras import layers

from tfcompress.training.teaching import computing_in
from tfcompress.training.thawing import inner_layers


@pytest.fixture(scope="module")
def model():
    """Wrappers, cells, attention and a nested model; the last layer is a wrapper as well."""
    inputs = keras.Input((5, 4))
    x = layers.TimeDistributed(layers.Dense(4))(inputs)
    x = layers.Bidirectional(layers.GRU(2, return_sequences=True))(x)
    x = layers.RNN(layers.LSTMCell(4), return_sequences=True)(x)
    x = layers.SpectralNormalization(layers.Dense(4))(x)
    x = layers.MultiHeadAttention(2, 2)(x, x)
    x = layers.TimeDistributed(keras.Sequential([keras.Input((4,)), layers.Dense(4), layers.ReLU()]))(x)
    return keras.Model(inputs, layers.TimeDistributed(layers.Dense(2, activation="softmax"))(x))


def policies(model):
    return [layer.dtype_policy.name for layer in inner_layers(model)]


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_layers_inside_layers(model, policy):
    x = np.random.default_rng(0).normal(size=(3, 5, 4)).astype("float32")
    before, expected = policies(model), np.array(model(x))
    with computing_in(policy, [model]):
        last = {id(inner) for inner in inner_layers(model.layers[-1])}
        for layer in [inner for outer in model.layers for inner in inner_layers(outer)]:
            assert layer.compute_dtype == ("float32" if id(layer) in last else policy.removeprefix("mixed_"))
            assert all(weight.dtype == "float32" for weight in layer.weights)
        outputs = np.array(model(x, training=False))
    assert outputs.dtype == "float32"
    np.testing.assert_allclose(outputs, expected, atol=0.02)
    assert policies(model) == before
    np.testing.assert_array_equal(model(x), expected)
    with computing_in(policy, [model]):
        assert np.isfinite(np.array(model(x, training=True))).all()
