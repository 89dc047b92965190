"""Tiny residual teachers for small pictures, and what tests of distillation do with them."""

import contextlib
import dataclasses
import functools
from unittest import mock

import keras
import numpy as np
import small_tasks
import tensorflow as tf
from keras import layers

import tfcompress
from tfcompress.methods import phases as training_phases
from tfcompress.training import OwnLoss, loss_function
from tfcompress.training.teaching import Distillation

CLASSES = small_tasks.CLASSES
BOUNDARIES = ("stem_relu", "section1_block3_relu", "section2_block3_relu")


def classifier(
    blocks=(3, 3), widths=(6, 8), seed=0, activation=None, classes=CLASSES, groups=1, inner=None, head_norm=False
):
    """Two sections of residual blocks, a stride of 2 before the second; BatchNormalization with a momentum of 0.5.

    With `groups` or `inner` the blocks are bottlenecks without a first convolution: `inner` channels in `groups`.
    """
    keras.utils.set_random_seed(seed)

    def conv(x, filters, name, size=3, strides=1, groups=1):
        x = layers.Conv2D(filters, size, strides, "same", use_bias=False, groups=groups, name=name)(x)
        return layers.BatchNormalization(momentum=0.5, name=f"{name}_bn")(x)

    inputs = keras.Input((8, 8, 1), name="image")
    x = layers.ReLU(name="stem_relu")(conv(inputs, widths[0], "stem"))
    for section, (count, width) in enumerate(zip(blocks, widths, strict=True), start=1):
        for block in range(1, count + 1):
            name, strides = f"section{section}_block{block}", 2 if section > 1 and block == 1 else 1
            y = conv(x, inner or width, f"{name}_conv1", 1 if inner else 3, 1 if inner else strides)
            y = layers.ReLU(name=f"{name}_relu1")(y)
            if inner:
                y = layers.ReLU()(conv(y, inner, f"{name}_grouped", 3, strides, groups))
            y = conv(y, width, f"{name}_conv2", 1 if inner else 3)
            if x.shape[-1] != width or strides > 1:
                x = conv(x, width, f"{name}_shortcut", 1, strides)
            x = layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, y]))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.BatchNormalization(momentum=0.5, name="head_bn")(x) if head_norm else x
    return keras.Model(inputs, layers.Dense(classes, activation=activation, name="head")(x), name="tiny")


@functools.cache
def trained_teacher(activation=None, blocks=(3, 3)):
    """A teacher that gets more than 80% of the pictures right, compiled; not to be changed."""
    model = classifier(blocks, activation=activation)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=activation is None)
    model.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"])
    x, y = small_tasks.pictures(512, seed=1)
    model.fit(x, y, batch_size=32, epochs=6, shuffle=False, verbose=0)
    return model


def generator(blocks=3, width=5, seed=0, domains=0):
    """Images to images of their size through residual blocks; with `domains` a second input that is told one."""
    keras.utils.set_random_seed(seed)
    image = inputs = keras.Input((8, 8, 1), name="image")
    x = image
    if domains:
        told = keras.Input((domains,), name="domain")
        inputs = [image, told]
        spread = keras.ops.tile(layers.Reshape((1, 1, domains), name="told")(told), (1, 8, 8, 1))
        x = layers.Concatenate(name="joined")([image, spread])
    x = layers.ReLU(name="stem_relu")(layers.Conv2D(width, 3, padding="same", name="stem")(x))
    for block in range(1, blocks + 1):
        y = layers.Conv2D(width, 3, padding="same", name=f"block{block}_conv1")(x)
        y = layers.ReLU(name=f"block{block}_relu")(layers.BatchNormalization(name=f"block{block}_bn")(y))
        x = layers.Add(name=f"block{block}_add")(
            [x, layers.Conv2D(width, 3, padding="same", name=f"block{block}_conv2")(y)]
        )
    x = layers.Conv2D(1, 3, padding="same", name="head")(x)
    return keras.Model(inputs, layers.Activation("tanh", name="head_tanh")(x), name="generator")


