"""Models with Python operators and functions of keras.ops between layers, and layers that applications define."""

import keras
import numpy as np
from keras import layers, ops
from keras.src.applications.convnext import LayerScale, StochasticDepth
from keras.src.applications.inception_resnet_v2 import CustomScaleLayer

from topologies.chains import conv, head, image
from topologies.registry import topology


@topology(smallest=2 * 30 * 9 * 3 + 30 * 9 + 3)
def operators():
    x = image()
    y = conv(5)(x) * conv(5, activation="tanh")(x) + 1
    y = ops.maximum(2.0 - y / 3.0, 0.1) ** 2
    y = ops.sqrt(ops.abs(-y) + 0.5) - ops.log(1.0 + ops.square(y))
    return keras.Model(x, head(conv(4)(y)))


@topology(smallest=2 * 30 * 3 + 30 + 3)
def where_one_is_larger():
    x = image()
    a, b = conv(5, 1)(x), conv(5, 1, activation="tanh")(x)
    y = ops.where(a > 1.5 * b, a, ops.clip(b, -0.5, 0.5)) + ops.cast(ops.less_equal(a, b), "float32")
    return keras.Model(x, head(conv(4, 1)(y)))


@topology(smallest=30 * 3 + 30 + 3)
def constants_of_each_channel():
    # Arrays lose the entries of the channels that go; one along the width of 5 does not.
    x = image()
    y = conv(5, 1)(x) * np.array([1.0, -2.0, 3.0, -4.0, 5.0], "float32")
    y = ops.subtract(np.arange(5, dtype="float32").reshape(1, 1, 5), y)
    y = y * np.linspace(0.5, 1.5, 5, dtype="float32").reshape(5, 1)
    return keras.Model(x, head(conv(4, 1)(y)))


@topology(smallest=30 * 3 + 30 * 5 + 3)
def one_channel_times_a_constant():
    # The constant makes 5 channels of 1: it has no width to lose.
    x = image()
    y = conv(1, 1)(x) * np.array([1.0, -2.0, 3.0, -4.0, 5.0], "float32")
    return keras.Model(x, head(conv(4, 1)(y)))


@topology(smallest=30 * 9 * 3 + 1 + 1 + 30 * 9 + 3)
def squeeze_excite_by_operations():
    x = image()
    y = conv(7)(x)
    s = conv(3, 1)(ops.mean(y, axis=(1, 2), keepdims=True))
    return keras.Model(x, head(conv(5)(y * conv(7, 1, activation="sigmoid")(s))))


@topology(smallest=30 * 9 * 3 + 1 + 1 + 30 * 9 + 3)
def squeeze_excite_with_new_axes():
    x = image()
    y = conv(7)(x)
    s = layers.Dense(3, activation="elu")(ops.max(y, axis=[1, 2]))
    s = layers.Dense(7, activation="sigmoid")(s)[:, None, None]
    return keras.Model(x, head(conv(5)(s * y)))


@topology(smallest=30 * 9 * 3 * 7 + 30 * 9 * 2 + 30 * 9 * 7 + 3)
def attention_from_statistics_of_channels():
    # CBAM: the mean and the largest of all channels change when one goes, so all stay.
    x = image()
    y = conv(7, name="into")(x)
    maps = [ops.mean(y, axis=-1, keepdims=True), ops.max(y, axis=-1, keepdims=True)]
    return keras.Model(x, head(conv(5)(y * conv(1, activation="sigmoid")(ops.concatenate(maps, axis=-1)))))


@topology(smallest=30 * 3 + 30 + 3)
def attention_pooling():
    # Weights of positions, spread over all channels.
    x = image()
    y = layers.Reshape((30, 5))(conv(5, 1)(x))
    weights = ops.softmax(layers.Conv1D(1, 1)(y), axis=1)
    return keras.Model(x, layers.Dense(3)(ops.sum(y * weights, axis=1)))


@topology(smallest=30 * 3 * 5 + 30 * 5 * 4 + 30 * 4 + 3)
def settings_of_each_channel():
    x = image()
    y = ops.clip(conv(5, 1, name="into")(x), 0.0, [0.5, 1.0, 1.5, 2.0, 2.5])
    y = ops.leaky_relu(ops.cumsum(conv(4, 1, name="summed", activation=None)(y), axis=-1))
    return keras.Model(x, head(conv(4, 1)(ops.cumsum(y, axis=1))))


