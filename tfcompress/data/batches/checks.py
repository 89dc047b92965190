"""Checks of data before any training: each message says what was expected, what was received, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np

from tfcompress.data.batches.forms import Arrays, Shape

__all__ = [
    "Expected",
    "check_batch",
    "check_finite",
    "check_weights",
    "input_arrays",
    "integer_labels",
    "label_arrays",
    "labels_as_read",
    "to_arrays",
]

_CHUNK = 1024  # samples looked at together, so that a check needs little memory


@dataclass(frozen=True)
class Expected:
    """The form of data that a model reads, and of its outputs.

    Attributes:
        input_shape: as `keras.Model.input_shape`, the batch dimension first: one shape, or for several inputs a list of
            shapes or a dict of name to shape. `None` if it is not known.
        classes: number of classes; 1 for a single probability; `None` if the output is not a class.
        labels: form of the labels that the loss reads, if it is known: "indices" of the outputs, "one-hot" labels, or
            "numbers", both in the outputs' own shape; "classes" for labels that are indices if each is a single whole
            number; `None` for any.
        output_shape: shape of the only output, the batch dimension first; `None` for several outputs.
        outputs: number of outputs.
        ignored: the class that the loss ignores, or `None`.
        loss: name of the loss, for messages.
        strings: whether an input of the model holds strings.
        input_names: the names by which Keras finds arrays in a dict; empty if the inputs have no names, `None` if the
            names are not known.
    """

    input_shape: Shape | list[Shape] | dict[str, Shape] | None = None
    classes: int | None = None
    labels: str | None = None
    output_shape: Shape | None = None
    outputs: int = 1
    ignored: int | None = None
    loss: str = "the loss"
    strings: bool = False
    input_names: tuple[str, ...] | None = None

    @property
    def shapes(self) -> dict[str | int, Shape] | None:
        """The input shapes, without the batch dimension, as a dict of name or position to shape."""
        given = self.input_shape
        if given is None:
            return None
        if isinstance(given, dict):
            return {name: tuple(shape)[1:] for name, shape in given.items()}
        several = [tuple(shape)[1:] for shape in given if isinstance(shape, tuple | list)]
        if several:
            return dict(enumerate(several))
        return {0: tuple(size for size in given if not isinstance(size, tuple))[1:]}


def to_arrays(value: object, what: str, several: bool = False, strings: bool = False) -> Arrays:
    """Converts `value` to numpy arrays; a tuple or dict keeps its structure, as does a list if `several` are expected.

    Raises:
        TypeError: something cannot be an array of numbers, or, if `strings` are expected, of strings.
    """
    if isinstance(value, dict):
        return {name: to_arrays(part, f"{what}[{name!r}]", several, strings) for name, part in value.items()}
    if isinstance(value, tuple) or (several and isinstance(value, list)):
        return tuple(to_arrays(part, f"{what}[{index}]", several, strings) for index, part in enumerate(value))
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise TypeError(
            f"Expected {what} to be an array of numbers. Received: {type(value).__name__} of parts that do not share a "
            "shape. Resize or pad them to one shape."
        ) from error
    are_strings = array.dtype.kind in "US" or (
        array.dtype.kind == "O" and array.size > 0 and all(isinstance(part, str | bytes) for part in array.flat)
    )
    if are_strings and strings:
        return array.astype(object)
    if array.dtype.kind not in "biuf":
        advice = (
            " Turn strings into numbers first, as with keras.layers.TextVectorization or keras.layers.StringLookup: "
            "`dataset.map(lambda x, y: (lookup(x), y))`."
        )
        raise TypeError(
            f"Expected {what} to be an array of numbers `[samples, ...]`. Received: {type(value).__name__}, "
            f"as an array of dtype {array.dtype}.{advice if are_strings else ''}"
        )
    return array


def input_arrays(x: object, expected: Expected, what: str) -> Arrays:
    """Converts inputs to numpy arrays in their own structure; for a single input, a list of one becomes the array.

    Raises:
        TypeError: something cannot be an array of numbers, or of strings for a model that reads strings.
    """
    shapes = list((expected.shapes or {}).values())
    single = len(shapes) == 1 and not isinstance(expected.input_shape, dict)
    if single and isinstance(x, tuple | list) and len(x) == 1 and np.ndim(x[0]) == len(shapes[0]) + 1:
        x = x[0]
    return to_arrays(x, what, several=len(shapes) > 1, strings=expected.strings)


def label_arrays(y: object, expected: Expected, what: str) -> Arrays:
    """Converts labels to numpy arrays in their own structure: a list for several outputs, as for Keras' `fit`.

    Raises:
        TypeError: something cannot be an array of numbers.
    """
    if expected.outputs == 1 and isinstance(y, tuple | list) and len(y) == 1 and np.ndim(y[0]) > 1:
        y = y[0]
    return to_arrays(y, what, several=expected.outputs > 1)


def _fits(received: Sequence[int], shape: Shape) -> bool:
    return len(received) == len(shape) and all(size in (None, got) for size, got in zip(shape, received, strict=True))


def _check_shape(array: np.ndarray, shape: Shape, what: str) -> None:
    if _fits(array.shape[1:], shape):
        return
    expected = "[batch, " + ", ".join("any" if size is None else str(size) for size in shape) + "]"
    if _fits(array.shape, shape):
        advice = "These look like single samples; batch them: `dataset.batch(128)`, or `x[None]` for one array."
    elif len(shape) == 1 and array.ndim == 2 and array.dtype.kind in "iu":
        advice = f"If these are texts, `tfcompress.data.load_text(name, length={shape[0]})` brings them to this length."
    elif array.ndim == len(shape):
        advice = "If the channel axis is missing, add it: `x[..., None]`."
    else:
        advice = (
            "Resize the images (the order is height, width, channels), for a set by its name or path by "
            "`tfcompress.data.load(..., size=...)`, or build the model for this shape."
        )
    raise ValueError(
        f"Expected {what} of shape {expected}, which the model reads. Received: shape {list(array.shape)}. {advice}"
    )


def _check_shapes(x: Arrays, expected: Expected, what: str) -> None:
    shapes = expected.shapes
    if shapes is None:
        return
    parts: dict[str | int, Arrays] = (
        dict(x.items()) if isinstance(x, dict) else dict(enumerate(x if isinstance(x, tuple) else (x,)))
    )
    if len(parts) != len(shapes):
        raise ValueError(
            f"Expected {len(shapes)} array(s) of inputs in {what}, one for each input of the model. "
            f"Received: {len(parts)}. Give a tuple or a dict with one array for each input."
        )
    if isinstance(x, dict) != isinstance(expected.input_shape, dict):
        if isinstance(x, dict) and expected.input_names == ():
            raise ValueError(
                f"Expected inputs in {what} in the order of the model's inputs, which have no names. Received: a dict "
                f"with the names {sorted(x)}. Pass an array, or a tuple of arrays, or name the inputs: "
                "`keras.Input(shape, name=...)`."
            )
        if isinstance(x, dict) and expected.input_names is not None:
            shapes = dict(zip(expected.input_names, shapes.values(), strict=True))
        elif isinstance(x, dict) and len(parts) > 1:
            return  # nothing says which shape belongs to which name
        else:
            parts, shapes = dict(enumerate(parts.values())), dict(enumerate(shapes.values()))
    if parts.keys() != shapes.keys():
        raise ValueError(
            f"Expected inputs in {what} with the names {sorted(shapes)}. Received: {sorted(parts)}. "
            "Name the arrays as the model names its inputs."
        )
    for key, shape in shapes.items():
        array, which = parts[key], f"inputs in {what}" if len(shapes) == 1 else f"input {key!r} in {what}"
        if isinstance(array, tuple | list | dict):
            raise ValueError(
                f"Expected one array as {which}. Received: {len(array)} arrays in a {type(array).__name__}. "
                "Give a tuple or a dict with one array for each input."
            )
        _check_shape(array, shape, which)


def check_finite(array: np.ndarray, what: str) -> None:
    """Raises ValueError if a sample of `array`, `[samples, ...]`, holds a NaN or an infinity."""
    if array.dtype.kind != "f":
        return
    for start in range(0, len(array), _CHUNK):
        chunk = array[start : start + _CHUNK]
        finite = np.isfinite(chunk).reshape(len(chunk), -1).all(axis=1)
        if not finite.all():
            raise ValueError(
                f"Expected finite numbers in {what}. Received: NaN or infinity in sample "
                f"{start + int(np.argmin(finite))}. Remove or repair such samples."
            )


def integer_labels(y: Arrays, classes: int | None) -> np.ndarray | None:
    """Returns the class of each sample, int `[samples]`, or `None` if `y` does not give one class per sample.

    Args:
        y: labels: int `[samples]` or `[samples, 1]`, or one-hot `[samples, classes]`.
        classes: number of classes, or `None`.
    """
    if not isinstance(y, np.ndarray):
        return None
    if classes is not None and classes > 1 and y.ndim == 2 and y.shape[1] == classes:
        return y.argmax(axis=1) if y.min(initial=0) >= 0 and y.max(initial=0) <= 1 else None
    if y.dtype.kind not in "biu":
        return None
    if y.ndim == 2 and y.shape[1] == 1:
        return y[:, 0]
    return y if y.ndim == 1 else None


def labels_as_read(y: Arrays, classes: int | None) -> Arrays:
    """Reshapes classes `[samples, 1]` to `[samples]`, because they would broadcast against outputs `[samples]`."""
    if isinstance(y, np.ndarray) and classes is not None and classes > 1 and y.ndim == 2 and y.shape[1] == 1:
        return y[:, 0]
    return y


def _check_labels(y: Arrays, expected: Expected, what: str) -> None:
    leaves: list[np.ndarray] = keras.tree.flatten(y)
    if expected.outputs != 1 or len(leaves) != 1:
        return
    labels, shape = leaves[0], expected.output_shape
    if expected.labels is not None and shape is not None:
        _check_form(labels, expected, shape, what)
    classes = expected.classes
    if classes is None and expected.labels in ("indices", "classes") and shape is not None:
        classes = shape[-1]
    if classes is not None:
        _check_classes(labels, classes, expected, what)


def _same_shape(y: np.ndarray, shape: Shape, broadcast: bool = False) -> bool:
    sizes = zip(shape[1:], y.shape[1:], strict=False)
    return y.ndim == len(shape) and all(size in (None, got) or (broadcast and got == 1) for size, got in sizes)


def _number_a_place(y: np.ndarray, shape: Shape) -> bool:
    """Whether a shape equals the output's shape without its last axis, or with 1 there."""
    y = y[..., 0] if y.ndim == len(shape) and y.shape[-1] == 1 else y
    return _same_shape(y, shape[:-1])


