"""Residual networks of He et al. (2016), "Deep Residual Learning for Image Recognition" (arXiv:1512.03385).

The family for 32x32 images has depth 6n + 2 and widths 16, 32, 64 (section 4.2 of the paper); ResNet-18 and ResNet-34
have widths 64 to 512 (table 1), with the 7x7 stem for large images and the common 3x3 stem for images below 64 pixels.
Everything is built from stock Keras layers and operations, on any Keras backend.
"""

import keras
from keras import layers

from tfcompress.zoo.common import batch_norm, check_head, check_images, check_shortcut, conv, is_large, shortcut_of

__all__ = ["resnet18", "resnet20", "resnet32", "resnet34", "resnet44", "resnet56", "resnet110"]


def _basic_block(x, filters, strides, shortcut, name):
    y = conv(x, filters, 3, strides, f"{name}_conv1")
    y = batch_norm(y, f"{name}_bn1")
    y = layers.ReLU(name=f"{name}_relu1")(y)
    y = conv(y, filters, 3, 1, f"{name}_conv2")
    y = batch_norm(y, f"{name}_bn2")
    y = layers.Add(name=f"{name}_add")([y, shortcut_of(x, filters, strides, shortcut, name)])
    return layers.ReLU(name=f"{name}_relu2")(y)


def _resnet(name, widths, repeats, input_shape, classes, shortcut, classifier_activation, large_stem):
    check_shortcut(shortcut)
    check_images(input_shape)
    check_head(classes, classifier_activation)
    inputs = keras.Input(input_shape, name="image")
    if large_stem:
        x = conv(inputs, widths[0], 7, 2, "stem_conv")
    else:
        x = conv(inputs, widths[0], 3, 1, "stem_conv")
    x = batch_norm(x, "stem_bn")
    x = layers.ReLU(name="stem_relu")(x)
    if large_stem:
        x = layers.ZeroPadding2D(1, name="stem_pool_pad")(x)  # zeros are the least values after a ReLU
        x = layers.MaxPooling2D(3, 2, name="stem_pool")(x)
    for section, (width, repeat) in enumerate(zip(widths, repeats, strict=True), start=1):
        for block in range(1, repeat + 1):
            strides = 2 if section > 1 and block == 1 else 1
            x = _basic_block(x, width, strides, shortcut, f"section{section}_block{block}")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(classes, activation=classifier_activation, name="classifier")(x)
    return keras.Model(inputs, x, name=name)


def _cifar_resnet(depth, input_shape, classes, shortcut, classifier_activation):
    repeat = (depth - 2) // 6
    return _resnet(
        f"resnet{depth}",
        (16, 32, 64),
        (repeat,) * 3,
        input_shape,
        classes,
        shortcut,
        classifier_activation,
        large_stem=False,
    )


def resnet20(input_shape=(32, 32, 3), classes=10, shortcut="pad", classifier_activation=None):
    """ResNet-20: 0.27 M parameters, 41 M MACs at 32x32x3.

    Args:
        input_shape: `(height, width, channels)` of one image.
        classes: number of outputs.
        shortcut: `"pad"` (option A: subsampling and channels of zeros, no parameters) or `"conv"` (option B: 1x1
            convolution).
        classifier_activation: `None` for logits or `"softmax"` for probabilities.

    Returns:
        A `keras.Model` from `float32 [batch, height, width, channels]` to `float32 [batch, classes]`.
    """
    return _cifar_resnet(20, input_shape, classes, shortcut, classifier_activation)


def resnet32(input_shape=(32, 32, 3), classes=10, shortcut="pad", classifier_activation=None):
    """ResNet-32: 0.46 M parameters, 69 M MACs at 32x32x3. Arguments as for `resnet20`."""
    return _cifar_resnet(32, input_shape, classes, shortcut, classifier_activation)


def resnet44(input_shape=(32, 32, 3), classes=10, shortcut="pad", classifier_activation=None):
    """ResNet-44: 0.66 M parameters, 97 M MACs at 32x32x3. Arguments as for `resnet20`."""
    return _cifar_resnet(44, input_shape, classes, shortcut, classifier_activation)


def resnet56(input_shape=(32, 32, 3), classes=10, shortcut="pad", classifier_activation=None):
    """ResNet-56: 0.85 M parameters, 125 M MACs at 32x32x3. Arguments as for `resnet20`."""
    return _cifar_resnet(56, input_shape, classes, shortcut, classifier_activation)


def resnet110(input_shape=(32, 32, 3), classes=10, shortcut="pad", classifier_activation=None):
    """ResNet-110: 1.7 M parameters, 253 M MACs at 32x32x3. Arguments as for `resnet20`."""
    return _cifar_resnet(110, input_shape, classes, shortcut, classifier_activation)


def _wide_resnet_18_34(depth, repeats, input_shape, classes, shortcut, classifier_activation):
    return _resnet(
        f"resnet{depth}",
        (64, 128, 256, 512),
        repeats,
        input_shape,
        classes,
        shortcut,
        classifier_activation,
        is_large(input_shape),
    )


def resnet18(input_shape=(224, 224, 3), classes=1000, shortcut="conv", classifier_activation=None):
    """ResNet-18: 11.69 M parameters and 1.81 G MACs at 224x224x3 (1000 classes); 11.17 M at 32x32x3 (10 classes).

    Images below 64 pixels get a 3x3 stem without pooling. Arguments as for `resnet20`.
    """
    return _wide_resnet_18_34(18, (2, 2, 2, 2), input_shape, classes, shortcut, classifier_activation)


def resnet34(input_shape=(224, 224, 3), classes=1000, shortcut="conv", classifier_activation=None):
    """ResNet-34: 21.80 M parameters and 3.66 G MACs at 224x224x3 (1000 classes); 21.28 M at 32x32x3 (10 classes).

    Images below 64 pixels get a 3x3 stem without pooling. Arguments as for `resnet20`.
    """
    return _wide_resnet_18_34(34, (3, 4, 6, 3), input_shape, classes, shortcut, classifier_activation)
