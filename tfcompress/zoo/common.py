"""The two pieces that every network of the zoo is made of."""

from keras import layers

__all__ = ["batch_norm", "conv", "is_large"]


def conv(x, filters, kernel_size, strides, name):
    """A convolution without bias, padded symmetrically as in the original networks."""
    if strides > 1 and kernel_size > 1:
        x = layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(x)
        padding = "valid"
    else:
        padding = "same"
    return layers.Conv2D(
        filters, kernel_size, strides, padding, use_bias=False, kernel_initializer="he_normal", name=name
    )(x)


def batch_norm(x, name):
    """BatchNormalization as the published accuracies were trained with it."""
    # Keras' own momentum of 0.99 lags behind at high learning rates.
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)


def is_large(input_shape):
    """Whether images of this shape get the network for 224x224 images; below 64 pixels it is the one for 32x32."""
    return input_shape[0] is None or input_shape[0] >= 64
