"""Models without branches: every kind of layer that can stand in a chain.

Images are 6 x 5 x 3, so 30 positions; a 3x3 convolution has 9 products for each position, input and output channel.
"""

import keras
from keras import layers

from topologies.registry import topology

_NAMES = (
    "celu elu exponential gelu hard_shrink hard_sigmoid hard_silu hard_tanh leaky_relu linear log_sigmoid mish relu "
    "relu6 selu sigmoid silu soft_shrink softplus softsign sparse_plus sparse_sigmoid squareplus tanh tanh_shrink"
)
ELEMENTWISE = _NAMES.split()


def image(shape=(6, 5, 3)):
    return keras.Input(shape)


def conv(filters, kernel_size=3, activation="softplus", **options):
    return layers.Conv2D(filters, kernel_size, padding=options.pop("padding", "same"), activation=activation, **options)


def head(x, units=3):
    """Global average pooling and a classifier: `channels * units` MACs."""
    return layers.Dense(units)(layers.GlobalAveragePooling2D()(x))


@topology(smallest=30 * 9 * 3 + 4 * 9 + 4)
def conv_chain():
    x = image()
    y = layers.Conv2D(5, 3, padding="same", activation="softplus", name="first")(x)
    y = layers.Conv2D(7, 3, strides=2, activation="tanh", name="second")(
        y
    )  # (6 - 3) // 2 + 1 = 2, (5 - 3) // 2 + 1 = 2
    return keras.Model(x, layers.Dense(4, name="logits")(layers.GlobalAveragePooling2D()(y)))


@topology(smallest=30 * 9 * 3 + 4 * 9 + 4)
def sequential():
    return keras.Sequential(
        [
            keras.Input((6, 5, 3)),
            layers.Conv2D(5, 3, padding="same", activation="softplus"),
            layers.Conv2D(7, 3, strides=2, activation="tanh"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4),
        ]
    )


@topology(smallest=11 * 3 * 3 + 4 * 2 + 4)
def conv1d_chain():
    x = keras.Input((11, 3))
    y = layers.Conv1D(5, 3, padding="causal", dilation_rate=2, activation="tanh")(x)
    y = layers.Conv1D(7, 2, strides=3, activation="gelu")(y)  # (11 - 2) // 3 + 1 = 4 positions
    return keras.Model(x, layers.Dense(4)(layers.GlobalMaxPooling1D()(y)))


@topology(smallest=36 * 8 * 2 + 6 * 1 + 3)
def conv3d_chain():
    x = keras.Input((3, 4, 3, 2))
    y = layers.Conv3D(5, 2, padding="same", activation="selu")(x)
    y = layers.BatchNormalization()(y)
    y = layers.MaxPooling3D((1, 2, 1))(layers.SpatialDropout3D(0.3)(y))  # 3 x 2 x 3
    y = layers.AveragePooling3D((1, 1, 2), padding="same")(y)  # 3 x 2 x 2
    y = layers.Cropping3D(((0, 0), (0, 1), (1, 0)))(y)  # 3 x 1 x 1
    y = layers.UpSampling3D((1, 2, 1))(y)  # 3 x 2 x 1
    y = layers.Conv3D(4, 1)(y)
    y = layers.ZeroPadding3D(1)(y)
    return keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling3D()(y)))


@topology(smallest=8 * 6 * 3 + 8 + 3)
def conv_without_bias_dilated():
    x = image()
    # A 3x2 kernel dilated by (2, 1) covers 5x2: 2 x 4 positions.
    y = conv(5, (3, 2), padding="valid", dilation_rate=(2, 1), use_bias=False)(x)
    return keras.Model(x, head(conv(7, 1, use_bias=False)(y)))


@topology(smallest=30 * 9 * 3 * 2 + 30 * 9 * 2 * 3 + 30 * 3 + 3)
def grouped_conv():
    # 8 channels in 4 blocks of 2 are read by 4 blocks of 3: one block of each can stay alone.
    x = image()
    y = conv(8, name="before")(x)
    y = conv(12, groups=4, name="grouped")(y)
    return keras.Model(x, head(conv(5, 1, name="after")(y)))


