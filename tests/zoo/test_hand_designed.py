"""The hand-designed networks of N2N's paper have the parameters that are published for them; sums are worked out here."""

import keras
import numpy as np
import pytest

import tfcompress
from tfcompress import zoo
from tfcompress.costs import cost
from tfcompress.methods.distillation import KD

CIFAR = {"input_shape": (32, 32, 3), "classes": 10}


def convolutions(channels, widths, kernel_size=3):
    """Kernel entries of convolutions one after the other."""
    return sum(kernel_size**2 * a * b for a, b in zip((channels, *widths), widths, strict=False))


@pytest.fixture(autouse=True)
def no_random_weights(monkeypatch):
    """Counts need none, which for a VGG take seconds."""
    monkeypatch.setattr(keras.initializers.VarianceScaling, "__call__", keras.initializers.Zeros.__call__)


def test_squeezenet_has_the_parameters_of_torchvision_s_and_of_the_paper():
    large = cost(zoo.squeezenet())
    assert large.params == 1_235_496
    assert round(large.macs / 1e6) == 349  # "0.35 GFLOPS" there
    small = cost(zoo.squeezenet(**CIFAR))
    assert small.params == 1_235_496 - 990 * 513 == 727_626  # 727K in Table 3 of N2N
    stem = zoo.squeezenet(**CIFAR).get_layer("stem_conv")
    assert stem.output.shape[1:] == (32, 32, 64)


def test_fitnet4_has_17_convolutions_and_1_2_million_parameters():
    sections = [(32, 32, 32, 48, 48), (80,) * 6, (128,) * 6]
    model = zoo.fitnet4()
    assert sum(isinstance(layer, keras.layers.Conv2D) for layer in model.layers) == 17
    entries = [convolutions(first, widths) for first, widths in zip((3, 48, 80), sections, strict=True)]
    biases = sum(map(sum, sections))
    head = 128 * 10
    counted = cost(model)
    assert counted.params == sum(entries) + biases + head + 10 == 1_208_586
    assert counted.macs == sum(n * size**2 for n, size in zip(entries, (32, 16, 8), strict=True)) + head


def test_conv4():
    kernels = [25 * 32, 9 * 32 * 64, 9 * 64 * 64, 9 * 64 * 128]
    counted = cost(zoo.conv4())
    assert counted.params == sum(kernels) + 2 * (32 + 64 + 64 + 128) + 128 * 10 + 10
    sizes = (26, 13, 13, 6)  # the first takes two pixels
    assert counted.macs == sum(n * size**2 for n, size in zip(kernels, sizes, strict=True)) + 1280


def test_vgg11_and_the_small_vgg():
    assert cost(zoo.vgg11()).params == 132_863_336  # torchvision's
    widths = (24, 24, 48, 48, 96, 96, 168, 168, 168, 168)
    counted = cost(zoo.vgg_small())
    assert counted.params == convolutions(3, widths) + 2 * sum(widths) + 168 * 10 + 10
    assert 1.06e6 <= counted.params < 1.08e6  # 1.06M in Table 3 of N2N


def test_vgg7_of_an_eighth_of_the_width():
    kernels = [9 * a * b for a, b in ((1, 16), (16, 16), (16, 32), (32, 32), (32, 64), (64, 64))]
    counted = cost(zoo.vgg7((28, 28, 1), width=0.125))
    assert counted.params == sum(kernels) + 2 * 2 * (16 + 32 + 64) + 64 * 10 + 10 == 72_666
    sizes = (28, 28, 14, 14, 7, 7)
    assert counted.macs == sum(n * size**2 for n, size in zip(kernels, sizes, strict=True)) + 640
    kernels = [9 * a * b for a, b in ((3, 128), (128, 128), (128, 256), (256, 256), (256, 512), (512, 512))]
    assert cost(zoo.vgg7()).params == sum(kernels) + 2 * 2 * (128 + 256 + 512) + 512 * 10 + 10


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (zoo.squeezenet, (15, 16, 3)),
        (zoo.fitnet4, (3, 8, 3)),
        (zoo.conv4, (7, 28, 1)),
        (zoo.vgg_small, (28, 28, 1)),
        (zoo.vgg7, (7, 28, 1)),
    ],
)
def test_images_that_halving_would_make_empty_are_refused(build, shape):
    with pytest.raises(ValueError, match=r"of at least \d+ pixels.*Received: input_shape="):
        build(input_shape=shape)


@pytest.mark.parametrize("build", [zoo.squeezenet, zoo.fitnet4, zoo.conv4, zoo.vgg_small, zoo.vgg7])
def test_outputs_are_probabilities_where_asked_for(build):
    model = build((32, 32, 3), classes=7, classifier_activation="softmax")
    np.testing.assert_allclose(np.sum(model(np.ones((2, 32, 32, 3), "float32")), axis=-1), 1, rtol=1e-5)


def test_kd_takes_one_as_its_student():
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(128, 5, padding="same")(inputs)
    x = keras.layers.Conv2D(32, 3, padding="same")(x)
    teacher = keras.Model(inputs, keras.layers.Dense(4)(keras.layers.GlobalAveragePooling2D()(x)))
    teacher.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    rng = np.random.default_rng(0)
    data = rng.random((24, 16, 16, 3), "float32"), rng.integers(0, 4, 24)
    student = zoo.conv4((16, 16, 3), classes=4)
    result = tfcompress.compress(teacher, KD(student=student, epochs=1), data, verbose=0)
    assert cost(result.model).params == cost(student).params
