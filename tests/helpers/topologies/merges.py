"""Models whose branches meet: sums, products, concatenations, slices."""

import keras
from keras import layers, ops

from topologies.chains import conv, head, image
from topologies.registry import topology


def norm_relu(x):
    # Leaky, so that a single channel that is left is never dead.
    return layers.LeakyReLU()(layers.BatchNormalization()(x))


def pad_channels(x, before, after):
    return ops.pad(x, [[0, 0], [0, 0], [0, 0], [before, after]])


def residual_block(x, inner, filters, strides=1, shortcut=None):
    y = norm_relu(conv(inner, strides=strides, activation=None, use_bias=False)(x))
    y = layers.BatchNormalization()(conv(filters, activation=None, use_bias=False)(y))
    return layers.ELU()(layers.Add()([x if shortcut is None else shortcut(x), y]))


@topology(smallest=30 * 9 * 3 + 2 * (30 * 9 + 30 * 9) + 3)
def residual():
    x = image()
    y = norm_relu(conv(5, activation=None)(x))
    return keras.Model(x, head(residual_block(residual_block(y, 7, 5), 4, 5)))


@topology(smallest=30 * 9 * 3 + 9 * 9 + 9 * 9 + 9 + 3)
def residual_conv_shortcut():
    x = image()
    y = residual_block(conv(5)(x), 4, 7, strides=2, shortcut=layers.Conv2D(7, 1, strides=2, use_bias=False))
    return keras.Model(x, head(y))


@topology(smallest=48 * 9 * 3 + 12 * 9 + 12 * 9 * 2 + 12 * 9 * 2 + 12 * 9 * 2 + 4 * 9 * 2 + 4 * 9 * 3 + 3 * 3)
def residual_padded_shortcut():
    """Three widths of 4, 8 and 12 with channels of zeros at both sides, as in ResNets without projections.

    The 4 channels of the first width lie inside the 8, and these inside the 12: one channel of each makes widths of 1,
    2 and 3.
    """
    x = keras.Input((8, 6, 3))
    y = conv(4, name="stem")(x)
    y = residual_block(y, 5, 8, strides=2, shortcut=lambda x: pad_channels(x[:, ::2, ::2, :], 2, 2))  # 4 x 3
    y = residual_block(y, 7, 8)
    y = residual_block(y, 5, 12, strides=2, shortcut=lambda x: pad_channels(x[:, ::2, ::2], 1, 3))  # 2 x 2
    return keras.Model(x, head(y))


def _merged(layer, count=2):
    x = image()
    branches = [conv(5, activation=name)(x) for name in ("softplus", "tanh", "elu")[:count]]
    return keras.Model(x, head(conv(4)(layer()(branches))))


for _layer, _count in (
    (layers.Add, 3),
    (layers.Subtract, 2),
    (layers.Multiply, 2),
    (layers.Average, 3),
    (layers.Maximum, 3),
    (layers.Minimum, 2),
):

    def _build(layer=_layer, count=_count):
        return _merged(layer, count)

    _build.__name__ = f"merge_by_{_layer.__name__.lower()}"
    topology(smallest=_count * 30 * 9 * 3 + 30 * 9 + 3)(_build)


@topology(smallest=30 * 9 * 3 + 1 + 1 + 30 * 9 + 3)
def squeeze_excite():
    x = image()
    y = conv(7)(x)
    s = layers.GlobalAveragePooling2D(keepdims=True)(y)
    s = conv(7, 1, activation="sigmoid")(conv(3, 1)(s))
    return keras.Model(x, head(conv(5)(layers.Multiply()([y, s]))))


@topology(smallest=30 * 9 * 3 + 1 + 1 + 30 * 9 + 3)
def squeeze_excite_reshape_first():
    x = image()
    y = conv(7)(x)
    s = layers.Reshape((1, 1, 7))(layers.GlobalAveragePooling2D()(y))
    s = layers.Dense(7, activation="sigmoid")(layers.Dense(3, activation="elu")(s))
    return keras.Model(x, head(conv(5)(layers.Multiply()([s, y]))))


@topology(smallest=30 * 9 * 3 + 1 + 1 + 30 * 9 + 3)
def squeeze_excite_reshape_last():
    x = image()
    y = conv(7)(x)
    s = layers.Dense(3, activation="elu")(layers.GlobalMaxPooling2D()(y))
    s = layers.Reshape((1, -1, 7))(layers.Dense(7, activation="sigmoid")(s))
    return keras.Model(x, head(conv(5)(layers.Multiply()([y, s]))))


