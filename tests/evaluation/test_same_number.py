"""Reward, sensitivity, report and Keras' own `evaluate` give one number for the same model and data."""

import functools

import keras
import numpy as np
import pytest
from keras import layers, losses, metrics, ops

import tfcompress
from tfcompress import Budget
from tfcompress.evaluation import Evaluator, Reward
from tfcompress.given import given_splits
from tfcompress.task import Task
from tfcompress.training import NoRunFolder, Progress

N = 48
RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(N, 6)).astype("float32")
IMAGES = RNG.uniform(size=(N, 4, 4, 2)).astype("float32")
WORDS = RNG.integers(0, 7, (N, 5))  # 0 is padding
CLASSES = RNG.integers(0, 3, N)
ONE_HOT = np.eye(3, dtype="float32")[CLASSES]
BIT = RNG.integers(0, 2, N)
BITS = RNG.integers(0, 2, (N, 4))
BITS[:, 3] = 1
NUMBER = RNG.normal(size=N).astype("float32")
NUMBERS = RNG.normal(size=(N, 4)).astype("float32")
PIXELS = RNG.integers(0, 3, (N, 4, 4))
VOID = np.where(RNG.uniform(size=PIXELS.shape) < 0.2, 255, PIXELS).astype("uint8")
SPARSE, ONE, BINARY = "sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy"


