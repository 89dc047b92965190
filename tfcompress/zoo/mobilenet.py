"""MobileNetV2 of Sandler et al. (2018), "Inverted Residuals and Linear Bottlenecks" (arXiv:1801.04381).

Table 2 of the paper for images of 64 pixels and more. Smaller images get the usual variant for CIFAR, which keeps
stride 1 in the stem and in the second section, so that a 32x32 image ends as 4x4. Everything is built from stock Keras
layers.
"""

import keras
from keras import layers

from tfcompress import expect
from tfcompress.zoo.common import batch_norm, check_head, conv, is_large

__all__ = ["mobilenet_v2"]

# Table 2: expansion factor t, output channels c, repetitions n, stride s of the first block of each section.
_SECTIONS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def _scaled(channels, width):
    """Returns `width * channels` as the nearest multiple of 8, at least 90% of it (the authors' rounding)."""
    exact = channels * width
    rounded = max(8, int(exact + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * exact else rounded + 8


def _conv_bn_relu6(x, filters, kernel_size, strides, name):
    x = conv(x, filters, kernel_size, strides, f"{name}_conv")
    x = batch_norm(x, f"{name}_bn")
    return layers.ReLU(max_value=6.0, name=f"{name}_relu")(x)


def _depthwise_bn_relu6(x, strides, name):
    padding = "same"
    if strides > 1:
        x = layers.ZeroPadding2D(1, name=f"{name}_conv_pad")(x)
        padding = "valid"
    # Keras counts all channels as the fan-in of a depthwise kernel; its fan-out is the 9 taps that each output reads.
    initializer = keras.initializers.VarianceScaling(2.0, "fan_out")
    x = layers.DepthwiseConv2D(
        3, strides, padding, use_bias=False, depthwise_initializer=initializer, name=f"{name}_conv"
    )(x)
    x = batch_norm(x, f"{name}_bn")
    return layers.ReLU(max_value=6.0, name=f"{name}_relu")(x)


def _inverted_residual(x, expansion, filters, strides, name):
    """Expands, filters each channel, projects linearly; with a shortcut if shapes allow it (figure 3)."""
    y = x
    if expansion > 1:
        y = _conv_bn_relu6(y, expansion * x.shape[-1], 1, 1, f"{name}_expand")
    y = _depthwise_bn_relu6(y, strides, f"{name}_depthwise")
    y = conv(y, filters, 1, 1, f"{name}_project_conv")
    y = batch_norm(y, f"{name}_project_bn")
    if strides == 1 and x.shape[-1] == filters:
        y = layers.Add(name=f"{name}_add")([x, y])
    return y


def mobilenet_v2(input_shape=(224, 224, 3), classes=1000, width=1.0, classifier_activation=None):
    """MobileNetV2: 3.50 M parameters and 301 M MACs at 224x224x3 (1000 classes).

    Images below 64 pixels get a stem and a second section with stride 1: 2.24 M and 88 M at 32x32x3 (10 classes).

    Args:
        input_shape: `(height, width, channels)` of one image.
        classes: number of outputs.
        width: factor on the channels of every layer, rounded to multiples of 8; the last convolution is never narrowed.
        classifier_activation: `None` for logits or `"softmax"` for probabilities.

    Returns:
        A `keras.Model` from `float32 [batch, height, width, channels]` to `float32 [batch, classes]`.

    Raises:
        ValueError: `width` is not above 0.
    """
    width = expect.number("width", width, above=0, advice="The paper's network has width 1.0.")
    check_head(classes, classifier_activation)
    large = is_large(input_shape)
    inputs = keras.Input(input_shape, name="image")
    x = _conv_bn_relu6(inputs, _scaled(32, width), 3, 2 if large else 1, "stem")
    for section, (expansion, channels, repeat, strides) in enumerate(_SECTIONS, start=1):
        if section == 2 and not large:
            strides = 1
        for block in range(1, repeat + 1):
            name = f"section{section}_block{block}"
            x = _inverted_residual(x, expansion, _scaled(channels, width), strides if block == 1 else 1, name)
    x = _conv_bn_relu6(x, _scaled(1280, max(width, 1.0)), 1, 1, "head")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(classes, activation=classifier_activation, name="classifier")(x)
    return keras.Model(inputs, x, name="mobilenet_v2")
