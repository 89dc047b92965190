"""Common parts of several families of networks."""

import keras
from keras import layers, ops

from tfcompress import expect

__all__ = [
    "batch_norm",
    "check_count",
    "check_head",
    "check_images",
    "check_shortcut",
    "check_smallest",
    "conv",
    "is_large",
    "shortcut_of",
]

_SHORTCUTS = ("pad", "conv")


def conv(x, filters, kernel_size, strides, name):
    """Applies a convolution without bias, padded symmetrically as in the original networks."""
    if strides > 1 and kernel_size > 1:
        x = layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(x)
        padding = "valid"
    else:
        padding = "same"
    return layers.Conv2D(
        filters, kernel_size, strides, padding, use_bias=False, kernel_initializer="he_normal", name=name
    )(x)


def batch_norm(x, name):
    """Applies BatchNormalization with the settings of the published accuracies."""
    # Keras' own momentum of 0.99 lags behind at high learning rates.
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)


def is_large(input_shape):
    """Whether images of this shape get the network for 224x224 images; below 64 pixels they get the one for 32x32."""
    height, _, _ = check_images(input_shape)
    return height is None or height >= 64


def check_images(input_shape):
    """Refuses a value that is not the shape of an image; returns it as a tuple."""
    what = "(height, width, channels) of one image, without the batch"
    return expect.each("input_shape", input_shape, _size, what, length=3)


def _size(name, value):
    return expect.whole(name, value, 1, or_none=True)


def check_smallest(input_shape, pixels, why):
    """Refuses images with fewer pixels along a side than a network needs; unknown sizes pass.

    Raises:
        ValueError: smaller images.
    """
    if any(size is not None and size < pixels for size in check_images(input_shape)[:2]):
        raise ValueError(
            f"Expected `input_shape` with height and width of at least {pixels} pixels ({why}). "
            f"Received: input_shape={input_shape}"
        )


def check_head(classes, activation):
    """Refuses an invalid number of classes, and an activation that Keras does not know."""
    check_count("classes", classes)
    what = "None for logits, 'softmax', or another activation of Keras"
    if not (activation is None or isinstance(activation, str) or callable(activation)):
        expect.refuse("classifier_activation", what, activation, wrong_type=True)
    try:
        keras.activations.get(activation)
    except ValueError:
        expect.refuse("classifier_activation", what, activation)


def check_count(name, value, least=1):
    """Refuses an argument that is not a whole number, or too small; returns it as an int."""
    return expect.whole(name, value, least, what=f"a whole number of at least {least}")


def check_shortcut(kind):
    """Refuses an unknown kind of shortcut.

    Raises:
        ValueError: the kind is unknown.
    """
    expect.one_of("shortcut", kind, _SHORTCUTS)


def shortcut_of(x, filters, strides, kind, name):
    """Applies option A (no parameters: subsample, add zero channels) or B (1x1 convolution) of He et al. (2016)."""
    channels = x.shape[-1]
    if strides == 1 and channels == filters:
        return x
    if kind == "conv":
        x = conv(x, filters, 1, strides, f"{name}_shortcut_conv")
        return batch_norm(x, f"{name}_shortcut_bn")
    before = (filters - channels) // 2
    x = x[:, ::strides, ::strides, :]
    return ops.pad(x, [[0, 0], [0, 0], [0, 0], [before, filters - channels - before]])