def discriminator(domains=0, size=8, seed=5):
    """From images to a map of 2x2 places and, with `domains`, to their logits."""
    keras.utils.set_random_seed(seed)
    image = keras.Input((size, size, 1), name="image")
    x = layers.LeakyReLU(0.1)(layers.Conv2D(7, 4, 4, name="down")(image))
    source = layers.Conv2D(1, 1, name="source")(x)
    told = [layers.Dense(domains, name="domains")(layers.Flatten()(x))] if domains else []
    return keras.Model(image, [source, *told] if told else source, name="discriminator")


def weights_of(model):
    """Copies of all weights, by path."""
    return {weight.path: np.array(weight) for weight in model.weights}


def moved(before, model):
    """The paths of the weights that are not what they were."""
    return {path for path, value in weights_of(model).items() if not np.array_equal(before[path], value)}


def compress(model, method, data=None, **settings):
    """Silent, on 96 pictures of which some are held out."""
    return tfcompress.compress(model, method, small_tasks.pictures() if data is None else data, verbose=0, **settings)


@dataclasses.dataclass
class ObservedPhase:
    """What a phase of training found and left.

    Attributes:
        name: of the phase.
        before, after: all weights of what is trained, by path.
        teacher: the model that the student learns from.
        teacher_moved: which of its weights the phase moved.
        trainable: the paths of the weights that are trained.
        gradients: of one batch, by path; `None` for a weight without.
        dtypes: in which the layers of what is trained compute.
    """

    name: str
    before: dict
    after: dict
    teacher: keras.Model
    teacher_moved: set
    trainable: set
    gradients: dict
    dtypes: set

    @property
    def moved(self):
        return {path for path, value in self.after.items() if not np.array_equal(self.before[path], value)}


def _gradients(model, task):
    """Of the loss without weight decay on 16 samples; leaves the model as it was."""
    x, y = keras.tree.map_structure(tf.constant, task.splits.train.take(16))
    before = [np.array(variable) for variable in model.variables]
    with tf.GradientTape() as tape:
        outputs = model(x, training=True)
        if isinstance(model, OwnLoss):
            loss = model.compute_loss(x=x, y=y, y_pred=outputs, training=True)
        else:
            loss = loss_function(model, task.objective)(y, outputs)
    found = tape.gradient(loss, model.trainable_weights)
    for variable, value in zip(model.variables, before, strict=True):
        variable.assign(value)
    return {w.path: None if g is None else np.array(g) for w, g in zip(model.trainable_weights, found, strict=True)}


def observed(model, method, data=None, eagerly=True, **settings):
    """`(result, [ObservedPhase, ...])` of `compress`; eagerly, as tracing would take longer than training.

    On 35 pictures by default, whose training split is a batch of the methods' 32.
    """
    data = small_tasks.pictures(35) if data is None else data
    phases, train, init, teacher_of = [], training_phases.train_phase, Distillation.__init__, {}

    def made(self, student, teacher, **options):
        init(self, student, teacher, **options)
        teacher_of[id(self)] = teacher

    def watched(trained, task, training, phase, **options):
        teacher = teacher_of.get(id(trained), task.model)
        before, teachers_before = weights_of(trained), weights_of(teacher)
        trainable = {weight.path for weight in trained.trainable_weights}
        gradients = _gradients(trained, task) if options.get("data") is None else {}
        dtypes = {layer.compute_dtype for layer in trained._flatten_layers() if layer.weights}
        history = train(trained, task, training, phase, **options)
        moved_of_teacher = moved(teachers_before, teacher)
        phases.append(
            ObservedPhase(phase, before, weights_of(trained), teacher, moved_of_teacher, trainable, gradients, dtypes)
        )
        return history

    tf.config.run_functions_eagerly(eagerly)
    try:
        with (
            mock.patch.object(training_phases, "train_phase", watched),
            mock.patch.object(Distillation, "__init__", made),
        ):
            return compress(model, method, data, **settings), phases
    finally:
        tf.config.run_functions_eagerly(False)


@contextlib.contextmanager
def calls_of(layer):
    """Counts the calls of a layer object, or of a model, inside the `with`."""
    counted = mock.Mock(wraps=type(layer).call.__get__(layer))
    had = "call" in vars(layer)
    old = vars(layer).get("call")
    object.__setattr__(layer, "call", counted)
    try:
        yield counted
    finally:
        if had:
            object.__setattr__(layer, "call", old)
        else:
            object.__delattr__(layer, "call")
