"""Latency as a planned budget: a table of operators becomes a column of costs and a list of widths that pay."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from tfcompress import expect
from tfcompress.channels import Control
from tfcompress.channels.paying import paying_widths
from tfcompress.costs import Budget
from tfcompress.costs.latency import LATENCY, file_for_latency
from tfcompress.costs.metrics import LOOKED_UP
from tfcompress.methods import Search
from tfcompress.network import Network
from tfcompress.operators import LatencyPrediction, OperatorTable, Unresolved
from tfcompress.task import WARNING, Task
from tfcompress.training import RunFolder

__all__ = [
    "GOAL",
    "SPENT",
    "calibrated",
    "check_latency_table",
    "given_table",
    "is_needed",
    "keep_table",
    "limit_ms",
    "with_latency",
    "with_planned_latency",
    "words_for_latency",
]

FILE = "operators.json"
"""The table's file in a run folder."""

GOAL = 0.98
"""Of a limit of latency, what is planned for: the finished model is measured anew."""
SPENT = 0.9
"""Of the planned limit: a plan below this is bound by other limits."""
_ROUNDS = 3
_TABLES: dict[tuple[int, int], OperatorTable] = {}  # of this process, where no file is given


def given_table(value: Any) -> OperatorTable | None:
    """Returns the table that a call gives: an `OperatorTable`, or the path of its file.

    Raises:
        TypeError, ValueError: neither, or a file that is no such table.
    """
    if value is None or isinstance(value, OperatorTable):
        return value
    what = "an OperatorTable, or the path of its file"
    expect.instance("latency_table", value, (str, os.PathLike), what)
    return OperatorTable(expect.path("latency_table", value, what))


def is_needed(budget: Budget, control: Control, plans: bool) -> bool:
    """Whether a run needs the table: for a limit of latency that the method plans for, or for the widths that pay."""
    return control.is_auto or (plans and LATENCY in budget)


def check_latency_table(table: OperatorTable | None, budget: Budget, control: Control, plans: bool) -> None:
    """Refuses a table for which a call has no use.

    Raises:
        ValueError: neither is latency limited, for a method that plans for it, nor `round_to="auto"` asked for.
    """
    if table is not None and not is_needed(budget, control, plans):
        raise ValueError(
            "Expected `latency_budget` or round_to='auto' together with `latency_table`, and a method that plans by "
            "it (not 'darc', which measures its own pieces). Received: latency_table without them. Leave it out."
        )


def with_latency(original: Network, task: Task, given: OperatorTable | None, plans: bool) -> Task:
    """Returns a task whose latency is a column of costs, and whose widths are those that pay, as was asked for.

    Args:
        original: the network that was given.
        task: the task on its working copy.
        given: the table that the call gives; `None` for one of this process.
        plans: whether the method plans for a limit of latency, if there is one.

    Raises:
        MissingFromTable: the table is of another device, and lacks an operator.
        ValueError: latency cannot be planned for this model, and nothing else can.
    """
    table = _table(task, given)
    try:
        prediction = LatencyPrediction(original, table, task.progress.doing)
        if table.is_of_this_device and LATENCY in task.measured_before:  # what the limit of this run is a share of
            prediction.whole_ms = task.measured_before[LATENCY]
    except Unresolved as error:
        if task.control.is_auto or not task.budget.planned:
            raise ValueError(
                "Expected a model whose LiteRT file follows the widths of its channels, to plan for its latency. "
                f"Received: {original.graph.name!r}: {error}. Limit FLOPs or parameters too, and leave "
                "round_to='auto' out: latency is then checked on the finished model."
            ) from error
        task.say(f"{WARNING}latency is not planned for, because {error}; the finished model is checked.")
        return task
    control, budget, device = task.control, task.budget, _device(table)
    if control.is_auto:
        paying = paying_widths(original.groups, prediction.lookups)
        control = dataclasses.replace(control, paying=paying)
        count = f"{sum(map(len, paying.values())):,} of {sum(group.size for group in original.groups):,}"
        task.say(f"round_to='auto': {count} widths pay in latency on {device}")
    if plans and LATENCY in budget:
        for network in (original, task.network):
            network.costs.look_up(LOOKED_UP, prediction.lookups)
        budget = budget.with_latency_planned(_measure(prediction))
        task.say(f"latency of plans is predicted by a table of {device}: {prediction.correction}")
        if not table.is_of_this_device:
            task.say("the finished model is not measured, because that is another device")
    return dataclasses.replace(task, control=control, budget=budget, latency=prediction)


