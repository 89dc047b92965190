"""Measures the latency of every alternative in its place, with its input shape and stride."""

from __future__ import annotations

import functools
import pathlib
import shutil
import tempfile
import weakref
from collections.abc import Sequence

import keras

from tfcompress.costs import LatencyTable, measure_latency
from tfcompress.costs.latency import LATENCY
from tfcompress.export import MissingOperatorError
from tfcompress.methods.darc.relaxation import Penalized, relax
from tfcompress.methods.darc.units import ORIGINAL, CostTable, Unit, piece
from tfcompress.plan import Plan
from tfcompress.rewrite import apply
from tfcompress.task import Task

__all__ = ["check_by_measuring", "is_wanted", "latency_limit", "latency_of", "with_latency"]

_FILE = "latency.json"
# Of models as they are, by batch and threads: what is asked for more than once must be one number.
_MEASURED: weakref.WeakKeyDictionary[keras.Model, dict[tuple[int, int], float]] = weakref.WeakKeyDictionary()
_FAR = 1.1  # times the limit: the cheapest by the table need not be the fastest by a little, and measurements differ


def is_wanted(task: Task, minimize: str | None) -> bool:
    """Whether latency is limited, or counts in a penalty."""
    return minimize == LATENCY or LATENCY in task.budget


def with_latency(table: CostTable, units: Sequence[Unit], task: Task, batch: int, threads: int) -> CostTable:
    """Returns a table with latency in milliseconds; each piece is measured once and kept in the run folder.

    Args:
        table: table of counted costs.
        units: the units.
        task: the task.
        batch: samples in one invocation.
        threads: threads of the interpreter.

    Raises:
        MissingOperatorError: LiteRT lacks an operator of an alternative; the message names it and the layer.
    """
    measured = LatencyTable(_path(task), batch=batch, threads=threads)
    ms: dict[str, dict[str, float]] = {}
    for number, unit in enumerate(units, start=1):
        task.progress.doing(f"measuring the latency of part {number} of {len(units)} and its replacements")
        ms[unit.name] = {name: _of(unit, name, measured, task.model) for name in unit.alternatives}
    whole, originals = _whole(task, batch, threads), sum(of_unit[ORIGINAL] for of_unit in ms.values())
    # Pieces alone may take longer than all of them in the network: then each counts by its share of the whole.
    scale = min(1.0, whole / originals) if originals else 1.0
    parts = {
        name: {part: {**table.parts[name][part], LATENCY: scale * each} for part, each in of_unit.items()}
        for name, of_unit in ms.items()
    }
    return CostTable({**table.whole, LATENCY: whole}, parts)


def _of(unit: Unit, alternative: str, measured: LatencyTable, source: keras.Model) -> float:
    try:
        return measured.of_model(piece(unit, alternative, source))
    except MissingOperatorError as error:
        raise MissingOperatorError(
            f"Expected alternatives that LiteRT can run, to measure their latency. Received: {alternative!r} in "
            f"the place of {unit.name!r}, whose layer {error.layer!r} needs {', '.join(error.operators)}, an operator "
            "that LiteRT lacks. Leave it out of replacements=, or limit and minimize 'macs' or 'params'.",
            error.layer,
            error.operators,
        ) from error


def check_by_measuring(table: CostTable, units: Sequence[Unit], task: Task, batch: int, threads: int) -> None:
    """Refuses a latency limit that the cheapest choice by the table exceeds by far when it is measured as a whole.

    A run that has begun is not checked again, because another measurement gives another number.

    Raises:
        ValueError: the latency exceeds the limit by more than a tenth.
    """
    if task.run.recall("before", task.progress.note) is not None:
        return
    cheapest = {unit: (name,) for unit, name in table.cheapest(LATENCY).items()}
    student = relax(task.network, units, cheapest, Penalized({})).network.model  # of any weights
    measured, limit = latency_of(student, batch, threads), latency_limit(task, table)[LATENCY]
    if measured > _FAR * limit:
        raise ValueError(
            f"Expected a latency that can be reached: the cheapest choice measures {measured:.3f} ms as a whole, "
            f"{measured / table.whole[LATENCY]:.4f} of the original (by the sum of its pieces it would be "
            f"{table.lowest(LATENCY):.3f} ms). Received: {task.budget.said(LATENCY)}, {limit:.3f} ms. Give a larger "
            "share, or cheaper replacements=."
        )


def latency_limit(task: Task, table: CostTable) -> dict[str, float]:
    """Returns the limit of latency in milliseconds, if there is one."""
    if LATENCY not in task.budget:
        return {}
    limit = task.budget[LATENCY]
    return {LATENCY: limit * table.whole[LATENCY] if isinstance(limit, float) else float(limit)}


def latency_of(model: keras.Model, batch: int, threads: int) -> float:
    """Returns the latency of a finished model in milliseconds."""
    return measure_latency(apply(model, Plan()), batch=batch, threads=threads).median_ms


def _whole(task: Task, batch: int, threads: int) -> float:
    """Returns the latency of the original model: the one measured for the budget, if there is one."""
    known = task.measured_before.get(LATENCY) if (batch, threads) == (1, 1) else None
    if known is not None:
        return float(known)
    measured = _MEASURED.setdefault(task.model, {})
    if (batch, threads) not in measured:
        measured[batch, threads] = latency_of(task.model, batch, threads)
    return measured[batch, threads]


@functools.cache
def _of_process() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="tfcompress-latency-")


def _path(task: Task) -> pathlib.Path:
    """Returns the table's file: in the run folder once the run has begun, before that in a place for this process."""
    first = pathlib.Path(_of_process().name) / _FILE
    if task.run.path is None:
        return first
    kept = task.run.path / _FILE
    if kept.exists() or task.run.recall("before", task.progress.note) is None:
        return kept if kept.exists() else first
    if first.exists():
        shutil.copyfile(first, kept.with_suffix(".part"))
        kept.with_suffix(".part").replace(kept)
    return kept
