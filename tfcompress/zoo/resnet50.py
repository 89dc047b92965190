"""ResNet-50 for large images, of He et al. (2016) (arXiv:1512.03385), as in GluonCV.

Bottlenecks (1x1, 3x3, 1x1) that give 256 to 2048 channels. Two variants, which differ where other libraries differ too:

- `"v1"`: a section's first bottleneck has its stride in the first 1x1 convolution, and the first and the last
  convolution of a bottleneck have biases, as MXNet's network has them;
- `"v1d"` (He et al., 2019, "Bag of Tricks", arXiv:1812.01187): three 3x3 convolutions as the stem, the stride in the
  3x3 convolution, average pooling before a strided shortcut, and no biases. Its published accuracy is 79.15%, which is
  what DARC states for the ResNet-50 that it compresses.
"""

import keras
from keras import layers

from tfcompress import expect
from tfcompress.zoo.common import batch_norm, check_head, check_images, conv

__all__ = ["resnet50"]

_WIDTHS = (256, 512, 1024, 2048)
_REPEATS = (3, 4, 6, 3)
_VARIANTS = ("v1", "v1d")


def _conv_bn_relu(x, filters, kernel_size, strides, name, number):
    x = conv(x, filters, kernel_size, strides, f"{name}_conv{number}")
    x = batch_norm(x, f"{name}_bn{number}")
    return layers.ReLU(name=f"{name}_relu{number}")(x)


def _pointwise(x, filters, strides, use_bias, name):
    return layers.Conv2D(filters, 1, strides, "same", use_bias=use_bias, kernel_initializer="he_normal", name=name)(x)


def _shortcut(x, filters, strides, variant, name):
    if variant == "v1d" and strides > 1:
        # At an odd size the last row and column are means of fewer entries: Keras does not count the padding.
        x = layers.AveragePooling2D(strides, strides, "same", name=f"{name}_shortcut_pool")(x)
        strides = 1
    x = conv(x, filters, 1, strides, f"{name}_shortcut_conv")
    return batch_norm(x, f"{name}_shortcut_bn")


def _bottleneck(x, filters, strides, variant, name):
    in_first = strides if variant == "v1" else 1
    has_bias = variant == "v1"
    y = _pointwise(x, filters // 4, in_first, has_bias, f"{name}_conv1")
    y = batch_norm(y, f"{name}_bn1")
    y = layers.ReLU(name=f"{name}_relu1")(y)
    y = _conv_bn_relu(y, filters // 4, 3, strides // in_first, name, 2)
    y = _pointwise(y, filters, 1, has_bias, f"{name}_conv3")
    y = batch_norm(y, f"{name}_bn3")
    if x.shape[-1] != filters:
        x = _shortcut(x, filters, strides, variant, name)
    y = layers.Add(name=f"{name}_add")([y, x])
    return layers.ReLU(name=f"{name}_relu3")(y)


def resnet50(input_shape=(224, 224, 3), classes=1000, variant="v1", classifier_activation=None):
    """ResNet-50: 25.58 M parameters, 3.86 G MACs at 224x224x3 (v1); 25.58 M and 4.33 G (v1d).

    Args:
        input_shape: `(height, width, channels)` of one image.
        classes: number of outputs.
        variant: `"v1"` or `"v1d"`, see this module's description.
        classifier_activation: `None` for logits or `"softmax"` for probabilities.

    Returns:
        A `keras.Model` from `float32 [batch, height, width, channels]` to `float32 [batch, classes]`.

    Raises:
        ValueError: an unknown `variant`.
    """
    check_images(input_shape)
    check_head(classes, classifier_activation)
    expect.one_of("variant", variant, _VARIANTS)
    inputs = keras.Input(input_shape, name="image")
    if variant == "v1":
        x = _conv_bn_relu(inputs, 64, 7, 2, "stem", "")
    else:
        x = _conv_bn_relu(inputs, 32, 3, 2, "stem", 1)
        x = _conv_bn_relu(x, 32, 3, 1, "stem", 2)
        x = _conv_bn_relu(x, 64, 3, 1, "stem", 3)
    x = layers.ZeroPadding2D(1, name="stem_pool_pad")(x)  # zeros are the least values after a ReLU
    x = layers.MaxPooling2D(3, 2, name="stem_pool")(x)
    for section, (width, repeat) in enumerate(zip(_WIDTHS, _REPEATS, strict=True), start=1):
        for block in range(1, repeat + 1):
            strides = 2 if section > 1 and block == 1 else 1
            x = _bottleneck(x, width, strides, variant, f"section{section}_block{block}")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(classes, activation=classifier_activation, name="classifier")(x)
    return keras.Model(inputs, x, name=f"resnet50_{variant}")
