"""Class weights, as Keras' `fit` takes them, and the sample weights computed from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from tfcompress import expect
from tfcompress.data.batches.checks import Expected
from tfcompress.data.batches.forms import Arrays

if TYPE_CHECKING:
    import tensorflow as tf

__all__ = ["ClassWeights"]

_WHAT = "a dict {class: weight} of whole numbers and numbers, as Keras' `fit` takes it"


@dataclass(frozen=True)
class ClassWeights:
    """The weight of each class in the training loss; a class without a weight counts as 1.

    Attributes:
        pairs: `((class, weight), ...)`.
    """

    pairs: tuple[tuple[int, float], ...]

    @classmethod
    def of(cls, value: object, expected: Expected | None = None) -> ClassWeights | None:
        """Returns the class weights that a user gave, `None` for none.

        Args:
            value: a dict of class to weight, or `None`.
            expected: the labels that the model reads, if they are known.

        Raises:
            TypeError, ValueError: not a dict of weights, an unknown class, or a model with several outputs.
        """
        if value is None:
            return None
        if not isinstance(value, Mapping):
            expect.refuse("class_weight", _WHAT, value, wrong_type=True)
        if not value:
            expect.refuse("class_weight", _WHAT, value)
        advice = "The keys are the class numbers in the labels."
        pairs = tuple(
            (
                expect.whole("a class of class_weight", label, advice=advice),
                expect.number(f"class_weight[{label!r}]", weight, at_least=0),
            )
            for label, weight in value.items()
        )
        if expected is not None:
            _check(pairs, expected)
        return cls(tuple(sorted(pairs)))

    @property
    def words(self) -> str:
        """All weights as text, such as "0: 1, 1: 5"."""
        return ", ".join(f"{label}: {weight:g}" for label, weight in self.pairs)

    def _table(self) -> np.ndarray:
        table = np.ones(self.pairs[-1][0] + 2, "float32")  # its last entry is that of all further classes
        for label, weight in self.pairs:
            table[label] = weight
        return table

    def times(self, y: Arrays, weights: Arrays | None = None) -> np.ndarray:
        """Multiplies the class weight and own weight of each sample: float32 `[batch]`; labels are read as in `fit`.

        Args:
            y: labels: class numbers `[batch]` or `[batch, 1]`, or one-hot `[batch, classes]`.
            weights: sample weights, `[batch]` or `[batch, 1]`; `None` for none.

        Raises:
            ValueError: labels in another form.
        """
        (labels,) = _single(keras.tree.flatten(y), "output")
        labels = np.asarray(labels)
        if labels.ndim > 2:
            raise ValueError(
                f"Expected labels with one class per sample, for class_weight. Received: labels of shape "
                f"{list(labels.shape)}. Give sample weights as the third part of the data instead."
            )
        if labels.ndim == 2:
            labels = labels[:, 0] if labels.shape[1] == 1 else labels.argmax(axis=1)
        table = self._table()
        classes = np.clip(np.round(labels).astype("int64"), 0, len(table) - 1)
        each: np.ndarray = table[classes]
        if weights is None:
            return each
        (own,) = _single(keras.tree.flatten(weights), "array of sample weights")
        own = np.asarray(own, "float32")
        product: np.ndarray = own * each.reshape(-1, *[1] * (own.ndim - 1))
        return product

    def weighed(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        """Returns a dataset of batches with the weights as their third part."""
        import tensorflow as tf

        def with_weights(x: Any, y: Any, *weights: Any) -> Any:
            (labels,) = _single(tf.nest.flatten(y), "output")
            parts = [labels, *(_single(tf.nest.flatten(part), "array of sample weights")[0] for part in weights)]
            each = tf.numpy_function(self.times, parts, "float32", stateful=False)
            each.set_shape(labels.shape[:1] if len(parts) == 1 else parts[1].shape)
            return x, y, each

        return dataset.map(with_weights, num_parallel_calls=tf.data.AUTOTUNE)


def _single(parts: list[Any], what: str) -> list[Any]:
    if len(parts) != 1:
        raise ValueError(
            f"Expected one {what}, for class_weight. Received: {len(parts)}. Give sample weights as the third part "
            "of the data instead."
        )
    return parts


def _check(pairs: tuple[tuple[int, float], ...], expected: Expected) -> None:
    if expected.outputs > 1:
        raise ValueError(
            f"Expected a model of one output, for class_weight. Received: one of {expected.outputs}. Give weights of "
            "samples as the third part of the data: `(x, y, sample_weight)`."
        )
    shape = expected.output_shape
    classes = expected.classes or (shape[-1] if shape is not None and len(shape) == 2 else None)
    classes = 2 if classes == 1 else classes
    if classes is not None and (strangers := [label for label, _ in pairs if label >= classes]):
        raise ValueError(
            f"Expected `class_weight` for classes from 0 to {classes - 1}, those of the model. Received: {strangers}."
        )
