"""Nested models, shared layers, several inputs and outputs, dtype policies, frozen layers."""

import keras
import numpy as np
from keras import layers

from topologies.chains import conv, head, image
from topologies.merges import norm_relu, pad_channels, residual_block
from topologies.registry import topology


@topology(smallest=30 * 3 + 30 * 9 + 30 + 30 + 3)
def nested_functional():
    inner_input = image((6, 5, 5))
    y = conv(7, name="inner_1")(inner_input)
    inner = keras.Model(inner_input, conv(4, 1, name="inner_2")(y), name="inner")
    x = image()
    y = inner(conv(5, 1, name="before")(x))
    return keras.Model(x, head(conv(7, 1, name="after")(y)))


@topology(smallest=30 * 3 + 30 * 9 + 30 + 3)
def nested_sequential():
    inner = keras.Sequential([conv(7), layers.BatchNormalization(), layers.ReLU(), conv(4, 1)], name="inner")
    x = image()
    return keras.Model(x, head(inner(conv(5, 1)(x))))


@topology(smallest=30 * 3 + 30 + 30 + 3)
def nested_twice_deep():
    deep_input = image((6, 5, 4))
    deep = keras.Model(deep_input, layers.Add()([deep_input, conv(4, 1)(deep_input)]), name="deep")
    inner_input = image((6, 5, 5))
    inner = keras.Model(inner_input, deep(conv(4, 1)(inner_input)), name="inner")
    x = image()
    outer = keras.Sequential([inner, layers.ReLU()], name="outer")
    return keras.Model(x, head(outer(conv(5, 1)(x))))


@topology(smallest=30 * 9 * 3 + 4 * 9 + 4)
def sequential_in_sequential():
    features = keras.Sequential(
        [keras.Input((6, 5, 3)), conv(5), layers.BatchNormalization(), layers.Conv2D(7, 3, strides=2)]
    )
    return keras.Sequential([features, layers.ReLU(), layers.GlobalAveragePooling2D(), layers.Dense(4)])


@topology(smallest=30 * 3 + 2 * (30 * 9 + 30) + 30 + 3)
def nested_called_twice():
    # Both calls have the same weights, so the channels before, between and after them go together.
    inner_input = image((6, 5, 5))
    y = conv(7, activation="tanh")(inner_input)
    inner = keras.Model(inner_input, norm_relu(conv(5, 1, activation=None)(y)), name="inner")
    x = image()
    return keras.Model(x, head(conv(4, 1)(inner(inner(conv(5, 1)(x))))))


@topology(smallest=2 * (30 * 3 + 30 * 9) + 30 * 2 + 3)
def shared_conv():
    shared = conv(7, name="shared")
    x = image()
    y = layers.Concatenate()([shared(conv(5, 1)(x)), shared(conv(5, 1, activation="tanh")(x))])
    return keras.Model(x, head(conv(4, 1)(y)))


@topology(smallest=30 * 9 * 3 + 6 * 9 * 3 + 1 + 3)
def shared_conv_on_two_sizes():
    # The same layer at 6 x 5 and 3 x 2 positions.
    shared = conv(7)
    x = image()
    a, b = shared(x), shared(layers.AveragePooling2D(2)(x))
    pooled = [layers.GlobalAveragePooling2D()(a), layers.GlobalMaxPooling2D()(b)]
    y = layers.Dense(5, activation="elu")(layers.Subtract()(pooled))
    return keras.Model(x, layers.Dense(3)(y))


@topology(smallest=2 * 30 * 3 + 30 * 2 + 3)
def shared_batch_norm():
    # Its scales tie two convolutions that nothing else ties.
    norm = layers.BatchNormalization(name="shared")
    x = image()
    y = layers.Concatenate()([norm(conv(5, 1)(x)), layers.ReLU()(norm(conv(5, 1)(x)))])
    return keras.Model(x, head(conv(4, 1)(y)))


@topology(smallest=2 * (30 * 3 + 30) + 2 * 30 + 3)
def shared_depthwise_and_prelu():
    shared = [layers.DepthwiseConv2D(1, depth_multiplier=1), layers.PReLU(), layers.ReLU()]
    x = image()
    branches = []
    for activation in ("elu", "tanh"):
        y = conv(5, 1, activation=activation)(x)
        for layer in shared:
            y = layer(y)
        branches.append(conv(4, 1)(y))
    return keras.Model(x, head(layers.Maximum()(branches)))


