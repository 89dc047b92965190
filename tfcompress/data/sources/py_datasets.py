"""A source over a Keras PyDataset, or over any object that gives batches by number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Self

import keras
import numpy as np

from tfcompress.data.batches.checks import Expected, labels_as_read
from tfcompress.data.batches.class_weights import ClassWeights
from tfcompress.data.batches.epochs import ChosenBatches
from tfcompress.data.batches.forms import Arrays, Batches, IndexedBatches
from tfcompress.data.sources.holdout import hold_out_indices
from tfcompress.data.sources.streams import NOT_REPEATABLE, StreamSource, arrays_of, check_batches, digests

__all__ = ["PyDatasetSource"]


def _with_plain_labels(
    batch: tuple[Arrays, ...], classes: int | None, weighted: bool, class_weights: ClassWeights | None = None
) -> tuple[Arrays, ...]:
    x, y, *weights = batch
    y = labels_as_read(y if isinstance(y, dict | tuple | list) else np.asarray(y), classes)
    if not weighted:
        return x, y
    return (x, y, *weights) if class_weights is None else (x, y, class_weights.times(y, *weights))


@dataclass(frozen=True)
class PyDatasetSource(StreamSource):
    """All or some batches of a Keras PyDataset, or of any object with `__len__` and `__getitem__`.

    The size of its batches is kept.

    Attributes:
        classes: number of classes, or `None`.
        indices: the chosen batches, int `[chosen]`.
        whole: whether these are all batches.
        class_weights: weights of classes in the training loss; `None` for equal weights.
    """

    dataset: IndexedBatches
    classes: int | None = None
    indices: np.ndarray = field(default_factory=lambda: np.arange(0))
    whole: bool = True
    class_weights: ClassWeights | None = None

    @classmethod
    def checked(cls, dataset: IndexedBatches, expected: Expected, what: str, seed: int) -> Self:
        """Makes a source from a user's dataset. Raises ValueError or TypeError if it does not fit `expected`."""
        number = dataset.num_batches if isinstance(dataset, keras.utils.PyDataset) else len(dataset)
        if number is None:
            raise ValueError(
                f"Expected {what} to end after an epoch. Received: a PyDataset without a length. Give it `__len__`."
            )
        batch_size = check_batches((dataset[index] for index in range(number)), expected, what)
        weighted = len(dataset[0]) == 3
        return cls(dataset, batch_size, seed, weighted, expected.classes, np.arange(number))

    def num_batches(self, batch_size: int | None = None) -> int | None:
        """Number of batches in an epoch."""
        return len(self.indices)

    def batches(self, batch_size: int | None = None, training: bool = False) -> Batches:
        """`ChosenBatches`, in another order each epoch for training."""
        return ChosenBatches(
            self.dataset,
            self.indices,
            shuffle=training,
            seed=self.seed,
            convert=self._converted(self.weighted and (training or self.weighs)),
            forward_epoch_end=training and self.whole,
        )

    def as_given(self) -> Batches:
        """`ChosenBatches` in order, with weights."""
        return ChosenBatches(self.dataset, self.indices, seed=self.seed, convert=self._converted(self.weighted))

    def _converted(self, weighted: bool) -> Callable[[tuple[Arrays, ...]], tuple[Arrays, ...]]:
        of_classes = self.class_weights
        return partial(_with_plain_labels, classes=self.classes, weighted=weighted, class_weights=of_classes)

    def weighing_classes(self, classes: ClassWeights) -> Self:
        """Returns the same samples, also weighted by their classes."""
        return replace(self, class_weights=classes, weighted=True)

    def hold_out(self, share: float, expected: Expected) -> tuple[Self, Self, str]:
        """Returns `(rest, held out, how)`: a seeded choice of batches."""
        number = len(self.indices)
        if number < 2:
            raise ValueError(
                f"Expected at least 2 batches, one of them to be held out for validation. Received: {number}. "
                "Pass `validation_data`, or make the batches smaller."
            )
        first, again = (digests(arrays_of(self.dataset[0], expected, "`data`")) for _ in range(2))
        if first != again:
            raise ValueError(NOT_REPEATABLE.format(what="a dataset of batches"))
        kept, held_out = (
            replace(self, indices=np.sort(self.indices[places]), whole=False)
            for places in hold_out_indices(number, None, share, self.seed)
        )
        text = f"{len(held_out.indices):,} of {number:,} batches held out of the training data (seed {self.seed})"
        return kept, held_out, text

    def describe(self) -> str:
        """The source in words, such as "45 batches"."""
        return f"{len(self.indices):,} batches"
