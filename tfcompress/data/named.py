"""Datasets by name: scikit-learn's digits, and the image classification sets of tensorflow-datasets."""

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfcompress.data.augment import flip_and_crop

__all__ = ["NamedArrays", "NamedData", "load", "load_arrays", "to_float", "to_unit_interval"]

_MEMORY_BYTES = 2e9  # larger sets are streamed
_MIRRORING_CHANGES_THE_CLASS = {
    "binarized_mnist", "binary_alpha_digits", "cmaterdb", "digits", "emnist", "kmnist", "mnist", "mnist_corrupted",
    "omniglot", "svhn_cropped",
}  # fmt: skip
_TEST_SPLITS = {"imagenet2012": ("validation",)}  # its test images have no labels


@dataclass(frozen=True)
class NamedArrays:
    """A dataset in memory.

    Attributes:
        name: the name it was loaded by.
        train: `(images, labels)`: uint8 `[samples, height, width, channels]` and int64 `[samples]`.
        test: the same for the test split, or `None`.
        classes: number of classes.
    """

    name: str
    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray] | None
    classes: int


@dataclass(frozen=True)
class NamedData:
    """A dataset by name, and what is done to its images.

    Attributes:
        name: the name it was loaded by.
        classes: number of classes.
        preprocess: function of a batch of uint8 images `[batch, height, width, channels]`.
        augment: `None`, a function `(images, numpy.random.Generator) -> images` for training batches, or, for a dataset
            that is streamed, `"auto"`.
        arrays: `NamedArrays`, or `None` where the dataset is streamed.
        builder: the tensorflow-datasets builder of a dataset that is streamed, else `None`.
        test_split: name of the builder's split that serves as test split, or `None`.
    """

    name: str
    classes: int
    preprocess: Callable[[np.ndarray], np.ndarray]
    augment: Any
    arrays: NamedArrays | None = None
    builder: Any = None
    test_split: str | None = None


def to_unit_interval(images):
    """uint8 images as float32 in [0, 1]."""
    return images.astype("float32") / np.float32(255)


def to_float(images):
    """uint8 images as float32 in [0, 255]."""
    return images.astype("float32")


def _digits():
    from sklearn.datasets import load_digits

    data = load_digits()
    images = np.round(data.images * (255 / 16)).astype("uint8")[..., None]
    labels = data.target.astype("int64")
    # The order of the file groups writers; every fifth image makes a test split that nobody has to choose.
    is_test = np.arange(len(labels)) % 5 == 4
    return NamedArrays("digits", (images[~is_test], labels[~is_test]), (images[is_test], labels[is_test]), 10)


def _unknown(name, error):
    import tensorflow_datasets as tfds

    known = ["digits", *tfds.list_builders(with_community_datasets=False)]
    nearest = difflib.get_close_matches(name, known) or ["digits", "cifar10", "mnist"]
    return ValueError(
        f"Expected `data` to name a dataset of tensorflow-datasets, or 'digits'. Received: data={name!r} "
        f"({str(error).splitlines()[0] if str(error) else type(error).__name__}). Near it are "
        f"{', '.join(map(repr, nearest))}; `tensorflow_datasets.list_builders()` lists all names."
    )


def _builder(name, data_dir):
    """A prepared builder of an image classification set."""
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except (ValueError, AssertionError) as error:  # an unknown name, configuration, or version
        raise _unknown(name, error) from error
    features = builder.info.features
    known = "image" in features and "label" in features and isinstance(features["label"], tfds.features.ClassLabel)
    if not known:
        raise ValueError(
            "Expected a dataset with the features 'image' and 'label', one class an image. "
            f"Received: data={name!r} with {sorted(features)}. "
            "Pass a batched tf.data.Dataset of (inputs, labels) instead."
        )
    builder.download_and_prepare()
    if "train" not in builder.info.splits:
        raise ValueError(
            f"Expected a dataset with a split 'train'. Received: data={name!r} with {sorted(builder.info.splits)}. "
            "Pass a batched tf.data.Dataset of (inputs, labels) instead."
        )
    return builder


def _base_name(name):
    return name.split("/")[0].split(":")[0].lower()


def _test_split(builder):
    candidates = _TEST_SPLITS.get(builder.name, ("test", "validation"))
    return next((split for split in candidates if split in builder.info.splits), None)


def _fits_in_memory(builder):
    shape = builder.info.features["image"].shape
    if None in shape:
        return False
    images = sum(split.num_examples for split in builder.info.splits.values())
    return max(builder.info.dataset_size, images * math.prod(shape)) <= _MEMORY_BYTES


