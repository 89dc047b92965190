"""The forms that data has between the rooms: structures of arrays, batches, and what batches can be asked for."""

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
"""A function from a batch of inputs, as they are held, to what the model reads; both in structures of the user's."""

Augment: TypeAlias = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""A function of the images of a training batch, uint8 `[batch, height, width, channels]`."""

Augmentation: TypeAlias = Augment | Literal["auto"] | None
"""What training images go through: a function, `"auto"` for what the papers do, or nothing."""

Batches: TypeAlias = "keras.utils.PyDataset | tf.data.Dataset"
"""Batches `(inputs, labels)`, or these and sample weights, as Keras' `fit` and `evaluate` take them."""


@runtime_checkable
class IndexedBatches(Protocol):
    """Batches by number, such as a Keras PyDataset."""

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        ...

    def __getitem__(self, index: int, /) -> tuple[Arrays, ...]:
        """The batch of a number."""
        ...


@runtime_checkable
class EndsEpochs(Protocol):
    """Batches that are told when an epoch has ended."""

    def on_epoch_end(self) -> None:
        """Called after each epoch."""
        ...


@runtime_checkable
class LoadsInParallel(Protocol):
    """Batches that say how they are to be loaded, as a Keras PyDataset does."""

    @property
    def workers(self) -> int:
        """Number of threads, or of processes."""
        ...

    @property
    def use_multiprocessing(self) -> bool:
        """Whether they are processes."""
        ...

    @property
    def max_queue_size(self) -> int:
        """Batches that may wait."""
        ...


@runtime_checkable
class CountsPasses(Protocol):
    """Batches of a stream whose passes read the number of their epoch from a variable, and count it up."""

    epoch_variable: tf.Variable


@runtime_checkable
class HasArray(Protocol):
    """One array of any library."""

    def __array__(self) -> np.ndarray:
        """The array, as numpy's."""
        ...
