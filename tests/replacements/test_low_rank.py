"""Low rank: exact at full rank, at half rank with the error of the singular values that are left out; costs."""

import numpy as np
import pytest
from keras import layers
from replaced import network, part_of

from tfcompress.costs import cost
from tfcompress.replacements import LowRank, LowRankDense, by_name, names

CONVOLUTIONS = [
    ("spatial", lambda: layers.Conv2D(7, 3, padding="same", activation="tanh")),
    ("spatial", lambda: layers.Conv2D(4, (5, 2), (2, 1), use_bias=False)),
    ("spatial", lambda: layers.Conv2D(7, 3, 2, padding="same")),
    ("spatial", lambda: layers.Conv2D(7, 3, dilation_rate=2)),
    ("channel", lambda: layers.Conv2D(7, 3, 2, padding="same", activation="relu")),
    ("channel", lambda: layers.Conv2D(70, 1, 2, use_bias=False)),
    ("channel", lambda: layers.Conv2D(7, 3, dilation_rate=2)),
]


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def filled(layer, shape=(9, 10, 6)):
    part = part_of(layer, shape)
    for seed, weight in enumerate(layer.weights):
        weight.assign(numbers(*weight.shape, seed=seed))
    return part


def started(part, replacement):
    model, made = network(part, replacement)
    assert replacement.start(part, made)
    return model, made


@pytest.mark.parametrize(("kind", "make"), CONVOLUTIONS)
def test_at_full_rank_it_is_the_convolution_itself(kind, make):
    layer = make()
    model, _ = started(filled(layer), LowRank(1.0, kind))
    x = numbers(2, 9, 10, 6)
    np.testing.assert_allclose(model(x), layer(x), atol=1e-5 * np.abs(layer(x)).max())


@pytest.mark.parametrize(("kind", "make"), CONVOLUTIONS)
def test_at_half_rank_the_kernel_loses_the_singular_values_that_are_left_out(kind, make):
    layer = make()
    _, (first, second) = started(filled(layer), LowRank(0.5, kind))
    kernel = np.array(layer.kernel, "float64")
    k, n, inside, outside = kernel.shape
    if kind == "spatial":
        product = np.einsum("air,bro->abio", np.array(first.kernel)[:, 0], np.array(second.kernel)[0])
        matrix = kernel.transpose(0, 2, 1, 3).reshape(k * inside, n * outside)
    else:
        product = np.einsum("abir,ro->abio", np.array(first.kernel), np.array(second.kernel)[0, 0])
        matrix = kernel.reshape(-1, outside)
    values = np.linalg.eigvalsh(matrix.T @ matrix)[::-1]  # their squares, by another way than the code's
    rank = min(matrix.shape) // 2
    assert first.filters == rank
    np.testing.assert_allclose(np.sum((product - kernel) ** 2), values[rank:].sum(), rtol=1e-4)


def test_steps_too_whatever_their_padding():
    for padding in ("same", "valid", "causal"):
        layer = layers.Conv1D(5, 3, padding=padding, dilation_rate=2)
        model, _ = started(filled(layer, (12, 6)), LowRank(1.0, "channel"))
        x = numbers(2, 12, 6)
        np.testing.assert_allclose(model(x), layer(x), atol=1e-5 * np.abs(layer(x)).max())


def test_costs():
    layer = layers.Conv2D(8, (3, 5), padding="same")
    # 90 places; ranks half of min(18, 40) and of min(90, 8).
    for replacement, weights in (
        (LowRank(0.5), 9 * (3 * 6 + 5 * 8)),
        (LowRank(2), 2 * (3 * 6 + 5 * 8)),
        (LowRank(100), 18 * (3 * 6 + 5 * 8)),
        (LowRank(0.5, "channel"), 4 * (15 * 6 + 8)),
    ):
        counted = cost(network(part_of(layer), replacement)[0])
        assert (counted.macs, counted.params) == (90 * weights, weights + 8)
    for replacement in (LowRankDense(0.5), LowRankDense(0.5, "pca")):
        counted = cost(network(part_of(layers.Dense(8), (6,)), replacement)[0])
        assert (counted.macs, counted.params) == (3 * 14, 3 * 14 + 8)


