"""Fresh weights: what is learned begins anew, and nothing else."""

import functools

import keras
import numpy as np
import pytest
from keras import layers

from tfcompress.training.initial import check_drawable, draw_anew, learned_variables


def rng(seed=0):
    return np.random.default_rng(seed)


def built(layer, shape):
    layer.build(shape)
    return layer


def ones(layer):
    """Sets all numbers of a layer to 1."""
    for weight in layer.weights:
        weight.assign(np.ones(weight.shape))
    return layer


def test_what_adapt_has_set_stays():
    normalization = layers.Normalization()
    normalization.adapt(np.array([[1.0, 10.0], [3.0, 30.0]], "float32"))
    before = [np.array(weight) for weight in normalization.weights]
    assert draw_anew([normalization], rng()) == []
    for weight, value in zip(normalization.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)
    assert learned_variables(normalization) == []


def test_a_frozen_embedding_stays_and_another_does_not():
    frozen, free = (ones(built(layers.Embedding(5, 3), (None, 2))) for _ in range(2))
    frozen.trainable = False
    assert draw_anew([frozen, free], rng()) == [free]
    np.testing.assert_array_equal(frozen.embeddings, np.ones((5, 3)))
    assert np.ptp(np.array(free.embeddings)) > 0


@pytest.mark.parametrize("trainable", [True, False])
def test_statistics_begin_anew_with_the_weights(trainable):
    normalization = built(layers.BatchNormalization(trainable=trainable), (None, 3))
    for weight in normalization.weights:
        weight.assign(np.full(3, 7.0))
    draw_anew([normalization], rng())
    assert [np.array(weight)[0] for weight in normalization.weights] == [1, 0, 0, 1]
    assert normalization.trainable is trainable


def test_constants_stay():
    class Scaled(layers.Layer):
        def build(self, shape):
            self.kernel = self.add_weight(shape=(shape[-1],), initializer="zeros", name="kernel")
            self.table = self.add_weight(shape=(shape[-1],), initializer="zeros", name="table", trainable=False)

    layer = ones(built(Scaled(), (None, 2)))
    draw_anew([layer], rng())
    np.testing.assert_array_equal(layer.kernel, [0, 0])
    np.testing.assert_array_equal(layer.table, [1, 1])


class Halves(keras.initializers.Initializer):
    """An initializer that no file and no config can bring back."""

    def __call__(self, shape, dtype=None):
        return keras.ops.full(shape, 0.5, dtype=dtype)


def test_layers_that_no_config_brings_back():
    activation = functools.partial(keras.activations.leaky_relu, negative_slope=0.3)
    partial = ones(built(layers.Dense(3, activation=activation), (None, 2)))
    halves = ones(
        built(
            layers.Conv2D(3, 2, kernel_initializer=Halves(), bias_initializer=lambda s, dtype: -ones_of(s)),
            (None, 4, 4, 2),
        )
    )
    wrapped = ones(built(layers.TimeDistributed(layers.Dense(3, activation=activation)), (None, 4, 2)))
    check_drawable([partial, halves, wrapped])
    draw_anew([partial, halves, wrapped], rng())
    assert np.ptp(np.array(partial.kernel)) > 0
    np.testing.assert_array_equal(partial.bias, np.zeros(3))
    np.testing.assert_array_equal(halves.kernel, np.full((2, 2, 2, 3), 0.5))
    np.testing.assert_array_equal(halves.bias, -np.ones(3))
    assert np.ptp(np.array(wrapped.layer.kernel)) > 0
    first = np.array(partial.kernel)
    draw_anew([partial, halves, wrapped], rng())
    np.testing.assert_array_equal(partial.kernel, first)  # of the same stream
    draw_anew([partial, halves, wrapped], rng(1))
    assert np.abs(np.array(partial.kernel) - first).max() > 0


@pytest.mark.parametrize(
    ("make", "shape", "expected"),
    [
        (layers.LSTM, (None, 5, 4), [0, 0, 1, 1, 0, 0, 0, 0]),
        (functools.partial(layers.LSTM, unit_forget_bias=False), (None, 5, 4), [0] * 8),
        (functools.partial(layers.ConvLSTM1D, kernel_size=2), (None, 5, 6, 4), [0, 0, 1, 1, 0, 0, 0, 0]),
        (layers.GRU, (None, 5, 4), [[0] * 6] * 2),
    ],
)
def test_the_forget_gate_begins_open_in_a_layer_that_no_config_brings_back(make, shape, expected):
    layer = ones(built(make(2, kernel_initializer=Halves()), shape))
    draw_anew([layer], rng())
    np.testing.assert_array_equal(layer.cell.kernel, np.full(layer.cell.kernel.shape, 0.5))
    np.testing.assert_array_equal(layer.cell.bias, expected)


def ones_of(shape):
    return keras.ops.ones(shape)


def test_a_layer_that_cannot_begin_anew_is_refused_by_name():
    class Odd(layers.Layer):
        def __init__(self, size_of, **kwargs):
            super().__init__(**kwargs)
            self.size_of = size_of

        def build(self, shape):
            self.kernel = self.add_weight(shape=(shape[-1], self.size_of(shape)), initializer="ones", name="kernel")

    layer = built(Odd(len, name="odd"), (None, 3))
    for refuses in (lambda: check_drawable([layer]), lambda: draw_anew([layer], rng())):
        with pytest.raises(TypeError, match=r"Expected Odd to be rebuilt .* Received: layer 'odd'"):
            refuses()
