"""Converts inputs for calibration and comparison to one array for each input of the model."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

RANDOM_SAMPLES = 16
RANDOM_SIZE = 32  # stands for an unknown height, width or length


def input_keys(network: keras.Model) -> list[str]:
    """Returns the keys of the model's inputs in a dictionary of arrays, in the order of `network.inputs`."""
    return [tensor.name for tensor in network.inputs]


def as_arrays(data: Any, network: keras.Model, argument: str) -> list[np.ndarray]:
    """Returns one array [samples, ...] for each input of the model, in the order of `network.inputs`.

    Args:
        data: an array [samples, ...]; for a model of several inputs, arrays in the structure of its `input` (by the
            keys of its own dictionary), a tuple or list of arrays, or a dictionary by input name; or an iterable of
            these (batches, without labels).
        network: the Functional model that will read the arrays.
        argument: the caller's name for `data`, for messages.

    Raises:
        ValueError: the number of arrays, their shapes or lengths do not fit, there is no sample, or a number is not
            finite.
    """
    if _is_one_set(data, network):
        arrays = _one_set(data, network, argument)
    else:
        arrays = _joined_batches(data, network, argument)
    return [_checked(array, tensor, arrays, argument) for array, tensor in zip(arrays, network.inputs, strict=True)]


def random_arrays(network: keras.Model, seed: int = 0) -> list[np.ndarray]:
    """Returns seeded inputs for a model without real ones: normal numbers, and zeros and ones for integers."""
    generator = np.random.default_rng(seed)
    arrays = []
    for tensor in network.inputs:
        shape = (RANDOM_SAMPLES, *(size or RANDOM_SIZE for size in tensor.shape[1:]))
        is_float = tf.as_dtype(tensor.dtype).is_floating
        numbers = generator.standard_normal(shape) if is_float else generator.integers(0, 2, shape)
        arrays.append(numbers.astype(tf.as_dtype(tensor.dtype).as_numpy_dtype))
    return arrays


def batches(arrays: list[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    """Yields batches of exactly `size` samples; the last one is padded with copies of its last sample."""
    for start in range(0, len(arrays[0]), size):
        batch = [array[start : start + size] for array in arrays]
        missing = size - len(batch[0])
        yield [np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]) if missing else part for part in batch]


def compiled(function: Callable[..., Any], tensors: Sequence[Any]) -> Callable[..., Any]:
    """Returns a function traced for tensors like these; a recurrent layer is some hundred times faster than eagerly.

    It is traced at once, because TensorFlow warns about functions that are created and traced again and again.
    """
    specs = [tf.TensorSpec(np.shape(tensor), tensor.dtype) for tensor in tensors]
    return tf.function(function).get_concrete_function(*specs)


def _is_one_set(data: Any, network: keras.Model) -> bool:
    if isinstance(data, dict) or hasattr(data, "shape") or _has_structure(data, network):
        return True
    several = len(network.inputs) > 1 and isinstance(data, (tuple, list))
    return several and all(hasattr(part, "shape") for part in data)


def _has_structure(data: Any, network: keras.Model) -> bool:
    """Whether data are arrays in the structure of the model's own input, if that has more than one tensor."""
    try:
        keras.tree.assert_same_structure(network.input, data)
    except (ValueError, TypeError):
        return False
    return keras.tree.is_nested(data) and all(hasattr(part, "shape") for part in keras.tree.flatten(data))


def _one_set(data: Any, network: keras.Model, argument: str) -> list[np.ndarray]:
    keys = input_keys(network)
    if _has_structure(data, network):
        return [np.asarray(part) for part in keras.tree.flatten(data)]
    if isinstance(data, dict):
        if set(data) != set(keys):
            own = f", or its own keys {list(network.input)}" if isinstance(network.input, dict) else ""
            raise ValueError(
                f"Expected {argument} to name the model's inputs {keys}{own}. Received: {argument} with keys"
                f" {list(data)}. Use these names, each with its array."
            )
        return [np.asarray(data[key]) for key in keys]
    parts = list(data) if isinstance(data, (tuple, list)) else [data]
    if len(parts) != len(keys):
        raise ValueError(
            f"Expected one array for each of the model's inputs {keys} in {argument}. Received: {len(parts)} array(s)."
            " Give the inputs only, without labels, in this order."
        )
    return [np.asarray(part) for part in parts]


def _joined_batches(data: Any, network: keras.Model, argument: str) -> list[np.ndarray]:
    if not isinstance(data, Iterable) or isinstance(data, (str, bytes)):
        raise ValueError(
            f"Expected {argument} to be an array [samples, ...] or an iterable of batches."
            f" Received: {argument} of type {type(data).__name__}. Give the model's inputs, without labels."
        )
    if isinstance(data, tf.data.Dataset) and data.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError(f"Expected {argument} to end. Received: a repeated dataset. Call its take(number) first.")
    sets = [_one_set(batch, network, argument) for batch in data]
    if not sets:
        raise ValueError(f"Expected at least one sample in {argument}. Received: an empty iterable. Give real inputs.")
    if any(part.ndim == 0 for parts in sets for part in parts):
        raise ValueError(
            f"Expected {argument} to be an array [samples, ...] or an iterable of batches. Received: {argument} of "
            f"type {type(data).__name__} that holds single values. Give the model's inputs, without labels."
        )
    return [np.concatenate(parts) for parts in zip(*sets, strict=True)]


def _checked(array: np.ndarray, tensor: Any, arrays: list[np.ndarray], argument: str) -> np.ndarray:
    expected = tuple(tensor.shape)[1:]
    if array.dtype.kind not in "biuf" and tensor.dtype != "string":
        raise ValueError(
            f"Expected numbers in {argument} for input '{tensor.name}'. Received: an array of dtype {array.dtype}."
            " Give inputs as the model takes them, without labels."
        )
    fits = array.ndim == len(expected) + 1 and all(
        want in (None, have) for want, have in zip(expected, array.shape[1:], strict=True)
    )
    if not fits:
        raise ValueError(
            f"Expected {argument} of shape {('samples', *expected)} for input '{tensor.name}'."
            f" Received: shape={array.shape}. Give inputs as the model takes them, without labels."
        )
    if len(array) == 0 or len(array) != len(arrays[0]):
        raise ValueError(
            f"Expected equally many samples, at least one, for every input in {argument}."
            f" Received: {[len(given) for given in arrays]}. Give the same number for each input."
        )
    if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
        raise ValueError(
            f"Expected finite numbers in {argument} for input '{tensor.name}'. Received: NaN or infinity."
            " Leave these samples out."
        )
    return array.astype(tf.as_dtype(tensor.dtype).as_numpy_dtype, copy=False)