def _check_form(y: np.ndarray, expected: Expected, shape: Shape, what: str) -> None:
    """Raises ValueError for labels in another form than the loss reads, with the conversion that helps."""
    form, classes = expected.labels, shape[-1]
    place = "[batch" + "".join(f", {'any' if size is None else size}" for size in shape[1:-1])
    received = f"Received: labels of shape {list(y.shape)}, dtype {y.dtype}."
    if form == "indices" and not _number_a_place(y, shape) and _same_shape(y, shape):
        raise ValueError(
            f"Expected labels in {what} of shape {place}]: the model is compiled with {expected.loss}, which reads the "
            f"index of each class. {received} Pass `y.argmax(-1)`, or compile the model with "
            '"categorical_crossentropy" to keep one-hot or soft labels.'
        )
    if form not in ("one-hot", "numbers") or _same_shape(y, shape) or (classes == 1 and _number_a_place(y, shape)):
        return
    expects = (
        f"Expected labels in {what} of shape {place}, {classes}], as the outputs: the model is compiled with "
        f"{expected.loss}, which compares each of them. {received}"
    )
    in_range = form == "one-hot" or (y.size and y.min() >= 0 and y.max() < (classes or 0))
    if y.dtype.kind in "biu" and _number_a_place(y, shape) and in_range:
        raise ValueError(
            f"{expects} Pass `keras.utils.to_categorical(y, {classes})`, or compile the model with "
            '"sparse_categorical_crossentropy", which reads the index of each class.'
        )
    if form == "one-hot" or not _same_shape(y, shape, broadcast=True):
        raise ValueError(f"{expects} Bring both to one shape.")


