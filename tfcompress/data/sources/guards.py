"""Looks at splits as a whole before any training."""

import keras

from tfcompress.data.batches.checks import check_batch, input_arrays, label_arrays
from tfcompress.data.batches.failures import clear_error
from tfcompress.data.sources.arrays import ArraySource

__all__ = ["check_whole"]


def check_whole(split, expected):
    """Reads a split once and checks every batch, as the first ones were when the data were given.

    Arrays were looked at whole then, and are not read again, unless a function preprocesses them.

    Args:
        split: a `Split`.
        expected: `Expected`.

    Raises:
        ValueError, TypeError: a batch that does not fit, or cannot be read; the message names split and batch.
    """
    source = split.source
    if isinstance(source, ArraySource) and source.preprocess is None:
        return
    batches, number = _in_order(split.batches()), 0
    while True:
        number += 1
        what = f"batch {number} of the {split.name} data"
        try:
            batch = next(batches, None)
        except Exception as error:  # a dataset's own code may raise anything
            raise clear_error(error, what) from None
        if batch is None:
            return
        x, y = tuple(batch)
        x = input_arrays(x, expected, f"the inputs in {what}")
        y = label_arrays(y, expected, f"the labels in {what}")
        check_batch(x, y, expected, what)


def _in_order(batches):
    if isinstance(batches, keras.utils.PyDataset):
        return (batches[index] for index in range(len(batches)))
    return batches.as_numpy_iterator()