def calibrated(task: Task) -> Task:
    """Returns the task with as much less or more latency planned for as a plan near the limit measures too much.

    The plan has the same ratio everywhere. The finished model is measured anew, and two measurements differ: so what is
    aimed at is a little below the limit.
    """
    prediction = task.latency
    if prediction is None or not task.budget.plans_latency or not prediction.table.is_of_this_device:
        return task
    scale = task.run.recall("latency_scale", task.progress.note)
    if scale is not None:  # of an interrupted run: measured again it would be another
        return dataclasses.replace(task, budget=task.budget.tighter(scale))
    scale = 1.0
    for _ in range(_ROUNDS):
        tried = dataclasses.replace(task, budget=task.budget.tighter(scale))
        kept = tried.widths.even(tried.fits_kept)
        if task.costs.count(LOOKED_UP, kept) < SPENT * tried.limits[LOOKED_UP]:
            break
        share = prediction.measured_ms(kept) / limit_ms(task)
        scale *= min(1.2, max(0.8, GOAL / share))
        if abs(share - GOAL) < 1 - GOAL:
            break
    return dataclasses.replace(task, budget=task.budget.tighter(scale))


def limit_ms(task: Task) -> float:
    """Returns the limit of latency in milliseconds; a share is one of the original."""
    assert task.latency is not None
    limit = task.budget[LATENCY]
    return limit * task.latency.whole_ms if isinstance(limit, float) else float(limit)


def words_for_latency(task: Task, search: Search, measured: Mapping[str, float]) -> dict[str, float]:
    """Returns the predicted latency of a finished student in milliseconds, and says it beside the measured one.

    Args:
        task: the task.
        search: the search that decided.
        measured: what was measured of the student.

    Returns:
        `{"predicted_ms": number}`, empty if latency was not planned for or the trail has several plans.
    """
    if task.latency is None or not task.budget.plans_latency or len(search.trail) > 1:
        return {}
    predicted = task.costs.of(search.plan)[LOOKED_UP] / 1e6
    beside = ""
    if LATENCY in measured:
        beside = f", measured {measured[LATENCY]:.3f} ms ({predicted / measured[LATENCY] - 1:+.1%})"
    task.say(f"latency of the student: predicted {predicted:.3f} ms{beside}")
    return {"predicted_ms": predicted}


def with_planned_latency(task: Task, measurements: Mapping[str, float]) -> dict[str, float]:
    """Returns measurements of the original with the latency of which plans and finished models are shares."""
    prediction = task.latency
    if prediction is None or not task.budget.plans_latency or not prediction.table.is_of_this_device:
        return dict(measurements)
    return {**measurements, LATENCY: prediction.whole_ms}


def keep_table(task: Task) -> None:
    """Writes the table, and what was calibrated, into the run folder, so that the run goes on with the same."""
    if task.latency is None or not isinstance(task.run, RunFolder):
        return
    path = pathlib.Path(task.run.path) / FILE
    if not path.exists():
        task.latency.table.save(path)
        task.run.write_json("latency_scale", task.budget.scale)


def _table(task: Task, given: OperatorTable | None) -> OperatorTable:
    kept = None if task.run.path is None else task.run.path / FILE
    if kept is not None and kept.exists():
        return OperatorTable(kept)
    if given is not None:
        return given
    return _TABLES.setdefault((1, 1), OperatorTable())


def _measure(prediction: LatencyPrediction) -> Callable[[Any], float] | None:
    """Returns the function that measures a finished model in turn with the original; `None` if the table is of another
    device.
    """
    table = prediction.table
    if not table.is_of_this_device:
        return None
    return lambda model: prediction.whole_ms * prediction.share_of_whole(file_for_latency(model, table.batch))


def _device(table: OperatorTable) -> str:
    threads = f"{table.threads} thread{'s' * (table.threads > 1)}"
    return f"{table.device.get('cpu', 'another device')} ({threads})"
