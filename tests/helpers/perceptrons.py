"""A chain of dense layers, small enough for NumPy to run it forwards and backwards."""

import keras
import numpy as np
import small_tasks
from keras import layers


def perceptron(first=6, second=5):
    """Two hidden ReLU layers for the pictures of `small_tasks`, with drawn kernels and biases; compiled."""
    x = keras.Input((8, 8, 1))
    y = layers.Dense(first, "relu", name="first")(layers.Flatten()(x))
    y = layers.Dense(second, "relu", name="second")(y)
    model = keras.Model(x, layers.Dense(small_tasks.CLASSES, "softmax", name="head")(y))
    rng = np.random.default_rng(4)
    for weight in model.weights:
        weight.assign(rng.normal(size=weight.shape) * 0.4)
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def gradients(arrays, x, y):
    """`(of the hidden activations, of the weights)` of each sample's cross-entropy, and its mean's, by hand.

    Args:
        arrays: kernel and bias of each layer.
        x, y: pictures and classes.

    Returns:
        `([z1, z2], [g1, g2], [gradients in the order of the arrays])`: activations and gradients `[samples, units]`
        of single samples, and gradients of the mean.
    """
    w1, b1, w2, b2, w3, b3 = arrays
    x = x.reshape(len(x), -1).astype("float64")
    z1 = np.maximum(x @ w1 + b1, 0)
    z2 = np.maximum(z1 @ w2 + b2, 0)
    logits = z2 @ w3 + b3
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    g3 = p / p.sum(axis=1, keepdims=True) - np.eye(small_tasks.CLASSES)[y]
    g2 = g3 @ w3.T
    before2 = g2 * (z2 > 0)
    g1 = before2 @ w2.T
    before1 = g1 * (z1 > 0)
    pairs = ((x, before1), (z1, before2), (z2, g3))
    means = [part / len(x) for inputs, g in pairs for part in (inputs.T @ g, g.sum(axis=0))]
    return [z1, z2], [g1, g2], means
