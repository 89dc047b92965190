"""Arrays in memory as a source, and the first samples of a stream as a source."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import keras
import numpy as np

from tfcompress.data.batches.checks import (
    Expected,
    check_batch,
    check_finite,
    check_weights,
    input_arrays,
    integer_labels,
    label_arrays,
    labels_as_read,
    to_arrays,
)
from tfcompress.data.batches.class_weights import ClassWeights
from tfcompress.data.batches.epochs import ArrayBatches
from tfcompress.data.batches.failures import reading
from tfcompress.data.batches.forms import Arrays, Augment, Batches, Preprocess
from tfcompress.data.batches.scaling import Prepared
from tfcompress.data.sources.holdout import hold_out_indices
from tfcompress.data.sources.source import Source

__all__ = ["BATCHES_LOOKED_AT", "ArraySource", "FirstSamples", "first_samples"]

BATCHES_LOOKED_AT = 4  # of a stream, before training


def first_samples(batches: Iterable[Iterable[object]], count: int) -> tuple[Arrays, ...]:
    """Returns the first `count` samples of an iterable of batches `(x, y)`, as arrays; fewer if there are fewer."""
    missing = count
    parts: list[tuple[Arrays, ...]] = []
    for batch in batches:
        part = keras.tree.map_structure(lambda array, stop=missing: np.asarray(array)[:stop], tuple(batch))
        parts.append(part)
        missing -= len(keras.tree.flatten(part)[0])
        if missing <= 0:
            break
    try:
        whole: tuple[Arrays, ...] = keras.tree.map_structure(lambda *arrays: np.concatenate(arrays), *parts)
    except ValueError as error:
        raise ValueError(
            f"Expected batches of one shape, except for the number of samples. Received: other shapes among the first "
            f"{len(parts)} batches ({error}). Resize or pad the samples to one shape."
        ) from None
    return whole


@dataclass(frozen=True)
class ArraySource:
    """Arrays in memory, or a part of them.

    Attributes:
        x: array or a tuple or dict of arrays `[samples, ...]`.
        y: the labels, likewise.
        indices: the chosen samples, int `[chosen]`; `None` for all.
        preprocess: `None`, or a function that is applied to every batch of `x`.
        augment: `None`, or a function that is applied to training images before that.
        batch_size: samples in a batch.
        seed: seed of order and augmentation.
        weights: `None`, or an array `[samples]`, or a structure of arrays: weights of the samples in the training loss.
        weighs: whether batches for measuring have the weights too.
    """

    x: Arrays
    y: Arrays
    indices: np.ndarray | None = None
    preprocess: Preprocess | None = None
    augment: Augment | None = None
    batch_size: int = 128
    seed: int = 0
    weights: Arrays | None = None
    weighs: bool = False

    @classmethod
    def checked(
        cls,
        x: object,
        y: object,
        expected: Expected,
        what: str,
        *,
        weights: object = None,
        indices: np.ndarray | None = None,
        preprocess: Preprocess | None = None,
        augment: Augment | None = None,
        batch_size: int = 128,
        seed: int = 0,
    ) -> ArraySource:
        """Makes a source from a user's arrays. Raises ValueError or TypeError if they do not fit `expected`."""
        x = input_arrays(x, expected, f"the inputs in {what}")
        y = labels_as_read(label_arrays(y, expected, f"the labels in {what}"), expected.classes)
        if weights is not None:
            weights = to_arrays(weights, f"the sample weights in {what}", several=expected.outputs > 1)
            check_weights(weights, len(keras.tree.flatten(x)[0]), what)
        source = cls(x, y, indices, preprocess, augment, batch_size, seed, weights)
        if source.preprocess is None:
            check_batch(x, y, expected, what)
        else:
            check_batch(x, y, replace(expected, input_shape=None), what)
            check_batch(*source.take(BATCHES_LOOKED_AT), expected, f"{what}, preprocessed,")
        return source

    @property
    def weighted(self) -> bool:
        """Whether samples have weights."""
        return self.weights is not None

    @property
    def num_samples(self) -> int:
        """Number of samples."""
        return len(keras.tree.flatten(self.x)[0]) if self.indices is None else len(self.indices)

    def num_batches(self, batch_size: int | None = None) -> int:
        """Number of batches in an epoch."""
        return math.ceil(self.num_samples / (batch_size or self.batch_size))

    def batches(self, batch_size: int | None = None, training: bool = False) -> Batches:
        """`ArrayBatches`, shuffled, augmented and weighted for training."""
        return ArrayBatches(
            self.x,
            self.y,
            batch_size or self.batch_size,
            shuffle=training,
            seed=self.seed,
            preprocess=self.preprocess,
            augment=self.augment if training else None,
            indices=self.indices,
            weights=self.weights if training or self.weighs else None,
        )

    def as_given(self, batch_size: int | None = None) -> ArrayBatches:
        """Returns the samples in their own order and without augmentation, with their weights if they have any."""
        return ArrayBatches(
            self.x,
            self.y,
            batch_size or self.batch_size,
            seed=self.seed,
            preprocess=self.preprocess,
            indices=self.indices,
            weights=self.weights,
        )

    def take(self, count: int) -> tuple[Arrays, Arrays]:
        """`(x, y)` of the first `count` samples, as the model reads them."""
        x, y = self.as_given(min(count, self.num_samples))[0][:2]
        return x, y

    def take_weights(self, count: int) -> Arrays | None:
        """Returns the weights of the first `count` samples; `None` if they have none."""
        return None if self.weights is None else self.as_given(min(count, self.num_samples))[0][2]

    def weighing_classes(self, classes: ClassWeights) -> ArraySource:
        """Returns the same samples, also weighted by their classes."""
        return replace(self, weights=classes.times(self.y, self.weights))

    def weighing(self) -> ArraySource:
        """Returns the same samples, measured with their weights."""
        return replace(self, weighs=True)

    def _chosen(self, places: np.ndarray) -> ArraySource:
        return replace(self, indices=places if self.indices is None else self.indices[places])

    def shuffled(self) -> ArraySource:
        """Returns the same samples in random order, so that the first ones are a fair sample even of sorted arrays."""
        return self._chosen(np.random.default_rng([self.seed, self.num_samples]).permutation(self.num_samples))

    def hold_out(self, share: float, expected: Expected) -> tuple[ArraySource, ArraySource, str]:
        """Returns `(rest, held out, how)`: each class in the same proportion if there are classes."""
        labels = integer_labels(self.y, expected.classes)
        if labels is not None and self.indices is not None:
            labels = labels[self.indices]
        kept, held_out = map(self._chosen, hold_out_indices(self.num_samples, labels, share, self.seed))
        return kept, held_out, f"{held_out.describe()} held out of the training data (seed {self.seed})"

    def first(self, count: int) -> ArraySource:
        """Returns a source of `count` random samples, without augmentation."""
        source = replace(self.shuffled(), augment=None)
        return source._chosen(np.arange(min(count, self.num_samples)))

    def describe(self) -> str:
        """The source in words, such as "45,000 images"."""
        images = isinstance(self.x, np.ndarray) and self.x.ndim == 4
        size = (
            f", resized to {' x '.join(map(str, self.preprocess.size))}"
            if isinstance(self.preprocess, Prepared)
            else ""
        )
        return f"{self.num_samples:,} {'images' if images else 'samples'}{size}"