@topology(smallest=30 * 9 * 3 * 4 + 30 * 9 * 2 * 6 + 30 * 9 * 6 * 4 + 4 * 3)
def grouped_conv_twice():
    # The second convolution's 2 blocks of 6 inputs hold 2 of the first's 4 blocks of 3 outputs each: half is the least.
    x = image()
    y = conv(12, groups=4)(conv(8)(x))
    y = layers.ReLU()(layers.BatchNormalization()(y))
    return keras.Model(x, head(conv(8, groups=2)(y)))


@topology(smallest=7 * 3 * 3 * 3 + 7 * 2 * 3 * 2 + 7 * 2 + 3)
def grouped_conv1d():
    # 6 channels in 2 blocks of 3, 4 outputs in 2 blocks of 2.
    x = keras.Input((7, 3))
    y = layers.Conv1D(6, 3, padding="same", activation="elu")(x)
    y = layers.Conv1D(4, 2, padding="same", groups=2, activation="elu")(y)
    y = layers.Conv1D(5, 1)(y)
    return keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling1D()(y)))


@topology(smallest=30 * 9 * 3 + 9 * 9 + 9 + 3)
def depthwise():
    x = image()
    y = layers.DepthwiseConv2D(3, strides=2, padding="same", name="depthwise")(conv(5, name="expand")(x))  # 3 x 3
    y = layers.LeakyReLU()(layers.BatchNormalization(name="norm")(y))
    return keras.Model(x, head(conv(7, 1, name="project")(y)))


@topology(smallest=30 * 9 * 3 + 30 * 9 * 3 + 30 * 3 + 3)
def depthwise_multiplier():
    x = image()
    y = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=3, name="depthwise")(conv(5, name="expand")(x))
    y = layers.PReLU(shared_axes=[1, 2])(layers.BatchNormalization(name="norm")(y))
    return keras.Model(x, head(conv(4, 1, name="project")(y)))


@topology(smallest=7 * 2 * 3 + 6 * 2 * 2 + 6 * 2 + 3)
def depthwise1d():
    x = keras.Input((7, 3))
    y = layers.Conv1D(5, 2, padding="same", activation="elu")(x)
    y = layers.DepthwiseConv1D(2, depth_multiplier=2, use_bias=False)(y)
    y = layers.Conv1D(4, 1)(y)
    return keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling1D()(y)))


@topology(smallest=30 * 9 * 6 + 30 * 6 + 3)
def depthwise_at_input():
    # The input's 3 channels stay, and so do their 6 copies.
    x = image()
    y = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, activation="tanh")(x)
    return keras.Model(x, head(conv(5, 1)(y)))


@topology(smallest=30 * 9 * 6 + 30 * 6 + 9 * 9 + 9 + 3)
def separable():
    x = image()
    y = layers.SeparableConv2D(5, 3, padding="same", depth_multiplier=2, activation="elu", name="first")(x)
    y = layers.SeparableConv2D(7, 3, strides=2, padding="same", name="second")(y)  # 3 x 3
    return keras.Model(x, head(layers.LeakyReLU(negative_slope=0.2)(y)))


@topology(smallest=7 * 3 * 3 + 7 * 3 + 5 * 3 * 2 + 5 * 2 + 3)
def separable1d():
    x = keras.Input((7, 3))
    y = layers.SeparableConv1D(5, 3, padding="same", activation="elu")(x)
    y = layers.SeparableConv1D(4, 3, depth_multiplier=2, use_bias=False)(y)
    return keras.Model(x, layers.Dense(3)(layers.GlobalMaxPooling1D()(y)))


@topology(smallest=9 * 9 * 3 + 9 * 9 + 36 + 3)
def transposed():
    x = image()
    y = conv(5, strides=2, name="down")(x)  # 3 x 3
    y = layers.Conv2DTranspose(7, 3, strides=2, padding="same", activation="elu", name="up")(y)  # 6 x 6
    return keras.Model(x, head(conv(4, 1, name="after")(y)))


