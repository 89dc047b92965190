"""Functions are known by what they do with numbers, not by who they are."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from tfcompress.graph import ChannelGroups, LayerGraph
from tfcompress.graph.handlers.functions import treats_numbers_alone

ALONE = {
    "tf.nn.relu": tf.nn.relu,
    "tf.nn.relu6": tf.nn.relu6,
    "ops.relu": ops.relu,
    "partial": functools.partial(keras.activations.leaky_relu, negative_slope=0.3),
    "lambda": lambda x: x * tf.sigmoid(1.7 * x),
    "not a number": lambda x: ops.sqrt(x),
    "layer": layers.LeakyReLU(0.2),
    "boolean": lambda x: x > 0.3,
}
NOT_ALONE = {
    "softmax": ops.softmax,
    "mean": lambda x: x - ops.mean(x, axis=-1, keepdims=True),
    "width": lambda x: x / x.shape[-1],
    "place": lambda x: x * ops.arange(1, x.shape[-1] + 1, dtype="float32"),
    "one width": lambda x: x * np.ones(6, "float32"),
    "neighbour": lambda x: x + 1e-2 * ops.roll(x, 1, axis=-1),
    "channel": lambda x: ops.concatenate([x[..., :1], ops.relu(x[..., 1:])], axis=-1),
    "random": lambda x: x * keras.random.uniform(ops.shape(x)),
    "largest": lambda x: x / (1e-3 + ops.max(ops.abs(x))),
    "batch": lambda x: x - ops.mean(x, axis=0),
    "other shape": lambda x: ops.concatenate([ops.relu(x), ops.relu(-x)], axis=-1),
    "one number at large scale": lambda x: ops.where(ops.max(x) > 50, x * 2, x),
    "fails": lambda x: 1 / 0,
    "weights": layers.PReLU(),
}
NOT_ALONE["weights"].build((None, 6))


@pytest.mark.parametrize("name", ALONE)
def test_a_number_alone(name):
    assert treats_numbers_alone(ALONE[name])


@pytest.mark.parametrize("name", NOT_ALONE)
def test_more_than_the_number(name):
    assert not treats_numbers_alone(NOT_ALONE[name])


@pytest.mark.parametrize(("function", "free"), [(tf.nn.relu, True), (ops.softmax, False)])
def test_layers_with_it_are_prunable_where_it_is_such_a_function(function, free):
    x = keras.Input((4,))
    y = layers.Activation(function)(layers.Dense(5, activation=function, name="inside")(x))
    y = layers.Dense(6, name="before")(y)
    y = layers.Lambda(function)(y)
    groups = ChannelGroups.of(LayerGraph.from_keras(keras.Model(x, layers.Dense(2)(y))))
    assert {"inside", "before"} & set(groups.groups) == ({"inside", "before"} if free else set())
