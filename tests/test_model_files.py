"""Models given as files: those of Keras 2, damaged ones, those that hold code, and files that are no models."""

import json
import logging
import pathlib
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras import layers

import tfcompress
from tfcompress.methods import Uniform
from tfcompress.model_files import given_model, read_model

X = np.random.default_rng(0).normal(size=(3, 6, 6, 2)).astype("float32")


def network(name="net"):
    inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(4, 3, activation="relu")(inputs)
    return keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)), name=name)


def of_keras2(folder, model, **compiled):
    """The .h5 file that Keras 2 makes of a model, and what the model gives for `X`."""
    if compiled:
        model.compile(**compiled)
        model.train_on_batch(X[:, :, :, : model.input_shape[-1]], np.zeros(3))
    path = folder / "old.h5"
    model.save(path)
    return path, model(X).numpy()


@pytest.fixture(scope="module")
def keras2():
    import tf_keras

    return tf_keras


def test_layers_as_keras_2_wrote_them(keras2, tmp_path):
    old = keras2.layers
    inner_inputs = keras2.Input((6, 6, 2))
    inner = keras2.Model(inner_inputs, old.BatchNormalization()(old.DepthwiseConv2D(3)(inner_inputs)))
    plain = keras2.Sequential([old.InputLayer((6, 6, 2)), old.SeparableConv2D(2, 3)])
    inputs = keras2.Input((6, 6, 2))
    x = old.Add()(
        [inner(inputs), inner(old.ReLU()(inputs)), plain(inputs)]
    )  # calls of nested models, one of them twice
    x = old.Bidirectional(old.LSTM(4))(old.Reshape((16, 2))(old.Conv2DTranspose(2, 3, strides=1, padding="same")(x)))
    path, outputs = of_keras2(tmp_path, keras2.Model(inputs, old.Dense(3)(x)))
    found = read_model(path)
    np.testing.assert_allclose(found.model(X), outputs, rtol=1e-5, atol=1e-6)
    assert not found.model.compiled
    assert found.notes == (f"old.h5 was written by Keras {keras2.__version__}.",)


def test_the_compile_state_of_keras_2(keras2, tmp_path):
    old = keras2.layers

    def model():
        return keras2.Sequential([old.Flatten(input_shape=(6, 6, 2)), old.Dense(3)])

    loss = keras2.losses.SparseCategoricalCrossentropy(from_logits=True)
    path, outputs = of_keras2(
        tmp_path, model(), optimizer=keras2.optimizers.SGD(0.25, momentum=0.5), loss=loss, metrics=["accuracy"]
    )
    found, _, notes = read_model(path)
    np.testing.assert_allclose(found(X), outputs, rtol=1e-5, atol=1e-6)
    values = found.evaluate(X, np.zeros(3), verbose=0, return_dict=True)
    logits = outputs - outputs.max(axis=1, keepdims=True)
    expected = np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[:, 0])
    assert values["loss"] == pytest.approx(expected, rel=1e-4)  # of logits
    assert values["accuracy"] == pytest.approx(np.mean(outputs.argmax(axis=1) == 0))
    assert (float(found.optimizer.learning_rate), found.optimizer.momentum) == (0.25, 0.5)
    assert "It is compiled anew, with loss SparseCategoricalCrossentropy and SGD(0.25)" in notes[0]

    path, _ = of_keras2(tmp_path, model(), optimizer="adam", loss=lambda y, outputs: outputs[:, 0])
    found, _, notes = read_model(path)
    assert not found.compiled
    assert "cannot be read" in notes[0] and "Compile it, or pass objective=" in notes[0]


