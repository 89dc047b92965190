"""Data as a user gives them: the accepted forms, and the sources made from them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import keras
import numpy as np

from tfcompress import expect
from tfcompress.data.batches.checks import Expected
from tfcompress.data.batches.class_weights import ClassWeights
from tfcompress.data.batches.epochs import ArrayBatches
from tfcompress.data.batches.forms import Augment, HasArray, IndexedBatches, Preprocess, Shape
from tfcompress.data.batches.scaling import Prepared
from tfcompress.data.named.files import check_same_classes
from tfcompress.data.named.loading import load
from tfcompress.data.named.places import FORMS, given_by, kind_of, path_of
from tfcompress.data.sources.arrays import ArraySource
from tfcompress.data.sources.folders import FolderStream, ImageFolder
from tfcompress.data.sources.image_streams import ImageStream
from tfcompress.data.sources.named_data import NamedData, fits_in_memory
from tfcompress.data.sources.py_datasets import PyDatasetSource
from tfcompress.data.sources.shuffled_streams import ShuffledStream
from tfcompress.data.sources.source import DivisibleSource
from tfcompress.data.sources.streams import TensorFlowSource, is_tensorflow_dataset

if TYPE_CHECKING:
    import tensorflow as tf
    import tensorflow_datasets as tfds

__all__ = ["GivenData", "Request", "check_forms", "checked_shapes", "has_form", "opened"]

GivenData: TypeAlias = (
    "str | os.PathLike[str] | NamedData | tuple[object, ...] | tf.data.Dataset | keras.utils.PyDataset | IndexedBatches"
)
"""Data as a user gives them: by name or path, as arrays, or as batches."""

_STREAM_SIZE = (224, 224)  # of streamed images, where the model does not say

_FORMS = (
    f"{FORMS}, tfcompress.data.load(...), a tuple (inputs, labels) of arrays, a batched "
    "tf.data.Dataset of (inputs, labels), or a keras.utils.PyDataset; sample weights may be a third part"
)


@dataclass(frozen=True)
class Request:
    """The settings of a call of `splits` that all its parts share.

    Attributes:
        expected: the model's inputs and outputs.
        batch_size: samples in a batch of arrays and of named datasets.
        seed: seed of the held-out choice, of order and of augmentation.
    """

    expected: Expected
    batch_size: int
    seed: int

    def arrays(
        self,
        x: object,
        y: object,
        what: str,
        *,
        weights: object = None,
        indices: np.ndarray | None = None,
        preprocess: Preprocess | None = None,
        augment: Augment | None = None,
        batch_size: int | None = None,
    ) -> ArraySource:
        """Returns a source of arrays, with the requested batch size unless they have their own."""
        return ArraySource.checked(
            x,
            y,
            self.expected,
            what,
            weights=weights,
            indices=indices,
            preprocess=preprocess,
            augment=augment,
            batch_size=batch_size or self.batch_size,
            seed=self.seed,
        )

    def images(self, data: NamedData, builder: tfds.core.DatasetBuilder, split: str, what: str) -> ShuffledStream:
        """Returns a stream of a split of `NamedData`."""
        static = builder.info.features["image"].shape[:2]
        own = _STREAM_SIZE if None in static else (int(static[0]), int(static[1]))
        assert data.preprocess is not None  # of images
        stream = ImageStream(
            ranges=((split, 0, builder.info.splits[split].num_examples),),
            batch_size=self.batch_size,
            seed=self.seed,
            builder=builder,
            size=data.size or self._size() or own,
            preprocess=data.preprocess,
            augment=data.augment,
        )
        return self.checked(stream, what)

    def _image_shape(self) -> Shape | None:
        """`(height, width, channels)` of the images that the model reads, if it reads images."""
        shapes = list((self.expected.shapes or {}).values())
        return shapes[0] if len(shapes) == 1 and len(shapes[0]) == 3 else None

    def _size(self) -> tuple[int, int] | None:
        """The only size that the model reads, if there is one."""
        height, width, _ = self._image_shape() or (None, None, None)
        return None if height is None or width is None else (height, width)

    def _prepared(self, data: NamedData, x: np.ndarray) -> Preprocess | None:
        """Returns the preprocessing of arrays of images, with resizing if another size is read or was asked for."""
        if data.preprocess is None or x.ndim != 4 or x.dtype != np.uint8:
            return data.preprocess
        size, channels = data.size or self._size(), (self._image_shape() or (None, None, None))[2]
        if size in (None, x.shape[1:3]) or channels not in (None, x.shape[-1]):  # which no size would mend
            return data.preprocess
        return Prepared(size, data.preprocess)

    def _of_named_arrays(self, data: NamedData, parts: tuple[np.ndarray, ...], what: str) -> ArraySource:
        x, y, *weights = parts
        augment, preprocess = data.augment, self._prepared(data, x)
        assert not isinstance(augment, str)
        how: dict[str, Any] = {"preprocess": preprocess, "augment": augment}
        return self.arrays(x, y, what, weights=weights[0] if weights else None, **how)

    def folder(self, data: NamedData, folder: ImageFolder, what: str) -> ArraySource | FolderStream:
        """Returns the images of a folder: as arrays if they fit into memory, else as a stream."""
        expected, names = self.expected, data.class_names
        classes = expected.classes or (expected.output_shape or (None,))[-1]
        if classes is not None and len(names) != max(classes, 2):
            raise ValueError(
                f"Expected a folder for each of the {max(classes, 2)} classes of the model in {str(folder.path)!r}. "
                f"Received: {len(names)} folders: {', '.join(names[:12])}. Their order numbers the classes."
            )
        channels = (self._image_shape() or (None, None, 3))[2]
        channels = channels if channels in (1, 3, 4) else 3
        size = data.size or self._size() or _STREAM_SIZE
        one_hot = len(names) if expected.labels == "one-hot" and classes != 1 else None
        augment, preprocess = data.augment, data.preprocess
        assert not isinstance(augment, str) and preprocess is not None
        if fits_in_memory(folder.num_bytes(size, channels)):
            labels = folder.labels if one_hot is None else np.eye(one_hot, dtype="float32")[folder.labels]
            x = folder.read(size, channels)
            return self.arrays(x, labels, what, preprocess=preprocess, augment=augment)
        how: dict[str, Any] = {"size": size, "channels": channels, "preprocess": preprocess, "augment": augment}
        stream = FolderStream.of(folder, self.batch_size, self.seed, one_hot=one_hot, **how)
        self.checked(stream, what)
        return stream

    def single(self, data: object, what: str, like: object) -> DivisibleSource:
        """Returns the data of a single split that a user gave beside the training data `like`."""
        data = opened(data, what.strip("`"))
        if not isinstance(data, NamedData):
            return self.source(data, what)
        if data.scaling == "measured" and isinstance(like, NamedData):
            data = replace(data, preprocess=like.preprocess if data.preprocess is not None else None)
        if data.folders is not None:
            if isinstance(like, NamedData) and like.folders is not None:
                check_same_classes(like.folders.train, data.folders.train)
            return self.folder(data, data.folders.train, what)
        if data.arrays is None:
            raise ValueError(
                f"Expected {what} to be arrays, a dataset, or a path. Received: {data.name!r}, a whole set with its "
                "test split. Pass it as `data`."
            )
        return self._of_named_arrays(data, data.arrays.train, what)

    def checked(self, stream: ShuffledStream, what: str) -> ShuffledStream:
        """Returns a stream after checking that its first batches fit."""
        stream.check(self.expected, what)
        return stream

    def stream(self, stream: ShuffledStream, what: str) -> ShuffledStream:
        """Returns a stream of `NamedData` with the requested batch size."""
        return self.checked(replace(stream, batch_size=self.batch_size, seed=self.seed), what)

    def named(self, data: NamedData) -> tuple[DivisibleSource, DivisibleSource | None, DivisibleSource | None]:
        """Returns `(train, test or None, validation or None)` of `NamedData`."""
        what = f"{data.name!r}"
        if data.streams is not None:
            train, test = data.streams
            return self.stream(train, what), None if test is None else self.stream(test, what), None
        if data.folders is not None:
            folders = data.folders
            parts = (folders.train, folders.test, folders.validation)
            of_train, of_test, held = (None if part is None else self.folder(data, part, what) for part in parts)
            assert of_train is not None
            return of_train, of_test, held
        if data.arrays is not None:
            if isinstance(data.augment, str):
                raise ValueError(
                    f"Expected `augment` of {what}, which is held in memory, to be a function or None. Received: "
                    f"augment={data.augment!r}. Pass a function, such as `tfcompress.data.flip_and_crop`."
                )
            read = partial(self._of_named_arrays, data, what=what)
            others = (data.arrays.test, data.arrays.validation)
            train_arrays = read(data.arrays.train)
            test_arrays, validation = (None if part is None else read(part) for part in others)
            return train_arrays, test_arrays, validation
        if data.builder is not None:
            images = partial(self.images, data, data.builder, what=what)
            test = None if data.test_split is None else images(data.test_split)
            return images("train"), test, None
        raise ValueError(
            f"Expected NamedData with arrays, a builder or streams. Received: none of them for {what}. "
            "Make it with `tfcompress.data.load`."
        )

    def source(self, data: object, what: str) -> DivisibleSource:
        """Returns the source of data that a user gave, other than by name."""
        if isinstance(data, tuple) and len(data) in (2, 3):
            x, y, *weights = data
            return self.arrays(x, y, what, weights=weights[0] if weights else None)
        if is_tensorflow_dataset(data):
            return TensorFlowSource.checked(data, self.expected, what, self.seed)
        if isinstance(data, ArrayBatches):
            return self.arrays(
                data.x,
                data.y,
                what,
                weights=data.weights,
                indices=data.indices,
                preprocess=data.preprocess,
                augment=data.augment,
                batch_size=data.batch_size,
            )
        if isinstance(data, keras.utils.PyDataset) or _gives_batches(data):
            return PyDatasetSource.checked(data, self.expected, what, self.seed)
        raise _no_data(data, what)


def _no_data(data: object, what: str) -> TypeError:
    if isinstance(data, HasArray):
        return TypeError(
            f"Expected {what} to come with labels: a tuple (inputs, labels). Received: one {type(data).__name__}."
        )
    return TypeError(f"Expected {what} to be {_FORMS}. Received: {type(data).__name__}.")


def check_forms(
    data: object,
    validation_data: object = None,
    test_data: object = None,
    validation_split: object = None,
    class_weight: object = None,
) -> None:
    """Refuses data of an unknown form, as far as that can be seen without reading any.

    Args:
        data, validation_data, test_data: as for `splits`.
        validation_split: the share of the training data to hold out; `None` for the default share.
        class_weight: as for `splits`.

    Raises:
        ValueError: no data, an empty name, a name in place of a single split, a share out of range or beside validation
            data, or invalid class weights.
        TypeError: data of an unknown form.
    """
    hint = "It is the share of the training data to hold out, such as 0.2."
    expect.number("validation_split", validation_split, above=0, below=1, or_none=True, advice=hint)
    if validation_split is not None and validation_data is not None:
        raise ValueError(
            "Expected either `validation_split` or `validation_data`. Received: both. Leave validation_split out: "
            "with validation data, nothing is held out of the training data."
        )
    ClassWeights.of(class_weight)
    if data is None:
        raise ValueError(f"Expected `data` to train on. Received: no data (data=None). Pass {_FORMS}.")
    if isinstance(data, str):
        expect.text("data", data, "the name of a dataset such as 'cifar10'")
    for argument, given in (("data", data), ("validation_data", validation_data), ("test_data", test_data)):
        if isinstance(given, str | os.PathLike):
            kind = kind_of(given) if os.fspath(given) else "name"
            if kind == "path":
                path_of(given, argument)
            if kind != "name":
                continue
        is_set = isinstance(given, NamedData) and given.folders is None and not given.name.endswith(".npz")
        if argument != "data" and (isinstance(given, str) or is_set):
            name = expect.received(given.name if isinstance(given, NamedData) else given)
            raise ValueError(
                f"Expected `{argument}` to be arrays, a dataset, or a path. Received: {argument}={name}. A name stands "
                "for a whole dataset with its test split: pass it as `data`."
            )
        if given is not None and not has_form(given):
            raise _no_data(given, f"`{argument}`")


def opened(data: object, argument: str = "data") -> object:
    """Opens the place that a string or a path names, just enough to see its kind; returns other data unchanged.

    Raises:
        ValueError, TypeError: a place without data, or a function that returns none.
    """
    if not isinstance(data, str | os.PathLike):
        return data
    if kind_of(data) != "function":
        return load(data)
    returned = given_by(str(data), argument)
    if isinstance(returned, str) and kind_of(returned) == "function":
        raise ValueError(
            f"Expected data from the function {data!r}. Received: {returned!r}, the name of another function. Pass "
            "that one."
        )
    check_forms(returned)
    return opened(returned, argument)


def has_form(data: object) -> bool:
    """Whether the type of `data` is one of the accepted forms of data."""
    known = isinstance(data, str | os.PathLike | tuple | NamedData | ArrayBatches | keras.utils.PyDataset)
    return known or is_tensorflow_dataset(data) or _gives_batches(data)


def _gives_batches(data: object) -> TypeGuard[IndexedBatches]:
    if isinstance(data, tuple | list | Mapping | str | bytes | HasArray):
        return False
    return isinstance(data, IndexedBatches)


def checked_shapes(value: object) -> Shape | list[Shape] | dict[str, Shape] | None:
    """Checks `input_shape`: a shape, a list of shapes, or a dict of name to shape."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        return {name: _shape("input_shape", shape) for name, shape in value.items()}
    if isinstance(value, tuple | list) and any(isinstance(entry, tuple | list) for entry in value):
        return [_shape("input_shape", shape) for shape in value]
    return _shape("input_shape", value)


def _shape(name: str, value: object) -> Shape:
    what = "a shape such as keras.Model.input_shape, the batch first, or a list or dict of several"
    shape: Shape = expect.each(name, value, _size, what, empty=False)
    return shape


def _size(name: str, value: object) -> int | None:
    size: int | None = expect.whole(name, value, or_none=True)
    return size