@topology(smallest=30 * 9 * 3 + 1 + 30 * 9 + 3)
def merge_of_different_ranks():
    # Keras aligns [batch, channels] with [batch, height, width, channels] at the last axis.
    x = image()
    y = conv(7)(x)
    s = layers.Dense(7, activation="sigmoid")(layers.GlobalAveragePooling2D()(y))
    return keras.Model(x, head(conv(5)(layers.Multiply()([y, s]))))


@topology(smallest=30 * 9 * 3 + 30 * 9 + 30 * 9 + 3)
def attention_map_of_one_channel():
    # The map's single channel is spread over all of the others, and stays.
    x = image()
    y = conv(7)(x)
    return keras.Model(x, head(conv(5)(layers.Multiply()([conv(1, activation="sigmoid")(y), y]))))


@topology(smallest=2 * 30 * 3 + 30 * 3 + 30 + 3)
def spread_over_a_sum():
    # Of two tensors with one channel neither has a width to lose; their sum is spread over 5 channels.
    x = image()
    one = layers.Add()([conv(1, 1)(x), conv(1, 1)(x)])
    return keras.Model(x, head(conv(4, 1)(layers.Add()([conv(5, 1)(x), one]))))


@topology(smallest=30 * 9 * 3 + 30 * 9 + 30 * 9 * 2 + 30 * 3 + 3)
def dense_net():
    x = image()
    features = conv(5, activation=None)(x)
    for growth in (3, 4):
        new = conv(growth, activation=None)(norm_relu(features))
        features = layers.Concatenate()([features, new])
    return keras.Model(x, head(conv(7, 1)(norm_relu(features))))


@topology(smallest=30 * 3 * (1 + 2 + 2 + 1) + 30 * 3 + 3)
def concatenate_then_sum():
    """[a 3, b 5] + [c 4, d 4]: groups of 3 (a and c), 1 (b and c) and 4 (b and d)."""
    x = image()
    a, b, c, d = (conv(n, 1, name=name)(x) for name, n in zip("abcd", (3, 5, 4, 4), strict=True))
    y = layers.Add()([layers.Concatenate()([a, b]), layers.Concatenate()([c, d])])
    return keras.Model(x, head(conv(4, 1, name="after")(y)))


@topology(smallest=30 * 3 + 30 * 2 * 9 + 3)
def concatenate_same_twice():
    x = image()
    y = conv(5, 1)(x)
    return keras.Model(x, head(conv(4)(layers.Concatenate()([y, y]))))


@topology(smallest=2 * 30 * 3 + 30 * 2 * 9 + 3)
def concatenate_crosswise_then_sum():
    x = image()
    a, b = conv(5, 1)(x), conv(5, 1, activation="tanh")(x)
    y = layers.Add()([layers.Concatenate()([a, b]), layers.Concatenate()([b, a])])
    return keras.Model(x, head(conv(4)(y)))


@topology(smallest=2 * 30 * 3 + 60 * 9 + 3)
def concatenate_along_height():
    x = image()
    y = layers.Concatenate(axis=1)([conv(5, 1)(x), conv(5, 1, activation="tanh")(x)])  # 12 x 5
    return keras.Model(x, head(conv(4)(y)))


@topology(smallest=30 * 3 + 30 * 3 + 30 + 3)
def concatenate_with_input():
    # The input's 3 channels stay beside the 1 that is left of 5, and 4 are read.
    x = image()
    y = layers.Concatenate(axis=-1)([x, conv(5, 1)(x)])
    return keras.Model(x, head(conv(4, 1)(y)))


@topology(smallest=30 * 3 + 30 * 9 * 3 + 6 * 3 + 30 * 3 + 30 * 4 + 3)
def inception():
    x = image()
    pooled = layers.MaxPooling2D(3, strides=1, padding="same")(x)
    small = layers.AveragePooling2D(2)(x)  # 3 x 2
    small = layers.Cropping2D(((0, 0), (0, 1)))(layers.UpSampling2D((2, 3))(conv(3, 1)(small)))  # 6 x 6, 6 x 5
    branches = [conv(5, 1)(x), conv(4)(x), small, conv(7, 1)(pooled)]
    return keras.Model(x, head(conv(5, 1)(layers.Concatenate()(branches))))


@topology(smallest=24 * 9 * 3 + 6 * 9 + 24 * 9 * 2 + 24 * 3)
def unet():
    x = keras.Input((6, 4, 3))
    skip = conv(5, name="down")(x)
    y = conv(7, name="bottom")(layers.MaxPooling2D(2)(skip))  # 3 x 2
    y = layers.Concatenate(name="join")([layers.UpSampling2D(2)(y), skip])
    return keras.Model(x, conv(3, 1, activation="sigmoid", name="map")(conv(4, name="up")(y)))


