"""Small images, a small residual network, and compression tasks made of them."""

import functools
import types

import keras
import numpy as np
from keras import layers

from tfcompress import Budget, Control, Objective, data
from tfcompress.plan import Plan
from tfcompress.rewrite import apply
from tfcompress.task import Task
from tfcompress.training import infer

CLASSES = 4


def pictures(count=96, seed=0):
    """Noise with one quadrant a little brighter, whose number is the class.

    float32 `[count, 8, 8, 1]`, int64 `[count]`; the brightest quadrant is right for 98%.
    """
    rng = np.random.default_rng(seed)
    x, y = rng.random((count, 8, 8, 1), dtype="float32"), np.arange(count) % CLASSES
    for image, label in zip(x, y, strict=True):
        top, left = 4 * (label // 2), 4 * (label % 2)
        image[top : top + 4, left : left + 4] += 0.25
    return x, y


def residual_network(seed=0, width=6, inner=(5, 7), activation=None):
    """Two residual blocks with `inner` channels each in a stream of `width`; no biases but the last."""
    keras.utils.set_random_seed(seed)

    def conv(x, filters, name, strides=1):
        return layers.Conv2D(filters, 3, strides, "same", use_bias=False, name=name)(x)

    inputs = keras.Input((8, 8, 1), name="image")
    x = layers.ReLU()(layers.BatchNormalization(name="stem_bn")(conv(inputs, width, "stem", 2)))
    for number, channels in enumerate(inner, start=1):
        y = layers.BatchNormalization(name=f"bn{number}")(conv(x, channels, f"block{number}_conv1"))
        x = layers.Add()([x, conv(layers.ReLU()(y), width, f"block{number}_conv2")])
    x = layers.Flatten()(layers.AveragePooling2D(2)(layers.ReLU()(x)))
    return keras.Model(inputs, layers.Dense(CLASSES, activation=activation, name="head")(x), name="small")


@functools.cache
def trained_network():
    """A network with softmax outputs, compiled, that gets more than 80% of the pictures right; not to be changed."""
    model = residual_network(activation="softmax")
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    x, y = pictures(512, seed=1)
    model.fit(x, y, batch_size=32, epochs=6, shuffle=False, verbose=0)
    return model


@functools.cache
def trained_block():
    """A network of one block with softmax outputs, compiled, that gets more than 80% right; not to be changed."""
    model = residual_network(activation="softmax", inner=(6,))
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    x, y = pictures(512, seed=1)
    model.fit(x, y, batch_size=32, epochs=6, shuffle=False, verbose=0)
    return model


def own_loss(y, outputs):
    """A loss that Keras does not know."""
    return keras.losses.sparse_categorical_crossentropy(y, outputs)


def three_convolutions():
    """A compiled network of one block that is not trained."""
    model = residual_network(activation="softmax", inner=(6,))
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def task_without_data(model, budget=None, **control):
    """A `Task` for what needs weights only; `budget` as a mapping, `control` as for `Control`."""
    nothing = types.SimpleNamespace(calibration=None)
    return Task(model, nothing, Objective(loss=None, metric=None), Budget(budget), control=Control(**control))


def task_for(model, arrays=None, accuracy=None, chance=0.25, seed=0, **budget):
    """A `Task` on a copy of the model, as `compress` makes it; `budget` as for `Budget`."""
    x, y = pictures() if arrays is None else arrays
    splits = data.splits((x, y), input_shape=model.input_shape, classes=CLASSES, seed=seed)
    copy = apply(model, Plan())
    return Task(copy, splits, infer(model, y), Budget(**budget), accuracy=accuracy, chance=chance, seed=seed)


def regression():
    """A compiled model of one number, and images with numbers."""
    inputs = keras.Input((8, 8, 1))
    x = layers.Flatten()(layers.Conv2D(6, 3, activation="relu", name="wide")(inputs))
    model = keras.Model(inputs, layers.Dense(1)(x))
    model.compile("sgd", "mse")
    x, y = pictures()
    return model, (x, y[:, None].astype("float32"))
