"""Data as a user gives them: in which forms they may come, and the sources that are made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, TypeGuard

import keras
import numpy as np

from tfcompress import expect
from tfcompress.data.batches.checks import Expected
from tfcompress.data.batches.class_weights import ClassWeights
from tfcompress.data.batches.epochs import ArrayBatches
from tfcompress.data.batches.forms import Augment, HasArray, IndexedBatches, Preprocess, Shape
from tfcompress.data.sources.arrays import ArraySource
from tfcompress.data.sources.image_streams import ImageStream
from tfcompress.data.sources.named_data import NamedData
from tfcompress.data.sources.py_datasets import PyDatasetSource
from tfcompress.data.sources.shuffled_streams import ShuffledStream
from tfcompress.data.sources.source import DivisibleSource
from tfcompress.data.sources.streams import TensorFlowSource, is_tensorflow_dataset

if TYPE_CHECKING:
    import tensorflow as tf
    import tensorflow_datasets as tfds

__all__ = ["GivenData", "Request", "check_forms", "checked_shapes", "has_form"]

GivenData: TypeAlias = "str | NamedData | tuple[object, ...] | tf.data.Dataset | keras.utils.PyDataset | IndexedBatches"
"""Data as a user gives them: by name, as arrays, or as batches."""

_STREAM_SIZE = (224, 224)  # of streamed images, where the model does not say

_FORMS = (
    "the name of a dataset ('cifar10'), tfcompress.data.load(...), a tuple (inputs, labels) of arrays, a batched "
    "tf.data.Dataset of (inputs, labels), or a keras.utils.PyDataset; sample weights may be a third part"
)


@dataclass(frozen=True)
class Request:
    """The request that all parts of `splits` need to know.

    Attributes:
        expected: what the model reads and answers.
        batch_size: samples in a batch of arrays and of named datasets.
        seed: of what is held out, of order and of augmentation.
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
        """Arrays, with batches of the size that was asked for where they come with none."""
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
        """A stream of a split of `NamedData`."""
        shapes = self.expected.shapes
        static = builder.info.features["image"].shape[:2]
        size = _STREAM_SIZE if None in static else tuple(static)
        if shapes is not None and len(shapes) == 1:
            (shape,) = shapes.values()
            if len(shape) == 3 and shape[0] is not None and shape[1] is not None:
                size = (shape[0], shape[1])
        stream = ImageStream(
            ranges=((split, 0, builder.info.splits[split].num_examples),),
            batch_size=self.batch_size,
            seed=self.seed,
            builder=builder,
            size=size,
            preprocess=data.preprocess,
            augment=data.augment,
        )
        return self.checked(stream, what)

    def checked(self, stream: ShuffledStream, what: str) -> ShuffledStream:
        """A stream whose first batches fit."""
        stream.check(self.expected, what)
        return stream

    def stream(self, stream: ShuffledStream, what: str) -> ShuffledStream:
        """A stream of `NamedData`, with batches of the size that was asked for."""
        return self.checked(replace(stream, batch_size=self.batch_size, seed=self.seed), what)

    def named(self, data: NamedData) -> tuple[DivisibleSource, DivisibleSource | None]:
        """`(train, test or None)` of `NamedData`."""
        what = f"{data.name!r}"
        if data.streams is not None:
            train, test = data.streams
            return self.stream(train, what), None if test is None else self.stream(test, what)
        if data.arrays is not None:
            if isinstance(data.augment, str):
                raise ValueError(
                    f"Expected `augment` of {what}, which is held in memory, to be a function or None. Received: "
                    f"augment={data.augment!r}. Pass a function, such as `tfcompress.data.flip_and_crop`."
                )
            read = partial(self.arrays, what=what, preprocess=data.preprocess, augment=data.augment)
            train_arrays, test_arrays = data.arrays.train, data.arrays.test
            return read(*train_arrays), None if test_arrays is None else read(*test_arrays)
        if data.builder is not None:
            images = partial(self.images, data, data.builder, what=what)
            test = None if data.test_split is None else images(data.test_split)
            return images("train"), test
        raise ValueError(
            f"Expected NamedData with arrays, a builder or streams. Received: none of them for {what}. "
            "Make it with `tfcompress.data.load`."
        )

    def source(self, data: object, what: str) -> DivisibleSource:
        """The data that a user gave, other than by name."""
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
    """Refuses what is no form of data, as far as that can be seen without reading any.

    Args:
        data, validation_data, test_data: as for `splits`.
        validation_split: the share of the training data to hold out; `None` for the default share.
        class_weight: as for `splits`.

    Raises:
        ValueError: no data, an empty name, a name in the place of a single split, a share out of its range or beside
            data for validation, or weights of classes that cannot be.
        TypeError: data of no known form.
    """
    hint = "It is the share of the training data that is held out, such as 0.2."
    expect.number("validation_split", validation_split, above=0, below=1, or_none=True, advice=hint)
    if validation_split is not None and validation_data is not None:
        raise ValueError(
            "Expected either `validation_split` or `validation_data`. Received: both. Leave validation_split out: "
            "nothing is held out of the training data where validation data are given."
        )
    ClassWeights.of(class_weight)
    if data is None:
        raise ValueError(f"Expected `data` to train on. Received: no data (data=None). Pass {_FORMS}.")
    if isinstance(data, str):
        expect.text("data", data, "the name of a dataset such as 'cifar10'")
    for argument, given in (("data", data), ("validation_data", validation_data), ("test_data", test_data)):
        if argument != "data" and isinstance(given, str | NamedData):
            name = expect.received(given if isinstance(given, str) else given.name)
            raise ValueError(
                f"Expected `{argument}` to be arrays or a dataset. Received: {argument}={name}. A name stands for a "
                "whole dataset with its test split: pass it as `data`."
            )
        if given is not None and not has_form(given):
            raise _no_data(given, f"`{argument}`")


def has_form(data: object) -> bool:
    """Whether `data` has one of the forms in which data may come, as far as its type says it."""
    known = isinstance(data, str | tuple | NamedData | ArrayBatches | keras.utils.PyDataset)
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