@topology(smallest=30 * 3 * 5 + 30 * 5 + 3)
def softmax_by_an_operation():
    x = image()
    return keras.Model(x, head(conv(4, 1)(5.0 * ops.softmax(conv(5, 1, name="into")(x)))))


@topology(smallest=30 * 3 + 6 * 5 * 5 + 30 + 3)
def merge_over_a_fixed_axis():
    # The channels of the second tensor lie on the height, along which nothing can go; those of the first go.
    x, z = image((5, 6, 3)), keras.Input((5, 6, 1))
    first = layers.Conv2D(5, 1, data_format="channels_first", name="first")(z)  # [5, 6, 1]: 6 x 5 x 5
    return keras.Model([x, z], head(conv(7, 1)(conv(5, 1, name="last")(x) * first)))


@topology(smallest=2 * (12 * 9 * 3 + 12 * 7))
def siamese_distance():
    # The distance is a sum over the vector's 7 numbers, which stay.
    left, right = keras.Input((6, 5, 3), name="left"), keras.Input((6, 5, 3), name="right")
    convolution, vector = layers.Conv2D(5, 3, activation="elu"), layers.Dense(7, activation="tanh")
    a, b = (vector(layers.Flatten()(convolution(side))) for side in (left, right))
    return keras.Model([left, right], ops.sqrt(ops.sum(ops.square(a - b), axis=-1, keepdims=True)))


@topology(smallest=2 * (12 * 9 * 3 + 12) + 1)
def siamese_difference():
    left, right = keras.Input((6, 5, 3), name="left"), keras.Input((6, 5, 3), name="right")
    convolution, vector = layers.Conv2D(5, 3, activation="elu"), layers.Dense(7, activation="tanh")
    a, b = (vector(layers.Flatten()(convolution(side))) for side in (left, right))
    return keras.Model([left, right], layers.Dense(1, activation="sigmoid")(ops.abs(a - b)))


@topology(smallest=64 * 27 + 16 * 9 + 4 * 9 + 84 + 84 * 9 * 2)
def feature_pyramid():
    x = keras.Input((8, 8, 3))
    c1 = conv(4, name="c1")(x)
    c2 = conv(5, strides=2, name="c2")(c1)  # 4 x 4
    c3 = conv(7, strides=2, name="c3")(c2)  # 2 x 2
    head_of_all = conv(2, name="head", activation=None)
    p3 = conv(6, 1, name="lateral3")(c3)
    p2 = conv(6, 1, name="lateral2")(c2) + layers.UpSampling2D()(p3)
    p1 = conv(6, 1, name="lateral1")(c1) + layers.UpSampling2D()(p2)
    return keras.Model(x, {"fine": head_of_all(p1), "middle": head_of_all(p2), "coarse": head_of_all(p3)})


@topology(smallest=30 * 3 * 5 + 30 * 9 * 5 + 30 * 5 + 30 * 5 + 30 * 5 + 3)
def convnext_block():
    # The normalisation keeps the stream of 5; the expansion to 20 goes.
    x = image()
    y = conv(5, 1)(x)
    z = layers.LayerNormalization(epsilon=1e-6)(layers.DepthwiseConv2D(3, padding="same")(y))
    z = layers.Dense(5)(layers.Dense(20, activation="gelu")(z))
    z = StochasticDepth(0.1)(LayerScale(0.5, 5)(z))
    return keras.Model(x, head(conv(4, 1)(y + z)))


@topology(smallest=30 * 3 + 30 + 30 + 3)
def layer_scale():
    x = image()
    y = LayerScale(0.5, 5)(conv(5, 1)(x))
    return keras.Model(x, head(conv(7, 1)(conv(4, 1)(y))))


@topology(smallest=30 * 3 + 30 * 9 + 30 + 30 + 3)
def scaled_residual():
    # Inception-ResNet: the branch is scaled before it is added.
    x = image()
    y = conv(5, 1)(x)
    branch = conv(5, 1, activation=None)(conv(4)(y))
    return keras.Model(x, head(conv(4, 1)(layers.Activation("relu")(CustomScaleLayer(0.17)([y, branch])))))
