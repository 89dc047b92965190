"""Begins a run in its folder, and compares everything that decides its outcome with an earlier call there."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from tfcompress.costs.budget import Budget
from tfcompress.fingerprint import Contents, canonical_loss, layer_names, model_contents, split_contents
from tfcompress.latency_planning import FILE
from tfcompress.methods import Method
from tfcompress.network import Network
from tfcompress.operators import OperatorTable
from tfcompress.task import Task
from tfcompress.training import NoRunFolder, Objective, RunFolder, RunFolderError

__all__ = ["begin_run", "check_same_table"]


def begin_run(
    original: Network,
    method: Method | Sequence[Method],
    task: Task,
    time_s: float | None = None,
    shares: Sequence[float | None] = (),
    is_stage: bool = False,
) -> list[str]:
    """Begins the run in its folder, or continues it; returns notes on that.

    Args:
        original: the network that was given.
        method: the method, with its settings as they were given; of a flow those of its stages.
        task: the task.
        time_s: seconds to which the settings are fitted; `None` if they are not.
        shares: of a flow what `split` gave for each stage.
        is_stage: whether this is a stage, whose data and objective the folder of its flow compares.
    """
    notes: list[str] = []
    if not isinstance(task.run, RunFolder):
        return notes
    contents = Contents()
    methods = [method] if isinstance(method, Method) else method
    fingerprint = {
        "model": model_contents(original, contents, "model"),
        **_methods(methods, contents),
        **_budget(task.budget),
        **({} if all(share is None for share in shares) else {"split": list(shares)}),
        "control": _control(original, task),
        **({} if is_stage else _data(original, task, contents, notes)),
        "seed": task.seed,
    }
    fingerprint |= {} if time_s is None else {"time_budget": time_s}
    task.run.begin({**fingerprint, "not_compared": contents.unknown})
    if contents.unknown:
        notes.append(
            f"Warning: {'; '.join(contents.unknown)}. No later call can check that this is unchanged, so this run "
            "cannot go on in its folder after an interruption."
        )
    return notes


def check_same_table(run: RunFolder | NoRunFolder, given: OperatorTable | None) -> None:
    """Refuses another latency table than the one that a run began with, and keeps.

    Without one the run goes on with its own. The table of a file may have got further operators since then.

    Args:
        run: the run's folder.
        given: the table that the call gives.

    Raises:
        RunFolderError: it is of another device, or has other latencies.
    """
    if not isinstance(run, RunFolder) or given is None or not (run.path / FILE).exists():
        return
    if difference := OperatorTable(run.path / FILE).difference(given):
        raise RunFolderError(
            f"Expected the latency_table of the run in {run.path}. Received another: {difference}. Leave it out to go "
            "on with the run's own, or give another run_dir for the new run."
        )


def _methods(methods: Sequence[Method], contents: Contents) -> dict[str, Any]:
    """Returns the method with its settings; of a flow those of all stages, by number and name."""
    plain = [{"name": method.name, **method.contents(contents)} for method in methods]
    if len(plain) == 1:
        return {"method": plain[0]}
    return {"stages": {f"{number}-{each['name']}": each for number, each in enumerate(plain, start=1)}}


def _data(original: Network, task: Task, contents: Contents, notes: list[str]) -> dict[str, Any]:
    """Returns objective and data as plain data."""
    splits, earlier = task.splits, (task.run.earlier or {}).get("samples", {})
    parts = [split for split in (splits.train, splits.validation, splits.test) if split is not None]
    return {
        "objective": _objective(original, task.objective, contents),
        "data": splits.describe().splitlines(),
        "samples": {
            split.name: split_contents(split, contents, earlier.get(split.name), notes.append) for split in parts
        },
    }


def _budget(budget: Budget) -> dict[str, Any]:
    """Returns the limits by the arguments of a call, however they were given."""
    others = dict(budget)
    macs, params = others.pop("macs", None), others.pop("params", None)
    return {
        "flops_budget": 2 * macs if isinstance(macs, int) else macs,
        "params_budget": params,
        "budget": others,
    }


def _by_number(value: Any, names: Sequence[str]) -> Any:
    """Replaces names of layers, in a list or as keys, by their number in the model."""
    numbers = {name: f"layer {number}" for number, name in enumerate(names, start=1)}
    if isinstance(value, dict):
        return {numbers.get(name, name): entry for name, entry in value.items()}
    return [numbers.get(name, name) for name in value] if isinstance(value, list) else value


def _control(original: Network, task: Task) -> dict[str, Any]:
    """Returns the control as it was given, and what it means for this model."""
    names = layer_names(original)
    said = {name: _by_number(value, names) for name, value in task.control.settings().items()}
    if not said:
        return {}
    widths = task.widths
    return {**said, "widths": [part.tolist() for part in (widths.least, widths.greatest, widths.step)]}


def _objective(original: Network, objective: Objective, contents: Contents) -> dict[str, Any]:
    """Returns loss and metric by what they compute, whether they were inferred, compiled, or given."""
    names, metrics = layer_names(original), objective.new_metrics()
    values = {field.name: getattr(objective, field.name) for field in dataclasses.fields(objective)}
    values |= {
        "loss": _by_number(canonical_loss(objective.loss), names),
        "loss_weights": _by_number(objective.loss_weights, names),
        "metric": objective.metric_name if metrics is None else metrics,
    }
    words = {"score": "objective", "loss": "the loss", "metric": "the metric"}
    return {
        name: contents.of(value, words.get(name, f"objective.{name}"))
        for name, value in values.items()
        if name not in ("name", "description")
    }
