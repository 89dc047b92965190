"""DARC as a whole on networks of many kinds, each with one or two convolutions: what they are stays, what stays is whole."""

import keras
import numpy as np
import pytest
import small_tasks
from keras import layers, ops

import tfcompress
from tfcompress.methods import DARC

SHORT = {"batch_size": 16, "epochs": 1, "blocks": 1, "block_epochs": 1, "replacements": ("3x3+1x1",)}
ONE_BLOCK = SHORT | {"epochs": 0, "imitation_epochs": 0}
CLASSES = small_tasks.CLASSES


def data(*shape, count=40):
    x = np.random.default_rng(0).random((count, *shape), dtype="float32")
    return x, np.arange(count) % CLASSES


def classifier(inputs, x, **settings):
    """A compiled model with a dense layer on the means of maps."""
    pool = layers.GlobalAveragePooling1D if len(x.shape) == 3 else layers.GlobalAveragePooling2D
    outputs = layers.Dense(CLASSES, "softmax", name="head", dtype="float32")(pool(**settings)(x))
    model = keras.Model(inputs, outputs)
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def compressed(model, arrays, share=0.7, method=None, **arguments):
    """The result, checked: it holds the budget, and has finite weights."""
    method = method or DARC(**ONE_BLOCK)
    result = tfcompress.compress(model, method, arrays, flops_budget=share, seed=0, verbose=0, **arguments)
    assert result.after.macs <= share * result.before.macs
    assert all(np.isfinite(weight).all() for weight in result.model.get_weights())
    return result.model


def names(model):
    return [layer.name for layer in model.layers]


def weights_of(model, name):
    return model.get_layer(name).get_weights()


@pytest.mark.parametrize("policy", ["mixed_bfloat16", None])
def test_half_precision_of_the_model_or_of_the_training(policy):
    """The layers keep the policy of the model; the setting alone is one of the training, and leaves float32 layers."""
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(4, 3, activation="relu", name="conv", dtype=policy)(inputs)
    model = classifier(inputs, layers.BatchNormalization(name="norm", dtype=policy)(x))
    method = DARC(**SHORT, mixed_precision=None if policy else "mixed_bfloat16")
    student = compressed(model, data(6, 6, 3), method=method)
    assert names(student)[1:4] == ["conv_depthwise", "conv_pointwise", "norm"]
    assert {layer.dtype_policy.name for layer in student.layers[1:4]} == {policy or "float32"}
    assert student.get_layer("conv_pointwise").activation is keras.activations.relu
    assert {str(weight.dtype) for weight in student.weights} == {"float32"}


def test_a_frozen_backbone_stays_to_the_bit_but_for_what_is_replaced():
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(4, 3, padding="same", name="first")(inputs)
    x = layers.BatchNormalization(name="norm1")(x)
    x = layers.Conv2D(4, 3, padding="same", name="second")(x)
    backbone = keras.Model(inputs, layers.BatchNormalization(name="norm2")(x), name="backbone")
    backbone.trainable = False
    inputs = keras.Input((6, 6, 3))
    model = classifier(inputs, backbone(inputs))
    # The second alone is enough: (108 + 52) / (108 + 144).
    student = compressed(model, data(6, 6, 3), method=DARC(**SHORT))
    inside = student.get_layer("backbone")
    assert names(inside)[1:] == ["first", "norm1", "second_depthwise", "second_pointwise", "norm2"]
    for name in ("first", "norm1", "norm2"):
        assert not inside.get_layer(name).trainable
        np.testing.assert_equal(weights_of(inside, name), weights_of(backbone, name))
    assert inside.get_layer("second_pointwise").trainable
    assert (weights_of(student, "head")[0] != weights_of(model, "head")[0]).any()


def test_channels_first():
    first = {"data_format": "channels_first"}
    inputs = keras.Input((3, 6, 7))
    x = layers.Conv2D(4, 3, 2, activation="relu", name="conv", **first)(inputs)
    student = compressed(classifier(inputs, layers.BatchNormalization(1, name="norm")(x), **first), data(3, 6, 7))
    assert student.get_layer("conv_depthwise").data_format == "channels_first"
    assert student.get_layer("norm").input.shape == (None, 4, 2, 3)


def test_a_sequential_model_of_steps():
    model = keras.Sequential(
        [
            keras.Input((12, 4)),
            layers.Conv1D(4, 5, 2, padding="causal", activation="relu", name="conv"),
            layers.GlobalMaxPooling1D(),
            layers.Dense(CLASSES, "softmax", name="head"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    student = compressed(model, data(12, 4))
    assert names(student)[-5:-2] == ["conv_zeros", "conv_depthwise", "conv_pointwise"]
    assert student.get_layer("conv_pointwise").output.shape == (None, 6, 4)


def test_grouped_and_dilated_convolutions():
    inputs = keras.Input((7, 7, 6))
    x = layers.Conv2D(9, 3, groups=3, name="grouped")(inputs)
    x = layers.Conv2D(6, 3, padding="same", dilation_rate=2, use_bias=False, name="dilated")(x)
    # 9 * 2 * 9 and 9 * 9 * 6 products a place become 9 * 6 + 6 * 9 and 9 * 9 + 9 * 6: with both, 0.376 of all.
    student = compressed(classifier(inputs, x), data(7, 7, 6), share=0.4)
    assert names(student)[1:5] == ["grouped_depthwise", "grouped_pointwise", "dilated_depthwise", "dilated_pointwise"]
    assert student.get_layer("dilated_depthwise").dilation_rate == (2, 2)
    assert [layer.use_bias for layer in student.layers[1:5]] == [False, True, False, False]


def test_several_outputs_one_of_them_of_the_layer_that_is_replaced():
    inputs = keras.Input((6, 6, 3))
    maps = layers.Conv2D(4, 3, padding="same", name="conv")(inputs)
    kind = layers.Dense(CLASSES, "softmax", name="kind")(layers.GlobalAveragePooling2D()(maps))
    model = keras.Model(inputs, {"kind": kind, "maps": maps})
    model.compile("sgd", {"kind": "sparse_categorical_crossentropy", "maps": "mse"})
    x, y = data(6, 6, 3)
    labels = {"kind": y, "maps": model.predict(x, verbose=0)["maps"]}

    def objective(y, outputs):
        return -ops.mean(ops.square(outputs["maps"] - y["maps"]), axis=(1, 2, 3))

    student = compressed(model, (x, labels), objective=objective)
    assert "conv_pointwise" in names(student)
    assert {name: outputs.shape[1:] for name, outputs in student.predict(x, verbose=0).items()} == {
        "kind": (CLASSES,),
        "maps": (6, 6, 4),
    }
