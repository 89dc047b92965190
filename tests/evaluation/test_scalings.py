"""The scaling that a model was trained with: measured, found by its backbone, and what is said of it."""

import dataclasses

import keras
import numpy as np
import pytest

import tfcompress
from tfcompress import data
from tfcompress.data.batches import scaling
from tfcompress.data.named.backbones import scaling_of_backbone
from tfcompress.evaluation import scalings
from tfcompress.given import given_splits
from tfcompress.methods import Uniform

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (600, 4, 4, 3), "uint8")
COLOURS = RNG.normal(size=(48, 3))


def trained_on(preprocess, sharpness=30.0):
    """A linear classifier that names what a line through the images as it was trained on them says."""
    x = preprocess(IMAGES).reshape(len(IMAGES), -1)
    kernel = sharpness * COLOURS / x.std()
    bias = -(x.mean(0) @ kernel)
    labels = (x @ kernel + bias).argmax(1)
    inputs = keras.Input((4, 4, 3))
    outputs = keras.layers.Dense(3)(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, outputs)
    model.layers[-1].set_weights([kernel, bias])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=["accuracy"])
    return model, labels


def saved(path, labels):
    np.savez(path, x=IMAGES, y=labels)
    return path


@pytest.mark.parametrize("name", list(scaling.SCALINGS))
def test_the_scaling_that_a_model_was_trained_with_is_measured(name, tmp_path):
    model, labels = trained_on(scaling.SCALINGS[name])
    splits = given_splits(model, saved(tmp_path / "set.npz", labels), None, validation_split=0.3)
    (note,) = splits.notes
    assert note.startswith(f"scaling: {scaling.words_for(name)}, by which the model does best: accuracy on 180 images")
    assert f"{scaling.words_for(name)} 1.000" in note
    for split in (splits.train, splits.validation, splits.calibration):
        assert split.source.preprocess is scaling.SCALINGS[name]
    arrays = scaling.SCALINGS[name](IMAGES[:60]), labels[:60]
    (note,) = given_splits(model, tmp_path / "set.npz", arrays).notes
    assert "accuracy on 256 images of the training split" in note
    given = data.load(tmp_path / "set.npz", preprocess="torch")
    assert given_splits(model, given, None).notes == ()


def test_a_fresh_model_reads_the_unit_interval_and_nothing_is_said():
    inputs = keras.Input((8, 8, 1))
    model = keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(keras.layers.Flatten()(inputs)))
    splits = given_splits(model, "digits", None)
    assert splits.notes == ()
    assert splits.train.source.preprocess is scaling.to_unit_interval


def test_what_is_not_clear_is_asked_for(tmp_path, monkeypatch):
    """With all scalings the same, none is better."""
    model, labels = trained_on(scaling.to_unit_interval)
    same = dict.fromkeys(scaling.SCALINGS, scaling.to_unit_interval)
    monkeypatch.setattr(scalings, "SCALINGS", same)
    (note,) = given_splits(model, saved(tmp_path / "set.npz", labels), None).notes
    assert note.startswith("Warning: it is not clear how the images were scaled")
    for name in same:
        assert f"preprocess={name!r}" in note
    assert "preprocess='unit_interval' ([0, 1]) is used" in note


def test_surer_answers_are_not_better_ones():
    """A linear model without bias names the same classes of images in [0, 255], and its loss is smaller there."""
    x = scaling.to_unit_interval(IMAGES).reshape(len(IMAGES), -1)
    kernel = COLOURS - COLOURS.mean(0)
    inputs = keras.Input((4, 4, 3))
    model = keras.Model(inputs, keras.layers.Dense(3, use_bias=False)(keras.layers.Flatten()(inputs)))
    model.layers[-1].set_weights([kernel])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    labels = (x @ kernel).argmax(1)
    made = data.splits((IMAGES, labels), input_shape=(None, 4, 4, 3), classes=3)
    source = dataclasses.replace(made.validation.source, preprocess=scaling.to_unit_interval)
    name, notes = scalings.measured_scaling(model, [dataclasses.replace(made.validation, source=source)])
    assert name == "unit_interval"
    assert notes[0].startswith("Warning: it is not clear")


