"""Samples of a split as data: labels that are equal numbers are equal in any type of whole numbers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcompress import data
from tfcompress.fingerprint import Contents, split_contents

X = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
Y = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2])


class InBatches(keras.utils.PyDataset):
    """Batches of 4."""

    def __init__(self, x, y):
        super().__init__()
        self.parts = [(x[at : at + 4], y[at : at + 4]) for at in range(0, len(x), 4)]

    def __len__(self):
        return len(self.parts)

    def __getitem__(self, index):
        return self.parts[index]


FORMS = {
    "arrays": lambda x, y: (x, y),
    "tf.data": lambda x, y: tf.data.Dataset.from_tensor_slices((x, y)).batch(4),
    "PyDataset": InBatches,
}


def contents(form, x, y):
    made = data.splits(FORMS[form](x, y), validation_data=(X, Y), input_shape=(None, 4), classes=3)
    return split_contents(made.train, Contents(), None, pytest.fail)


@pytest.mark.parametrize("form", FORMS)
def test_labels_of_every_type_of_whole_numbers(form):
    expected = contents(form, X, Y)
    for dtype in ("int32", "uint8", "int8"):
        assert contents(form, X, Y.astype(dtype)) == expected
    assert contents(form, X, np.where(Y == 2, 1, Y)) != expected


@pytest.mark.parametrize("form", FORMS)
def test_inputs_keep_their_type(form):
    whole = np.arange(48).reshape(12, 4)
    assert contents(form, whole.astype("int32"), Y) != contents(form, whole.astype("int16"), Y)