@topology(smallest=7 * 3 + 7 * 2 + 13 + 3)
def transposed1d():
    x = keras.Input((7, 3))
    y = layers.Conv1D(5, 1, activation="elu")(x)
    y = layers.Conv1DTranspose(4, 2, strides=2, use_bias=False)(y)  # 14 positions
    y = layers.Cropping1D((1, 0))(layers.BatchNormalization()(y))  # 13
    y = layers.Conv1D(7, 1)(y)
    return keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling1D()(y)))


@topology(smallest=12 * 9 * 3 + 12 + 3)
def flatten_dense():
    x = image()
    y = conv(5, padding="valid", name="conv")(x)  # 4 x 3
    y = layers.Flatten()(layers.BatchNormalization(name="norm")(y))
    y = layers.Dense(7, activation="softplus", name="hidden")(y)
    return keras.Model(x, layers.Dense(3, name="logits")(y))


@topology(smallest=12 * 9 * 3 + 12 + 3)
def reshape_to_flat():
    x = image()
    y = layers.Reshape((12, 5))(conv(5, padding="valid")(x))
    y = layers.Reshape((-1, 5))(layers.BatchNormalization()(y))
    y = layers.Reshape((60,))(y)
    return keras.Model(x, layers.Dense(3)(layers.Dense(7, activation="elu")(y)))


# Images of 3 x 4 x 11: on TensorFlow Keras 3.15 adds a bias along the width where that is as large as the bias.


@topology(smallest=44 * 9 * 3 + 44 * 9 + 22 * 9 + 22 + 22 * 9 + 22 * 3)
def channels_first():
    first = {"data_format": "channels_first"}
    x = keras.Input((3, 4, 11))
    y = conv(5, **first)(x)
    y = layers.PReLU()(layers.BatchNormalization(axis=1)(y))
    y = conv(7, **first)(y)
    y = layers.MaxPooling2D((2, 1), **first)(layers.ZeroPadding2D(((0, 0), (0, 0)), **first)(y))  # 2 x 11
    y = layers.DepthwiseConv2D(3, padding="same", **first)(y)
    y = conv(4, 1, **first)(y)
    y = layers.Conv2DTranspose(5, 3, padding="same", **first)(y)
    return keras.Model(x, layers.Dense(3)(layers.Flatten(data_format="channels_last")(y)))  # channel after channel


@topology(smallest=44 * 9 * 3 + 44 * 3)
def channels_first_flatten():
    # Keras moves the channels to the end before it flattens: this reads position after position.
    first = {"data_format": "channels_first"}
    x = keras.Input((3, 4, 11))
    return keras.Model(x, layers.Dense(3)(layers.Flatten(**first)(conv(5, **first)(x))))


@topology(smallest=44 * 9 * 2 * 6 + 44 * 6 + 3)
def channels_first_grouped_at_input():
    # The input's 4 channels stay, and with them both blocks of the grouped convolution, which read 2 channels each.
    first = {"data_format": "channels_first"}
    x = keras.Input((4, 4, 11))
    y = conv(6, groups=2, **first)(x)
    y = conv(5, 1, **first)(y)
    return keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling2D(**first)(y)))


@topology(smallest=30 * 9 * 3 + 30 * 3)
def flatten_of_the_other_data_format():
    # "channels_first" makes Flatten move the axis of height to the end.
    x = image()
    return keras.Model(x, layers.Dense(3)(layers.Flatten(data_format="channels_first")(conv(5)(x))))


@topology(smallest=5 * 3 + 5 + 5 * 3)
def dense_on_rank_3():
    x = keras.Input((5, 3))
    y = layers.Dense(4, activation="tanh")(layers.Dense(7, activation="gelu", use_bias=False)(x))
    return keras.Model(x, layers.Dense(3)(layers.Flatten()(y)))


@topology(smallest=13 + 1 + 3)
def dense_chain():
    x = keras.Input((13,))
    y = layers.BatchNormalization()(layers.Dense(11, activation="elu")(x))
    y = layers.Dropout(0.5)(layers.Dense(7, activation="tanh")(y))
    return keras.Model(x, layers.Dense(3, activation="softmax")(y))


