"""Sources of data that comes in batches, among them tf.data.Dataset."""

from __future__ import annotations

import abc
import math
import sys
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self, TypeGuard

import keras
import numpy as np

from tfcompress.data.batches.checks import (
    Expected,
    check_batch,
    check_weights,
    input_arrays,
    label_arrays,
    to_arrays,
)
from tfcompress.data.batches.class_weights import ClassWeights
from tfcompress.data.batches.failures import reading
from tfcompress.data.batches.forms import Arrays, Batches, IndexedBatches
from tfcompress.data.sources.arrays import BATCHES_LOOKED_AT, FirstSamples, first_samples
from tfcompress.data.sources.holdout import is_held_out

if TYPE_CHECKING:
    import tensorflow as tf

__all__ = [
    "NOT_REPEATABLE",
    "StreamSource",
    "TensorFlowSource",
    "arrays_of",
    "check_batches",
    "digests",
    "is_tensorflow_dataset",
]

_SAMPLES_COMPARED = 1024
_REPETITIONS_EXPECTED = 10

NOT_REPEATABLE = (
    "Expected a training dataset whose samples are the same in every epoch, because a part of it is held out for "
    "validation. Received: {what} that gives different contents when it is read again, probably because it augments. "
    "Pass `validation_data`, without augmentation."
)


def is_tensorflow_dataset(data: object) -> TypeGuard[tf.data.Dataset]:
    """Whether `data` is a tf.data.Dataset, without importing TensorFlow for it."""
    tensorflow = sys.modules.get("tensorflow")
    return tensorflow is not None and isinstance(data, tensorflow.data.Dataset)


def _parts(batch: object, what: str) -> tuple[object, ...]:
    """Returns `(inputs, labels)`, or these and the sample weights."""
    if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
        received = f"{len(batch)} parts" if isinstance(batch, tuple | list) else type(batch).__name__
        raise TypeError(
            f"Expected {what} to give batches `(inputs, labels)` or `(inputs, labels, sample weights)`. "
            f"Received: {received}. Map it to such pairs: `dataset.map(lambda ...: (inputs, labels))`."
        )
    return tuple(batch)


def arrays_of(batch: object, expected: Expected, what: str) -> tuple[Arrays, Arrays]:
    """Returns inputs and labels of a batch as numpy arrays; sample weights, if there are any, are checked.

    Raises:
        TypeError, ValueError: not pairs, not arrays of numbers, or weights that are not finite.
    """
    x, y, *weights = _parts(batch, what)
    x = input_arrays(x, expected, f"the inputs in {what}")
    if weights:
        given = to_arrays(weights[0], f"the sample weights in {what}", several=expected.outputs > 1)
        check_weights(given, len(keras.tree.flatten(x)[0]), what)
    return x, label_arrays(y, expected, f"the labels in {what}")


def check_batches(batches: Iterable[object], expected: Expected, what: str) -> int:
    """Checks the first batches of a stream.

    Args:
        batches: an iterable of `(x, y)`.
        expected: `Expected`.
        what: name of the stream in a message.

    Returns:
        The number of samples in the first batch.

    Raises:
        ValueError: the stream is empty, or a batch does not fit.
        TypeError: the batches are not pairs of arrays.
    """
    sizes = []
    with reading(f"the first batches of {what}"):
        for _, batch in zip(range(BATCHES_LOOKED_AT), batches, strict=False):
            sizes.append(check_batch(*arrays_of(batch, expected, what), expected, what))
    if not sizes:
        raise ValueError(f"Expected batches in {what}. Received: an empty dataset. Check its path, filters and split.")
    return sizes[0]


