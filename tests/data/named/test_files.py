"""Folders of images and .npz files: found, read as Keras reads them, split, refused, and opened again elsewhere."""

import json
import pathlib
import sys

import keras
import numpy as np
import pytest

import tfcompress
from tfcompress import data
from tfcompress.data.batches.checks import Expected
from tfcompress.data.elsewhere import reopened, written
from tfcompress.data.named.places import kind_of
from tfcompress.data.sources import named_data
from tfcompress.data.sources.folders import FolderStream
from tfcompress.fingerprint import Contents, split_contents
from tfcompress.given import given_splits

RNG = np.random.default_rng(0)
CLASSES = ("ants", "bees", "cats")


def photos(folder, count=8, classes=CLASSES, size=(7, 9)):
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            image = RNG.integers(0, 256, (*size, 3), "uint8")
            image[0, 0] = 40 * number, index, 255  # which class and which image, where nothing is resized
            keras.utils.save_img(folder / name / f"{index}.png", image, scale=False)
    return folder


def network(size=7, width=9, channels=3, classes=3, loss="sparse_categorical_crossentropy"):
    x = keras.Input((size, width, channels))
    outputs = keras.layers.Dense(classes, activation="softmax")(keras.layers.Flatten()(x))
    model = keras.Model(x, outputs)
    model.compile("sgd", loss, metrics=["accuracy"])
    return model


def taken(split, count=100):
    x, y = split.take(count)
    return np.round(x * 255).astype(int), y


def test_a_folder_for_each_class(tmp_path):
    folder = photos(tmp_path / "photos")
    splits = given_splits(network(), str(folder), None)
    for split, count in ((splits.train, 22), (splits.validation, 2)):
        x, y = taken(split)
        assert x.shape == (count, 7, 9, 3)
        np.testing.assert_array_equal(x[:, 0, 0, 0], 40 * y)
    assert f"of {folder} (3 classes: ants, bees, cats) without what is held out" in splits.describe()
    assert data.load(folder).class_names == CLASSES
    assert data.load(folder).augment is None


def test_it_is_resized_as_keras_does_it_in_memory_and_as_a_stream(tmp_path, monkeypatch):
    folder = photos(tmp_path / "photos")
    expected = {}
    for batch, labels in keras.utils.image_dataset_from_directory(
        folder, image_size=(4, 6), shuffle=False, color_mode="grayscale", verbose=False
    ):
        expected = {
            np.round(image).astype("uint8").tobytes(): int(label) for image, label in zip(batch, labels, strict=True)
        }
    model, kinds = network(4, 6, 1), []
    for limit in (1e9, 10):
        monkeypatch.setattr(named_data, "_MEMORY_BYTES", limit)
        splits = given_splits(model, folder, None, validation_split=0.25)
        kinds.append(type(splits.train.source).__name__)
        pictures = [(split, *taken(split)) for split in (splits.train, splits.validation)]
        assert [len(y) for _, _, y in pictures] == [18, 6]
        for _, x, y in pictures:
            assert [expected[image.astype("uint8").tobytes()] for image in x] == y.tolist()
        np.testing.assert_array_equal(np.bincount(pictures[1][2]), [2, 2, 2])
        opened = reopened(json.loads(json.dumps(written(splits, tmp_path / f"{limit}"))))
        for ours, theirs in ((splits.train, opened.train), (splits.validation, opened.validation)):
            for training in (True, False):
                ours_first, theirs_first = (next(iter(split.batches(5, training))) for split in (ours, theirs))
                for first, second in zip(ours_first, theirs_first, strict=True):
                    np.testing.assert_array_equal(np.asarray(first), np.asarray(second))
    assert kinds == ["ArraySource", "FolderStream"]
    contents = Contents()
    before = split_contents(splits.train, contents, None, print)
    assert split_contents(splits.train, Contents(), None, print) == before
    name = splits.train.source.files[0]
    (folder / name).write_bytes(b"no image any more")
    assert split_contents(splits.train, Contents(), None, print) != before
    assert isinstance(splits.train.source, FolderStream)
    assert contents.unknown == []


def test_folders_of_splits_and_one_hot_labels(tmp_path):
    for part in ("train", "val", "test"):
        photos(tmp_path / "set" / part, 3)
    model = network(loss="categorical_crossentropy")
    splits = given_splits(model, tmp_path / "set", None)
    assert [split.num_samples for split in (splits.train, splits.validation, splits.test)] == [9, 9, 9]
    assert splits.train.take(2)[1].shape == (2, 3)
    assert "9 images: the validation split of" in splits.describe()
    with pytest.raises(ValueError, match=r"no share to hold out.* 0\.2"):
        given_splits(model, tmp_path / "set", None, validation_split=0.2)
    (tmp_path / "set" / ".cache").mkdir()
    assert given_splits(model, tmp_path / "set", None).test is not None
    (tmp_path / "set" / "masks").mkdir()
    with pytest.raises(ValueError, match=r"only the folders train, validation and test.*beside \['masks'\]"):
        data.load(tmp_path / "set")
    single = given_splits(network(), tmp_path / "set" / "train", tmp_path / "set" / "val")
    assert single.validation.num_samples == 9
    photos(tmp_path / "other", 2, ("ants", "bees", "dogs"))
    with pytest.raises(ValueError, match=r"the same classes.*\['cats', 'dogs'\]"):
        given_splits(network(), tmp_path / "set" / "train", tmp_path / "other")


