"""Measurements of a choice before anything is trained for it, and the limits to plan for after it measured too much."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import keras

from tfcompress.costs.file_size import FILE
from tfcompress.costs.latency import LATENCY
from tfcompress.methods.darc.units import Choice, CostTable
from tfcompress.plan import Plan
from tfcompress.rewrite import apply
from tfcompress.task import Task

__all__ = ["MARGIN", "TRIES", "above_of_file", "tightened", "words_above"]

MARGIN = 0.95  # of a limit of latency: the finished model is measured once more, and two measurements differ
TRIES = 5  # choices that are measured


def above_of_file(student: Callable[[], keras.Model], task: Task) -> int:
    """Returns the bytes by which a student's file is above its limit; 0 if it is within, or not limited.

    Replacements have operators of their own, of which the terms of a size budget know only the weights.

    Args:
        student: makes the student; called only if its file is limited.
        task: the task.
    """
    before = task.measured_before
    if FILE not in task.budget.measured or FILE not in task.limits or FILE not in before:
        return 0
    size = task.budget.measure(apply(student(), Plan()), names=[FILE])[FILE]
    return max(0, math.ceil(size - task.budget.measured_limits(before)[FILE]))


def tightened(
    planned: Mapping[str, float], table: CostTable, choice: Choice, latency: float | None, above: int
) -> dict[str, float]:
    """Returns tighter planning limits after a choice measured more than planned: lower by the excess and a little.

    Args:
        planned: the limits that the choice was planned by.
        table: costs of the network with any choice.
        choice: the choice.
        latency: milliseconds that it measures; `None` if these are within the limit, or not limited.
        above: bytes by which its file is above the limit.
    """
    tighter = dict(planned)
    if latency is not None:
        predicted, lowest = table.total(choice, LATENCY), table.lowest(LATENCY)
        off = predicted / max(latency, 1e-9)
        less = 0.98 * min(planned[LATENCY] * min(off, 1.0), predicted)  # another choice, and faster
        tighter[LATENCY] = max(less, lowest * (1 + 1e-9))
    if above:
        tighter[FILE] = min(planned[FILE], table.total(choice, FILE) - above)
    return tighter


def words_above(limits: Mapping[str, float], latency: float | None, above: int) -> str:
    """Returns by how much a choice measures above limits; arguments as for `tightened`, with the limits themselves."""
    words = [] if latency is None else [f"{latency:.3f} ms measured, of {limits[LATENCY]:.3f} allowed"]
    return " and ".join([*words, *[f"its file is {above:,} bytes above the limit"] * bool(above)])
