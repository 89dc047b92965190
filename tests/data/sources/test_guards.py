"""Splits that are looked at as a whole, and errors of TensorFlow in a line."""

import itertools
import logging

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcompress import data
from tfcompress.data.batches.failures import is_of_tensorflow, reason_of
from tfcompress.data.sources import guards

CLASSES = 3
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(48, 4)).astype("float32"), RNG.integers(0, CLASSES, 48)


def stream(x=X, y=Y):
    """Twelve batches of 4, of which the first four are looked at when they are given."""
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(4)


def with_nan():
    x = X.copy()
    x[41, 2] = np.nan
    return stream(x)


def with_a_label_too_many():
    y = Y.copy()
    y[41] = CLASSES
    return stream(y=y)


def that_breaks_off():
    def batches():
        for at in range(0, 48, 4):
            if at == 40:
                raise OSError("disk gone")
            yield X[at : at + 4], Y[at : at + 4]

    return tf.data.Dataset.from_generator(batches, output_signature=stream().element_spec)


def with_a_weight(number):
    weights = np.ones(48, "float32")
    weights[41] = number
    return stream().unbatch().batch(48).map(lambda x, y: (x, y, weights)).unbatch().batch(4)


class Batches(keras.utils.PyDataset):
    """The same batches one by one."""

    def __init__(self, dataset):
        super().__init__()
        self.parts = list(dataset.as_numpy_iterator())

    def __len__(self):
        return len(self.parts)

    def __getitem__(self, index):
        return self.parts[index]


BAD = {
    "NaN or infinity in sample 1": with_nan,
    "labels from . to 3": with_a_label_too_many,
    "OSError: disk gone": that_breaks_off,
}


def splits(**parts):
    given = {"data": stream(), "validation_data": stream(), "test_data": stream()} | parts
    return data.splits(given.pop("data"), **given, input_shape=(None, 4), classes=CLASSES)


@pytest.mark.parametrize(
    ("split", "form", "number"),
    [("validation", tf.data.Dataset.prefetch, np.nan), ("test", lambda dataset, _: Batches(dataset), np.inf)],
)
def test_a_bad_weight_of_a_split(split, form, number):
    made = splits(**{f"{split}_data": form(with_a_weight(number), 1)})
    words = rf"sample weights in batch 11 of the {split} data. Received: NaN or infinity in sample 1"
    with pytest.raises(ValueError, match=words):
        made.check_whole()
    splits(**{f"{split}_data": form(with_a_weight(2), 1)}).check_whole()


def test_a_stream_that_does_not_end_is_told(monkeypatch, caplog):
    def endless():
        for number in itertools.count():
            yield X[:4], Y[:4]
            if number == 50:
                raise OSError("stopped by hand")

    monkeypatch.setattr(guards, "_WORTH_A_WARNING", 4)
    made = splits(validation_data=tf.data.Dataset.from_generator(endless, output_signature=stream().element_spec))
    with caplog.at_level(logging.WARNING, "absl"), pytest.raises(ValueError, match="OSError: stopped by hand"):
        made.check_whole()
    told = [record.getMessage() for record in caplog.records]
    assert [text.split(" batches")[0] for text in told] == [f"The validation data have given {n}" for n in (4, 40)]
    assert "`dataset.take(batches)`" in told[0]
    caplog.clear()
    splits().check_whole()  # twelve batches, and they say so
    assert not caplog.records


@pytest.mark.parametrize("split", ["validation", "test"])
@pytest.mark.parametrize("words", list(BAD))
def test_a_bad_batch_of_a_split(split, words):
    made = splits(**{f"{split}_data": BAD[words]()})
    with pytest.raises(ValueError, match=rf"Expected .*batch 11 of the {split} data.* Received: .*{words}"):
        made.check_whole()


def test_the_first_samples_of_a_training_stream():
    made = splits(data=with_nan())
    with pytest.raises(ValueError, match=r"the first 1,000 samples of the training data.*NaN or infinity in sample 41"):
        made.calibration.take(8)
    made = splits(data=that_breaks_off())
    with pytest.raises(ValueError, match=r"the first 1,000 samples of the training data.*OSError: disk gone"):
        made.calibration.take(8)


def test_good_splits_of_every_form():
    splits().check_whole()
    splits(test_data=(X, Y), validation_data=data.ArrayBatches(X, Y, 8, preprocess=lambda x: x)).check_whole()
    bad = data.ArrayBatches(X, Y, 8, preprocess=lambda x: np.where(x == X[41], np.nan, x))
    with pytest.raises(ValueError, match="batch 6 of the test data"):
        splits(test_data=bad).check_whole()


def test_words_for_errors():
    dump = (
        'Graph execution error:\n\nDetected at node loss defined at:\n  File "a.py", line 1, in <module>\n\n'
        "Received a label value of 9 which is outside the valid range of [0, 3).  Label values: 9 0\n\t [[{{node x}}]] "
        "[Op:__inference]"
    )
    error = tf.errors.InvalidArgumentError(None, None, dump)
    assert reason_of(error) == "Received a label value of 9 which is outside the valid range of [0, 3)."
    error = tf.errors.UnknownError(None, None, "Graph execution error:\n\nValueError: no\nTraceback:\n  File x\n\nend")
    assert reason_of(error) == "ValueError: no."
    assert reason_of(KeyError("left")) == "KeyError: 'left'."
    assert is_of_tensorflow(error)
    assert not is_of_tensorflow(KeyError())
    assert not is_of_tensorflow(tf.errors.ResourceExhaustedError(None, None, "memory"))