@dataclass(frozen=True)
class FirstSamples:
    """The first samples of a stream, which are kept once they have been read.

    Attributes:
        stream: the source of the samples.
        count: their number, at most.
        batch_size: samples in a batch.
    """

    stream: Source
    count: int
    batch_size: int
    _kept: list[ArraySource] = field(default_factory=list, repr=False, compare=False)

    weighted = False

    def take_weights(self, count: int) -> None:
        """Returns `None`: the first samples of a stream have no weights."""

    def weighing(self) -> FirstSamples:
        """Returns itself: there are no weights."""
        return self

    @property
    def arrays(self) -> ArraySource:
        """The samples as an `ArraySource`."""
        if not self._kept:
            with reading(f"the first {self.count:,} samples of the training data"):
                x, y = self.stream.take(self.count)
            for part in keras.tree.flatten((x, y)):
                check_finite(part, f"the first {self.count:,} samples of the training data")
            self._kept.append(ArraySource(x, y, batch_size=self.batch_size))
        return self._kept[0]

    @property
    def num_samples(self) -> int | None:
        """Number of samples, `None` if it is not known before they are read."""
        known = self._kept[0] if self._kept else self.stream
        return None if known.num_samples is None else min(self.count, known.num_samples)

    def num_batches(self, batch_size: int | None = None) -> int:
        """Number of batches in an epoch."""
        return self.arrays.num_batches(batch_size)

    def batches(self, batch_size: int | None = None, training: bool = False) -> Batches:
        """`ArrayBatches` over the samples."""
        return self.arrays.batches(batch_size, training)

    def take(self, count: int) -> tuple[Arrays, Arrays]:
        """`(x, y)` of the first `count` samples."""
        return self.arrays.take(count)

    def shuffled(self) -> ArraySource:
        """The same samples in a random order."""
        return self.arrays.shuffled()

    def describe(self) -> str:
        """The source in words, such as "1,000 samples"."""
        return f"up to {self.count:,} samples" if self.num_samples is None else f"{self.num_samples:,} samples"
