"""Splits that are written down and opened again give the same batches, from files that several processes can share."""

import json
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from tfcompress import data
from tfcompress.data.batches.scaling import to_unit_interval
from tfcompress.data.elsewhere import NotElsewhere, imported, name_of, reopened, written
from tfcompress.data.sources.image_streams import ImageStream

X, Y = np.arange(120, dtype="float32").reshape(30, 2, 2, 1), np.arange(30) % 3
GENERIC = {"input_shape": (None, 2, 2, 1), "classes": 3, "batch_size": 8}


def again(splits, folder):
    return reopened(json.loads(json.dumps(written(splits, folder))))


def assert_same(splits, opened):
    """Two epochs of training and validation give the same batches."""
    for ours, theirs in ((splits.train, opened.train), (splits.validation, opened.validation)):
        assert ours.text == theirs.text
        assert ours.weighted == theirs.weighted
        for training in (True, False):
            of_ours, of_theirs = ours.batches(5, training), theirs.batches(5, training)
            for epoch in range(2):
                data.set_epoch(of_ours, epoch)
                data.set_epoch(of_theirs, epoch)
                pairs = list(zip(_list(of_ours), _list(of_theirs), strict=True))
                assert pairs
                for own, theirs_again in pairs:
                    keras.tree.map_structure(np.testing.assert_array_equal, tuple(own), tuple(theirs_again))


def _list(batches):
    is_keras = isinstance(batches, keras.utils.PyDataset)
    return [batches[i] for i in range(len(batches))] if is_keras else list(batches.as_numpy_iterator())


def test_arrays_are_written_once_and_mapped(tmp_path):
    weights = np.linspace(0, 1, 30, dtype="float32")
    splits = data.splits((X, Y, weights), **GENERIC)
    opened = again(splits, tmp_path)
    assert_same(splits, opened)
    # Inputs, labels, weights, and which samples are held out and which not.
    assert len(list(tmp_path.iterdir())) == 5
    assert type(opened.train.source.x) is np.ndarray
    assert isinstance(opened.train.source.x.base, np.memmap)


def test_structures_of_arrays_and_functions_by_their_names(tmp_path):
    x = {"a": X, "b": (X * 2)[..., 0]}
    splits = data.splits((x, Y), input_shape={"a": (None, 2, 2, 1), "b": (None, 2, 2)}, classes=3)
    assert_same(splits, again(splits, tmp_path / "structures"))
    named = data.splits(data.load("digits", images=40, augment=data.flip_and_crop))
    opened = again(named, tmp_path / "named")
    assert_same(named, opened)
    assert opened.train.source.augment is data.flip_and_crop


@pytest.mark.parametrize("function", [lambda images: images, np.float32(1).astype])
def test_functions_of_this_process_alone_are_refused(function, tmp_path):
    with pytest.raises(NotElsewhere, match=r"only this process has.*module of its own"):
        name_of(function, "preprocess")
    assert imported(name_of(data.flip_and_crop, "augment")) is data.flip_and_crop
    assert imported(name_of(None, "augment")) is None


def test_a_tensorflow_dataset_is_written_out(tmp_path):
    dataset = tf.data.Dataset.from_tensor_slices((X, Y)).batch(7)
    splits = data.splits(dataset, input_shape=(None, 2, 2, 1), classes=3, validation_data=(X, Y))
    assert_same(splits, again(splits, tmp_path / "given"))
    held_out = data.splits(dataset, input_shape=(None, 2, 2, 1), classes=3, validation_share=0.3)
    assert_same(held_out, again(held_out, tmp_path / "held out"))


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return X[index::3], Y[index::3]


def test_data_that_only_this_process_has_is_refused_with_what_to_do(tmp_path, monkeypatch):
    settings = {"input_shape": (None, 2, 2, 1), "classes": 3, "validation_data": (X, Y)}
    shuffled = tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(30).batch(7)
    with pytest.raises(NotElsewhere, match=r"training data.*other batches each time.*Pass arrays"):
        written(data.splits(shuffled, **settings), tmp_path)
    with pytest.raises(NotElsewhere, match=r"training data are 3 batches.*only this process has\. Pass arrays"):
        written(data.splits(Batches(), **settings), tmp_path)
    monkeypatch.setattr("tfcompress.data.elsewhere.fits_in_memory", lambda size: size < 200)
    with pytest.raises(NotElsewhere, match=r"more than 2 GB.*by its name"):
        written(data.splits(tf.data.Dataset.from_tensor_slices((X, Y)).batch(7), **settings), tmp_path)


class TinyImages(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        image = tfds.features.Image(shape=(None, None, 3), encoding_format="png")
        features = tfds.features.FeaturesDict({"image": image, "label": tfds.features.ClassLabel(num_classes=2)})
        return self.dataset_info_from_configs(features=features)

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for value in range(8):
            yield value, {"image": np.full((5 + value, 6, 3), value, "uint8"), "label": value % 2}


def test_streamed_images_are_opened_again_from_their_folder(tmp_path):
    builder = TinyImages(data_dir=tmp_path / "tfds")
    with mock.patch("tqdm.std.tqdm.display"):
        builder.download_and_prepare()
    stream = ImageStream(
        ranges=(("train", 0, 8),),
        batch_size=4,
        seed=0,
        builder=builder,
        size=(4, 4),
        preprocess=to_unit_interval,
        augment="auto",
    )
    rest, held_out, text = stream.hold_out(0.25, None)
    splits = data.Splits(data.Split("training", rest, text), data.Split("validation", held_out, text), None, None)
    assert_same(splits, again(splits, tmp_path / "written"))


def test_texts_in_files_are_opened_again(tmp_path, monkeypatch):
    monkeypatch.setattr("tfcompress.data.texts.streams.fits_in_memory", lambda size: False)
    lines = [f'"{1 + number % 2}","text number {number}"' for number in range(24)]
    (tmp_path / "train.csv").write_text("\n".join(lines) + "\n")
    texts = data.load_text_files(tmp_path / "train.csv", classes=2, length=20)
    splits = data.splits(texts, batch_size=4)
    opened = again(splits, tmp_path / "written")
    for ours, theirs in ((splits.train, opened.train), (splits.validation, opened.validation)):
        assert 0 < theirs.num_samples == ours.num_samples < 24
        for own, read_again in zip(ours.take(8), theirs.take(8), strict=True):
            np.testing.assert_array_equal(own, read_again)
