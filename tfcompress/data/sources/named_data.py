"""A dataset that was loaded by name, and the limit for datasets in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from tfcompress.data.batches.forms import Augmentation, Preprocess
from tfcompress.data.sources.folders import ImageFolder
from tfcompress.data.sources.shuffled_streams import ShuffledStream

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

__all__ = ["Folders", "NamedArrays", "NamedData", "fits_in_memory", "memory_limit_gb"]

_MEMORY_BYTES = 2e9  # larger sets are streamed


def fits_in_memory(num_bytes: float) -> bool:
    """Whether a dataset of `num_bytes` is held in memory; a larger one is streamed."""
    return num_bytes <= _MEMORY_BYTES


def memory_limit_gb() -> str:
    """The limit of `fits_in_memory` in words, such as "2 GB"."""
    return f"{_MEMORY_BYTES / 1e9:.0f} GB"


@dataclass(frozen=True)
class NamedArrays:
    """A dataset in memory.

    Attributes:
        name: the name it was loaded by.
        train: `(inputs, labels)`, optionally with sample weights: images uint8
            `[samples, height, width, channels]`, or texts as character indices `[samples, length]` (uint8 for up to 255
            characters), and labels int64 `[samples]`; the user's own files may hold other arrays.
        test: the same for the test split, or `None`.
        classes: number of classes; 0 if it is not known.
        validation: the same for a validation split, or `None` to hold one out.
    """

    name: str
    train: tuple[np.ndarray, ...]
    test: tuple[np.ndarray, ...] | None
    classes: int
    validation: tuple[np.ndarray, ...] | None = None


@dataclass(frozen=True)
class Folders:
    """Folders of images, a folder for each split.

    Attributes:
        train: the training images.
        validation: the validation images, or `None` to hold some out.
        test: the test images, or `None`.
    """

    train: ImageFolder
    validation: ImageFolder | None = None
    test: ImageFolder | None = None


@dataclass(frozen=True)
class NamedData:
    """A dataset by name, with its preprocessing and augmentation.

    Attributes:
        name: the name or path that it was loaded by.
        classes: number of classes; 0 if it is not known.
        preprocess: function from a batch of inputs as `arrays` hold them to the model's inputs; `None` if they are the
            same.
        augment: `None`, a function `(images, numpy.random.Generator) -> images` for training batches, or, for streamed
            images, `"auto"`.
        arrays: `NamedArrays`, or `None` if the dataset is streamed.
        builder: the tensorflow-datasets builder of streamed images, else `None`.
        test_split: name of the builder's split that serves as test split, or `None`.
        folders: the user's own folders of images, else `None`.
        class_names: the names of the classes in their order, if they are known.
        size: `(height, width)` to resize images to; `None` for the size that the model reads.
        scaling: origin of `preprocess`: "given"; "measured" (replaced by the scaling that suits the model best); or
            "keras.applications" (replaced by that of the model's backbone).
        streams: streamed texts, `(training data, test data or None)` as sources of batches, else `None`.
    """

    name: str
    classes: int
    preprocess: Preprocess | None
    augment: Augmentation
    arrays: NamedArrays | None = None
    builder: tfds.core.DatasetBuilder | None = None
    test_split: str | None = None
    streams: tuple[ShuffledStream, ShuffledStream | None] | None = None
    folders: Folders | None = None
    class_names: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    scaling: Literal["given", "measured", "keras.applications"] = "given"