def _check_classes(y: np.ndarray, classes: int, expected: Expected, what: str) -> None:
    shape = expected.output_shape
    single = shape is None or len(shape) == 2
    one_hot = classes > 1 and y.ndim >= 2 and y.shape[-1] == classes
    one_hot = one_hot and expected.labels not in ("indices", "classes")
    if single and expected.labels != "classes" and not one_hot and y.ndim == 2 and y.shape[1] > 1:
        raise ValueError(
            f"Expected labels in {what} of shape [batch] or one-hot [batch, {classes}]: the model has {classes} "
            f"classes. Received: shape {y.shape}. Pass the labels of these classes."
        )
    if one_hot and expected.labels is None:
        return  # numbers of the outputs' own shape may be anything where no loss says what they are
    is_float = y.dtype.kind == "f"
    if expected.labels == "classes" and (is_float or shape is None or not _number_a_place(y, shape)):
        return
    if not one_hot and classes > 1 and is_float and (single or not np.array_equal(y, np.floor(y))):
        raise TypeError(
            f"Expected labels in {what} to be integers from 0 to {classes - 1}, or one-hot [batch, {classes}]. "
            f"Received: dtype {y.dtype}, shape {list(y.shape)}. Convert them: `y.astype('int64')`."
        )
    highest = 1 if one_hot or classes == 1 else classes - 1
    if expected.ignored is not None:
        y = y[y != expected.ignored]
    low, high = (y.min(), y.max()) if y.size else (0, 0)
    if low < 0 or high > highest:
        ignored = "" if expected.ignored is None else f", or the ignored class {expected.ignored}"
        raise ValueError(
            f"Expected labels in {what} between 0 and {highest}{ignored}: the model has {classes} classes. "
            f"Received: labels from {low} to {high}. Renumber the labels, or build the model with as many classes."
        )


