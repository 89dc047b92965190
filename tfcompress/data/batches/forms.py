"""The types of data that the subpackages of `data` exchange: structures of arrays, batches, and protocols."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

import keras
import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

__all__ = [
    "Arrays",
    "Augment",
    "Augmentation",
    "Batches",
    "CountsPasses",
    "EndsEpochs",
    "HasArray",
    "IndexedBatches",
    "LoadsInParallel",
    "Preprocess",
    "Shape",
]

Arrays: TypeAlias = "np.ndarray | tuple[Arrays, ...] | list[Arrays] | dict[str, Arrays]"
"""An array `[samples, ...]`, or a structure of them for several inputs or outputs."""

Shape: TypeAlias = tuple[int | None, ...]
"""A shape, the batch dimension first; `None` for any size."""

Preprocess: TypeAlias = Callable[[Any], Any]
"""A function from a batch of inputs as stored to the model's inputs; both in the user's structures."""

Augment: TypeAlias = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""A function of the images of a training batch, uint8 `[batch, height, width, channels]`."""

Augmentation: TypeAlias = Augment | Literal["auto"] | None
"""Augmentation of training images: a function, `"auto"` for the usual augmentation of the papers, or `None`."""

Batches: TypeAlias = "keras.utils.PyDataset | tf.data.Dataset"
"""Batches `(inputs, labels)`, optionally with sample weights, as Keras' `fit` and `evaluate` take them."""


@runtime_checkable
class IndexedBatches(Protocol):
    """Batches by number, such as a Keras PyDataset."""

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        ...

    def __getitem__(self, index: int, /) -> tuple[Arrays, ...]:
        """Returns the batch with this number."""
        ...


@runtime_checkable
class EndsEpochs(Protocol):
    """Batches that are notified when an epoch ends."""

    def on_epoch_end(self) -> None:
        """Called after each epoch."""
        ...


@runtime_checkable
class LoadsInParallel(Protocol):
    """Batches with settings for parallel loading, like a Keras PyDataset."""

    @property
    def workers(self) -> int:
        """Number of threads or processes."""
        ...

    @property
    def use_multiprocessing(self) -> bool:
        """Whether the workers are processes."""
        ...

    @property
    def max_queue_size(self) -> int:
        """Number of batches in the queue, at most."""
        ...


@runtime_checkable
class CountsPasses(Protocol):
    """Batches of a stream that read the number of their epoch from a variable, and increase it with each pass."""

    epoch_variable: tf.Variable


@runtime_checkable
class HasArray(Protocol):
    """An array of any library."""

    def __array__(self) -> np.ndarray:
        """Returns the array as a numpy array."""
        ...
