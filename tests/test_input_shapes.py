"""Models that take images of any size: costs are counted for one, and the result takes any again."""

import keras
import numpy as np
import pytest
import small_tasks
from keras import layers

import tfcompress
from tfcompress.input_shapes import with_input_shape
from tfcompress.methods import Uniform
from tfcompress.network import Network
from tfcompress.rewrite import replay
from tfcompress.rewrite.working_copy import nested_copy


def _of_any_size(size=(None, None)):
    """A stem, a nested backbone with a residual block, pooling and a head; images of any size, or of one."""
    keras.utils.set_random_seed(3)
    inside = keras.Input((*size, 4))
    x = layers.Conv2D(6, 3, padding="same", name="first")(inside)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Add()([inside, layers.Conv2D(4, 3, padding="same", name="second")(x)])
    backbone = keras.Model(inside, x, name="backbone")
    image = keras.Input((*size, 1), name="image")
    x = backbone(layers.Conv2D(4, 3, padding="same", activation="relu", name="stem")(image))
    model = keras.Model(image, layers.Dense(4, activation="softmax", name="head")(layers.GlobalAveragePooling2D()(x)))
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def test_costs_are_those_of_the_size():
    """8 x 8 places: stem 9 x 1 x 4, first 9 x 4 x 6, second 9 x 6 x 4; and 4 x 4 of the head."""
    model = _of_any_size()
    assert tfcompress.cost(model, input_shape=(8, 8, 1)).macs == 64 * 9 * (4 + 24 + 24) + 16
    assert tfcompress.cost(model, input_shape=(4, 2, 1)).macs == 8 * 9 * (4 + 24 + 24) + 16
    said = []
    tfcompress.inspect(model, said.append, input_shape=(8, 8, 1))
    assert f"{64 * 9 * 4:,}" in said[0]


def test_the_result_takes_any_size(tmp_path):
    model = _of_any_size()
    x, y = small_tasks.pictures(64)
    result = tfcompress.compress(
        model, Uniform(epochs=1), (x, y), flops_budget=0.6, input_shape=(8, 8, 1), run_dir=tmp_path / "run", verbose=0
    )
    assert result.after.macs <= 0.6 * result.before.macs
    assert result.before.macs == tfcompress.cost(model, input_shape=(8, 8, 1)).macs
    assert result.after.macs == tfcompress.cost(result.model, input_shape=(8, 8, 1)).macs
    assert result.model.input_shape == model.input_shape == (None, None, None, 1)
    assert result.model.get_layer("backbone").get_layer("first").filters < 6
    larger = np.random.default_rng(0).random((2, 13, 17, 1), dtype="float32")
    outputs = result.model.predict(larger, verbose=0)
    np.testing.assert_allclose(outputs.sum(axis=-1), 1, atol=1e-5)
    loaded = tfcompress.Result.load(tmp_path / "run")
    np.testing.assert_allclose(loaded.model.predict(larger, verbose=0), outputs, atol=1e-6)
    rebuilt = replay(model, result.trail, tmp_path / "run", input_shape=(8, 8, 1))
    for each in (rebuilt, tfcompress.Result.load(tmp_path / "run", model=model).model):
        np.testing.assert_allclose(each.predict(larger, verbose=0), outputs, atol=1e-6)
    result.plot("structure")
    report = result.export(tmp_path / "export", formats=["keras", "saved_model"])
    assert all(file.max_difference < 1e-4 for file in report.files)


@pytest.mark.parametrize(
    ("shape", "error", "words"),
    [
        (
            (8, 8, 3),
            ValueError,
            r"for inputs of shapes \{'image': \(None, None, 1\)\}. Received: input_shape=\(8, 8, 3\)",
        ),
        ((8, 8), ValueError, "Expected `input_shape`"),
        ((0, 8, 1), ValueError, "Expected `input_shape`"),
        (8, TypeError, "Expected `input_shape`"),
        ({"other": (8, 8, 1)}, ValueError, "Expected `input_shape` to be a dictionary"),
    ],
)
def test_refusals(shape, error, words):
    with pytest.raises(error, match=words):
        tfcompress.cost(_of_any_size(), input_shape=shape)


def test_sensitivity_is_that_of_the_size():
    """As of a model with the same weights that takes this size alone."""
    settings = {"keep_ratios": (0.5,), "images": 32, "verbose": 0}
    model = _of_any_size()
    measured = tfcompress.sensitivity(model, small_tasks.pictures(64), input_shape=(8, 8, 1), **settings)
    fixed = tfcompress.sensitivity(_of_any_size((8, 8)), small_tasks.pictures(64), **settings)
    assert measured.total_macs == fixed.total_macs == 64 * 9 * (4 + 24 + 24) + 16
    assert measured.groups == fixed.groups
    np.testing.assert_array_equal(measured.accuracy, fixed.accuracy)
    np.testing.assert_array_equal(measured.macs, fixed.macs)
    assert (measured.metric, measured.baseline) == ("accuracy", fixed.baseline)
    assert model.input_shape == (None, None, None, 1)
    with pytest.raises(ValueError, match=r"input_shape=\(height, width, channels\)"):
        tfcompress.sensitivity(model, small_tasks.pictures(64), **settings)
    with pytest.raises(ValueError, match="Expected `input_shape`"):
        tfcompress.sensitivity(model, small_tasks.pictures(64), input_shape=(8, 8, 3), **settings)


def test_a_model_of_any_size_without_one_is_told_what_to_do():
    with pytest.raises(ValueError, match=r"input_shape=\(height, width, channels\)"):
        tfcompress.compress(_of_any_size(), Uniform(epochs=1), small_tasks.pictures(32), flops_budget=0.5, verbose=0)


def test_several_inputs_by_name():
    a, b = keras.Input((None, 2), name="a"), keras.Input((None, 2), name="b")
    x = layers.Concatenate(axis=1)([layers.Conv1D(4, 1)(a), layers.Conv1D(4, 1)(b)])
    model = keras.Model([a, b], layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))
    counted = tfcompress.cost(model, input_shape={"a": (5, 2), "b": (7, 2)})
    assert counted.macs == 5 * 2 * 4 + 7 * 2 * 4 + 4 * 3
    with pytest.raises(TypeError, match="a dictionary of"):
        tfcompress.cost(model, input_shape=(5, 2))


def test_inputs_without_names():
    """Keras calls such tensors all the same, and their layers by numbers; the student takes any size as the model does."""
    a, b = keras.Input((None, 2)), keras.Input((None, 2))
    x = layers.Concatenate(axis=1)([layers.Conv1D(4, 1)(a), layers.Conv1D(4, 1)(b)])
    model = keras.Model([a, b], layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))
    first, second = (layer.name for layer in model.layers if isinstance(layer, layers.InputLayer))
    counted = tfcompress.cost(model, input_shape={first: (5, 2), second: (7, 2)})
    assert counted.macs == 5 * 2 * 4 + 7 * 2 * 4 + 4 * 3
    given = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(4, 1), layers.GlobalAveragePooling2D()])
    student = Network(with_input_shape(given, (8, 8, 3)))
    assert student.model.input_shape == (None, 8, 8, 3)
    assert tfcompress.cost(given, input_shape=(8, 8, 3)).macs == 64 * 3 * 4
    delivered = nested_copy(Network(given).graph, student)
    assert delivered.input_shape == (None, None, None, 3)