def test_what_is_no_folder_of_images_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts" / "ants").mkdir(parents=True)
    (tmp_path / "texts" / "ants" / "a.txt").write_text("no image")
    photos(tmp_path / "photos", 2)
    (tmp_path / "photos" / "dogs").mkdir()

    def refused(words, given, model=None):
        with pytest.raises(ValueError, match=words):
            given_splits(model or network(), given, None)

    refused("a folder for each class.*no folder in it.*cats", tmp_path / "empty")
    refused(r"\.jpg.*none in \['ants'\]", tmp_path / "texts")
    refused(r"images in each folder.*none in \['dogs'\]", tmp_path / "photos")
    (tmp_path / "photos" / "dogs").rmdir()
    refused("each of the 5 classes of the model.*3 folders: ants, bees, cats", tmp_path / "photos", network(classes=5))
    for places in ("./nowhere", str(tmp_path / "nowhere"), "nowhere.npz"):
        with pytest.raises(ValueError, match=r"name of a dataset.*\.npz file.*'package.module:function'.*no such path"):
            data.check_forms(places)
    (tmp_path / "a.csv").write_text("1,2")
    with pytest.raises(ValueError, match=r"a\.csv', another file"):
        data.check_forms(tmp_path / "a.csv")
    with pytest.raises(
        ValueError, match=r"nowhere_at_all.*'package.module:function' are data too: there is no such path"
    ):
        data.load("nowhere_at_all")


def test_npz_files(tmp_path):
    x, y = RNG.integers(0, 256, (20, 5, 5), "uint8"), np.arange(20) % 3
    path = tmp_path / "set.npz"
    np.savez(path, x_train=x, y_train=y, x_test=x[:6], y_test=y[:6], sample_weight=np.arange(20.0))
    splits = given_splits(network(5, 5, 1), str(path), None)
    assert [split.num_samples for split in (splits.train, splits.validation, splits.test)] == [18, 2, 6]
    assert splits.train.weighted
    np.testing.assert_allclose(splits.test.take(6)[0][..., 0] * 255, x[:6], atol=1e-4)
    np.savez(tmp_path / "numbers.npz", x=x.astype("float32"), y=y)
    loaded = data.splits(tmp_path / "numbers.npz", classes=3, validation_data=tmp_path / "numbers.npz")
    np.testing.assert_array_equal(loaded.train.take(20)[0], x)  # numbers are as the model reads them
    for arrays, words in (({"a": x}, r"x_train and y_train.*Received: \['a'\]"), ({"x": x, "y": [{}] * 20}, "objects")):
        np.savez(tmp_path / "bad.npz", **arrays)
        with pytest.raises(ValueError, match=words):
            data.load(tmp_path / "bad.npz")
    with pytest.raises(ValueError, match="no `size` for data that are not uint8 images"):
        data.load(tmp_path / "numbers.npz", size=8)


def test_a_function_of_a_module(tmp_path, monkeypatch):
    (tmp_path / "my_data.py").write_text(
        "import numpy as np\n"
        "X, Y = np.zeros((20, 7, 9, 3), 'float32'), np.arange(20) % 3\n"
        "def arrays():\n    return X, Y\n"
        "def name():\n    return 'digits'\n"
        "def nothing():\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_data", raising=False)
    splits = given_splits(network(), "my_data:arrays", "my_data:arrays")
    assert (splits.train.num_samples, splits.validation.num_samples) == (20, 20)
    assert data.opened("my_data:name").name == "digits"
    for function, words in (
        ("my_dota:arrays", "no module 'my_dota'.*PYTHONPATH"),
        ("my_data:array", "no such function"),
        ("my_data:X", "class ndarray"),
        ("my_data:nothing", "Received: None"),
    ):
        with pytest.raises(ValueError, match=words):
            data.opened(function)


def test_what_a_string_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("photos", "mnist"):
        (tmp_path / name).mkdir()
    kinds = {
        "digits": "name",
        "mnist": "name",  # the name of a known set wins
        "./mnist": "path",
        "mnist/": "path",
        "photos": "path",
        "nothing": "name",
        "imagenette/320px:1.0.0": "name",
        "mnist:3.0.1": "name",
        "set.npz": "path",
        "module:function": "function",
        "package.module:Class.method": "function",
    }
    assert {text: kind_of(text) for text in kinds} == kinds
    assert kind_of(pathlib.Path("digits")) == "path"


def test_a_path_in_the_methods_place_is_data(tmp_path):
    with pytest.raises(ValueError, match="Expected a budget"):
        tfcompress.compress(network(), photos(tmp_path / "photos", 2), verbose=0)


def test_the_form_of_labels_is_that_of_a_single_probability_too(tmp_path):
    folder = photos(tmp_path / "two", 4, ("no", "yes"))
    expected = Expected((None, 7, 9, 3), 1, "one-hot", (None, 1))
    assert data.splits(folder, expected=expected).train.take(3)[1].shape == (3,)