@dataclass(frozen=True)
class StreamSource(abc.ABC):
    """Base of sources that are read batch by batch.

    Attributes:
        dataset: the user's dataset.
        batch_size: samples in its first batch.
        seed: seed of the held-out choice.
        weighted: whether batches have sample weights as their third part; only training uses them.
        weighs: whether batches for measuring have the weights too.
    """

    dataset: tf.data.Dataset | IndexedBatches
    batch_size: int
    seed: int = 0
    weighted: bool = False
    weighs: bool = field(default=False, kw_only=True)

    @property
    def num_samples(self) -> int | None:
        """`None`: it is known only after a pass over the data."""
        return None

    @abc.abstractmethod
    def num_batches(self, batch_size: int | None = None) -> int | None:
        """Number of batches in an epoch, or `None`."""

    @abc.abstractmethod
    def batches(self, batch_size: int | None = None, training: bool = False) -> Batches:
        """The samples in batches."""

    @abc.abstractmethod
    def as_given(self) -> Batches:
        """Returns the batches in their own order, with sample weights if they have any."""

    @abc.abstractmethod
    def hold_out(self, share: float, expected: Expected) -> tuple[Self, Self, str]:
        """`(rest, held out, how)`."""

    @abc.abstractmethod
    def describe(self) -> str:
        """The source in words."""

    def take(self, count: int) -> tuple[Arrays, Arrays]:
        """`(x, y)` of the first `count` samples."""
        x, y, *_ = first_samples(self.batches(), count)
        return x, y

    def take_weights(self, count: int) -> Arrays | None:
        """Returns the weights of the first `count` samples; `None` if they have none."""
        return first_samples(self.as_given(), count)[2] if self.weighted else None

    def weighing(self) -> Self:
        """Returns the same samples, measured with their weights."""
        return replace(self, weighs=True)

    @abc.abstractmethod
    def weighing_classes(self, classes: ClassWeights) -> Self:
        """Returns the same samples, also weighted by their classes."""

    def shuffled(self) -> Self:
        """Returns itself: a stream has its own order."""
        return self

    def first(self, count: int) -> FirstSamples:
        """The first `count` samples."""
        return FirstSamples(self, count, self.batch_size)


@dataclass(frozen=True)
class TensorFlowSource(StreamSource):
    """A batched tf.data.Dataset, or a part of it, whose samples are held out (or not) by their content.

    Attributes:
        known_batches: number of batches, estimated if this is a part; `None` if the dataset does not know it.
        part: words for this part.
    """

    dataset: tf.data.Dataset
    known_batches: int | None = None
    part: str = "a tf.data.Dataset"

    @classmethod
    def checked(cls, dataset: tf.data.Dataset, expected: Expected, what: str, seed: int) -> Self:
        """Makes a source from a user's dataset. Raises ValueError or TypeError if it does not fit `expected`."""
        import tensorflow as tf

        cardinality = int(dataset.cardinality())
        if cardinality == tf.data.INFINITE_CARDINALITY:
            raise ValueError(
                f"Expected {what} to end after an epoch. Received: an infinite tf.data.Dataset. "
                "Remove `.repeat()`, or limit it with `.take(batches)`."
            )
        _, y, *weights = _parts(dataset.element_spec, what)
        refused = [spec for spec in tf.nest.flatten(dataset.element_spec) if not isinstance(spec, tf.TensorSpec)]
        if refused:
            raise TypeError(
                f"Expected dense tensors in {what}. Received: {type(refused[0]).__name__}. Map it to dense ones first: "
                "`tf.sparse.to_dense(x)` of a sparse tensor, `x.to_tensor()` of a ragged one."
            )
        if (expected.classes or 0) > 1 and isinstance(y, tf.TensorSpec) and y.shape.rank == 2 and y.shape[1] == 1:
            dataset = dataset.map(lambda x, y, *rest: (x, y[:, 0], *rest), num_parallel_calls=tf.data.AUTOTUNE)
        with reading(f"the first batches of {what}"):
            dataset = _with_known_shapes(dataset, expected)
        batch_size = check_batches(dataset.as_numpy_iterator(), expected, what)
        return cls(dataset, batch_size, seed, bool(weights), cardinality if cardinality >= 0 else None)

    def num_batches(self, batch_size: int | None = None) -> int | None:
        """Returns the number of batches in an epoch; an estimate for a part, or with another batch size."""
        if self.known_batches is None or batch_size in (None, self.batch_size):
            return self.known_batches
        return math.ceil(self.known_batches * self.batch_size / batch_size)

    def batches(self, batch_size: int | None = None, training: bool = False) -> Batches:
        """Returns the dataset, batched again if another size is asked for, and with weights only for training."""
        dataset = self.dataset
        if self.weighted and not (training or self.weighs):
            dataset = dataset.map(lambda x, y, _: (x, y))
        return dataset if batch_size in (None, self.batch_size) else dataset.rebatch(batch_size)

    def as_given(self) -> Batches:
        """The dataset itself."""
        return self.dataset

    def weighing_classes(self, classes: ClassWeights) -> Self:
        """The same samples, weighted by their classes too."""
        return replace(self, dataset=classes.weighed(self.dataset), weighted=True)

    def hold_out(self, share: float, expected: Expected) -> tuple[Self, Self, str]:
        """Returns `(rest, held out, how)`: samples are held out by content, however the data is shuffled."""
        with reading("the training data"):
            _check_repeatable(self)
        kept = self._part(False, share, 1 - share, "a tf.data.Dataset without what is held out")
        text = f"about {share:.0%} of the training data, held out by a hash of the inputs (seed {self.seed})"
        held_out = self._part(True, share, share, text)
        for source in (kept, held_out):
            with reading("the training data"):
                first = next(iter(source.dataset.take(1)), None)
            if first is None:
                raise ValueError(
                    f"Expected enough samples to hold about {share:.0%} of them out. Received: a dataset of which the "
                    "hash of the inputs chose none or all. Pass `validation_data`."
                )
        return kept, held_out, text

    def _part(self, wanted: bool, share: float, own_share: float, text: str) -> Self:
        import tensorflow as tf

        def belongs(x: Any, *_: Any) -> tf.Tensor:
            return tf.equal(is_held_out(x, share, self.seed), wanted)

        dataset = self.dataset.unbatch().filter(belongs).batch(self.batch_size).prefetch(tf.data.AUTOTUNE)
        batches = None if self.known_batches is None else math.ceil(self.known_batches * own_share)
        return replace(self, dataset=dataset, known_batches=batches, part=text)

    def describe(self) -> str:
        """The source in words, such as "a tf.data.Dataset"."""
        return self.part


