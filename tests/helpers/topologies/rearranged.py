"""Models that rearrange channels: reshapes, transposes, splits, slices, repetition."""

import keras
from keras import layers, ops

from topologies.chains import conv, head, image
from topologies.registry import topology


@topology(smallest=30 * 9 * 3 + 30 * 9 + 3)
def permuted():
    x = image()
    y = layers.Permute((2, 1, 3), name="permute")(conv(5, name="into")(x))
    return keras.Model(x, head(conv(7)(y)))


@topology(smallest=30 * 3 * 2 + 60 + 3)
def reshape_that_moves_channels():
    # Channels 0 and 2, and 1 and 3, come to lie on one channel.
    x = image()
    y = layers.Reshape((6, 10, 2), name="reshape")(conv(4, 1, name="into")(x))
    return keras.Model(x, head(conv(7, 1)(y)))


@topology(smallest=30 * 3 * 3 + 30 * 3 + 3)
def channel_shuffle():
    # 12 channels in 3 groups of 4: of each group the channel in the same place goes.
    x = image()
    y = layers.Reshape((6, 5, 3, 4))(conv(12, 1, name="before")(x))
    y = layers.Reshape((6, 5, 12))(layers.Permute((1, 2, 4, 3))(y))
    return keras.Model(x, head(conv(5, 1, name="after")(y)))


@topology(smallest=30 * 3 * 4 + 30 * 9 * 4 * 4 + 30 * 9 * 4 + 30 * 4 + 3)
def channel_shuffle_of_blocks():
    # A grouped convolution ties blocks of 4: whole blocks go, and the shuffle must not tie them.
    x = image()
    y = conv(12, groups=3)(conv(12, 1)(x))
    y = layers.Permute((1, 2, 4, 3))(layers.Reshape((6, 5, 3, 4))(y))
    y = layers.DepthwiseConv2D(3, padding="same")(layers.Reshape((6, 5, 12))(y))
    return keras.Model(x, head(conv(5, 1)(y)))


@topology(smallest=30 * 3 * 2 + 30 * 2 + 3)
def channel_shuffle_by_operations():
    x = image()
    y = ops.reshape(conv(8, 1)(x), (-1, 6, 5, 2, 4))
    y = ops.reshape(ops.transpose(y, (0, 1, 2, 4, 3)), (-1, 6, 5, 8))
    return keras.Model(x, head(conv(5, 1)(y)))


@topology(smallest=30 * 3 * 2 + 30 + 30 * 2 + 3)
def shuffle_unit():
    # ShuffleNet V2: half of the channels pass by, and are then shuffled with the other half.
    x = image()
    left, right = ops.split(conv(8, 1)(x), 2, axis=-1)
    y = layers.Reshape((6, 5, 2, 4))(layers.Concatenate()([left, conv(4, 1)(right)]))
    y = layers.Reshape((6, 5, 8))(ops.swapaxes(y, -1, -2))
    return keras.Model(x, head(conv(5, 1)(y)))


@topology(smallest=30 * 3 * 3 + 3 * 30 + 30 + 3)
def split_at_points():
    x = image()
    a, b, c = ops.split(conv(9, 1)(x), [2, 5], axis=-1)
    y = conv(4, 1)(a) + conv(4, 1)(b) * conv(4, 1)(c)
    return keras.Model(x, head(conv(5, 1)(y)))


@topology(smallest=30 * 3 * 2 + 30 + 30 + 30 + 3)
def split_into_equal_parts():
    # The parts are read by different layers, so equal sections come out unequal.
    x = image()
    a, b = ops.split(conv(10, 1)(x), 2, axis=3)
    return keras.Model(x, head(conv(5, 1)(layers.Add()([conv(4, 1)(a), conv(4, 1, activation="tanh")(b)]))))


@topology(smallest=30 * 3 + 15 * 9 + 3)
def split_of_positions():
    x = image()
    top, bottom = ops.split(conv(5, 1)(x), 2, axis=1)
    return keras.Model(x, head(conv(4)(top * bottom)))


@topology(smallest=3 * 3 + 3)
def unstacked_positions():
    x = keras.Input((3, 3))
    a, b, c = ops.unstack(layers.Conv1D(5, 1, activation="elu")(x), axis=1)
    return keras.Model(x, layers.Dense(3)(a * b + c))


