"""Finds out by a trial whether an unknown function treats each number separately.

A function may be `tf.nn.relu`, a `functools.partial`, a lambda: no list of names covers it. So it is tried: it has to
give the same numbers when all places are mixed, when other places hold other numbers, and when there are fewer.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

__all__ = ["treats_numbers_alone"]

_SHAPE = (3, 4, 6)
_SCALES = (1e-3, 1.0, 30.0)
_TOLERANCE = 1e-5

_Array = npt.NDArray[np.float32]


def treats_numbers_alone(function: Callable[[Any], Any]) -> bool:
    """Whether each output number of a function depends only on the input number in the same place.

    False if the function cannot be tried with float32 `[3, 4, 6]`, is random, or holds weights.
    """
    try:
        return _tried(function)
    except TypeError:  # it cannot be hashed
        return _is_alone(function)


@functools.lru_cache(maxsize=256)
def _tried(function: Callable[[Any], Any]) -> bool:
    return _is_alone(function)


def _is_alone(function: Callable[[Any], Any]) -> bool:
    if isinstance(function, keras.Layer):
        if function.variables:
            return False
        function = function.call
    rng = np.random.default_rng(0)
    try:
        return all(_holds_at(function, rng, np.float32(scale)) for scale in _SCALES)
    except Exception:  # whatever a function of the user's says of numbers that it does not expect
        return False


def _holds_at(function: Callable[[Any], Any], rng: np.random.Generator, scale: np.float32) -> bool:
    x: _Array = rng.normal(size=_SHAPE).astype("float32") * scale
    x.flat[0] = 0.0
    y = _call(function, x)
    if y.shape != x.shape or not _same(y, _call(function, x)):
        return False
    mixed = rng.permutation(x.size)
    places = rng.random(_SHAPE) < 0.5
    changed = np.where(places, x, rng.normal(size=_SHAPE).astype("float32") * scale * 100).astype("float32")
    return (
        _same(y.ravel()[mixed], _call(function, x.ravel()[mixed].reshape(_SHAPE)).ravel())
        and _same(y[places], _call(function, changed)[places])
        and all(_same(y[part], _call(function, x[part])) for part in (np.s_[..., :2], np.s_[:1], np.s_[:, 1:3, 3:]))
    )


def _call(function: Callable[[Any], Any], x: _Array) -> npt.NDArray[Any]:
    with keras.StatelessScope():  # it may hold a random state
        return np.asarray(keras.ops.convert_to_numpy(function(keras.ops.convert_to_tensor(x))))


def _same(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> bool:
    """Whether arrays are equal except for rounding, with NaN in the same places."""
    if first.dtype.kind not in "fc":
        return bool(np.array_equal(first, second))
    return bool(np.allclose(first, second, rtol=_TOLERANCE, atol=1e-30, equal_nan=True))
