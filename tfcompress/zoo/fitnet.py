"""FitNet-4 (Romero et al. 2015) with ReLU, as in Mishkin and Matas (2016), "All you need is a good init"."""

import keras
from keras import layers

from tfcompress.zoo.common import check_head, check_smallest

__all__ = ["fitnet4"]

_SECTIONS = ((32, 32, 32, 48, 48), (80,) * 6, (128,) * 6)


def fitnet4(input_shape=(32, 32, 3), classes=10, classifier_activation=None):
    """FitNet-4, a thin network of 17 convolutions: 1.21 M parameters and 191 M MACs at 32x32x3 (10 classes).

    Convolutions have biases and no BatchNormalization; the initializer is Glorot's, as in N2N's paper.

    Args:
        input_shape: `(height, width, channels)` of one image of at least 4 pixels.
        classes: number of outputs.
        classifier_activation: `None` for logits or `"softmax"` for probabilities.

    Returns:
        A `keras.Model` from `float32 [batch, height, width, channels]` to `float32 [batch, classes]`.

    Raises:
        ValueError: images below 4 pixels.
    """
    check_head(classes, classifier_activation)
    check_smallest(input_shape, 4, "the network halves them twice")
    inputs = x = keras.Input(input_shape, name="image")
    for section, widths in enumerate(_SECTIONS, start=1):
        for number, width in enumerate(widths, start=1):
            name = f"section{section}_layer{number}"
            x = layers.Conv2D(width, 3, padding="same", name=f"{name}_conv")(x)
            x = layers.ReLU(name=f"{name}_relu")(x)
        if section < len(_SECTIONS):
            x = layers.MaxPooling2D(2, name=f"section{section}_pool")(x)
    x = layers.GlobalMaxPooling2D(name="pool")(x)
    x = layers.Dense(classes, activation=classifier_activation, name="classifier")(x)
    return keras.Model(inputs, x, name="fitnet4")
