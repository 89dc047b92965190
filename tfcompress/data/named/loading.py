"""Datasets by name: scikit-learn's digits, and image and text classification sets of tensorflow-datasets."""

from __future__ import annotations

import math
import os
import pathlib
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

import numpy as np

from tfcompress import expect
from tfcompress.data.batches.augment import flip_and_crop
from tfcompress.data.batches.forms import Augmentation, Preprocess
from tfcompress.data.batches.scaling import SCALINGS, to_unit_interval
from tfcompress.data.named.builders import has_images, known_builder, prepare, refusal, text_features
from tfcompress.data.named.files import folder_data, npz_data
from tfcompress.data.named.places import kind_of, path_of
from tfcompress.data.named.text_sets import read_texts
from tfcompress.data.sources.named_data import NamedArrays, NamedData, fits_in_memory, memory_limit_gb

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

__all__ = ["NamedArrays", "NamedData", "load", "load_arrays"]

_MIRRORING_CHANGES_THE_CLASS = {
    "binarized_mnist", "binary_alpha_digits", "cmaterdb", "digits", "emnist", "kmnist", "mnist", "mnist_corrupted",
    "omniglot", "svhn_cropped",
}  # fmt: skip
_IMAGES = "the features 'image' and 'label', one class per image"
_IMAGES_OR_TEXTS = "the features 'image' and 'label', one class per image, or texts with one class each"
_TEST_SPLITS = {"imagenet2012": ("validation",)}  # its test images have no labels

_Choice = TypeVar("_Choice")
_Path: TypeAlias = str | os.PathLike[str]
Scaling: TypeAlias = Literal["auto", "keras.applications", "unit_interval", "plus_minus_one", "caffe", "torch"]
"""The scalings of images by their names."""


_SCALED_BY: dict[str, Literal["measured", "keras.applications"]] = {
    "auto": "measured",
    "keras.applications": "keras.applications",
}
# Before the model is known, they stand for the usual scaling.
_PREPROCESSING: dict[str | None, Preprocess] = {**dict.fromkeys(_SCALED_BY, to_unit_interval), **SCALINGS}
_AUGMENTATION: dict[str | None, Augmentation] = {"auto": "auto", None: None}


def _digits() -> NamedArrays:
    datasets = expect.extra("datasets", "sklearn.datasets", "data='digits' comes with")
    data = datasets.load_digits()
    images = np.round(data.images * (255 / 16)).astype("uint8")[..., None]
    labels = data.target.astype("int64")
    # The order of the file groups writers; every fifth image makes a test split that nobody has to choose.
    is_test = np.arange(len(labels)) % 5 == 4
    return NamedArrays("digits", (images[~is_test], labels[~is_test]), (images[is_test], labels[is_test]), 10)


def _base_name(name: str) -> str:
    return name.split("/")[0].split(":")[0].lower()


def _test_split(builder: tfds.core.DatasetBuilder) -> str | None:
    candidates = _TEST_SPLITS.get(builder.name, ("test", "validation"))
    return next((split for split in candidates if split in builder.info.splits), None)


def _images_fit_in_memory(builder: tfds.core.DatasetBuilder) -> bool:
    shape = builder.info.features["image"].shape
    if None in shape:
        return False
    images = sum(split.num_examples for split in builder.info.splits.values())
    return fits_in_memory(max(builder.info.dataset_size, images * math.prod(shape)))


def _read_arrays(builder: tfds.core.DatasetBuilder, name: str) -> NamedArrays:
    import tensorflow_datasets as tfds

    def read(split: str) -> tuple[np.ndarray, np.ndarray]:
        columns = tfds.as_numpy(builder.as_dataset(split=split, batch_size=-1))
        return columns["image"], columns["label"].astype("int64")

    test = _test_split(builder)
    classes = builder.info.features["label"].num_classes
    return NamedArrays(name, read("train"), None if test is None else read(test), classes)