def test_compress_says_that_a_file_is_old(keras2, tmp_path, caplog):
    path, _ = of_keras2(
        tmp_path,
        keras2.Sequential(
            [
                keras2.layers.Conv2D(4, 3, activation="relu", input_shape=(6, 6, 2)),
                keras2.layers.GlobalAveragePooling2D(),
                keras2.layers.Dense(3, activation="softmax"),
            ]
        ),
        optimizer="adam",
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    data = np.zeros((20, 6, 6, 2), "float32"), np.arange(20) % 3
    with caplog.at_level(logging.WARNING, "absl"):
        result = tfcompress.compress(path, Uniform(epochs=0), data, flops_budget=0.6, verbose=0)
    said = f"old.h5 was written by Keras {keras2.__version__}"
    assert any(note.startswith(said) for note in result.notes)
    assert said in caplog.text


def test_what_keras_3_would_compute_otherwise_is_refused(keras2, tmp_path):
    old = keras2.layers
    path, _ = of_keras2(tmp_path, keras2.Sequential([old.Dense(3, activation="hard_sigmoid", input_shape=(6, 6, 2))]))
    with pytest.raises(ValueError, match=r"mean the same in Keras 2 and 3.*old.h5.*hard_sigmoid"):
        given_model(path)


def test_what_of_keras_2_cannot_be_read_says_so(keras2, tmp_path):
    inputs = keras2.Input((6, 6, 2))
    path, _ = of_keras2(tmp_path, keras2.Model(inputs, keras2.layers.Dense(3)(inputs) * 2.0))
    with pytest.raises(ValueError, match=r"Expected layers that Keras 3 knows.*TFOpLambda.*Build the model anew"):
        given_model(path)
    new = tmp_path / "of_keras_2.keras"
    keras2.Sequential([keras2.layers.Dense(3, input_shape=(4,))]).save(new)
    with pytest.raises(ValueError, match=r"of_keras_2.keras', written by Keras 2\..*save\('model.h5'\)"):
        given_model(new)


def test_paths(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    model = network()
    for name in ("net.keras", "net.h5", "net.hdf5"):
        model.save(tmp_path / name)
        tfcompress.inspect(f"~/{name}", exclude="conv2d*")
        assert "net: 1,164 MACs" in capsys.readouterr().out  # 4 * 4 * 9 * 2 * 4 and 4 * 3
        assert tfcompress.cost(pathlib.Path(f"~/{name}")).macs == 1164
    with zipfile.ZipFile(tmp_path / "net.keras") as archive:
        archive.extractall(tmp_path / "unpacked")
    assert tfcompress.cost(tmp_path / "unpacked").macs == 1164


def write(path, content=b""):
    path.write_bytes(content)
    return path


def test_files_that_hold_no_model(tmp_path):
    model = network()
    model.save(tmp_path / "good.keras")
    model.save(tmp_path / "good.h5")
    model.save_weights(tmp_path / "w.weights.h5")
    good, old = (tmp_path / "good.keras").read_bytes(), (tmp_path / "good.h5").read_bytes()
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
        archive.writestr("a.txt", "a")
    (tmp_path / "saved").mkdir()
    write(tmp_path / "saved" / "saved_model.pb")
    for path, words in (
        (tmp_path / "w.weights.h5", "holds weights only.*model.load_weights"),
        (write(tmp_path / "empty.keras"), "an empty file"),
        (write(tmp_path / "cut.keras", good[: len(good) // 2]), "damaged or cut short"),
        (write(tmp_path / "cut.h5", old[: len(old) // 2]), "damaged or cut short"),
        (write(tmp_path / "text.h5", b"not a model"), "begins neither as HDF5 nor as a zip"),
        (write(tmp_path / "text.txt", b"not a model"), "not a Keras file"),
        (write(tmp_path / "a.pb", b"\x0a\x05abcdefgh"), "a TensorFlow graph"),
        (write(tmp_path / "m.tflite", b"\x1c\0\0\0TFL3"), "a TensorFlow Lite file"),
        (write(tmp_path / "h5.keras", old), "Rename it to end with .h5"),
        (write(tmp_path / "keras.zip", good), "Rename it to end with .keras"),
        (tmp_path / "other.keras", "a zip archive that holds no Keras model"),
        (tmp_path / "saved", "a SavedModel"),
        (tmp_path, "a folder"),
    ):
        with pytest.raises(ValueError, match=rf"^Expected `model` to be the path.*Received: .*{words}") as caught:
            given_model(path)
        assert "\n" not in str(caught.value)
    for wrong in (None, 5, [], b"good.keras", network, "", "a\0b.keras", "a" * 300 + ".keras"):
        with pytest.raises((TypeError, ValueError), match=r"^Expected `model` to be a keras.Model"):
            given_model(wrong)


def test_no_file_runs_code(keras2, tmp_path):
    inputs = keras.Input((4,))
    inner = keras.Sequential([keras.Input((4,)), layers.Lambda(lambda x: x * 2, name="doubled")])
    model = keras.Model(inputs, inner(inputs))
    old = keras2.Sequential([keras2.layers.Lambda(lambda x: x * 2, name="doubled", input_shape=(4,))])
    for name, of in (("code.keras", model), ("code.h5", model), ("old.h5", old)):
        of.save(tmp_path / name)
        with pytest.raises(
            ValueError, match=r"holds no Python code.*of 'doubled'.*If you trust the file.*safe_mode=False"
        ) as caught:
            tfcompress.inspect(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_a_class_that_is_not_registered(tmp_path):
    class Doubled(layers.Layer):
        def call(self, x):
            return 2 * x

    inputs = keras.Input((4,))
    for name in ("own.keras", "own.h5"):
        keras.Model(inputs, Doubled()(inputs)).save(tmp_path / name)
        with pytest.raises(ValueError, match=r"'Doubled', which is not registered. Import the code.*custom_objects"):
            given_model(tmp_path / name)


def test_a_loss_that_is_not_registered_is_said(tmp_path):
    def own_loss(y, outputs):
        return keras.ops.mean(keras.ops.square(y - outputs), axis=-1)

    model = network()
    model.compile("sgd", own_loss)
    model.save(tmp_path / "own.keras")
    found, _, (note,) = read_model(tmp_path / "own.keras")
    assert not found.compiled
    assert "own.keras does not load with its loss" in note and "pass objective=" in note
    np.testing.assert_array_equal(found(X), model(X))


def test_a_config_that_is_damaged(tmp_path):
    path = tmp_path / "odd.h5"
    network().save(path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][1]["config"]["filters"] = "many"
        file.attrs["model_config"] = json.dumps(config)
    with pytest.raises(
        ValueError, match=r"^Expected a model file that Keras .* can read. Received: .*odd.h5'"
    ) as caught:
        given_model(path)
    assert len(str(caught.value)) < 600