@topology(smallest=2 * (12 * 9 * 3 + 12) + 1 + 1)
def siamese():
    left, right = keras.Input((6, 5, 3), name="left"), keras.Input((6, 5, 3), name="right")
    tower_input = image()
    y = layers.Flatten()(layers.Conv2D(5, 3, activation="elu")(tower_input))  # 4 x 3 positions
    tower = keras.Model(tower_input, layers.Dense(7, activation="tanh")(y), name="tower")
    y = layers.Dense(4, activation="elu")(layers.Subtract()([tower(left), tower(right)]))
    return keras.Model([left, right], layers.Dense(1, activation="sigmoid")(y))


@topology(smallest=2 * (30 * 3 + 1) + 2 + 3)
def shared_reshape():
    # One Reshape layer and two tensors whose channels have nothing to do with one another.
    reshape = layers.Reshape((1, 1, 5))
    x = image()
    branches = []
    for activation in ("elu", "softplus"):
        pooled = layers.GlobalAveragePooling2D()(conv(4, 1, activation=activation)(x))
        branches.append(reshape(layers.Dense(5)(pooled)))
    return keras.Model(x, head(conv(7, 1)(layers.Concatenate()(branches))))


@topology(smallest=2 * 30 * 3 + 2 * 9 * 9 * 2 + 2 * 9 * 2 + 3)
def nested_shortcut_called_twice():
    # A padded shortcut without weights, called with two tensors that nothing ties but the width of its padding.
    shortcut_input = image((6, 5, 4))
    padded = pad_channels(shortcut_input[:, ::2, ::2], 1, 2)
    shortcut = keras.Model(shortcut_input, padded, name="shortcut")
    x = image()
    branches = []
    for activation in ("elu", "tanh"):
        y = conv(4, 1, activation=activation)(x)
        y = layers.Add()([shortcut(y), conv(7, strides=2)(y)])
        branches.append(conv(5, 1)(y))
    return keras.Model(x, head(layers.Add()(branches)))


@topology(smallest=30 * 9 * 3 + 30 + 30 + 3 + 4)
def two_outputs():
    x = image()
    y = conv(5)(x)
    probabilities = layers.Dense(3, activation="softmax", name="probabilities")(
        layers.GlobalAveragePooling2D()(conv(7, 1)(y))
    )
    vector = layers.Dense(4, name="vector")(layers.GlobalMaxPooling2D()(conv(4, 1)(y)))
    return keras.Model(x, [probabilities, vector])


@topology(smallest=30 * 9 * 3 + 6 + 2 * 3 + 2 * 5)
def dict_inputs_and_outputs():
    photo, facts = keras.Input((6, 5, 3), name="photo"), keras.Input((6,), name="facts")
    a = layers.GlobalAveragePooling2D()(conv(5)(photo))
    y = layers.Concatenate()([a, layers.Dense(7, activation="elu")(facts)])
    outputs = {"scores": layers.Dense(3, name="scores")(y), "more": {"vector": layers.Dense(5, name="vector")(y)}}
    return keras.Model({"photo": photo, "facts": facts}, outputs)


@topology(smallest=30 * 9 * 3 * 5 + 30 * 5 + 3)
def output_in_the_middle():
    # An output keeps its channels wherever it is taken.
    x = image()
    y = conv(5, name="features")(x)
    return keras.Model([x], {"features": y, "logits": head(conv(7, 1)(y))})


@topology(smallest=30 * 3 + 3)
def lists_of_one():
    x = image()
    return keras.Model([x], [head(conv(5, 1)(x))])


@topology(smallest=30 * 3 + 3 * 30 + 3)
def names_that_collide():
    """Four layers called `conv`: one in each of two nested models, one in a model inside the second, one outside."""

    def inner(name, last=None):
        inner_input = image((6, 5, 5))
        y = conv(5, 1, name="conv")(inner_input)
        return keras.Model(inner_input, last(y) if last else y, name=name)

    x = image()
    y = inner("second", inner("deep"))(inner("first")(conv(5, 1, name="conv")(x)))
    return keras.Model(x, head(y))


