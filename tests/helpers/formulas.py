"""Recurrent layers, attention and normalisation in numpy, from their published formulas."""

import numpy as np


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def lstm(x, kernel, recurrent, bias):
    """All outputs `[batch, steps, units]`: gates in the order input, forget, candidate, output."""
    units = recurrent.shape[0]
    h = c = np.zeros((len(x), units))
    outputs = []
    for step in range(x.shape[1]):
        i, f, g, o = np.split(x[:, step] @ kernel + h @ recurrent + bias, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs, 1)


def gru(x, kernel, recurrent, bias, reset_after):
    """All outputs: gates in the order update, reset, candidate; the reset after or before the matrix product."""
    units = recurrent.shape[0]
    h = np.zeros((len(x), units))
    outputs = []
    into, within = bias if reset_after else (bias, np.zeros(3 * units))
    for step in range(x.shape[1]):
        z, r, g = np.split(x[:, step] @ kernel + into, 3, axis=1)
        uz, ur, ug = np.split(recurrent, 3, axis=1)
        bz, br, bg = np.split(within, 3)
        z, r = sigmoid(z + h @ uz + bz), sigmoid(r + h @ ur + br)
        g = np.tanh(g + (r * (h @ ug + bg) if reset_after else (r * h) @ ug))
        h = z * h + (1 - z) * g
        outputs.append(h)
    return np.stack(outputs, 1)


def attention(query, value, weights, scale):
    """Multi-head attention; `weights` are query, key, value and output, each a kernel and a bias."""
    (wq, bq), (wk, bk), (wv, bv), (wo, bo) = weights
    total = np.zeros((*query.shape[:2], wo.shape[-1])) + bo
    for head in range(wq.shape[1]):
        q, k, v = (x @ w[:, head] + b[head] for x, w, b in ((query, wq, bq), (value, wk, bk), (value, wv, bv)))
        total += softmax(q @ k.transpose(0, 2, 1) * scale) @ v @ wo[head]
    return total


def normalised(x, axes, epsilon):
    """Mean zero and variance one over `axes`."""
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + epsilon)
