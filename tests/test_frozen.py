"""Frozen layers, held-out streams and the state of adapted layers in whole calls."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcompress
from tfcompress.methods import KD, LIT, Uniform

RNG = np.random.default_rng(0)
X = (5 + 3 * RNG.normal(size=(64, 8, 8, 1))).astype("float32")
Y = (X[:, :4].mean(axis=(1, 2, 3)) > X[:, 4:].mean(axis=(1, 2, 3))).astype("int64")


def batches(size=16):
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(size)


def network():
    """An adapted Normalization, a frozen backbone of two equal blocks, pooling and Dense."""
    keras.utils.set_random_seed(0)
    normalization = layers.Normalization(axis=-1, name="scaling")
    normalization.adapt(X)
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(6, 3, padding="same", name="stem")(normalization(inputs))
    for number in range(2):
        y = layers.Conv2D(6, 3, padding="same", use_bias=False, name=f"first{number}")(x)
        y = layers.ReLU()(layers.BatchNormalization(name=f"normalized{number}")(y))
        x = layers.Add()([x, layers.Conv2D(6, 3, padding="same", name=f"second{number}")(y)])
    backbone = keras.Model(inputs, x, name="backbone")
    backbone.trainable = False
    x = layers.GlobalAveragePooling2D()(backbone(inputs))
    model = keras.Model(inputs, layers.Dense(2, name="head")(x))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


@pytest.fixture(scope="module")
def model():
    return network()


def compress(model, method, data=(X, Y), **settings):
    return tfcompress.compress(model, method, data, validation_data=batches(), verbose=0, **settings)


def layer_of(model, name):
    """A layer of the backbone, or beside it."""
    backbone = model.get_layer("backbone")
    return next(layer for layer in (*backbone.layers, *model.layers) if layer.name == name)


def moved(result, name, start):
    """How far the weights of a layer are from where they started."""
    pairs = zip(layer_of(result.model, name).get_weights(), start, strict=True)
    return max(float(np.abs(now - before).max()) for now, before in pairs)


def test_layers_that_were_cut_are_trained_and_others_are_not(model):
    settings = {"flops_budget": 0.8, "only": "first0"}
    start = compress(model, Uniform(epochs=0), **settings).model
    result = compress(model, Uniform(epochs=1, learning_rate=0.1), batches().filter(lambda x, y: True), **settings)
    names = ("stem", "first0", "normalized0", "second0", "first1", "normalized1")
    changed = {name for name in names if moved(result, name, layer_of(start, name).get_weights()) > 0}
    assert changed == {"first0", "normalized0", "second0"}
    assert not any(layer_of(result.model, name).trainable for name in names)
    assert "3 frozen layers whose weights changed are trained: first0, normalized0, second0" in result.notes
    assert any("the weights of epoch 1 of 1 are kept" in note for note in result.notes)


@pytest.mark.parametrize(
    "method",
    [
        KD(blocks=(1,), epochs=1, start="fresh"),
        LIT(blocks=(1,), epochs=1, finetune_epochs=1, start="fresh"),
    ],
    ids=lambda method: method.name,
)
def test_fresh_layers_are_trained_and_what_was_adapted_stays(model, method):
    start = []
    with pytest.MonkeyPatch.context() as patch:
        whole = type(method).begun

        @contextlib.contextmanager
        def watched(self, student, *arguments):
            with whole(self, student, *arguments):
                start.append(student.get_layer("first0").get_weights())
                yield

        patch.setattr(type(method), "begun", watched)
        result = compress(model, method)
    assert np.abs(start[0][0] - model.get_layer("backbone").get_layer("first0").get_weights()[0]).max() > 0
    assert moved(result, "first0", start[0]) > 0
    assert not layer_of(result.model, "first0").trainable
    assert any("frozen layers whose weights changed are trained" in note for note in result.notes)
    adapted = model.get_layer("backbone").get_layer("scaling")
    np.testing.assert_array_equal(layer_of(result.model, "scaling").mean, adapted.mean)
    np.testing.assert_array_equal(layer_of(result.model, "scaling").variance, adapted.variance)


def test_a_part_held_out_of_a_stream_and_another_batch_size(model):
    result = tfcompress.compress(model, Uniform(epochs=1, batch_size=24), batches(), flops_budget=0.8, verbose=0)
    assert len(result.history["recover"]["loss"]) == 1


def test_the_scope_of_a_strategy_and_other_floats_are_refused(model):
    words = r"outside of the scope .* Received: .* OneDeviceStrategy\."
    with tf.distribute.OneDeviceStrategy("/cpu:0").scope(), pytest.raises(ValueError, match=words):
        compress(model, Uniform(epochs=0), flops_budget=0.8)
    try:
        keras.config.set_floatx("float64")
        with pytest.raises(ValueError, match=r"Expected keras.config.floatx\(\) to be 'float32'. Received: 'float64'"):
            compress(model, Uniform(epochs=0), flops_budget=0.8)
    finally:
        keras.config.set_floatx("float32")
