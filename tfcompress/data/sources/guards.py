"""Checks whole splits before any training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import keras

from tfcompress.data.batches.checks import Expected, check_batch
from tfcompress.data.batches.failures import clear_error
from tfcompress.data.batches.forms import Batches
from tfcompress.data.sources.arrays import ArraySource
from tfcompress.data.sources.source import Source
from tfcompress.data.sources.streams import StreamSource, arrays_of
from tfcompress.process import log

__all__ = ["check_whole"]

_WORTH_A_WARNING = 10_000  # batches of a stream that does not say how many it has


class NamedSource(Protocol):
    """A split: a source with a name for messages."""

    @property
    def name(self) -> str:
        """The split's name, such as "validation"."""
        ...

    @property
    def source(self) -> Source:
        """The source of its samples."""
        ...


def check_whole(split: NamedSource, expected: Expected) -> None:
    """Reads a split once and checks every batch, not only the first ones, which were checked when the data were given.

    Arrays were checked completely then, and are not read again unless a function preprocesses them. A stream with an
    unknown number of batches may be endless: a warning says so after 10,000 batches, and again after ten times as
    many.

    Args:
        split: the split.
        expected: the model's inputs and outputs.

    Raises:
        ValueError, TypeError: a batch does not fit, or cannot be read; the message names split and batch.
    """
    source = split.source
    if isinstance(source, ArraySource) and source.preprocess is None:
        return
    given = source.as_given() if isinstance(source, StreamSource) else source.batches()
    batches, number, warned_at = _in_order(given), 0, _WORTH_A_WARNING
    while True:
        number += 1
        what = f"batch {number} of the {split.name} data"
        try:
            batch = next(batches, None)
        except Exception as error:  # a dataset's own code may raise anything
            raise clear_error(error, what) from None
        if batch is None:
            return
        check_batch(*arrays_of(batch, expected, what), expected, what)
        if number == warned_at and source.num_batches() is None:
            warned_at *= 10
            log.warning(
                "The %s data have given %s batches, and do not say how many there are. If they never end, stop this "
                "run and limit them: `dataset.take(batches)`.",
                split.name,
                f"{number:,}",
            )


def _in_order(batches: Batches) -> Iterator[object]:
    if isinstance(batches, keras.utils.PyDataset):
        return (batches[index] for index in range(len(batches)))
    return iter(batches.as_numpy_iterator())
