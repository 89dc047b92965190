"""Conv4, the small teacher of N2N's paper on MNIST (Ashok et al. 2018), with the widths of its authors' code."""

import keras
from keras import layers

from tfcompress.zoo.common import batch_norm, check_head, check_smallest

__all__ = ["conv4"]

_CONVOLUTIONS = ((32, 5, True), (64, 3, False), (64, 3, True), (128, 3, False))


def conv4(input_shape=(28, 28, 1), classes=10, classifier_activation=None):
    """Four convolutions with BatchNormalization: 131,690 parameters and 12.5 M MACs at 28x28x1 (10 classes).

    The second and the last convolution are followed by max pooling, which halves them. The authors' network has a ReLU
    on its logits, which is omitted here.

    Args:
        input_shape: `(height, width, channels)` of one image of at least 8 pixels.
        classes: number of outputs.
        classifier_activation: `None` for logits or `"softmax"` for probabilities.

    Returns:
        A `keras.Model` from `float32 [batch, height, width, channels]` to `float32 [batch, classes]`.

    Raises:
        ValueError: images below 8 pixels.
    """
    check_head(classes, classifier_activation)
    check_smallest(input_shape, 8, "the first convolution takes two, and the rest is halved twice")
    inputs = x = keras.Input(input_shape, name="image")
    for number, (width, kernel_size, is_halved) in enumerate(_CONVOLUTIONS, start=1):
        if number == 1:
            x = layers.ZeroPadding2D(1, name="layer1_pad")(x)
        padding = "valid" if number == 1 else "same"
        name = f"layer{number}_conv"
        x = layers.Conv2D(width, kernel_size, padding=padding, use_bias=False, name=name)(x)
        x = batch_norm(x, f"layer{number}_bn")
        x = layers.ReLU(name=f"layer{number}_relu")(x)
        if is_halved:
            x = layers.MaxPooling2D(2, name=f"layer{number}_pool")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(0.2, name="head_dropout")(x)
    x = layers.Dense(classes, activation=classifier_activation, name="classifier")(x)
    return keras.Model(inputs, x, name="conv4")
