"""The widths at which an operator is measured, and its latency at those between.

Kernels compute channels in tiles of 4 to 32, and a last tile that is not full takes nearly as long as a full one: the
latency is a staircase over the widths that are written. So it is measured at the places of a tile where stairs begin
and end, in periods of 32 widths that grow apart; between two measured periods, each place has a line of its own. Over
the widths that are read it is nearly a line.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["PERIOD", "between", "read_widths", "written_widths"]

PERIOD = 32
"""Widths in a period; all tiles in use divide it."""

_Int = npt.NDArray[np.int64]
_PLACES = (1, 15, 16, 17, 31, 32)
_ALL_PLACES = (*(place + off for place in range(4, 33, 4) for off in (-1, 0, 1) if place + off <= PERIOD), 1)
_PERIODS = (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89)


def written_widths(least: int, most: int, alone: bool) -> _Int:
    """Returns the widths to measure of an operator's output, ascending.

    Args:
        least, most: the least and the greatest width.
        alone: whether no other width varies, so that there is time for every place.
    """
    last = (most - 1) // PERIOD
    periods = {*(period for period in _PERIODS if period < last), last}
    places = _ALL_PLACES if alone else _PLACES
    wanted = {period * PERIOD + place for period in periods for place in places}
    return np.array(sorted({width for width in wanted if least <= width <= most} | {least, most}), np.int64)


def read_widths(least: int, most: int) -> _Int:
    """Returns the widths to measure of what an operator reads, ascending."""
    wanted = {least, min(most, 4), most // 4, most // 2, most}
    return np.array(sorted(width for width in wanted if least <= width), np.int64)


def between(knots: _Int, values: npt.NDArray[np.float64]) -> tuple[_Int, npt.NDArray[np.float64]]:
    """Completes values between measured widths.

    Args:
        knots: ascending widths.
        values: float64 `[..., knots]`.

    Returns:
        All widths from the least to the greatest, and values `[..., widths]` of them.
    """
    widths = np.arange(int(knots[0]), int(knots[-1]) + 1)
    flat = values.reshape(-1, len(knots))
    plain = np.stack([np.interp(widths, knots, row) for row in flat])
    upper = np.searchsorted(knots, widths)  # the first knot that is not below
    gap = knots[upper] - knots[np.maximum(upper - 1, 0)]
    measured = np.unique((knots - 1) // PERIOD)
    period, place = (widths - 1) // PERIOD, (widths - 1) % PERIOD
    inside = np.isin(period, measured) | (gap <= 1) | (len(measured) < 2)
    after = np.clip(np.searchsorted(measured, period), 1, max(len(measured) - 1, 1))
    low = np.maximum(measured[after - 1] * PERIOD + place + 1, knots[0])
    high = np.minimum(measured[np.minimum(after, len(measured) - 1)] * PERIOD + place + 1, knots[-1])
    share = np.clip((widths - low) / np.maximum(high - low, 1), 0, 1)
    rows = [
        np.where(inside, row, (1 - share) * np.interp(low, knots, full) + share * np.interp(high, knots, full))
        for row, full in zip(plain, flat, strict=True)
    ]
    return widths, np.stack(rows).reshape(*values.shape[:-1], len(widths))
