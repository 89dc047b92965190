"""SqueezeNet 1.1 of Iandola et al. (2016), "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters"."""

import keras
from keras import layers

from tfcompress.zoo.common import check_head, check_smallest, is_large

__all__ = ["squeezenet"]

_SECTIONS = (((16, 64), (16, 64)), ((32, 128), (32, 128)), ((48, 192), (48, 192), (64, 256), (64, 256)))


def _conv_relu(x, filters, kernel_size, name):
    x = layers.Conv2D(filters, kernel_size, padding="same", kernel_initializer="glorot_uniform", name=name)(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def _fire(x, squeeze, expand, name):
    x = _conv_relu(x, squeeze, 1, f"{name}_squeeze")
    wide = [_conv_relu(x, expand, size, f"{name}_expand{size}x{size}") for size in (1, 3)]
    return layers.Concatenate(name=f"{name}_concatenate")(wide)


def squeezenet(input_shape=(224, 224, 3), classes=1000, classifier_activation=None):
    """SqueezeNet 1.1: 1.24 M parameters and 349 M MACs at 224x224x3 (1000 classes).

    It has 727,626 parameters with 10 classes, the 727K of N2N's Table 3. Images below 64 pixels get a first convolution
    of stride 1, because they are halved three more times.

    Args:
        input_shape: `(height, width, channels)` of one image of at least 16 pixels.
        classes: number of outputs.
        classifier_activation: `None` for logits or `"softmax"` for probabilities.

    Returns:
        A `keras.Model` from `float32 [batch, height, width, channels]` to `float32 [batch, classes]`.

    Raises:
        ValueError: images below 16 pixels.
    """
    large = is_large(input_shape)
    check_head(classes, classifier_activation)
    check_smallest(input_shape, 16, "the network halves them three times")
    inputs = keras.Input(input_shape, name="image")
    strides, padding = (2, "valid") if large else (1, "same")
    x = layers.Conv2D(64, 3, strides, padding, kernel_initializer="glorot_uniform", name="stem_conv")(inputs)
    x = layers.ReLU(name="stem_relu")(x)
    for section, fires in enumerate(_SECTIONS, start=1):
        x = layers.MaxPooling2D(3, 2, name=f"section{section}_pool")(x)
        for number, (squeeze, expand) in enumerate(fires, start=1):
            x = _fire(x, squeeze, expand, f"section{section}_fire{number}")
    x = layers.Dropout(0.5, name="head_dropout")(x)
    # The published network has a ReLU behind this convolution: its logits cannot be negative.
    x = _conv_relu(x, classes, 1, "classifier")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    if classifier_activation is not None:
        x = layers.Activation(classifier_activation, name="classifier_activation")(x)
    return keras.Model(inputs, x, name="squeezenet")
