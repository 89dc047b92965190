"""Measures operators alone over their widths, and whole files of other widths."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from tfcompress.costs.latency import running
from tfcompress.operators.grids import read_widths, written_widths
from tfcompress.operators.lite_file import trivial_file, written
from tfcompress.operators.shapes import WidthOperator

__all__ = ["Grid", "grid_of", "measured_grid", "milliseconds", "overhead_ns", "share_of"]

_Int = npt.NDArray[np.int64]
Grid = tuple[tuple[_Int, ...], npt.NDArray[np.float64]]
_LINE = 9  # points of an operator whose widths depend on one another
_TURN = 10  # invocations of one file before the other has its turn, at most
_LEAST_ROUNDS = 3
Time = Callable[[bytes], float]
"""A function that returns the latency of a file, in nanoseconds."""


def milliseconds(content: bytes, threads: int = 1, warm_up: int = 3, runs: int = 30, seconds: float = 0.15) -> float:
    """Returns the median time of an invocation of a file, in milliseconds; at least five are timed.

    With one thread it is the time that this thread computes, as in `measure_latency`.
    """
    interpreter, _ = running(content, threads)
    end = time.monotonic() + seconds
    for _ in range(warm_up):
        interpreter.invoke()
        if time.monotonic() > end:
            break
    times: list[float] = []
    while len(times) < runs and (len(times) < 5 or time.monotonic() < end):
        times.append(_milliseconds_of(interpreter.invoke, threads))
    return float(np.median(times))


def share_of(content: bytes, whole: bytes, threads: int = 1, rounds: int = 15, seconds: float = 1.0) -> float:
    """Returns the time of an invocation of a file as a share of another's, measured in turn.

    What the machine does besides, and the speed of its clock, change from one second to the next: they fall on both
    alike. Each round has as many invocations of both, the one first and then the other, and gives a share; the median
    of at least three is returned. A round has ten invocations of each, or fewer where they take long.

    Args:
        content, whole: the files.
        threads: threads of the interpreters.
        rounds: largest number of rounds.
        seconds: time after which no further round begins.
    """
    invokes = [running(file, threads)[0].invoke for file in (content, whole)]
    end = time.monotonic() + seconds
    once = sum(_milliseconds_of(invoke, threads) for invoke in invokes)
    turn = max(1, min(_TURN, int(1e3 * seconds / _LEAST_ROUNDS / max(once, 1e-3))))
    shares: list[float] = []
    while len(shares) < rounds and (len(shares) < _LEAST_ROUNDS or time.monotonic() < end):
        medians = [float(np.median([_milliseconds_of(invoke, threads) for _ in range(turn)])) for invoke in invokes]
        shares.append(medians[0] / medians[1])
        invokes.reverse()
        if len(shares) % 2 == 0:  # the other one came first
            shares[-1] = 1 / shares[-1]
    return float(np.median(shares))


def _milliseconds_of(invoke: Callable[[], object], threads: int) -> float:
    """Returns the time of one invocation: with one thread that which this thread computes."""
    clock = time.thread_time_ns if threads == 1 else time.perf_counter_ns
    start = clock()
    invoke()
    return (clock() - start) / 1e6


def overhead_ns(threads: int = 1) -> float:
    """Returns the nanoseconds that any invocation takes."""
    return 1e6 * milliseconds(trivial_file(), threads, warm_up=50, runs=500, seconds=1.0)


def grid_of(operator: WidthOperator, sizes: _Int) -> tuple[_Int, ...]:
    """Returns the widths to measure for each letter of an operator, ascending.

    Args:
        operator: the operator.
        sizes: int64 `[groups]`, sizes of the groups.
    """
    letters = operator.letters
    if not len(letters):
        return ()
    ones = np.concatenate([[1], np.minimum(sizes, 1)])
    whole = np.concatenate([[1], sizes])
    least, most = (letters @ ones).tolist(), (letters @ whole).tolist()
    if not operator.is_free:
        return (np.unique(np.round(np.linspace(least[-1], most[-1], _LINE)).astype(np.int64)),)
    last = written_widths(least[-1], most[-1], len(letters) == 1)
    return (last,) if len(letters) == 1 else (read_widths(least[0], most[0]), last)


def measured_grid(operator: WidthOperator, sizes: _Int, overhead: float, time_of: Time) -> Grid:
    """Measures an operator alone at all widths of its grid.

    Returns:
        Widths for each axis, and nanoseconds `[widths of each axis]` without the overhead.
    """
    axes = grid_of(operator, sizes)

    def alone(shaped: object) -> float:
        return max(0.0, time_of(written([shaped])) - overhead)  # type: ignore[list-item]

    if not axes:
        return (), np.array(alone(operator.shaped(sizes)))
    if not operator.is_free:
        row = operator.letters[-1]
        kept = [_with_width(row, width, sizes) for width in axes[0].tolist()]
        reached = np.array([int(row @ np.concatenate([[1], each])) for each in kept], np.int64)
        widths, first = np.unique(reached, return_index=True)
        return (widths,), np.array([alone(operator.shaped(kept[index])) for index in first.tolist()])
    shape = [len(axis) for axis in axes]
    values = [alone(operator.with_widths(widths)) for widths in _product(axes)]
    return axes, np.array(values).reshape(shape)


def _with_width(row: _Int, width: int, sizes: _Int) -> _Int:
    """Returns int64 `[groups]`: what groups keep, at one share for all, so that a row has about this width."""
    low, high = 0.0, 1.0
    for _ in range(40):
        share = (low + high) / 2
        reached = int(row @ np.concatenate([[1], np.maximum(1, np.round(sizes * share))]))
        low, high = (low, share) if reached >= width else (share, high)
    return np.maximum(1, np.round(sizes * high)).astype(np.int64)


def _product(axes: Sequence[_Int]) -> list[tuple[int, ...]]:
    count = math.prod(map(len, axes))
    places = np.unravel_index(np.arange(count), [len(axis) for axis in axes])
    return list(zip(*(axis[place].tolist() for axis, place in zip(axes, places, strict=True)), strict=True))