def _read_arrays(builder, name):
    import tensorflow_datasets as tfds

    def read(split):
        columns = tfds.as_numpy(builder.as_dataset(split=split, batch_size=-1))
        return columns["image"], columns["label"].astype("int64")

    test = _test_split(builder)
    classes = builder.info.features["label"].num_classes
    return NamedArrays(name, read("train"), None if test is None else read(test), classes)


def load_arrays(name, data_dir=None):
    """Loads a dataset by name into memory.

    Args:
        name: `"digits"` (scikit-learn's 1,797 images of 8x8 pixels; every fifth is a test image) or the name of an
            image classification set of tensorflow-datasets (`"cifar10"`, `"mnist"`, ...).
        data_dir: where tensorflow-datasets keeps its files; `None` for its default.

    Returns:
        `NamedArrays`.

    Raises:
        ValueError: the name is not known, the dataset has no images with one label each, or it is too large.
    """
    if name == "digits":
        return _digits()
    builder = _builder(name, data_dir)
    if not _fits_in_memory(builder):
        raise ValueError(
            f"Expected a dataset of images of one size, below {_MEMORY_BYTES / 1e9:.0f} GB in all, to load it into "
            f"memory. Received: data={name!r}. `tfcompress.data.load` streams it."
        )
    return _read_arrays(builder, name)


def _choose(option, choices, argument):
    """A function as it is, or what a name (or `None`) stands for."""
    if callable(option):
        return option
    if option not in choices:
        raise ValueError(
            f"Expected `{argument}` to be a function or one of {list(choices)}. Received: {argument}={option!r}"
        )
    return choices[option]


def load(name, preprocess="unit_interval", augment="auto", images=None, data_dir=None):
    """A dataset by name, to be passed to `tfcompress.compress` as `data`.

    A dataset of images of one size and below 2 GB is loaded into memory; any other (`"imagenet2012"`, `"imagenette"`)
    is streamed from disk and cropped to the size that the model reads.

    Args:
        name: `"digits"` (scikit-learn's) or an image classification set of tensorflow-datasets (`"cifar10"`, ...).
        preprocess: what the model reads: `"unit_interval"` (float32 in [0, 1]), `None` (float32 in [0, 255]), or a
            function of a numpy batch of uint8 images `[batch, height, width, channels]`, such as the
            `preprocess_input` of a network of keras.applications.
        augment: what training images go through before: `"auto"`, `None` (nothing), or a function
            `(images, numpy.random.Generator) -> images` of numpy batches. `"auto"` is what the papers do: mirror and
            crop after padding with 4 pixels; for a dataset that is streamed, mirror and crop at random sizes; nothing
            where mirroring changes the class (digits and letters).
        images: use only the first so many training images (of a dataset in memory); `None` for all.
        data_dir: where tensorflow-datasets keeps its files; `None` for its default.

    Returns:
        `NamedData`.

    Raises:
        ValueError: the name is not known, or the dataset has no images with one label each.
    """
    if not isinstance(name, str):
        raise TypeError(f"Expected `name` to be the name of a dataset, such as 'cifar10'. Received: name={name!r}")
    preprocess = _choose(preprocess, {"unit_interval": to_unit_interval, None: to_float}, "preprocess")
    augment = _choose(augment, {"auto": "auto", None: None}, "augment")
    if images is not None and images < 1:
        raise ValueError(f"Expected `images` to be None, or 1 or more. Received: images={images!r}")
    if augment == "auto" and _base_name(name) in _MIRRORING_CHANGES_THE_CLASS:
        augment = None
    if name == "digits":
        arrays = _digits()
    else:
        builder = _builder(name, data_dir)
        if not _fits_in_memory(builder):
            if images is not None:
                raise ValueError(
                    f"Expected `images` for a dataset that is held in memory. Received: images={images} for {name!r}, "
                    "which is streamed. Make a smaller tf.data.Dataset of it instead."
                )
            classes = builder.info.features["label"].num_classes
            return NamedData(name, classes, preprocess, augment, builder=builder, test_split=_test_split(builder))
        arrays = _read_arrays(builder, name)
    if augment == "auto":
        augment = flip_and_crop
    if images is not None:
        arrays = replace(arrays, train=tuple(array[:images] for array in arrays.train))
    return NamedData(name, arrays.classes, preprocess, augment, arrays=arrays)
