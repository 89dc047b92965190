"""ResNeXt for 32x32 images: Xie et al. (2017), "Aggregated Residual Transformations" (arXiv:1611.05431), section 5.3.

Three sections of aggregated bottlenecks (1x1, grouped 3x3, 1x1) that give 256, 512 and 1024 channels, behind a 3x3 stem
of 64. Each of the `cardinality` groups has `base_width` channels in the first section, twice as many in each later one.

Names follow table 6 of LIT (Koratana et al., 2019), which counts blocks as in the ResNet of the same name: three in a
section of ResNeXt-20, 18 of ResNeXt-110, although a bottleneck has three convolutions. LIT states a cardinality of 32
but no width, and its released code has no ResNeXt. The default of 4 channels a group is Xie's 32x4d: with three blocks
in each section it is what others call "ResNeXt-29 (32x4d)", the usual network of this cardinality for CIFAR.
"""

import keras
from keras import layers

from tfcompress.zoo.common import batch_norm, check_count, check_head, check_images, check_shortcut, conv, shortcut_of

__all__ = ["resnext20", "resnext32", "resnext44", "resnext56", "resnext110"]

_WIDTHS = (256, 512, 1024)


def _grouped_conv(x, filters, strides, groups, name):
    """Applies a 3x3 convolution in groups, padded symmetrically."""
    if strides > 1:
        x = layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
    return layers.Conv2D(
        filters,
        3,
        strides,
        "valid" if strides > 1 else "same",
        groups=groups,
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )(x)


def _bottleneck(x, filters, inner, strides, cardinality, shortcut, name):
    y = conv(x, inner, 1, 1, f"{name}_conv1")
    y = batch_norm(y, f"{name}_bn1")
    y = layers.ReLU(name=f"{name}_relu1")(y)
    y = _grouped_conv(y, inner, strides, cardinality, f"{name}_conv2")
    y = batch_norm(y, f"{name}_bn2")
    y = layers.ReLU(name=f"{name}_relu2")(y)
    y = conv(y, filters, 1, 1, f"{name}_conv3")
    y = batch_norm(y, f"{name}_bn3")
    y = layers.Add(name=f"{name}_add")([y, shortcut_of(x, filters, strides, shortcut, name)])
    return layers.ReLU(name=f"{name}_relu3")(y)


def _resnext(depth, input_shape, classes, cardinality, base_width, shortcut, classifier_activation):
    check_shortcut(shortcut)
    check_images(input_shape)
    check_head(classes, classifier_activation)
    check_count("cardinality", cardinality)
    check_count("base_width", base_width)
    inputs = keras.Input(input_shape, name="image")
    x = conv(inputs, 64, 3, 1, "stem_conv")
    x = batch_norm(x, "stem_bn")
    x = layers.ReLU(name="stem_relu")(x)
    for section, width in enumerate(_WIDTHS, start=1):
        inner = cardinality * base_width * 2 ** (section - 1)
        for block in range(1, (depth - 2) // 6 + 1):
            strides = 2 if section > 1 and block == 1 else 1
            x = _bottleneck(x, width, inner, strides, cardinality, shortcut, f"section{section}_block{block}")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(classes, activation=classifier_activation, name="classifier")(x)
    return keras.Model(inputs, x, name=f"resnext{depth}")


def resnext20(
    input_shape=(32, 32, 3), classes=10, cardinality=32, base_width=4, shortcut="conv", classifier_activation=None
):
    """ResNeXt-20, [3, 3, 3] blocks: 4.78 M parameters, 774 M MACs at 32x32x3.

    2.74 M and 430 M with a cardinality of 16.

    Args:
        input_shape: `(height, width, channels)` of one image.
        classes: number of outputs.
        cardinality: number of groups of each grouped convolution. The blocks' outputs are equally wide for all.
        base_width: channels of each group in the first section; the later sections have 2 and 4 times as many.
        shortcut: where the shape changes: `"conv"` (a 1x1 convolution, as in the paper) or `"pad"` (subsampling and
            channels of zeros, no parameters).
        classifier_activation: `None` for logits or `"softmax"` for probabilities.

    Returns:
        A `keras.Model` from `float32 [batch, height, width, channels]` to `float32 [batch, classes]`.

    Raises:
        ValueError: an unknown `shortcut`; a `cardinality` or `base_width` below 1.
    """
    return _resnext(20, input_shape, classes, cardinality, base_width, shortcut, classifier_activation)


def resnext32(
    input_shape=(32, 32, 3), classes=10, cardinality=32, base_width=4, shortcut="conv", classifier_activation=None
):
    """ResNeXt-32, [5, 5, 5] blocks: 7.74 M parameters, 1.21 G MACs at 32x32x3. Arguments as for `resnext20`."""
    return _resnext(32, input_shape, classes, cardinality, base_width, shortcut, classifier_activation)


def resnext44(
    input_shape=(32, 32, 3), classes=10, cardinality=32, base_width=4, shortcut="conv", classifier_activation=None
):
    """ResNeXt-44, [7, 7, 7] blocks: 10.7 M parameters, 1.64 G MACs at 32x32x3. Arguments as for `resnext20`."""
    return _resnext(44, input_shape, classes, cardinality, base_width, shortcut, classifier_activation)


def resnext56(
    input_shape=(32, 32, 3), classes=10, cardinality=32, base_width=4, shortcut="conv", classifier_activation=None
):
    """ResNeXt-56, [9, 9, 9] blocks: 13.7 M parameters, 2.07 G MACs at 32x32x3. Arguments as for `resnext20`."""
    return _resnext(56, input_shape, classes, cardinality, base_width, shortcut, classifier_activation)


def resnext110(
    input_shape=(32, 32, 3), classes=10, cardinality=32, base_width=4, shortcut="conv", classifier_activation=None
):
    """ResNeXt-110, [18, 18, 18] blocks: 27.0 M parameters, 4.01 G MACs at 32x32x3. Arguments as for `resnext20`."""
    return _resnext(110, input_shape, classes, cardinality, base_width, shortcut, classifier_activation)