@pytest.mark.parametrize(
    ("settings", "rows", "columns"),
    [
        ({"padding": "valid", "strides": (2, 1), "use_bias": False}, 4, 6),
        ({"padding": "same", "strides": 2}, 5, 5),
        ({"padding": "valid", "dilation_rate": (2, 1)}, 5, 6),
    ],
)
def test_costs_in_any_place(settings, rows, columns):
    """Of 9 x 10 places: the vertical convolution gives so many rows of all 10 columns."""
    layer = layers.Conv2D(8, (3, 5), **settings)
    first, second, channel = 3 * 6 * 2, 5 * 2 * 8, 2 * (15 * 6 + 8)
    for replacement, macs, weights in (
        (LowRank(2), rows * 10 * first + rows * columns * second, first + second),
        (LowRank(2, "channel"), rows * columns * channel, channel),
    ):
        counted = cost(network(part_of(layer), replacement)[0])
        assert (counted.macs, counted.params) == (macs, weights + 8 * layer.use_bias)


def test_a_dense_layer_at_full_and_at_half_rank():
    layer = layers.Dense(7, activation="relu")
    part = filled(layer, (6,))
    x = numbers(50, 6)
    np.testing.assert_allclose(started(part, LowRankDense(1.0))[0](x), layer(x), atol=1e-5)
    _, (first, second) = started(part, LowRankDense(0.5))
    values = np.linalg.eigvalsh(np.array(layer.kernel) @ np.array(layer.kernel).T)[::-1]
    lost = np.sum((np.array(first.kernel) @ np.array(second.kernel) - layer.kernel) ** 2)
    np.testing.assert_allclose(lost, values[3:].sum(), rtol=1e-4)


@pytest.mark.parametrize("use_bias", [True, False])
def test_principal_components_of_inputs(use_bias):
    """Inputs of two dimensions (with a bias: about a mean outside of them) are read without loss at rank 2."""
    layer = layers.Dense(7, use_bias=use_bias)
    part = filled(layer, (5, 6))
    x = (numbers(20, 5, 2) @ numbers(2, 6, seed=1) + use_bias * numbers(6, seed=2)).astype("float32")
    for rank, tolerance in ((2, 1e-4), (1.0, 1e-4)):
        replacement = LowRankDense(rank, "pca")
        model, made = network(part, replacement)
        assert replacement.needs_inputs and not replacement.start(part, made)
        assert replacement.start_from(part, made, x)
        np.testing.assert_allclose(model(x), layer(x), atol=tolerance)
    replacement = LowRankDense(0.34, "pca")  # 2 of 6; the outputs lose what the dropped components carry
    noisy = x + 0.1 * numbers(20, 5, 6, seed=3)
    model, made = network(part, replacement)
    replacement.start_from(part, made, noisy)
    by_components = np.mean((np.array(model(noisy)) - layer(noisy)) ** 2)
    model, _ = started(part, LowRankDense(2, "svd"))
    assert by_components < 0.2 * np.mean((np.array(model(noisy)) - layer(noisy)) ** 2)


def test_inputs_that_do_not_fit():
    part = part_of(layers.Dense(7), (6,))
    replacement = LowRankDense(2, "pca")
    _, made = network(part, replacement)
    for inputs in (np.ones((4, 5)), np.full((4, 6), np.nan), np.ones(6)):
        with pytest.raises(ValueError, match="Expected `inputs`"):
            replacement.start_from(part, made, inputs)


def test_where_it_has_no_meaning():
    for replacement, layer in (
        (LowRank(), layers.Conv2D(6, 3, groups=2)),
        (LowRank(), layers.Conv2D(6, (1, 3))),
        (LowRank(), layers.Dense(3)),
        (LowRankDense(), layers.Conv2D(6, 3)),
    ):
        assert network(part_of(layer), replacement) == (None, None)
    separable = part_of(layers.SeparableConv2D(6, 3))
    assert not LowRank().start(separable, network(separable, "low_rank")[1])


@pytest.mark.parametrize("make", [LowRank, LowRankDense])
@pytest.mark.parametrize("arguments", [(0,), (-1,), (1.5,), ("half",), (0.5, "rows"), (0.5, None)])
def test_wrong_settings(make, arguments):
    with pytest.raises(ValueError, match=r"Expected `(rank|kind)`"):
        make(*arguments)


def test_they_are_known_by_name():
    for name in ("low_rank", "low_rank_channel", "low_rank_dense", "low_rank_dense_pca"):
        assert name in names()
        assert by_name(name).name == name