def test_the_usual_scaling_needs_no_clear_lead(monkeypatch):
    model, labels = trained_on(scaling.to_unit_interval)
    made = data.splits((IMAGES, labels), input_shape=(None, 4, 4, 3), classes=3)
    source = dataclasses.replace(made.validation.source, preprocess=scaling.to_unit_interval)
    monkeypatch.setattr(scalings, "_clearly_less", lambda own, others: own.mean() < 0.1 * others.mean() - 10)
    monkeypatch.setattr(scalings._Tried, "tells", True)
    name, notes = scalings.measured_scaling(model, [dataclasses.replace(made.validation, source=source)])
    assert (name, "does best, if not clearly" in notes[0]) == ("unit_interval", True)


def test_scalings_are_those_of_keras_applications():
    images = IMAGES[:5]
    for module, name in (("mobilenet_v2", "plus_minus_one"), ("resnet", "caffe"), ("densenet", "torch")):
        expected = getattr(keras.applications, module).preprocess_input(images.astype("float32").copy())
        np.testing.assert_allclose(scaling.SCALINGS[name](images), expected, rtol=1e-5, atol=1e-5)


def backbone(inputs=(32, 32, 3), **settings):
    how = {"include_top": False, "weights": None, "input_shape": inputs, **settings}
    return keras.applications.MobileNetV2(alpha=0.35, **how)


def test_the_backbone_says_its_scaling(tmp_path):
    base = backbone()
    inputs = keras.Input((32, 32, 3))

    def head(x):
        return keras.layers.Dense(3, activation="softmax")(keras.layers.GlobalAveragePooling2D()(x))

    nested = keras.Model(inputs, head(base(inputs)))
    scaling_name, words = scaling_of_backbone(nested)
    assert (scaling_name, "mobilenetv2_0.35_32" in words) == ("plus_minus_one", True)
    flat = keras.Model(base.input, head(base.output))
    assert scaling_of_backbone(flat)[0] == "plus_minus_one"
    assert scaling_of_backbone(keras.Sequential([inputs, base, keras.layers.Flatten()]))[0] == "plus_minus_one"
    inside = keras.Model(inputs, head(base(keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs))))
    assert scaling_of_backbone(inside)[0] is None
    divided = keras.Model(inputs, head(base(keras.applications.mobilenet_v2.preprocess_input(inputs))))
    assert scaling_of_backbone(divided)[0] is None
    with pytest.raises(ValueError, match=r"names and layers match none.*'plus_minus_one'"):
        scaling_of_backbone(trained_on(scaling.to_float)[0])
    nested.compile("sgd", "sparse_categorical_crossentropy")
    np.savez(tmp_path / "set.npz", x=IMAGES[:40], y=np.arange(40) % 3)
    splits = given_splits(nested, data.load(tmp_path / "set.npz", preprocess="keras.applications"), None)
    assert splits.notes[0].startswith(
        "scaling: preprocess='plus_minus_one' ([-1, 1]), used to train 'mobilenetv2_0.35_32'"
    )
    assert "36 images, resized to 32 x 32" in splits.describe()
    x = splits.train.take(3)[0]
    assert (x.shape, x.min() < -0.5) == ((3, 32, 32, 3), True)
    with pytest.raises(ValueError, match=r"preprocess='keras\.applications' without one"):
        data.splits(data.load(tmp_path / "set.npz", preprocess="keras.applications"))


def test_images_are_resized_as_keras_does_it():
    prepared = scaling.Prepared((6, 5), scaling.to_float)
    expected = keras.layers.Resizing(6, 5)(IMAGES[:4].astype("float32"))
    np.testing.assert_allclose(prepared(IMAGES[:4]), np.round(expected), atol=0.51)
    assert scaling.Prepared((4, 4), scaling.as_held)(IMAGES) is IMAGES


def test_a_named_set_takes_the_size_of_the_model_or_the_size_that_is_asked_for():
    inputs = keras.Input((12, 12, 1))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, activation="relu")(inputs))
    model = keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(pooled))
    result = tfcompress.compress(model, Uniform(epochs=0), "digits", params_budget=0.9, verbose=0)
    assert "images, resized to 12 x 12: the training data of digits" in result.notes[0]
    with pytest.raises(ValueError, match=r"\[batch, 12, 12, 1\].*\[4, 9, 9, 1\].*size="):
        given_splits(model, data.load("digits", size=9), None)
    for wrong in (0, (3, 4, 5), "big"):
        with pytest.raises(ValueError, match="`size`"):
            data.load("digits", size=wrong)
