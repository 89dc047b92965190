"""Datasets on disk that are read in a new order in each epoch, which depends on the seed and the epoch."""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from tfcompress.data.batches.checks import Expected
from tfcompress.data.batches.class_weights import ClassWeights
from tfcompress.data.batches.forms import Arrays
from tfcompress.data.sources.arrays import FirstSamples, first_samples
from tfcompress.data.sources.streams import check_batches

if TYPE_CHECKING:
    import tensorflow as tf

__all__ = ["Range", "ShuffledStream"]

Range = tuple[str | None, int, int]
"""A part of a dataset on disk: its split, if any, the number of its first sample, and of the one after its last."""

_PARTS = 16  # of the training samples, visited in another order each epoch


@dataclass(frozen=True, kw_only=True)
class ShuffledStream(abc.ABC):
    """Samples that lie on disk in random order, read when they are needed.

    A subclass defines how samples are read (`_read`) and processed: a single sample (`_evaluated`, and `_augmented` for
    training) and a batch (`_augmented_batch`, `_preprocessed`).

    Attributes:
        ranges: the chosen samples: `((split, start, stop), ...)`.
        batch_size: samples in a batch.
        seed: seed of order and augmentation.
        class_weights: weights of classes in the training loss; `None` for equal weights.
    """

    ranges: tuple[Range, ...]
    batch_size: int = 128
    seed: int = 0
    class_weights: ClassWeights | None = None

    _SHUFFLE_BUFFER = 4096  # samples as they lie on disk

    @property
    def weighted(self) -> bool:
        """Whether samples have weights, here those of their classes."""
        return self.class_weights is not None

    def check(self, expected: Expected, what: str) -> None:
        """Checks the first batches. Raises ValueError or TypeError if they do not fit `expected`."""
        check_batches(self.batches().as_numpy_iterator(), expected, what)

    @property
    def num_samples(self) -> int:
        """Number of samples."""
        return sum(stop - start for _, start, stop in self.ranges)

    def num_batches(self, batch_size: int | None = None) -> int:
        """Number of batches in an epoch."""
        return math.ceil(self.num_samples / (batch_size or self.batch_size))

    def batches(self, batch_size: int | None = None, training: bool = False) -> tf.data.Dataset:
        """Returns a tf.data.Dataset of `(inputs, labels)`; for training, shuffled and augmented by `(seed, epoch)`.

        A training dataset has the tf.Variable `epoch_variable`, which each pass reads and increases.
        """
        import tensorflow as tf

        batch_size = batch_size or self.batch_size
        weighed = self.class_weights if training else None
        if training:
            dataset = self._training(batch_size)
        else:
            dataset = self._read(self.ranges).map(self._evaluated, num_parallel_calls=tf.data.AUTOTUNE)
            dataset = dataset.batch(batch_size)
            dataset = dataset.map(lambda *parts: self._preprocessed(parts), num_parallel_calls=tf.data.AUTOTUNE)
        prefetched = dataset if weighed is None else weighed.weighed(dataset)
        prefetched = prefetched.apply(tf.data.experimental.assert_cardinality(self.num_batches(batch_size)))
        prefetched = prefetched.prefetch(tf.data.AUTOTUNE)
        if training:
            prefetched.epoch_variable = dataset.epoch_variable
        return prefetched

    def _training(self, batch_size: int) -> tf.data.Dataset:
        import tensorflow as tf

        epoch = tf.Variable(0, dtype="int64", trainable=False)
        pieces = _pieces(self.ranges, _PARTS)
        parts = [self._read((piece,)) for piece in pieces]
        sizes = tf.constant([stop - start for _, start, stop in pieces], "int64")

        def one_epoch(_: Any) -> tf.data.Dataset:
            now = epoch.assign_add(1) - 1
            # Of this function's graph alone, which would begin with the global one; 0 is not allowed beside a tensor.
            tf.random.set_seed(1)
            seeds = tf.random.stateless_uniform([3], tf.stack([self.seed, now]), maxval=2**31, dtype="int64")
            order = tf.random.experimental.stateless_shuffle(tf.range(len(parts), dtype="int64"), seeds[:2])
            choice = tf.data.Dataset.from_tensor_slices(order)
            choice = choice.flat_map(lambda part: tf.data.Dataset.from_tensors(part).repeat(sizes[part]))
            samples = tf.data.Dataset.choose_from_datasets(parts, choice, stop_on_empty_dataset=False)
            samples = samples.shuffle(self._SHUFFLE_BUFFER, seed=seeds[2]).enumerate()

            def augmented(index: tf.Tensor, example: Any) -> Any:
                return self._augmented(example, tf.stack([seeds[0], index]))

            def finished(index: tf.Tensor, batch: Any) -> tuple[tf.Tensor, tf.Tensor]:
                return self._preprocessed(self._augmented_batch(batch, tf.stack([now, index])))

            samples = samples.map(augmented, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size).enumerate()
            return samples.map(finished, num_parallel_calls=tf.data.AUTOTUNE)

        dataset = tf.data.Dataset.from_tensors(0).flat_map(one_epoch)
        dataset.epoch_variable = epoch
        return dataset

    @abc.abstractmethod
    def _read(self, ranges: tuple[Range, ...]) -> tf.data.Dataset:
        """Returns a tf.data.Dataset of the samples in `ranges`, in their order on disk."""

    def _evaluated(self, example: Any) -> Any:
        """Returns a sample without augmentation."""
        return example

    def _augmented(self, example: Any, seed: tf.Tensor) -> Any:
        """Returns a sample for training, by its seed, int64 `[2]`."""
        return self._evaluated(example)

    @abc.abstractmethod
    def _augmented_batch(self, batch: Any, place: tf.Tensor) -> tuple[Any, ...]:
        """Returns the parts of a training batch, by its place, int64 `[2]`: epoch and number."""

    @abc.abstractmethod
    def _preprocessed(self, parts: tuple[Any, ...]) -> tuple[tf.Tensor, tf.Tensor]:
        """Converts the parts of a batch of samples to a batch `(inputs, labels)` as the model reads it."""

    def take(self, count: int) -> tuple[Arrays, Arrays]:
        """`(x, y)` of the first `count` samples."""
        x, y = first_samples(self.batches(min(count, self.batch_size)), count)
        return x, y

    def take_weights(self, count: int) -> None:
        """Returns `None`: batches for measuring have no weights."""
        return None

    def weighing(self) -> Self:
        """Returns itself: batches for measuring have no weights."""
        return self

    def weighing_classes(self, classes: ClassWeights) -> Self:
        """Returns the same samples, weighted by their classes."""
        return replace(self, class_weights=classes)

    def shuffled(self) -> Self:
        """Returns itself: the samples were shuffled before they were written."""
        return self

    @abc.abstractmethod
    def hold_out(self, share: float, expected: Expected) -> tuple[Self, Self, str]:
        """`(rest, held out, how)`."""

    @abc.abstractmethod
    def describe(self) -> str:
        """The source in words."""

    def first(self, count: int) -> FirstSamples:
        """The first `count` samples, without augmentation."""
        return FirstSamples(self, count, self.batch_size)


def _pieces(ranges: Sequence[Range], count: int) -> list[Range]:
    """Cuts ranges into about `count` pieces of equal size."""
    size = math.ceil(sum(stop - start for _, start, stop in ranges) / count)
    return [
        (split, begin, min(begin + size, stop)) for split, start, stop in ranges for begin in range(start, stop, size)
    ]
