"""The replacements of the paper: shapes for every kind of convolution, weights and multiply-adds by their formulas."""

import itertools
import math

import keras
import numpy as np
import pytest
from keras import layers
from replaced import network, part_of

from tfcompress.costs import cost
from tfcompress.graph import LayerGraph
from tfcompress.layers import Mixture
from tfcompress.replacements import Part, by_name, fitting

PAPER = ("3x3DS", "1x1FC", "3x3+1x1")


CONVOLUTIONS = [
    *(
        layers.Conv2D(filters, kernel, strides, padding, use_bias=filters != 4)
        for filters, kernel, strides, padding in itertools.product(
            (6, 12, 4), (3, (1, 5), 4), (1, 2), ("same", "valid")
        )
    ),
    layers.Conv2D(6, 3, (1, 2), "same"),
    layers.Conv2D(6, 3, padding="valid", dilation_rate=2),
    layers.Conv2D(6, 3, padding="same", dilation_rate=(2, 1)),
    layers.Conv2D(6, 1),
    layers.Conv2D(6, 1, 2),
    layers.SeparableConv2D(8, 5),
]


@pytest.mark.parametrize("layer", CONVOLUTIONS, ids=lambda layer: layer.name)
@pytest.mark.parametrize("name", PAPER)
def test_two_axes(layer, name):
    """`fitting` has compared the shapes; here the counts, and a call."""
    part = part_of(layer)
    model, _ = network(part, name)
    inside, outside, pointwise = 6, layer.filters, set(part.kernel_size) == {1}
    grouped = 9 * inside * outside // math.gcd(inside, outside)
    places = math.prod(part.output_shape[1:3])
    weights = {"3x3DS": grouped, "1x1FC": inside * outside, "3x3+1x1": 9 * inside + inside * outside}[name]
    if pointwise and name != "3x3DS":
        assert model is None
        return
    if name == "3x3DS" and part.strides == (1, 2):  # no depthwise convolution has two strides
        assert [type(made) for made in model.layers] == [layers.Conv2D]
    counted = cost(model)
    assert (counted.macs, counted.params) == (places * weights, weights + outside * layer.use_bias)
    assert model(np.ones((1, 9, 10, 6), "float32")).shape == (1, *part.output_shape[1:])


@pytest.mark.parametrize(
    "layer",
    [
        *(
            layers.Conv1D(filters, kernel, strides, padding)
            for filters, kernel, strides, padding in itertools.product(
                (6, 4), (3, 5), (1, 2), ("same", "valid", "causal")
            )
        ),
        layers.Conv1D(6, 2, padding="causal", dilation_rate=4),
        layers.SeparableConv1D(8, 5, padding="same"),
    ],
    ids=lambda layer: layer.name,
)
@pytest.mark.parametrize("name", PAPER)
def test_one_axis(layer, name):
    part = part_of(layer, (12, 6))
    model, _ = network(part, name)
    if name == "3x3DS" and layer.kernel_size == (3,) and layer.filters != 8 and math.gcd(6, layer.filters) == 1:
        assert model is None
        return
    outside = layer.filters
    grouped = 3 * 6 * outside // math.gcd(6, outside)
    weights = {"3x3DS": grouped, "1x1FC": 6 * outside, "3x3+1x1": 18 + 6 * outside}[name]
    assert (cost(model).macs, cost(model).params) == (part.output_shape[1] * weights, weights + outside)


def test_causal_replacements_read_nothing_of_what_follows():
    part = part_of(layers.Conv1D(6, 5, padding="causal", dilation_rate=2), (12, 6))
    steps = np.random.default_rng(0).normal(size=(1, 12, 6)).astype("float32")
    later = steps.copy()
    later[:, 7:] += 1
    for name in PAPER:
        model, _ = network(part, name)
        outputs = [np.array(model(numbers)) for numbers in (steps, later)]
        np.testing.assert_array_equal(outputs[0][:, :7], outputs[1][:, :7])
        assert (outputs[0][:, 7] != outputs[1][:, 7]).any()


