"""A dataset once it was loaded by name, and how much of one is held in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tfcompress.data.batches.forms import Augmentation, Preprocess
from tfcompress.data.sources.shuffled_streams import ShuffledStream

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

__all__ = ["NamedArrays", "NamedData", "fits_in_memory", "memory_limit_gb"]

_MEMORY_BYTES = 2e9  # larger sets are streamed


def fits_in_memory(num_bytes: float) -> bool:
    """Whether a dataset of so many bytes is held in memory; a larger one is streamed."""
    return num_bytes <= _MEMORY_BYTES


def memory_limit_gb() -> str:
    """The limit of `fits_in_memory` in words, such as "2 GB"."""
    return f"{_MEMORY_BYTES / 1e9:.0f} GB"


@dataclass(frozen=True)
class NamedArrays:
    """A dataset in memory.

    Attributes:
        name: the name it was loaded by.
        train: `(inputs, labels)`: images uint8 `[samples, height, width, channels]`, or texts as indices of characters
            `[samples, length]` (uint8 for up to 255 characters), and int64 `[samples]`.
        test: the same for the test split, or `None`.
        classes: number of classes.
    """

    name: str
    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray] | None
    classes: int


@dataclass(frozen=True)
class NamedData:
    """A dataset by name, and what is done to its samples.

    Attributes:
        name: the name it was loaded by.
        classes: number of classes.
        preprocess: function of a batch of inputs as `arrays` hold them, which gives what the model reads.
        augment: `None`, a function `(images, numpy.random.Generator) -> images` for training batches, or, for images
            that are streamed, `"auto"`.
        arrays: `NamedArrays`, or `None` where the dataset is streamed.
        builder: the tensorflow-datasets builder of images that are streamed, else `None`.
        test_split: name of the builder's split that serves as test split, or `None`.
        streams: of texts that are streamed, `(training data, test data or None)` as sources of batches, else `None`.
    """

    name: str
    classes: int
    preprocess: Preprocess
    augment: Augmentation
    arrays: NamedArrays | None = None
    builder: tfds.core.DatasetBuilder | None = None
    test_split: str | None = None
    streams: tuple[ShuffledStream, ShuffledStream | None] | None = None
