"""Checks of data before any training: each says what was expected, what came, and what to do."""

from dataclasses import dataclass

import keras
import numpy as np

__all__ = ["Expected", "check_batch", "check_finite", "integer_labels", "labels_as_read", "to_arrays"]

_CHUNK = 1024  # samples looked at together, so that a check needs little memory


@dataclass(frozen=True)
class Expected:
    """What a model reads and answers.

    Attributes:
        input_shape: as `keras.Model.input_shape`, the batch dimension first: one shape, or a list of shapes or a dict
            of name to shape for several inputs. `None` where it is not known.
        classes: number of classes, 1 for a single probability, `None` where the answer is not a class.
    """

    input_shape: tuple | list | dict | None = None
    classes: int | None = None

    @property
    def shapes(self):
        """The input shapes, without the batch dimension, as a dict of name or position to shape."""
        given = self.input_shape
        if given is None:
            return None
        if isinstance(given, dict):
            return {name: tuple(shape)[1:] for name, shape in given.items()}
        if given and isinstance(given[0], tuple | list):
            return {position: tuple(shape)[1:] for position, shape in enumerate(given)}
        return {0: tuple(given)[1:]}


def to_arrays(value, what, several=False):
    """`value` as numpy arrays; a tuple or dict stays one, as does a list where `several` arrays are expected.

    Raises:
        TypeError: what cannot be an array of numbers.
    """
    if isinstance(value, dict):
        return {name: to_arrays(part, f"{what}[{name!r}]") for name, part in value.items()}
    if isinstance(value, tuple) or (several and isinstance(value, list)):
        return tuple(to_arrays(part, f"{what}[{index}]") for index, part in enumerate(value))
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise TypeError(
            f"Expected {what} to be an array of numbers. Received: {type(value).__name__} of parts that do not share a "
            "shape. Resize or pad them to one shape."
        ) from error
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"Expected {what} to be an array of numbers `[samples, ...]`. Received: {type(value).__name__}, "
            f"as an array of dtype {array.dtype}."
        )
    return array


def _fits(received, shape):
    return len(received) == len(shape) and all(size in (None, got) for size, got in zip(shape, received, strict=True))


def _check_shape(array, shape, what):
    if _fits(array.shape[1:], shape):
        return
    expected = "[batch, " + ", ".join("any" if size is None else str(size) for size in shape) + "]"
    if _fits(array.shape, shape):
        advice = "These look like single samples; batch them: `dataset.batch(128)`, or `x[None]` for one array."
    elif len(shape) == 1 and array.ndim == 2 and array.dtype.kind in "iu":
        advice = f"If these are texts, `tfcompress.data.load_text(name, length={shape[0]})` brings them to this length."
    elif array.ndim == len(shape):
        advice = "Where the axis of channels is missing, add it: `x[..., None]`."
    else:
        advice = "Resize the images (the order is height, width, channels), or build the model for this shape."
    raise ValueError(
        f"Expected {what} of shape {expected}, which the model reads. Received: shape {list(array.shape)}. {advice}"
    )


def _check_shapes(x, expected, what):
    shapes = expected.shapes
    if shapes is None:
        return
    parts = dict(x) if isinstance(x, dict) else dict(enumerate(x if isinstance(x, tuple) else (x,)))
    if len(parts) != len(shapes):
        raise ValueError(
            f"Expected {len(shapes)} array(s) of inputs in {what}, one for each input of the model. "
            f"Received: {len(parts)}. Give a tuple or a dict with one array for each input."
        )
    if isinstance(x, dict) != isinstance(expected.input_shape, dict):
        if isinstance(x, dict) and len(parts) > 1:
            return  # nothing says which shape belongs to which name
        parts, shapes = dict(enumerate(parts.values())), dict(enumerate(shapes.values()))
    if parts.keys() != shapes.keys():
        raise ValueError(
            f"Expected inputs in {what} with the names {sorted(shapes)}. Received: {sorted(parts)}. "
            "Name the arrays as the model names its inputs."
        )
    for key, shape in shapes.items():
        _check_shape(parts[key], shape, f"inputs in {what}" if len(shapes) == 1 else f"input {key!r} in {what}")


def check_finite(array, what):
    """Raises ValueError where a sample of `array`, `[samples, ...]`, holds a NaN or an infinity."""
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


def integer_labels(y, classes):
    """The class of each sample, int `[samples]`, or `None` where `y` does not give one class for each.

    Args:
        y: labels: int `[samples]` or `[samples, 1]`, or one-hot `[samples, classes]`.
        classes: number of classes, or `None`.
    """
    if not isinstance(y, np.ndarray):
        return None
    if classes is not None and classes > 1 and y.ndim == 2 and y.shape[1] == classes:
        return y.argmax(axis=1)
    if y.dtype.kind not in "biu":
        return None
    if y.ndim == 2 and y.shape[1] == 1:
        return y[:, 0]
    return y if y.ndim == 1 else None


def labels_as_read(y, classes):
    """Classes of shape `[samples, 1]` as `[samples]`: compared with answers `[samples]` they would broadcast."""
    if isinstance(y, np.ndarray) and classes is not None and classes > 1 and y.ndim == 2 and y.shape[1] == 1:
        return y[:, 0]
    return y


def _check_labels(y, classes, what):
    if classes is None or not isinstance(y, np.ndarray):
        return
    one_hot = classes > 1 and y.ndim >= 2 and y.shape[-1] == classes
    if not one_hot and y.ndim == 2 and y.shape[1] > 1:
        raise ValueError(
            f"Expected labels in {what} of shape [batch] or one-hot [batch, {classes}]: the model has {classes} "
            f"classes. Received: shape {y.shape}. Pass the labels of these classes."
        )
    if not one_hot and classes > 1 and y.dtype.kind == "f":
        raise TypeError(
            f"Expected labels in {what} to be integers from 0 to {classes - 1}, or one-hot [batch, {classes}]. "
            f"Received: dtype {y.dtype}, shape {list(y.shape)}. Convert them: `y.astype('int64')`."
        )
    highest = 1 if one_hot or classes == 1 else classes - 1
    low, high = y.min(), y.max()
    if low < 0 or high > highest:
        raise ValueError(
            f"Expected labels in {what} between 0 and {highest}: the model has {classes} classes. "
            f"Received: labels from {low} to {high}. Renumber the labels, or build the model with as many classes."
        )


def _length(value, what):
    lengths = {len(part) for part in keras.tree.flatten(value)}
    if len(lengths) != 1:
        raise ValueError(f"Expected arrays of one length in {what}. Received: lengths {sorted(lengths)}.")
    return lengths.pop()


def check_batch(x, y, expected, what):
    """Checks arrays of samples, a whole set or a batch.

    Args:
        x: array, or a tuple or dict of arrays: the inputs.
        y: array, or a structure of arrays: the labels.
        expected: `Expected`.
        what: the words for it in a message, such as "`data`".

    Returns:
        The number of samples.

    Raises:
        ValueError: a shape, length, number or class that does not fit.
        TypeError: labels that are not integers where a class is expected.
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
    _check_labels(y, expected.classes, what)
    return samples
