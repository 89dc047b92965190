"""Networks that DARC compresses have the parameters, MACs and sizes on disk that are published for GluonCV's."""

import functools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcompress import zoo
from tfcompress.costs import cost

SMALL = {"input_shape": (8, 8, 3), "classes": 4}


@pytest.fixture
def counted(monkeypatch):
    """A function that builds a network and returns what is counted on it."""
    # Counts need no random weights, which for 36 M entries take seconds.
    monkeypatch.setattr(keras.initializers.VarianceScaling, "__call__", keras.initializers.Zeros.__call__)
    return _counted


@functools.cache
def _counted(name, **settings):
    """`(params, macs, numbers that are stored, arrays that are stored)`."""
    model = getattr(zoo, name)(**settings)
    result = cost(model)
    return result.params, result.macs, sum(math.prod(weight.shape) for weight in model.weights), len(model.weights)


def preactivation(repeat, width, stem_norm):
    """`(params, macs)` of a pre-activation network of ten classes at 32x32, written down apart from the code."""
    widths = [16 * width, 32 * width, 64 * width]
    params, macs = 9 * 3 * 16 + 2 * 16 * stem_norm, 32 * 32 * 9 * 3 * 16
    channels = 16
    for size, filters in zip((32, 16, 8), widths, strict=True):
        for _ in range(repeat):
            kernels = 9 * channels * filters + 9 * filters * filters
            kernels += channels * filters * (channels != filters)  # the shortcut, which has no normalisation
            params += kernels + 2 * channels + 2 * filters
            macs += size * size * kernels
            channels = filters
    return params + 2 * channels + 10 * channels + 10, macs + 10 * channels


def resnet50_params(biases, stem):
    """Parameters of ResNet-50, 1000 classes."""
    params, channels = stem, 64
    for filters, repeat in zip((256, 512, 1024, 2048), (3, 4, 6, 3), strict=True):
        inner = filters // 4
        for block in range(repeat):
            params += channels * inner + 9 * inner * inner + inner * filters + 2 * (inner + inner + filters)
            params += biases * (inner + filters)
            params += (channels * filters + 2 * filters) * (block == 0)
            channels = filters
    return params + 2048 * 1000 + 1000


@pytest.mark.parametrize(
    ("name", "repeat", "width", "millions", "published_macs"),
    (
        ("resnet20_v2", 3, 1, 0.27, 41e6),
        ("resnet56_v2", 9, 1, 0.86, 126e6),
        ("resnet110_v2", 18, 1, 1.7, 254e6),  # table 3 of "Identity Mappings": 1.7 M
        # Zagoruyko and Komodakis, table 4 (17.1, 36.5 M) and table 5 (35.7 M).
        ("wide_resnet16_10", 2, 10, 17.1, 2.41e9),
        ("wide_resnet28_10", 4, 10, 36.5, 5.25e9),
        ("wide_resnet40_8", 6, 8, 35.7, 5.17e9),
    ),
)
def test_preactivation_counts(name, repeat, width, millions, published_macs, counted):
    params, macs, _, _ = counted(name)
    expected = preactivation(repeat, width, stem_norm=name.startswith("wide"))
    assert (params, macs) == expected
    assert params / 1e6 == pytest.approx(millions, abs=0.05 if millions > 1 else 0.006)
    assert macs == pytest.approx(published_macs, rel=0.01)


def test_resnet50_counts(counted):
    plain = resnet50_params(biases=False, stem=49 * 3 * 64 + 2 * 64)
    assert plain == 25_557_032  # what torchvision and others count, who have no biases in 1x1 convolutions
    params, macs, _, _ = counted("resnet50")
    # 64 + 256 at three blocks, 128 + 512 at four, 256 + 1024 at six, 512 + 2048 at three.
    assert params == plain + 3 * 320 + 4 * 640 + 6 * 1280 + 3 * 2560
    # He et al. (2016), table 1: 3.8 G. The stride in the 3x3 convolution would give 4.09 G.
    assert macs == 3_857_973_248
    params, macs, _, _ = counted("resnet50", variant="v1d")
    assert params == resnet50_params(biases=False, stem=27 * 32 + 9 * 32 * 32 + 9 * 32 * 64 + 2 * (32 + 32 + 64))
    assert macs == pytest.approx(4.3e9, rel=0.01)  # He et al. (2019), table 5


