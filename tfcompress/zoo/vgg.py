"""VGG networks of Simonyan and Zisserman (2015), "Very Deep Convolutional Networks" (arXiv:1409.1556), table 1.

Images of 64 pixels and more get the paper's network: convolutions with biases and no BatchNormalization, and a
head of two layers of 4096 units with dropout. Smaller images get the network that papers on CIFAR call VGG:
BatchNormalization after every convolution, global average pooling, and one Dense classifier.
"""

import keras
from keras import layers

from tfcompress import expect
from tfcompress.zoo.common import batch_norm as add_batch_norm
from tfcompress.zoo.common import check_head, check_smallest, conv, is_large

__all__ = ["vgg7", "vgg11", "vgg13", "vgg16", "vgg19", "vgg_small"]

_WIDTHS = (64, 128, 256, 512, 512)
_SMALL_WIDTHS = (24, 48, 96, 168, 168)


def _conv_relu(x, filters, with_batch_norm, name):
    if with_batch_norm:
        x = conv(x, filters, 3, 1, f"{name}_conv")
        x = add_batch_norm(x, f"{name}_bn")
    else:
        x = layers.Conv2D(filters, 3, padding="same", kernel_initializer="he_normal", name=f"{name}_conv")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def _large_head(x):
    x = layers.Flatten(name="flatten")(x)
    for number in (1, 2):
        x = layers.Dense(4096, activation="relu", name=f"head_dense{number}")(x)
        x = layers.Dropout(0.5, name=f"head_dropout{number}")(x)
    return x


def _vgg(name, repeats, input_shape, classes, batch_norm, classifier_activation, widths=_WIDTHS, large_head=True):
    large = large_head and is_large(input_shape)
    check_head(classes, classifier_activation)
    if batch_norm is not None:
        expect.flag("batch_norm", batch_norm)
    halvings = len(widths)
    check_smallest(input_shape, 2**halvings, f"the network halves them {halvings} times")
    if large and None in input_shape[:2]:
        raise ValueError(
            "Expected `input_shape` with height and width, because large images go into Dense layers. "
            f"Received: input_shape={input_shape}"
        )
    if batch_norm is None:
        batch_norm = not large
    inputs = x = keras.Input(input_shape, name="image")
    for section, (width, repeat) in enumerate(zip(widths, repeats, strict=True), start=1):
        for number in range(1, repeat + 1):
            x = _conv_relu(x, width, batch_norm, f"section{section}_layer{number}")
        x = layers.MaxPooling2D(2, name=f"section{section}_pool")(x)
    x = _large_head(x) if large else layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(classes, activation=classifier_activation, name="classifier")(x)
    return keras.Model(inputs, x, name=name)


def vgg11(input_shape=(224, 224, 3), classes=1000, batch_norm=None, classifier_activation=None):
    """VGG-11: 132.86 M parameters and 7.61 G MACs at 224x224x3 (1000 classes).

    9.23 M and 153 M at 32x32x3 (10 classes). Arguments as for `vgg13`.
    """
    return _vgg("vgg11", (1, 1, 2, 2, 2), input_shape, classes, batch_norm, classifier_activation)


def vgg13(input_shape=(224, 224, 3), classes=1000, batch_norm=None, classifier_activation=None):
    """VGG-13: 133.05 M parameters and 11.3 G MACs at 224x224x3 (1000 classes).

    9.41 M and 228 M at 32x32x3 (10 classes).

    Args:
        input_shape: `(height, width, channels)` of one image. Below 64 pixels the head is one Dense layer.
        classes: number of outputs.
        batch_norm: whether BatchNormalization follows every convolution, which then has no bias. `None`: only for
            images below 64 pixels.
        classifier_activation: `None` for logits or `"softmax"` for probabilities.

    Returns:
        A `keras.Model` from `float32 [batch, height, width, channels]` to `float32 [batch, classes]`.

    Raises:
        ValueError: images below 32 pixels.
    """
    return _vgg("vgg13", (2, 2, 2, 2, 2), input_shape, classes, batch_norm, classifier_activation)


def vgg16(input_shape=(224, 224, 3), classes=1000, batch_norm=None, classifier_activation=None):
    """VGG-16: 138.36 M parameters and 15.5 G MACs at 224x224x3 (1000 classes).

    14.7 M and 313 M at 32x32x3 (10 classes). Arguments as for `vgg13`.
    """
    return _vgg("vgg16", (2, 2, 3, 3, 3), input_shape, classes, batch_norm, classifier_activation)


def vgg19(input_shape=(224, 224, 3), classes=1000, batch_norm=None, classifier_activation=None):
    """VGG-19: 143.67 M parameters and 19.6 G MACs at 224x224x3 (1000 classes).

    20.0 M and 398 M at 32x32x3 (10 classes). Arguments as for `vgg13`.
    """
    return _vgg("vgg19", (2, 2, 4, 4, 4), input_shape, classes, batch_norm, classifier_activation)


def vgg_small(input_shape=(32, 32, 3), classes=10, batch_norm=None, classifier_activation=None):
    """A VGG of ten thin convolutions: 1.07 M parameters and 30.3 M MACs at 32x32x3 (10 classes). Arguments as `vgg13`.

    N2N's Table 3 has a "reduced network based on VGG" of 10 layers and 1.06 M parameters, without its widths:
    these are 3/8 of VGG-13's in the first sections, and 168 in the last two.
    """
    repeats = (2, 2, 2, 2, 2)
    return _vgg("vgg_small", repeats, input_shape, classes, batch_norm, classifier_activation, _SMALL_WIDTHS)


def vgg7(input_shape=(32, 32, 3), classes=10, width=1.0, classifier_activation=None):
    """Six convolutions in three sections of 128, 256 and 512 channels: 4.58 M parameters and 608 M MACs at 32x32x3.

    The VGG-7 of papers on small weights (Li et al. 2016, "Ternary Weight Networks", arXiv:1605.04711), with
    BatchNormalization, global average pooling and one Dense classifier as the others here have for small images; it
    takes images of 8 pixels and more, such as MNIST's. 72,666 parameters and 7.34 M MACs at 28x28x1 with `width=0.125`.

    Args:
        input_shape: `(height, width, channels)` of one image.
        classes: number of outputs.
        width: factor of all channels.
        classifier_activation: `None` for logits or `"softmax"` for probabilities.

    Raises:
        ValueError: images are below 8 pixels, or the width is not above 0.
    """
    width = expect.number("width", width, above=0)
    widths = tuple(max(1, round(width * channels)) for channels in (128, 256, 512))
    return _vgg("vgg7", (2, 2, 2), input_shape, classes, True, classifier_activation, widths, large_head=False)
