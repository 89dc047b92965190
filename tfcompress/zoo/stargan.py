"""StarGAN: Choi et al. (2018), "Unified Generative Adversarial Networks for Multi-Domain Image-to-Image Translation".

arXiv:1711.09020, tables 4 and 5 of its appendix. Kernels start as in the authors' PyTorch code. That code keeps running
statistics in its instance normalization, which the paper does not mention; here each image is always normalized by
its own statistics.
"""

import keras
from keras import layers, ops

from tfcompress.zoo.common import check_count, check_images

__all__ = ["stargan_discriminator", "stargan_generator"]


def _conv(x, filters, kernel_size, strides, name, use_bias=False, padding="same", layer=layers.Conv2D):
    # The sizes are such that "same" pads both sides alike. Uniform within 1 / sqrt(inputs), as PyTorch draws kernels.
    initializer = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
    settings = {"use_bias": use_bias, "kernel_initializer": initializer, "name": name}
    return layer(filters, kernel_size, strides, padding, **settings)(x)


def _norm(x, name):
    """Applies instance normalization with a learned scale and offset: as many groups as channels."""
    return layers.GroupNormalization(-1, epsilon=1e-5, name=name)(x)


def _conv_norm_relu(x, filters, kernel_size, strides, name, layer=layers.Conv2D):
    x = _conv(x, filters, kernel_size, strides, f"{name}_conv", layer=layer)
    x = _norm(x, f"{name}_norm")
    return layers.ReLU(name=f"{name}_relu")(x)


def _residual_block(x, name):
    y = _conv(x, x.shape[-1], 3, 1, f"{name}_conv1")
    y = _norm(y, f"{name}_norm1")
    y = layers.ReLU(name=f"{name}_relu1")(y)
    y = _conv(y, x.shape[-1], 3, 1, f"{name}_conv2")
    y = _norm(y, f"{name}_norm2")
    return layers.Add(name=f"{name}_add")([x, y])


def _check_size(input_shape, multiple):
    """Refuses images that strided convolutions cannot halve evenly."""
    input_shape = check_images(input_shape)
    if any(size is None or size < 1 or size % multiple for size in input_shape[:2]):
        raise ValueError(
            f"Expected `input_shape` to be (height, width, channels), height and width multiples of {multiple}, as "
            f"strided convolutions halve them. Received: input_shape={input_shape}"
        )


def stargan_generator(input_shape=(128, 128, 3), domains=5, blocks=6, width=64):
    """The generator of StarGAN: 8.43 M parameters and 9.96 G MACs at 128x128x3 with 5 domains.

    With `blocks=2`, LIT's student: 3.71 M and 5.13 G.

    The labels are repeated over the image as channels of their own. A 7x7 and two strided 4x4 convolutions lead to the
    residual blocks at a quarter of the size, two transposed 4x4 and a 7x7 convolution back: 6 + 2 * `blocks`
    convolutions.

    Args:
        input_shape: `(height, width, channels)` of one image; height and width are multiples of 4.
        domains: number of labels.
        blocks: number of residual blocks.
        width: channels of the first convolution; the blocks have four times as many.

    Returns:
        A `keras.Model` from `[image, labels]`, `float32 [batch, height, width, channels]` in [-1, 1] and
        `float32 [batch, domains]`, to images as the first.

    Raises:
        ValueError: sizes are not multiples of 4, `domains` or `width` is below 1, or `blocks` is below 0.
    """
    check_count("domains", domains)
    check_count("blocks", blocks, least=0)
    check_count("width", width)
    _check_size(input_shape, 4)
    height, breadth, channels = input_shape
    image = keras.Input(input_shape, name="image")
    labels = keras.Input((domains,), name="labels")
    spread = layers.Reshape((1, 1, domains), name="labels_reshape")(labels)
    spread = ops.tile(spread, (1, height, breadth, 1))
    x = layers.Concatenate(name="image_and_labels")([image, spread])
    x = _conv_norm_relu(x, width, 7, 1, "stem")
    for number in (1, 2):
        x = _conv_norm_relu(x, width * 2**number, 4, 2, f"down{number}")
    for block in range(1, blocks + 1):
        x = _residual_block(x, f"section1_block{block}")
    for number in (1, 2):
        x = _conv_norm_relu(x, width * 4 // 2**number, 4, 2, f"up{number}", layers.Conv2DTranspose)
    x = _conv(x, channels, 7, 1, "head_conv")
    x = layers.Activation("tanh", name="head_tanh")(x)
    return keras.Model([image, labels], x, name="stargan_generator")


def _leaky(x, filters, name):
    x = _conv(x, filters, 4, 2, f"{name}_conv", use_bias=True)
    return layers.LeakyReLU(0.01, name=f"{name}_relu")(x)


def _domain_logits(x, domains):
    """Applies a convolution as large as the remaining image."""
    x = _conv(x, domains, x.shape[1:3], 1, "domains_conv", padding="valid")
    return layers.Flatten(name="domains")(x)


def stargan_discriminator(input_shape=(128, 128, 3), domains=5, layers=6, width=64):
    """The discriminator of StarGAN: 44.8 M parameters and 684 M MACs at 128x128x3 with 5 domains.

    `layers` strided 4x4 convolutions, each with twice the channels of the one before, and two heads. Images of 32x32
    leave room for five layers at most.

    Args:
        input_shape: `(height, width, channels)` of one image; height and width are multiples of `2**layers`.
        domains: number of labels.
        layers: number of strided convolutions.
        width: channels of the first convolution.

    Returns:
        A `keras.Model` from `float32 [batch, height, width, channels]` to `[source, domains]`: whether patches are
        real, `float32 [batch, height / 2**layers, width / 2**layers, 1]`, and logits, `float32 [batch, domains]`.

    Raises:
        ValueError: sizes are not multiples of `2**layers`, or `domains`, `layers` or `width` is below 1.
    """
    check_count("domains", domains)
    check_count("layers", layers)
    check_count("width", width)
    _check_size(input_shape, 2**layers)
    x = image = keras.Input(input_shape, name="image")
    for number in range(1, layers + 1):
        x = _leaky(x, width * 2 ** (number - 1), f"down{number}")
    source = _conv(x, 1, 3, 1, "source")
    return keras.Model(image, [source, _domain_logits(x, domains)], name="stargan_discriminator")