def _with_known_shapes(dataset: tf.data.Dataset, expected: Expected) -> tf.data.Dataset:
    """Returns the dataset, with ranks and sizes filled in that its specs leave open and that Keras has to know.

    Python functions in a dataset, and generators without a signature, give tensors of unknown rank.
    """
    import tensorflow as tf

    def rank_of(spec: tf.TensorSpec, part: np.ndarray) -> tf.TensorShape | list[None]:
        return spec.shape if spec.shape.rank is not None else [None] * part.ndim

    specs = dataset.element_spec
    leaves = tf.nest.flatten(specs)
    if all(spec.shape.rank is not None and None not in spec.shape[1:] for spec in leaves):
        return dataset
    first = next(dataset.take(1).as_numpy_iterator(), None)
    if first is None:
        return dataset
    shapes = [tf.TensorShape(rank_of(*pair)) for pair in zip(leaves, tf.nest.flatten(first), strict=True)]
    of_model = list((expected.shapes or {}).values())
    if len(tf.nest.flatten(specs[0])) == len(of_model) == 1 and shapes[0].is_compatible_with((None, *of_model[0])):
        shapes[0] = shapes[0].merge_with((None, *of_model[0]))
    if all(spec.shape.rank is not None and spec.shape == shape for spec, shape in zip(leaves, shapes, strict=True)):
        return dataset

    def known(*batch: Any) -> Any:
        parts = zip(tf.nest.flatten(batch), shapes, strict=True)
        return tf.nest.pack_sequence_as(batch, [tf.ensure_shape(part, shape) for part, shape in parts])

    return dataset.map(known, num_parallel_calls=tf.data.AUTOTUNE)


def digests(arrays: Arrays) -> list[int]:
    """Returns one hash per sample of a batch."""
    leaves = keras.tree.flatten(arrays)
    return [hash(tuple(_content(leaf[index]) for leaf in leaves)) for index in range(len(leaves[0]))]


def _content(sample: object) -> Hashable:
    array = np.asarray(sample)
    return tuple(array.ravel()) if array.dtype == object else array.tobytes()  # strings are objects


def _read_digests(dataset: tf.data.Dataset, batches: int) -> tuple[list[int], list[int], bool]:
    """Returns `(hashes of the inputs, hashes of the labels, whether this was all)` of the first batches."""
    inputs: list[int] = []
    labels: list[int] = []
    count = 0
    for x, y, *_ in dataset.take(batches + 1).as_numpy_iterator():
        count += 1
        if count <= batches:
            inputs += digests(x)
            labels += digests(y)
    return inputs, labels, count <= batches


def _check_repeatable(source: TensorFlowSource) -> None:
    """Raises ValueError if two readings of the first samples show that contents change from epoch to epoch.

    A dataset that only shuffles gives other samples in each reading, and is allowed. So an error is raised only in
    clear cases: all samples were read and the sets differ; or the labels came in the same order and the inputs differ;
    or none of the inputs came again, though with shuffling alone at least ten of them would have.
    """
    batches = max(1, _SAMPLES_COMPARED // source.batch_size)
    inputs, labels, whole = _read_digests(source.dataset, batches)
    inputs_again, labels_again, _ = _read_digests(source.dataset, batches)
    if whole:
        changed = set(inputs) != set(inputs_again)
    else:
        changed = labels == labels_again and len(set(labels)) > 1 and inputs != inputs_again
        samples = (source.known_batches or math.inf) * source.batch_size
        if len(inputs) ** 2 / samples >= _REPETITIONS_EXPECTED:
            changed = changed or not set(inputs) & set(inputs_again)
    if changed:
        raise ValueError(NOT_REPEATABLE.format(what="a tf.data.Dataset"))