@topology(smallest=30 * 3 * 2 + 30 + 30 + 3)
def slice_that_skips_channels():
    # Every second channel, and the others: pairs of neighbours go.
    x = image()
    y = conv(8, 1, name="whole")(x)
    return keras.Model(x, head(layers.Add()([conv(5, 1)(y[..., ::2]), conv(5, 1)(y[..., 1::2])])))


@topology(smallest=30 * 3 * 3 + 30 + 30 * 3 + 3)
def slice_that_skips_from_the_middle():
    """Channels 3, 5 and 7 of 8: the first two go each alone, the other six in pairs."""
    x = image()
    y = conv(8, 1)(x)
    return keras.Model(x, head(layers.Add()([conv(4, 1)(y[..., 3::2]), conv(4, 1)(y)])))


@topology(smallest=30 * 3 * 2 + 30 + 3)
def slice_backwards():
    """Channels 4 to 1 of 6: those four, and the two that nothing reads."""
    x = image()
    return keras.Model(x, head(conv(5, 1)(conv(6, 1)(x)[..., 4:0:-1])))


@topology(smallest=30 * 3 * 2 + 30 * 2 + 3)
def channel_taken_by_its_number():
    # Channel 2 weighs all of them, and stays.
    x = image()
    y = conv(5, 1, name="into")(x)
    return keras.Model(x, head(conv(4, 1)(y * ops.expand_dims(y[..., 2], -1))))


@topology(smallest=6 * 3 + 3)
def positions_taken_by_their_number():
    x = keras.Input((6, 3))
    y = layers.Conv1D(5, 1, activation="elu")(x)
    token = y[:, 0] + ops.squeeze(y[:, 2:3], 1)
    return keras.Model(x, layers.Dense(3)(token * y[:, None, -1][:, 0]))


@topology(smallest=30 * 3 + 30 * 6 + 3)
def repeated_and_turned_channels():
    x = image()
    y = conv(4, 1)(x)
    parts = [ops.repeat(y, 2, axis=-1), ops.tile(y, [1, 1, 1, 2]), ops.flip(y, axis=-1), ops.roll(y, 1, axis=-1)]
    return keras.Model(x, head(conv(5, 1)(ops.concatenate(parts, axis=-1))))


@topology(smallest=30 * 3 + 120 + 3)
def repeated_and_turned_positions():
    x = image()
    y = ops.roll(ops.flip(conv(5, 1)(x), axis=1), 2, axis=2)
    y = ops.tile(ops.repeat(y, 2, axis=1), [1, 1, 2, 1])  # 12 x 10
    return keras.Model(x, head(conv(4, 1)(y)))


@topology(smallest=30 * 3 * 2 + 30 * 3 + 3)
def repeated_unequally():
    # Channels 0 and 1 once, 2, 3 and 4 twice: two groups.
    x = image()
    return keras.Model(x, head(conv(4, 1)(ops.repeat(conv(5, 1)(x), [1, 1, 2, 2, 2], axis=-1))))


@topology(smallest=2 * 30 * 3 + 60 + 3)
def stacked():
    x = image()
    y = ops.stack([conv(5, 1)(x), conv(5, 1, activation="tanh")(x)], axis=1)  # 2 x 6 x 5
    return keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling3D()(layers.Conv3D(4, 1)(y))))


@topology(smallest=2 * 30 * 3 + 30 + 3)
def largest_of_a_stack():
    x = image()
    y = ops.max(ops.stack([conv(5, 1)(x), conv(5, 1, activation="tanh")(x)], axis=-1), axis=-1)
    return keras.Model(x, head(conv(4, 1)(y)))


@topology(smallest=30 * 3 * 3 + 30 + 3)
def maxout():
    # The largest of each 3 neighbours: 2 units of 3 channels.
    x = image()
    y = ops.max(layers.Reshape((6, 5, 2, 3))(conv(6, 1)(x)), axis=-1)
    return keras.Model(x, head(conv(4, 1)(y)))


@topology(smallest=30 * 3 * 4 + 120 + 3)
def depth_to_space():
    x = image()
    return keras.Model(x, head(conv(5, 1)(ops.depth_to_space(conv(12, 1)(x), 2))))  # 12 x 10


