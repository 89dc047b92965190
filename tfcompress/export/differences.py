"""Measures how far the outputs of a file are from those of the Keras model."""

import math

import numpy as np


def largest_difference(expected: list[np.ndarray], actual: list[np.ndarray]) -> float:
    """Returns the largest absolute difference over all outputs; infinite if a number or a shape is missing."""
    return max(_difference(first, second) for first, second in zip(expected, actual, strict=True))


def top1_agreement(expected: list[np.ndarray], actual: list[np.ndarray]) -> float | None:
    """Returns the share of samples with the same largest class in every output [samples, classes > 1], else None."""
    agree = [
        np.argmax(first, axis=1) == np.argmax(second, axis=1)
        for first, second in zip(expected, actual, strict=True)
        if first.ndim == 2 and first.shape[1] > 1 and first.shape == second.shape
    ]
    return float(np.mean(np.all(agree, axis=0))) if agree else None


def largest_magnitude(outputs: list[np.ndarray]) -> float:
    """Returns the largest absolute finite number in the outputs, 0.0 if there is none."""
    return max(
        float(np.max(np.abs(_numbers(output)), initial=0.0, where=np.isfinite(_numbers(output)))) for output in outputs
    )


def relative_error(expected: list[np.ndarray], actual: list[np.ndarray]) -> float:
    """Returns the root mean square of the differences, divided by that of the outputs; the largest over all outputs.

    It is infinite if a number or a shape is missing.
    """
    return max(map(_relative_error, expected, actual), default=0.0)


def _relative_error(expected: np.ndarray, actual: np.ndarray) -> float:
    if not math.isfinite(largest_difference([expected], [actual])):
        return float("inf")
    first, second = (np.asarray(part, np.float64)[np.isfinite(expected)] for part in (expected, actual))
    size = float(np.linalg.norm(first))
    return float(np.linalg.norm(first - second)) / max(size, float(np.finfo(np.float32).tiny))


def _numbers(array: np.ndarray) -> np.ndarray:
    return np.asarray(array, np.float64)


def _difference(expected: np.ndarray, actual: np.ndarray) -> float:
    if expected.shape != actual.shape:
        return float("inf")
    first, second = _numbers(expected), _numbers(actual)
    with np.errstate(invalid="ignore"):
        difference = np.abs(first - second)
    same = (first == second) | (np.isnan(first) & np.isnan(second))
    difference = np.where(same, 0.0, np.where(np.isnan(difference), np.inf, difference))
    return float(np.max(difference, initial=0.0))