@topology(smallest=30 * 3 + 30 + 3)
def nested_in_training_mode():
    # BatchNormalization computes with the batch's statistics, whatever the model is called with.
    inner_input = image((6, 5, 5))
    inner = keras.Model(inner_input, layers.BatchNormalization()(conv(4, 1)(inner_input)), name="inner")
    x = image()
    return keras.Model(x, head(inner(conv(5, 1)(x), training=True)))


@topology(smallest=30 * 3 + 30 * 9 + 30 + 3)
def frozen():
    norm = layers.BatchNormalization(name="frozen_norm")
    inner = keras.Sequential([conv(7, name="frozen_inner"), layers.ReLU()], name="inner")
    inner.trainable = False
    x = image()
    y = conv(5, 1, name="frozen_conv", trainable=False)(x)
    y = norm(inner(y))
    norm.trainable = False
    return keras.Model(x, head(conv(4, 1, name="free_conv")(y)))


@topology(smallest=30 * 9 * 3 + 2 * 30 * 9 + 3, tolerance=3e-2)
def mixed_precision():
    policy = {"dtype": "mixed_bfloat16"}
    x = image()
    y = layers.BatchNormalization(**policy)(conv(5, **policy)(x))
    y = layers.ReLU(**policy)(conv(7, **policy)(y))
    y = conv(4, **policy)(layers.Rescaling(0.5, **policy)(y))
    y = layers.GlobalAveragePooling2D(**policy)(y)
    return keras.Model(x, layers.Dense(3, dtype="float32")(y))


@topology(smallest=30 * 3 + 30 + 3, tolerance=3e-2)
def half_precision_weights():
    # Weights of 4, 2 and 8 bytes.
    x = image()
    y = conv(7, 1, dtype="float64")(conv(5, 1)(x))
    return keras.Model(x, layers.Dense(3, dtype="bfloat16")(layers.GlobalAveragePooling2D()(y)))


@topology(smallest=30 * 9 * 3 + 30 * 9 * 2 + 3)
def nested_backbone():
    # The usual transfer-learning model: preprocessing, a nested backbone, dropout, a head.
    backbone_input = image()
    y = residual_block(conv(5)(backbone_input), 7, 5)
    backbone = keras.Model(backbone_input, y, name="backbone")
    x = image()
    y = backbone(layers.Rescaling(2.0, offset=-1.0)(x), training=False)
    return keras.Model(x, layers.Dense(3)(layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(y))))


@topology(smallest=30 * 3 + 30 + 30 * 2 + 3)
def explicit_axes():
    # The last axis by its number, as all files of Keras 2 name it.
    x = image()
    y = layers.BatchNormalization(axis=3)(conv(5, 1)(x))
    y = layers.Concatenate(axis=3)([y, conv(4, 1)(y)])
    y = layers.BatchNormalization(axis=3)(y)
    y = layers.Multiply()([y, layers.Softmax(axis=[1, 2])(y)])
    return keras.Model(x, head(conv(7, 1)(y)))


@topology(smallest=30 * 3 + 30 + 3)
def noise_of_each_channel():
    x = image()
    y = layers.Dropout(0.3, noise_shape=(None, 1, 1, 5))(conv(5, 1)(x))
    return keras.Model(x, head(conv(7, 1)(y)))


@topology(smallest=30 * 3 + 30 + 30 + 3)
def adapted_by_lora():
    x = image()
    adapted = [conv(5, 1), layers.Dense(4), layers.EinsumDense("...a,ab->...b", output_shape=7, bias_axes="b")]
    y = x
    for layer in adapted:
        y = layer(y)
        layer.enable_lora(2)
    return keras.Model(x, head(y))


@topology(smallest=30 * 3 + 30 + 3)
def initializers_with_arrays():
    # Pretrained numbers as initializers: a file is built with them before it gets its weights.
    rng = np.random.default_rng(0)
    x = image()
    kernel = keras.initializers.Constant(rng.normal(size=(1, 1, 3, 5)).astype("float32"))
    y = conv(5, 1, kernel_initializer=kernel)(x)
    inner = layers.Dense(7, kernel_initializer=keras.initializers.Constant(rng.normal(size=(5, 7)).astype("float32")))
    return keras.Model(x, head(layers.TimeDistributed(inner)(y)))