@topology(smallest=1 + 3)
def dense_on_a_number():
    # Samples without any axis: Flatten gives them one channel. 1 x 5 products are cut to 1 x 1, then 1 x 3.
    x = keras.Input(())
    y = layers.Dense(5, activation="elu", name="hidden")(layers.Flatten()(x))
    return keras.Model(x, layers.Dense(3)(y))


@topology(smallest=30 * 9 * 3 + 30 * 9 * 3 + 3)
def batch_norm_without_scale_or_offset():
    x = image()
    y = layers.Activation("softplus")(layers.BatchNormalization(scale=False)(conv(5, activation=None)(x)))
    y = layers.Activation("tanh")(layers.BatchNormalization(center=False)(conv(4, activation=None)(y)))
    y = layers.BatchNormalization(scale=False, center=False)(conv(7, activation=None)(y))
    return keras.Model(x, head(layers.ELU()(conv(5)(y))))


@topology(smallest=30 * 9 * 3 + 2 * 30 + 30 + 3)
def prelu():
    x = image()
    y = layers.PReLU(name="slopes")(conv(5, activation=None, name="conv")(x))
    y = layers.PReLU(shared_axes=[1, 2])(conv(7, 1, activation=None)(y))
    y = layers.PReLU(shared_axes=[1, 2, 3])(conv(4, 1, activation=None)(y))
    y = layers.PReLU()(layers.Flatten()(y))
    return keras.Model(x, layers.Dense(3)(layers.Dense(1)(y)))


@topology(smallest=4 * 3 * len(ELEMENTWISE) + 4 * len(ELEMENTWISE) + 3)
def activations_of_convolutions():
    x = keras.Input((2, 2, 3))
    y = layers.Concatenate()([layers.Conv2D(2, 1, activation=name)(x) for name in ELEMENTWISE])
    return keras.Model(x, head(layers.Conv2D(5, 1, activation="tanh")(y)))


@topology(smallest=4 * 3 * len(ELEMENTWISE) + 4 * len(ELEMENTWISE) + 3)
def activations_as_layers():
    x = keras.Input((2, 2, 3))
    y = layers.Concatenate()([layers.Activation(name)(layers.Conv2D(2, 1)(x)) for name in ELEMENTWISE])
    return keras.Model(x, head(layers.Conv2D(5, 1, activation="tanh")(y)))


@topology(smallest=30 * 3 + 3 * 30 + 3)
def activation_layers():
    x = image()
    y = layers.LeakyReLU(negative_slope=0.3)(layers.Conv2D(5, 1)(x))
    y = layers.ReLU(max_value=6.0, negative_slope=0.1, threshold=0.1)(layers.Conv2D(7, 1)(y))
    y = layers.ELU(alpha=0.7)(layers.Conv2D(4, 1)(y))
    y = layers.Identity()(layers.ActivityRegularization(l2=0.1)(layers.Conv2D(5, 1)(y)))
    return keras.Model(x, head(y))


@topology(smallest=30 * 3 + 2 * 30 + 3)
def activation_given_as_a_layer():
    x = image()
    y = conv(5, 1, activation=layers.LeakyReLU(negative_slope=0.3), name="leaky")(x)
    y = conv(7, 1, activation=layers.ReLU(max_value=1.5))(y)
    return keras.Model(x, head(layers.Activation(layers.ELU(alpha=0.3))(conv(4, 1, activation=None)(y))))


@topology(smallest=30 * 9 * 3 + 6 * 9 + 9 + 1 + 3)
def pooling():
    x = image()
    y = layers.MaxPooling2D(2)(conv(5)(x))  # 3 x 2
    y = layers.AveragePooling2D(2, strides=1, padding="same")(conv(7)(y))  # 3 x 2
    y = layers.UpSampling2D((1, 2), interpolation="bilinear")(y)  # 3 x 4
    y = layers.MaxPooling2D((1, 2), strides=1)(y)  # 3 x 3
    y = layers.GlobalMaxPooling2D(keepdims=True)(conv(4, 1)(y))
    y = layers.GlobalAveragePooling2D(keepdims=True)(conv(5, 1)(y))
    return keras.Model(x, layers.Dense(3)(layers.Flatten()(y)))