@topology(smallest=24 * 3 + 6 * 4 + 3)
def space_to_depth():
    x = keras.Input((6, 4, 3))
    return keras.Model(x, head(conv(4, 1)(ops.space_to_depth(conv(5, 1)(x), 2))))  # 3 x 2


@topology(smallest=30 * 3 + 30 + 3)
def transposed_there_and_back():
    x = image()
    y = ops.transpose(conv(5, 1)(x), (0, 3, 1, 2))
    y = ops.relu(y) + ops.mean(y, axis=(2, 3), keepdims=True)
    return keras.Model(x, head(conv(4, 1)(ops.moveaxis(y, 1, -1))))


@topology(smallest=30 * 3 + 40 * 9 * 2 + 3)
def padded_with_a_number():
    # A channel of 0.5 stays beside the 1 that is left of 5; 8 x 5 positions.
    x = image()
    y = ops.pad(conv(5, 1)(x), [[0, 0], [1, 1], [0, 0], [1, 0]], constant_values=0.5)
    return keras.Model(x, head(conv(4)(y)))


@topology(smallest=7 * 3 + 7 * 3 + 7 + 3)
def axes_of_one():
    x = keras.Input((7, 3))
    y = ops.expand_dims(layers.Conv1D(5, 1, activation="elu")(x), 1)
    y = ops.squeeze(layers.Conv2D(4, (1, 3), padding="same")(y), 1)
    return keras.Model(x, layers.Dense(3)(layers.GlobalMaxPooling1D()(layers.Conv1D(5, 1)(y))))


@topology(smallest=6 + 4 + 4 * 3)
def repeated_vector():
    x = keras.Input((6,))
    y = layers.RepeatVector(4)(layers.Dense(5, activation="elu")(x))
    return keras.Model(x, layers.Dense(3)(layers.Flatten()(layers.Conv1D(4, 1, activation="elu")(y))))


@topology(smallest=30 * 3 + 30 + 3)
def flat_by_operations():
    x = image()
    y = ops.reshape(conv(5, 1)(x), (-1, 150))
    return keras.Model(x, layers.Dense(3)(layers.Dense(7, activation="elu")(y)))


@topology(smallest=30 * 3 + 30 + 3)
def flat_and_back():
    # Positions first, then all in one, then images again.
    x = image()
    y = layers.Flatten()(layers.Reshape((-1, 7))(conv(7, 1)(x)))
    return keras.Model(x, head(conv(4, 1)(layers.Reshape((5, 6, 7))(y))))


@topology(smallest=7 * 6 + 6 * 9 + 24 * 9 * 3)
def decoder():
    # 12 units become 3 x 2 positions of 2 channels: 6 units go with each channel.
    x = keras.Input((7,))
    y = layers.Reshape((3, 2, 2))(layers.Dense(12, activation="elu")(x))
    y = layers.BatchNormalization()(layers.Conv2DTranspose(5, 3, strides=2, padding="same")(y))  # 6 x 4
    return keras.Model(x, conv(3, activation="sigmoid")(y))


@topology(smallest=30 * 3 + 120 + 3)
def resized():
    x = image()
    return keras.Model(x, head(conv(4, 1)(layers.Resizing(12, 10)(conv(5, 1)(x)))))


@topology(smallest=2 * 30 * 3 * 2 + 30 + 3)
def nested_split_called_twice():
    # One operation splits two tensors, at one point.
    inner_input = image((6, 5, 8))
    values, gates = ops.split(inner_input, 2, axis=-1)
    inner = keras.Model(inner_input, values * ops.sigmoid(gates), name="inner")
    x = image()
    y = inner(conv(8, 1)(x)) + inner(conv(8, 1, activation="tanh")(x))
    return keras.Model(x, head(conv(5, 1)(y)))


@topology(smallest=2 * 30 * 3 + 30 * 2 + 3)
def nested_roll_called_twice():
    # Nothing but the shift of one operation ties the two.
    inner_input = image((6, 5, 5))
    inner = keras.Model(inner_input, ops.roll(inner_input, 2, axis=-1), name="inner")
    x = image()
    y = layers.Concatenate()([inner(conv(5, 1)(x)), inner(conv(5, 1, activation="tanh")(x))])
    return keras.Model(x, head(conv(4, 1)(y)))