class Hits(metrics.Metric):
    """Right answers, each `worth` so much; registered nowhere, and its config does not have `worth`."""

    def __init__(self, worth=1.0, name="hits_acc", **kwargs):
        super().__init__(name=name, **kwargs)
        self.worth = worth
        self.right = self.add_weight(name="right", initializer="zeros")
        self.samples = self.add_weight(name="samples", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        found = ops.argmax(y_pred, axis=-1)
        right = ops.equal(found, ops.cast(ops.reshape(y_true, (-1,)), found.dtype))
        self.right.assign_add(self.worth * ops.sum(ops.cast(right, "float32")))
        self.samples.assign_add(ops.cast(ops.shape(y_pred)[0], "float32"))

    def result(self):
        return self.right / self.samples


def far(y, outputs):
    return ops.mean(ops.abs(ops.cast(y, outputs.dtype) - outputs), axis=-1)


def contrastive(y, outputs):
    distances = ops.sum(ops.square(outputs[:, None] - outputs[None]), axis=-1)
    same = ops.cast(ops.equal(ops.reshape(y, (-1, 1)), ops.reshape(y, (1, -1))), "float32")
    return ops.mean(distances * same + ops.maximum(1 - distances, 0) * (1 - same), axis=1)


def dense(units, activation, loss, given=None, dtype=None, **settings):
    keras.utils.set_random_seed(units)
    inputs = keras.Input((6,))
    hidden = layers.Dense(5, activation="relu", dtype=dtype)(inputs)
    model = keras.Model(inputs, layers.Dense(units, activation=activation, dtype=dtype, name="out")(hidden))
    model.compile("sgd", loss, metrics=given, **settings)
    return model


def maps(units, activation, loss, given=None):
    keras.utils.set_random_seed(units)
    inputs = keras.Input((4, 4, 2))
    hidden = layers.Conv2D(5, 3, padding="same", activation="relu")(inputs)
    model = keras.Model(inputs, layers.Conv2D(units, 1, activation=activation)(hidden))
    model.compile("sgd", loss, metrics=given)
    return model


def sequence(loss, given=None):
    """Its outputs carry a mask, which leaves the padding out of loss and metric."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((5,), dtype="int32")
    hidden = layers.LSTM(4, return_sequences=True)(layers.Embedding(7, 4, mask_zero=True)(inputs))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(hidden))
    model.compile("sgd", loss, metrics=given)
    return model


KINDS = {
    "sparse": (lambda: dense(3, "softmax", SPARSE, ["accuracy"]), VECTORS, CLASSES, "accuracy"),
    "sparse int8 column": (lambda: dense(3, None, "ce", ["acc"]), VECTORS, CLASSES[:, None].astype("int8"), None),
    "half precision": (lambda: dense(3, "softmax", SPARSE, ["acc"], "mixed_float16"), VECTORS, CLASSES, "acc"),
    "one-hot": (lambda: dense(3, "softmax", ONE, ["accuracy"]), VECTORS, ONE_HOT, "accuracy"),
    "one-hot booleans": (lambda: dense(3, "softmax", ONE, ["accuracy"]), VECTORS, ONE_HOT.astype(bool), "accuracy"),
    "binary": (lambda: dense(1, "sigmoid", BINARY, ["accuracy"]), VECTORS, BIT, "accuracy"),
    "binary logits": (lambda: dense(1, None, losses.BinaryCrossentropy(True)), VECTORS, BIT.astype(bool), None),
    "partial": (
        lambda: dense(
            1,
            None,
            functools.partial(losses.binary_crossentropy, from_logits=True),
            [functools.partial(metrics.binary_accuracy, threshold=0.0)],
        ),
        VECTORS,
        BIT[:, None],
        "partial",
    ),
    "multi-label": (lambda: dense(4, "sigmoid", BINARY, ["binary_accuracy"]), VECTORS, BITS, "binary_accuracy"),
    "multi-label AUC": (lambda: dense(4, "sigmoid", BINARY, [metrics.AUC(name="auc")]), VECTORS, BITS, "auc"),
    "F1": (lambda: dense(4, "sigmoid", BINARY, [metrics.F1Score("macro", 0.5)]), VECTORS, BITS, "f1_score"),
    "metric of one's own": (lambda: dense(3, "softmax", SPARSE, [Hits(2.0)]), VECTORS, CLASSES, "hits_acc"),
    "maps with void": (
        lambda: maps(3, "softmax", losses.SparseCategoricalCrossentropy(ignore_class=255)),
        IMAGES,
        VOID,
        None,
    ),
    "maps IoU": (
        lambda: maps(
            3, None, losses.SparseCategoricalCrossentropy(from_logits=True), [metrics.MeanIoU(3, sparse_y_pred=False)]
        ),
        IMAGES,
        PIXELS,
        "mean_io_u",
    ),
    "sequence": (lambda: sequence(SPARSE, ["accuracy"]), WORDS, WORDS % 3, "accuracy"),
    "sequence loss": (lambda: sequence("kl_divergence"), WORDS, np.eye(3, dtype="float32")[WORDS % 3], "loss"),
    "a number": (lambda: dense(1, None, ["mse"], {"out": ["mae"]}, loss_weights=[2.0]), VECTORS, NUMBER, "mae"),
    "numbers": (lambda: dense(4, None, losses.Huber(0.1)), VECTORS, NUMBERS.astype("float64"), None),
    "autoencoder": (lambda: maps(2, "sigmoid", BINARY, ["accuracy"]), IMAGES, IMAGES, "loss"),
    "metric learning": (lambda: dense(8, None, contrastive), VECTORS, RNG.integers(0, 40, N), "loss"),
    "several losses": (lambda: dense(4, None, ["mse", far]), VECTORS, NUMBERS, "loss"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_one_number(kind):
    make, x, y, own = KINDS[kind]
    model = make()
    splits = given_splits(model, (x, y), (x, y))
    task = Task.of(model, splits, Budget(), 0, NoRunFolder(), Progress(0))
    reward = Reward(task, None, None)
    name = task.objective.metric_name
    reported = Evaluator(model, task.objective)(splits.validation.batches(N))[name]
    assert reward.whole() * task.objective.sign == pytest.approx(reported, rel=1e-5, abs=1e-6)
    assert reward.whole() == reward.whole()  # what one measurement leaves behind does not count in the next
    if own is not None:
        assert model.evaluate(x, y, batch_size=N, verbose=0, return_dict=True)[own] == pytest.approx(reported, rel=1e-5)


def test_several_outputs_with_labels_in_a_list_and_in_a_dict():
    """The score of each sample is worked out by numpy; sensitivity, reward and report have its mean."""
    inputs = keras.Input((6,))
    hidden = layers.Dense(5, activation="relu")(inputs)
    outputs = [layers.Dense(4, name="a")(hidden), layers.Dense(3, activation="softmax", name="b")(hidden)]
    model_losses = {"a": "mse", "b": SPARSE}
    for structure in (list, dict):
        in_list = structure is list
        model = keras.Model(inputs, outputs if in_list else dict(zip("ab", outputs, strict=True)))
        model.compile("sgd", model_losses)
        first = 0 if in_list else "a"
        y = [NUMBERS, CLASSES] if in_list else {"a": NUMBERS, "b": CLASSES}

        def nearness(y, outputs, key=first):
            return -ops.mean(ops.square(y[key] - outputs[key]), axis=-1)

        expected = -np.mean(np.square(NUMBERS - np.asarray(model.predict(VECTORS, verbose=0)[first])))
        settings = {"validation_data": (VECTORS, y), "objective": nearness, "verbose": 0}
        measured = tfcompress.sensitivity(model, (VECTORS, y), keep_ratios=[0.5], **settings)
        assert measured.baseline == pytest.approx(expected, rel=1e-5)
        if in_list:
            method = tfcompress.methods.Uniform(epochs=1)
            result = tfcompress.compress(model, method, (VECTORS, y), flops_budget=0.7, **settings)
            assert result.before.accuracy == pytest.approx(expected, rel=1e-5)


def test_several_labels_at_once_are_compared_each():
    """By numpy; Keras' own "accuracy" would compare the largest of the outputs with the largest of the labels."""
    model = dense(4, "sigmoid", BINARY, ["accuracy"])
    expected = np.mean((np.asarray(model.predict(VECTORS, verbose=0)) > 0.5) == BITS)
    measured = tfcompress.sensitivity(model, (VECTORS, BITS), validation_data=(VECTORS, BITS), keep_ratios=[0.5])
    assert measured.metric == "accuracy"
    assert measured.baseline == pytest.approx(expected, rel=1e-6)
    assert model.evaluate(VECTORS, BITS, verbose=0)[1] != pytest.approx(expected, rel=1e-2)


def test_inputs_come_in_other_dtypes_and_structures_than_the_model_reads():
    """The dict has another order than the model's list of inputs, and whole numbers for floats."""
    b, a = keras.Input((6,), name="b"), keras.Input((4,), name="a")
    hidden = layers.Dense(5, activation="relu")(layers.Concatenate()([b, a]))
    model = keras.Model([b, a], layers.Dense(1)(hidden))
    model.compile("sgd", "mse")
    x = {"a": BITS, "b": VECTORS.astype("float64")}
    expected = model.evaluate(x, NUMBER, verbose=0)
    measured = tfcompress.sensitivity(model, (x, NUMBER), validation_data=(x, NUMBER), keep_ratios=[0.5], verbose=0)
    assert measured.baseline == pytest.approx(-expected, rel=1e-5)
    assert measured.metric == "negative mean squared error"