@topology(smallest=24 * 9 * 3 + 6 * 9 + 6 * 4 + 24 * 9 * 2 + 24 * 2)
def unet_transposed():
    x = keras.Input((6, 4, 3))
    skip = conv(5)(x)
    y = conv(7, strides=2)(skip)  # 3 x 2
    y = layers.Conv2DTranspose(4, 2, strides=2)(y)
    y = layers.Concatenate()([skip, y])
    return keras.Model(x, conv(2, 1, activation=None)(norm_relu(conv(5)(y))))


@topology(smallest=30 * 3 * 2 + 30 + 30 + 30 * 2 + 3)
def slice_of_channels():
    """8 channels as 5 and 3: one of each stays."""
    x = image()
    y = conv(8, 1, name="whole")(x)
    y = layers.Concatenate()([conv(4, 1, name="left")(y[..., :5]), conv(7, 1, name="right")(y[..., 5:])])
    return keras.Model(x, head(conv(5, 1, name="after")(y)))


@topology(smallest=30 * 3 * 3 + 30 * 2 + 30 * 2 + 30 * 2 + 3)
def slices_that_overlap():
    """Channels 0-4 and 3-7 of 8: groups of 3, 2 and 3, and two of them in each slice."""
    x = image()
    y = conv(8, 1)(x)
    y = layers.Concatenate()([conv(4, 1)(y[:, :, :, 0:5]), conv(7, 1)(y[..., -5:])])
    return keras.Model(x, head(conv(5, 1)(y)))


@topology(smallest=30 * 3 + 12 * 9 + 3)
def slice_of_positions():
    x = image()
    y = conv(5, 1)(x)[:, ::2, 1:]  # 3 x 4
    return keras.Model(x, head(conv(4)(y)))


@topology(smallest=30 * 3 * 2 + 30 + 30 * 2 + 3)
def slice_joined_with_the_whole():
    """Of 6 channels the last 4 are read twice and the first 2 once: two groups."""
    x = image()
    y = conv(6, 1)(x)
    part = conv(4, 1)(y[..., 2:])  # reads 1 of the 4
    return keras.Model(x, head(layers.Add()([conv(4, 1)(y), part])))


@topology(smallest=30 * 3 + 30 * 9 * 2 + 3)
def padded_channels_alone():
    """Zeros that nothing is added to, 2 before the channels and 1 after them, are channels like any other."""
    x = image()
    return keras.Model(x, head(conv(4)(pad_channels(conv(5, 1)(x), 2, 1))))


@topology(smallest=30 * 3 + 2 * (30 + 30 * 9 + 30) + 30 + 3)
def inverted_residual():
    x = image()
    y = layers.BatchNormalization()(conv(4, 1, activation=None)(x))
    for expansion in (11, 13):
        z = layers.ReLU(6.0)(layers.BatchNormalization()(conv(expansion, 1, activation=None, use_bias=False)(y)))
        z = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(z)
        z = conv(4, 1, activation=None, use_bias=False)(layers.ReLU(6.0)(layers.BatchNormalization()(z)))
        y = layers.Add()([y, layers.BatchNormalization()(z)])
    return keras.Model(x, head(conv(7, 1)(y)))


@topology(smallest=30 * 9 * 3 * 2 + 30 * 9 * 2 * 2 + 30 * 9 * 2 * 3 + 30 * 3 + 3)
def grouped_conv_after_residual():
    # A stream of 6 channels read by 3 blocks of 2: two channels of the stream live and die together.
    x = image()
    y = conv(6, name="stem")(x)
    y = layers.Add()([y, conv(6, name="branch")(y)])
    y = conv(9, groups=3, name="grouped")(y)
    return keras.Model(x, head(conv(4, 1, name="after")(y)))


@topology(smallest=30 * 3 + 30 * 2 + 30 * 9 * 2 * 2 + 30 * 2 + 3)
def resnext_block():
    x = image()
    y = conv(5, 1)(x)
    z = norm_relu(conv(8, 1, activation=None)(y))
    z = norm_relu(conv(8, groups=4, activation=None)(z))
    return keras.Model(x, head(layers.ELU()(layers.Add()([y, conv(5, 1, activation=None)(z)]))))


@topology(smallest=30 * 3 * 4 + 30 * 9 * 2 * 4 + 30 * 4 + 3)
def grouped_conv_after_concatenation():
    # 2 + 6 channels in 4 blocks of 2 (outputs: 4 blocks of 2). The first block is all of the first branch, so of both
    # branches one block must stay.
    x = image()
    y = layers.Concatenate()([conv(2, 1)(x), conv(6, 1)(x)])
    return keras.Model(x, head(conv(5, 1)(conv(8, groups=4)(y))))
