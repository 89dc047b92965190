"""Weights of classes: as Keras' `fit` turns them into weights of samples, in every form of data."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcompress import data
from tfcompress.data.batches.class_weights import ClassWeights
from tfcompress.data.elsewhere import reopened, written

X = np.arange(40, dtype="float32").reshape(20, 2)
Y = np.arange(20) % 3
GENERIC = {"input_shape": (None, 2), "classes": 3, "batch_size": 5}
GIVEN = {0: 0.5, 2: 3}  # a class without a weight counts once
BY_HAND = np.array([0.5, 1.0, 3.0], "float32")


class Batches(keras.utils.PyDataset):
    def __init__(self, *parts):
        super().__init__()
        self.parts = parts

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return tuple(part[index::4] for part in self.parts)


def forms(*parts):
    return parts, tf.data.Dataset.from_tensor_slices(parts).batch(5), Batches(*parts)


def batches_of(split, training=True):
    return [tuple(map(np.asarray, batch)) for batch in split.batches(training=training)]


@pytest.mark.parametrize("form", range(3))
@pytest.mark.parametrize("own", [None, np.linspace(1, 2, 20, dtype="float32")])
def test_training_alone_has_them_times_the_weight_that_a_sample_has(form, own):
    parts = (X, Y) if own is None else (X, Y, own)
    splits = data.splits(forms(*parts)[form], validation_share=0.3, class_weight=GIVEN, **GENERIC)
    seen = 0
    for x, y, weights in batches_of(splits.train):
        factor = 1 if own is None else own[(x[:, 0] / 2).astype(int)]
        np.testing.assert_allclose(weights, BY_HAND[y] * factor, rtol=1e-6)
        seen += len(y)
    assert 10 <= seen < 20
    for split in (splits.validation, splits.calibration):
        assert {len(batch) for batch in batches_of(split, False)} == {2}
    assert "class weights: 0: 0.5, 2: 3; of the training loss" in splits.describe()
    assert ("sample weights:" in splits.describe()) == (own is not None)


def test_a_named_set(tmp_path):
    splits = data.splits(data.load("digits", images=60), class_weight={1: 4})
    for _, y, weights in batches_of(splits.train):
        np.testing.assert_array_equal(weights, np.where(y == 1, 4, 1))
    opened = reopened(json.loads(json.dumps(written(splits, tmp_path))))
    for ours, theirs in zip(batches_of(splits.train), batches_of(opened.train), strict=True):
        np.testing.assert_array_equal(ours[2], theirs[2])


@pytest.mark.parametrize("labels", [Y, Y[:, None], np.eye(3)[Y], Y.astype("float32") + 0.1])
def test_labels_are_read_as_keras_reads_them(labels):
    from keras.src.trainers.data_adapters.data_adapter_utils import class_weight_to_sample_weights

    ours = ClassWeights.of(GIVEN).times(labels)
    np.testing.assert_array_equal(ours, class_weight_to_sample_weights(labels, GIVEN))
    np.testing.assert_allclose(ours, BY_HAND[Y])


def test_refusals():
    def refused(words, given, parts=(X, Y), error=ValueError, **settings):
        with pytest.raises(error, match=words):
            data.splits(parts, class_weight=given, **(GENERIC | settings))

    refused("a dict {class: weight}.*Received: class_weight=", [1, 2, 3], error=TypeError)
    refused("a dict {class: weight}", {})
    refused("a class of class_weight.* whole number", {"cat": 2.0}, error=TypeError)
    refused(r"class_weight\[1\].*a number, 0 or more", {1: -1})
    refused(r"classes from 0 to 2.*Received: \[3\]", {1: 1, 3: 2})
    maps = np.zeros((20, 4, 4), "int64")
    refused(r"one class per sample.*\[4, 4, 4\].*third part", {0: 2}, (X, maps), classes=None)
    two = data.splits((X, (Y, Y)), input_shape=(None, 2))
    assert two.class_weight is None
    refused("one output, for class_weight. Received: 2", {0: 2}, (X, (Y, Y)), classes=None)
    with pytest.raises(ValueError, match="either `validation_split` or `validation_data`"):
        data.check_forms((X, Y), (X, Y), validation_split=0.2)
    for wrong in (0, 1, 1.5):
        with pytest.raises(ValueError, match="validation_split"):
            data.check_forms((X, Y), validation_split=wrong)