def load_arrays(name: str, data_dir: _Path | None = None) -> NamedArrays:
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
    name, data_dir = _name_and_folder(name, data_dir)
    if name == "digits":
        return _digits()
    builder = known_builder(name, data_dir)
    if not has_images(builder):
        raise refusal(builder, name, _IMAGES)
    prepare(builder, name)
    if not _images_fit_in_memory(builder):
        raise ValueError(
            f"Expected a dataset of images of one size, below {memory_limit_gb()} in all, to load it into memory. "
            f"Received: data={name!r}. `tfcompress.data.load` streams it."
        )
    return _read_arrays(builder, name)


def _name_and_folder(name: object, data_dir: object) -> tuple[str, pathlib.Path | None]:
    name = expect.text("name", name, "the name of a dataset, such as 'cifar10'")
    return name, expect.path("data_dir", data_dir, "the folder of tensorflow-datasets", or_none=True)


def _choose(option: object, choices: Mapping[str | None, _Choice], argument: str) -> _Choice:
    """Returns a function unchanged, or the function that a name (or `None`) stands for."""
    if callable(option):
        arguments = {"preprocess": 1, "augment": 2}[argument]
        function: _Choice = expect.function(argument, option, f"a function of {arguments}", arguments=arguments)
        return function
    if option is not None and not isinstance(option, str):
        expect.refuse(argument, f"a function or one of {list(choices)}", option, wrong_type=True)
    if option not in choices:
        expect.refuse(argument, f"a function or one of {list(choices)}", option)
    return choices[option]


def load(
    name: _Path,
    preprocess: Preprocess | Scaling | None = "auto",
    augment: Augmentation = "auto",
    images: int | None = None,
    data_dir: _Path | None = None,
    *,
    size: int | tuple[int, int] | None = None,
) -> NamedData:
    """Loads a dataset by name or path, to be passed to `tfcompress.compress` as `data`.

    Images of one size and below 2 GB are loaded into memory, and resized batch by batch if the model reads another
    size; other named sets (`"imagenet2012"`, `"imagenette"`) are streamed from disk and cropped to that size. Of each
    text the model reads the first 1,014 characters, as with `load_text(name)`.

    A folder of images holds one folder per class, whose names in alphabetical order number the classes, as in
    `keras.utils.image_dataset_from_directory`; or the folders `train` and `validation` or `test`, each with class
    folders. An .npz file holds `x` and `y`, or `x_train` and `y_train`, and optionally `x_val`, `y_val`, `x_test`,
    `y_test` and `sample_weight`.

    Args:
        name: `"digits"` (scikit-learn's) or a classification set of tensorflow-datasets, of images (`"cifar10"`, ...)
            or of texts (`"imdb_reviews"`, ...); or the path of a folder of images or of an .npz file.
        preprocess: scaling of images for the model: `"unit_interval"` (float32 in [0, 1]), `"plus_minus_one"`
            ([-1, 1]), `None` ([0, 255]), `"caffe"` or `"torch"` (the other two of keras.applications), a function of a
            numpy batch of uint8 images `[batch, height, width, channels]`, or `"keras.applications"`: the scaling that
            the model's backbone was trained with. `"auto"`: `compress` starts with [0, 1], and measures on the
            validation split which of these the model was trained with.
        augment: augmentation of training images, before the scaling: `"auto"`, `None` (nothing), or a function
            `(images, numpy.random.Generator) -> images` of numpy batches. `"auto"` is the usual augmentation of the
            papers: mirror and crop after padding with 4 pixels; for a streamed dataset, mirror and crop at random
            sizes; nothing if mirroring changes the class (digits and letters), for texts, and for folders and files.
        images: number of training images (of a dataset in memory) or texts to use, the first ones; `None` for all.
        data_dir: folder of tensorflow-datasets; `None` for its default.
        size: `(height, width)`, or one number for both, to resize images to; `None` for the size that the model reads.

    Returns:
        `NamedData`.

    Raises:
        ValueError: the name is not known, the dataset has neither images nor texts with one label each, it has texts
            but image preprocessing or augmentation is requested, or a folder or a file holds no data.
    """
    preprocessing = _choose(preprocess, _PREPROCESSING, "preprocess")
    augment = _choose(augment, _AUGMENTATION, "augment")
    images, size = expect.whole("images", images, least=1, or_none=True), _checked_size(size)
    data = _loaded(name, preprocessing, augment, images, data_dir)
    if data.streams is not None or data.preprocess is None or (data.arrays and data.arrays.train[0].ndim != 4):
        if size is not None or (isinstance(preprocess, str) and preprocess == "keras.applications"):
            argument, given = ("preprocess", preprocess) if size is None else ("size", size)
            raise _not_for_others(data.name, argument, given)
        return data
    return replace(data, size=size, scaling=_SCALED_BY.get(preprocess if isinstance(preprocess, str) else "", "given"))


