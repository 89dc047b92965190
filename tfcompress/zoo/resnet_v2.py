"""Pre-activation residual networks: He et al. (2016), "Identity Mappings in Deep Residual Networks" (arXiv:1603.05027).

ResNet-20, -56 and -110 v2 for 32x32 images as in GluonCV: the input is normalized without scale and offset, then a 3x3
convolution of 16 channels, then sections of 16, 32 and 64 channels whose blocks normalize and activate before each
convolution. A shortcut has a convolution only if channels change; it has no normalization, and reads the block's input
unchanged. Everything is built from stock Keras layers.
"""

import keras
from keras import layers

from tfcompress.zoo.common import batch_norm, check_head, check_images, conv

__all__ = ["preactivation_network", "resnet20_v2", "resnet56_v2", "resnet110_v2"]


def _block(x, filters, strides, activated_shortcut, dropout, name):
    y = batch_norm(x, f"{name}_bn1")
    y = layers.ReLU(name=f"{name}_relu1")(y)
    if x.shape[-1] != filters:
        x = conv(y if activated_shortcut else x, filters, 1, strides, f"{name}_shortcut_conv")
    y = conv(y, filters, 3, strides, f"{name}_conv1")
    y = batch_norm(y, f"{name}_bn2")
    y = layers.ReLU(name=f"{name}_relu2")(y)
    if dropout:
        y = layers.Dropout(dropout, name=f"{name}_dropout")(y)
    y = conv(y, filters, 3, 1, f"{name}_conv2")
    return layers.Add(name=f"{name}_add")([y, x])


def preactivation_network(
    name, widths, repeat, input_shape, classes, classifier_activation, *, stem_norm, activated_shortcut, dropout
):
    """Returns a network of pre-activation blocks for 32x32 images, with a stem of 16 channels.

    Args:
        name: name of the network.
        widths: channels of each section; every section except the first begins with stride 2.
        repeat: blocks in each section.
        input_shape: `(height, width, channels)` of one image.
        classes: number of outputs.
        classifier_activation: `None` for logits or `"softmax"` for probabilities.
        stem_norm: whether the stem's output is normalized (without a ReLU) before the first block.
        activated_shortcut: whether shortcut convolutions read the activated tensor, instead of the block's input.
        dropout: rate before the second convolution of each block; 0 leaves it out.

    Returns:
        A `keras.Model`.
    """
    check_images(input_shape)
    check_head(classes, classifier_activation)
    inputs = keras.Input(input_shape, name="image")
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, center=False, scale=False, name="input_bn")(inputs)
    x = conv(x, 16, 3, 1, "stem_conv")
    if stem_norm:
        x = batch_norm(x, "stem_bn")
    for section, width in enumerate(widths, start=1):
        for block in range(1, repeat + 1):
            strides = 2 if section > 1 and block == 1 else 1
            x = _block(x, width, strides, activated_shortcut, dropout, f"section{section}_block{block}")
    x = batch_norm(x, "head_bn")
    x = layers.ReLU(name="head_relu")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(classes, activation=classifier_activation, name="classifier")(x)
    return keras.Model(inputs, x, name=name)


def _resnet_v2(depth, input_shape, classes, classifier_activation):
    return preactivation_network(
        f"resnet{depth}_v2",
        (16, 32, 64),
        (depth - 2) // 6,
        input_shape,
        classes,
        classifier_activation,
        stem_norm=False,
        activated_shortcut=False,
        dropout=0.0,
    )


def resnet20_v2(input_shape=(32, 32, 3), classes=10, classifier_activation=None):
    """ResNet-20 v2: 0.27 M parameters, 41 M MACs at 32x32x3.

    Args:
        input_shape: `(height, width, channels)` of one image.
        classes: number of outputs.
        classifier_activation: `None` for logits or `"softmax"` for probabilities.

    Returns:
        A `keras.Model` from `float32 [batch, height, width, channels]` to `float32 [batch, classes]`.
    """
    return _resnet_v2(20, input_shape, classes, classifier_activation)


def resnet56_v2(input_shape=(32, 32, 3), classes=10, classifier_activation=None):
    """ResNet-56 v2: 0.86 M parameters, 126 M MACs at 32x32x3. Arguments as for `resnet20_v2`."""
    return _resnet_v2(56, input_shape, classes, classifier_activation)


def resnet110_v2(input_shape=(32, 32, 3), classes=10, classifier_activation=None):
    """ResNet-110 v2: 1.7 M parameters, 253 M MACs at 32x32x3. Arguments as for `resnet20_v2`."""
    return _resnet_v2(110, input_shape, classes, classifier_activation)