@topology(smallest=11 * 3 * 3 + 5 * 3 + 3 + 3)
def pooling1d():
    x = keras.Input((11, 3))
    y = layers.MaxPooling1D(2)(layers.Conv1D(5, 3, padding="same", activation="elu")(x))  # 5
    y = layers.AveragePooling1D(2, strides=2, padding="same")(layers.Conv1D(7, 3, padding="same")(y))  # 3
    y = layers.GlobalMaxPooling1D(keepdims=True)(layers.Conv1D(4, 1, activation="tanh")(y))
    y = layers.GlobalAveragePooling1D()(layers.UpSampling1D(2)(y))
    return keras.Model(x, layers.Dense(3)(y))


@topology(smallest=30 * 9 * 3 + 6 * 7 * 9 + 5 * 6 * 9 + 3)
def padding_and_cropping():
    x = image()
    y = layers.ZeroPadding2D(((1, 1), (2, 2)))(conv(5)(x))  # 8 x 9
    y = layers.Conv2D(7, 3, activation="elu")(y)  # 6 x 7
    y = layers.Cropping2D(((1, 0), (0, 1)))(y)  # 5 x 6
    return keras.Model(x, head(conv(4)(y)))


@topology(smallest=7 * 3 + 7 * 2 + 3)
def padding_and_cropping_1d():
    x = keras.Input((7, 3))
    y = layers.ZeroPadding1D((2, 1))(layers.Conv1D(5, 1, activation="elu")(x))  # 10
    y = layers.Cropping1D((1, 1))(y)  # 8
    y = layers.Conv1D(4, 2)(y)  # 7
    return keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling1D()(y)))


@topology(smallest=30 * 9 * 3 + 30 * 9 + 3)
def rescaling():
    x = image()
    y = conv(5)(layers.Rescaling(1 / 3, offset=-0.5)(x))
    return keras.Model(x, head(conv(7)(layers.Rescaling(0.5, offset=0.25)(y))))


@topology(smallest=30 * 9 * 3 + 30 * 9 + 3)
def normalization_adapted():
    x = image()
    rng = keras.random.SeedGenerator(3)
    normalization = layers.Normalization(name="normalization")
    normalization.adapt(keras.random.normal((4, 6, 5, 3), 2.0, 5.0, seed=rng))
    return keras.Model(x, head(conv(7)(conv(5)(normalization(x)))))


@topology(smallest=30 * 9 * 3 + 30 * 9 + 3)
def normalization_given():
    x = image()
    y = layers.Normalization(mean=[0.5, -1.0, 2.0], variance=[0.3, 2.0, 1.5])(x)
    return keras.Model(x, head(conv(7)(conv(5)(y))))


@topology(smallest=30 * 9 * 3 + 30 * 9 + 6 + 3)
def dropout_and_noise():
    x = image()
    y = layers.GaussianNoise(0.1)(layers.Dropout(0.3)(conv(5)(x)))
    y = layers.SpatialDropout2D(0.3)(layers.AlphaDropout(0.2)(conv(7)(y)))
    y = layers.MaxPooling2D(2)(layers.GaussianDropout(0.2)(y))
    return keras.Model(x, head(conv(4, 1)(y)))


@topology(smallest=64 * 9 * 3 + 64 * 9 + 16 * 9 + 16 * 9 + 4 + 3)
def vgg_like():
    x = keras.Input((8, 8, 3))
    y = x
    for filters in (5, 7):
        for _ in range(2):
            y = layers.LeakyReLU()(layers.BatchNormalization()(conv(filters, activation=None, use_bias=False)(y)))
        y = layers.MaxPooling2D(2)(y)
    y = layers.Dense(11, activation="leaky_relu")(layers.Flatten()(y))  # 2 x 2 positions
    return keras.Model(x, layers.Dense(3)(layers.Dropout(0.5)(y)))


@topology(smallest=9 * 3 + 3)
def text():
    x = keras.Input((9,), dtype="int32")
    y = layers.Embedding(7, 5)(x)
    y = layers.Conv1D(11, 3, padding="same", activation="elu")(y)
    return keras.Model(x, layers.Dense(3)(layers.GlobalMaxPooling1D()(y)))