def _length(value: Arrays, what: str) -> int:
    lengths = {len(part) for part in keras.tree.flatten(value)}
    if len(lengths) != 1:
        raise ValueError(f"Expected arrays of one length in {what}. Received: lengths {sorted(lengths)}.")
    return lengths.pop()


def check_weights(weights: Arrays, samples: int, what: str) -> None:
    """Checks sample weights.

    Args:
        weights: array `[samples, ...]`, or a structure of arrays for several outputs.
        samples: number of samples that they belong to.
        what: name of the samples in a message.

    Raises:
        ValueError: their number differs from that of the samples, or one is not finite.
    """
    for part in keras.tree.flatten(weights):
        if part.ndim == 0 or len(part) != samples:
            raise ValueError(
                f"Expected a sample weight for each of {samples} samples in {what}. Received: an array of shape "
                f"{list(part.shape)}. Check that they come from the same samples."
            )
        check_finite(part, f"the sample weights in {what}")


def check_batch(x: Arrays, y: Arrays, expected: Expected, what: str) -> int:
    """Checks arrays of samples, a whole set or a batch.

    Args:
        x: array, or a tuple or dict of arrays: the inputs.
        y: array, or a structure of arrays: the labels.
        expected: `Expected`.
        what: name of the arrays in a message, such as "`data`".

    Returns:
        The number of samples.

    Raises:
        ValueError: a shape, length, number or class does not fit.
        TypeError: labels are not integers although a class is expected.
    """
    _check_shapes(x, expected, what)
    if any(part.ndim == 0 for part in keras.tree.flatten((x, y))):
        raise ValueError(
            f"Expected arrays `[batch, ...]` in {what}. Received: single samples or numbers. "
            "Batch them: `dataset.batch(128)`."
        )
    samples, labels = _length(x, f"the inputs in {what}"), _length(y, f"the labels in {what}")
    if samples != labels:
        raise ValueError(
            f"Expected as many labels as inputs in {what}. Received: {samples} inputs and {labels} labels. "
            "Check that both come from the same samples."
        )
    if samples == 0:
        raise ValueError(f"Expected samples in {what}. Received: an empty dataset. Check its path, filters and split.")
    for part in keras.tree.flatten((x, y)):
        check_finite(part, what)
    _check_labels(y, expected, what)
    return samples