def test_valid_padding_is_cropped_about_the_middle():
    """A 5x5 kernel that is zero but in its middle reads what a 1x1 kernel does."""
    layer = layers.Conv2D(3, 5, 2, use_bias=False)
    part = part_of(layer)
    model, _ = network(part, "1x1FC")
    kernel = np.random.default_rng(0).normal(size=(6, 3))
    whole = np.zeros((5, 5, 6, 3))
    whole[2, 2] = kernel
    layer.kernel.assign(whole)
    model.layers[-1].kernel.assign(kernel[None, None])
    x = np.random.default_rng(1).normal(size=(2, 9, 10, 6)).astype("float32")
    np.testing.assert_allclose(model(x), layer(x), atol=1e-5)


def test_what_follows_the_sums_comes_last():
    regularizer = keras.regularizers.L2(0.5)
    layer = layers.Conv2D(8, 3, activation="relu", kernel_regularizer=regularizer, bias_regularizer=regularizer)
    depthwise, pointwise = fitting(part_of(layer), by_name("3x3+1x1"))
    assert (depthwise.use_bias, depthwise.activation.__name__) == (False, "linear")
    assert (pointwise.use_bias, pointwise.activation.__name__) == (True, "relu")
    assert depthwise.depthwise_regularizer is pointwise.kernel_regularizer is pointwise.bias_regularizer is regularizer


def test_where_they_have_no_meaning():
    nothing = [
        ("3x3DS", layers.Conv2D(7, 3)),  # 6 and 7 have no common divisor: a full convolution
        ("3x3DS", layers.Conv2D(6, 3, groups=6)),  # itself
        ("1x1FC", layers.Conv2D(6, 1)),
        ("3x3+1x1", layers.Conv2D(6, 1)),
        ("3x3+1x1", layers.SeparableConv2D(6, 3)),
        *((name, layer) for name in PAPER for layer in (layers.DepthwiseConv2D(3), layers.Dense(3), layers.ReLU())),
        *((name, layers.Conv2DTranspose(4, 3)) for name in PAPER),
    ]
    for name, layer in nothing:
        assert fitting(part_of(layer), by_name(name)) is None, (name, layer)
    cube = layers.Conv3D(4, 3)
    assert [fitting(part_of(cube, (5, 5, 5, 2)), by_name(name)) for name in PAPER] == [None] * 3


def test_a_region_is_replaced_whole():
    x = keras.Input((8, 8, 6))
    y = layers.Conv2D(3, 1, use_bias=False, name="reduce")(x)
    y = layers.Conv2D(3, 3, 2, padding="same", use_bias=False, name="middle")(y)
    y = layers.Conv2D(12, 1, use_bias=False, name="expand")(y)
    part = Part.of(LayerGraph.from_keras(keras.Model(x, y)), ["reduce", "middle", "expand"])
    for name, weights in (("3x3DS", 9 * 12), ("1x1FC", 72), ("3x3+1x1", 54 + 72)):
        counted = cost(network(part, name)[0])
        assert (counted.macs, counted.params) == (16 * weights, weights + 12)


def test_grouped_replacements_train():
    """Neither the number of inputs nor that of outputs divides the other."""
    part = part_of(layers.Conv2D(4, 5, padding="same"))
    parts = {name: fitting(part, by_name(name)) for name in PAPER}
    model = keras.Sequential([keras.Input((9, 10, 6)), Mixture(parts), layers.GlobalAveragePooling2D()])
    before = [np.array(weight) for weight in model.trainable_weights]
    model.compile(keras.optimizers.SGD(0.1), "mse")
    x = np.random.default_rng(0).normal(size=(8, 9, 10, 6)).astype("float32")
    model.fit(x, np.ones((8, 4)), batch_size=8, verbose=0)
    for old, new in zip(before, model.trainable_weights, strict=True):
        assert (old != np.array(new)).any(), new.path