def _checked_size(size: object) -> tuple[int, int] | None:
    what = "a height and a width in pixels, such as (224, 224), or one number for both"
    if size is None or isinstance(size, int):
        side: int | None = expect.whole("size", size, least=1, or_none=True, what=what)
        return None if side is None else (side, side)
    sides: tuple[int, ...] = expect.each("size", size, expect.whole, what, least=1)
    if len(sides) != 2:
        expect.refuse("size", what, size)
    return sides[0], sides[1]


def _not_for_others(name: str, argument: str, given: object) -> ValueError:
    return ValueError(
        f"Expected no `{argument}` for data that are not uint8 images. Received: {argument}={given!r} for {name!r}, "
        "which are read unchanged. Leave it out."
    )


def _loaded(
    name: object, preprocessing: Preprocess, augment: Augmentation, images: int | None, data_dir: object
) -> NamedData:
    if isinstance(name, str | os.PathLike) and kind_of(name) == "path":
        return _of_the_users_own(path_of(name, "name"), preprocessing, augment, images)
    name, data_dir = _name_and_folder(name, data_dir)
    if augment == "auto" and _base_name(name) in _MIRRORING_CHANGES_THE_CLASS:
        augment = None
    if name == "digits":
        return _in_memory(_digits(), preprocessing, augment, images)
    builder = known_builder(name, data_dir)
    if has_images(builder):
        prepare(builder, name)
        if _images_fit_in_memory(builder):
            return _in_memory(_read_arrays(builder, name), preprocessing, augment, images)
        return _streamed(builder, name, preprocessing, augment, images)
    if not text_features(builder):
        raise refusal(builder, name, _IMAGES_OR_TEXTS)
    if preprocessing is not to_unit_interval:
        raise _not_for_texts(name, "preprocess", preprocessing)
    if augment not in ("auto", None):
        raise _not_for_texts(name, "augment", augment)
    return read_texts(builder, name, samples=images)


def _of_the_users_own(
    path: pathlib.Path, preprocess: Preprocess, augment: Augmentation, images: int | None
) -> NamedData:
    function = None if isinstance(augment, str) else augment  # nobody knows what changes these classes
    if path.is_dir():
        data = folder_data(path, preprocess, function)
    else:
        data = npz_data(path, preprocess, function)
    if images is None:
        return data
    if data.arrays is None:
        raise ValueError(
            f"Expected `images` for a dataset that is held in memory. Received: images={images} for the folder "
            f"{data.name!r}. Put as many images into another folder."
        )
    return replace(data, arrays=replace(data.arrays, train=tuple(part[:images] for part in data.arrays.train)))


def _not_for_texts(name: str, argument: str, given: object) -> ValueError:
    return ValueError(
        f"Expected no `{argument}` for a dataset of texts, which the model reads as indices of characters. "
        f"Received: {argument}={given} for {name!r}. `tfcompress.data.load_text` sets length and alphabet."
    )


def _in_memory(arrays: NamedArrays, preprocess: Preprocess, augment: Augmentation, images: int | None) -> NamedData:
    if images is not None:
        arrays = replace(arrays, train=tuple(part[:images] for part in arrays.train))
    augment = flip_and_crop if augment == "auto" else augment
    return NamedData(arrays.name, arrays.classes, preprocess, augment, arrays=arrays)


def _streamed(
    builder: tfds.core.DatasetBuilder, name: str, preprocess: Preprocess, augment: Augmentation, images: int | None
) -> NamedData:
    if images is not None:
        raise ValueError(
            f"Expected `images` for a dataset that is held in memory. Received: images={images} for {name!r}, "
            "which is streamed. Make a smaller tf.data.Dataset of it instead."
        )
    classes = builder.info.features["label"].num_classes
    return NamedData(name, classes, preprocess, augment, builder=builder, test_split=_test_split(builder))