@pytest.mark.parametrize(
    ("name", "settings", "megabytes"),
    (
        ("resnet20", {"shortcut": "conv"}, 1.05),
        ("resnet56", {"shortcut": "conv"}, 3.31),
        ("resnet20_v2", {}, 1.05),
        ("resnet56_v2", {}, 3.30),
        ("resnet110_v2", {}, 6.68),
        ("wide_resnet16_10", {}, 65.34),
        ("wide_resnet28_10", {}, 139.24),
        ("wide_resnet40_8", {}, 136.47),
        ("resnet50", {}, 97.79),
        ("resnet50", {"variant": "v1d"}, 97.79),
    ),
)
def test_sizes_on_disk_of_darcs_tables(name, settings, megabytes, counted):
    """Tables 4 and 6 of DARC give files of MXNet: four bytes a number, and a head with a name for each array."""
    _, _, numbers, arrays = counted(name, **settings)
    heads = megabytes * 2**20 - 4 * numbers
    rounding = 0.005 * 2**20
    assert 40 * arrays - rounding < heads < 140 * arrays + rounding


def test_wide_shortcut_reads_the_activated_tensor_and_v2_the_input():
    for build, reads in ((lambda: zoo.wide_resnet(10, 2, **SMALL), "relu1"), (lambda: zoo.resnet20_v2(**SMALL), "add")):
        model = build()
        shortcut = model.get_layer("section2_block1_shortcut_conv")
        assert shortcut.input is not None
        source = shortcut.input._keras_history.operation.name
        assert source.endswith(reads), source


def test_wide_blocks_are_what_they_say():
    """A forward pass by hand of a network whose convolutions are set to known kernels."""
    keras.utils.set_random_seed(0)
    model = zoo.wide_resnet(10, 1, **SMALL)
    images = np.random.default_rng(0).random((2, 8, 8, 3), "float32")

    def bn(x):
        return x / np.sqrt(1 + 1e-5)

    def conv(x, name, strides=1):
        kernel = model.get_layer(name).kernel.numpy()
        pad = kernel.shape[0] // 2
        x = np.pad(x, [(0, 0), (pad, pad), (pad, pad), (0, 0)])
        return tf.nn.conv2d(x, kernel, strides, "VALID").numpy()

    def relu(x):
        return np.maximum(x, 0)

    x = bn(conv(bn(images), "stem_conv"))
    for section in (1, 2, 3):
        strides, name = (1 if section == 1 else 2), f"section{section}_block1"
        y = relu(bn(x))
        shortcut = x if section == 1 else conv(y, f"{name}_shortcut_conv", strides)
        x = conv(relu(bn(conv(y, f"{name}_conv1", strides))), f"{name}_conv2") + shortcut
    x = relu(bn(x)).mean((1, 2))
    expected = x @ model.get_layer("classifier").kernel.numpy()
    np.testing.assert_allclose(model(images), expected, rtol=1e-4, atol=1e-5)


def test_resnet50_v1d_takes_odd_sizes(monkeypatch):
    monkeypatch.setattr(keras.initializers.VarianceScaling, "__call__", keras.initializers.Zeros.__call__)
    model = zoo.resnet50((74, 74, 3), classes=3, variant="v1d")
    assert model.get_layer("section2_block1_shortcut_pool").input.shape[1:3] == (19, 19)
    assert model.get_layer("section2_block1_shortcut_pool").output.shape[1:3] == (10, 10)
    assert model.get_layer("section2_block1_conv2").strides == (2, 2)
    assert not model.get_layer("section1_block1_conv1").use_bias


def test_dropout_stands_before_the_second_convolution():
    model = zoo.wide_resnet(10, 1, dropout=0.3, **SMALL)
    dropouts = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert [layer.rate for layer in dropouts] == [0.3] * 3
    assert dropouts[0].output is model.get_layer("section1_block1_conv2").input
    assert not any(isinstance(layer, keras.layers.Dropout) for layer in zoo.wide_resnet(10, 1, **SMALL).layers)


def test_refusals():
    for depth in (9, 4, 20, 16.0):
        with pytest.raises(ValueError, match="depth"):
            zoo.wide_resnet(depth, 1)
    with pytest.raises(ValueError, match="width"):
        zoo.wide_resnet(16, 0)
    with pytest.raises(ValueError, match="dropout"):
        zoo.wide_resnet16_10(dropout=1.0)
    with pytest.raises(ValueError, match=r"variant.*'v1d'"):
        zoo.resnet50(variant="v2")
