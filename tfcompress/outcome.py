"""The outcome of a stage: the student, measured, as a `Result`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from tfcompress.costs import Cost
from tfcompress.costs.budget import shown
from tfcompress.costs.file_size import FILE
from tfcompress.costs.latency import LATENCY
from tfcompress.costs.metrics import LOOKED_UP
from tfcompress.given import is_of_keras
from tfcompress.graph import LayerGraph
from tfcompress.latency_planning import words_for_latency
from tfcompress.measured import Measured, further_of, measure_of, measurements_of, metrics_of, on_this_machine
from tfcompress.methods import Method
from tfcompress.methods.order import is_of_weights
from tfcompress.report.layers import layers_of
from tfcompress.result import Result
from tfcompress.result_files import MODEL
from tfcompress.rewrite.verify import check_copy
from tfcompress.rewrite.working_copy import nested_copy
from tfcompress.stage import Recovered
from tfcompress.task import Task
from tfcompress.training import Objective

__all__ = ["on_one_machine", "put_together", "result_of"]

_CALIBRATION_SAMPLES = 256
_HELD_OUT_SAMPLES = 256
_CHECKED_SAMPLES = 4
_MEASUREMENTS = 5  # of a latency that was planned for and measures above its limit


def put_together(
    cost: Cost,
    validation: Mapping[str, float] | None,
    test: Mapping[str, float] | None,
    task: Task,
    measurements: Mapping[str, float],
    on_device: Mapping[str, float] | None = None,
) -> Measured:
    """Combines the cost and the metrics of a model for the report.

    Args:
        cost: cost of the model.
        validation, test: loss and metrics on these splits; `None` if there is no metric, or no such split.
        task: the task, which names the metric that choices are made by.
        measurements: measured values that the budget limits.
        on_device: file size and latency.
    """
    name = task.objective.metric_name or ""
    on_validation, on_test = (None if split is None else split.get(name) for split in (validation, test))
    further = further_of(test or validation or {}, task.objective)
    return Measured.of(cost, on_validation, on_test, measurements, further, on_device)


def on_one_machine(
    original: keras.Model, student: keras.Model, before: Measured, after: Measured
) -> tuple[Measured, Measured]:
    """Returns the measurements with file size and latency of both models, measured side by side.

    Args:
        original, student: the models, of one input size.
        before, after: what is known of them.
    """
    first, last, _ = on_this_machine(original, student, (before.measurements, after.measurements))
    return dataclasses.replace(before, on_device=first), dataclasses.replace(after, on_device=last)


def _inputs(task: Task, count: int) -> Any:
    return task.splits.calibration.take(count)[0]


def result_of(
    before: Measured,
    recovered: Recovered,
    method: Method,
    task: Task,
    notes: Sequence[str],
    as_given: LayerGraph,
) -> Result:
    """Returns the result of a stage: its student, measured and checked against the budget.

    Args:
        before: measurements of the original.
        recovered: the outcome of the stage.
        method: the method.
        task: the task.
        notes: remarks on the run so far.
        as_given: the graph of the model that was given; the task's model may be fixed to one input size.

    Raises:
        tfcompress.costs.LimitMissed: the student exceeds a limit that is measured, not planned.
        RuntimeError: the student exceeds the budget, which is a bug.
    """
    search, student = recovered.search, recovered.student
    finished = task.network_of(student).costs.total
    task.check_finished(finished)
    task.progress.doing("measuring the result")
    # What the method made in place of the plain file; what changes weights alone shows in a compressed file, if at all.
    made, own_file = next(iter(recovered.files.items()), ("", None))
    measurements = _measured_within(task, student, before, {} if own_file is None else {FILE: float(len(own_file))})
    predicted = words_for_latency(task, search, measurements)
    task.budget.check_measured(before.measurements, measurements, student)
    after = metrics_of(task.network_of(student), task, ("validation", "test"))
    known = before.measurements, measurements
    first, last, note = on_this_machine(task.model, student, known, own_file, gzipped=is_of_weights(method))
    if made and last:
        note += f"; of the compressed model: the {made} file"
    if predicted and first:
        first["predicted_ms"], last["predicted_ms"] = task.whole.costs.total[LOOKED_UP] / 1e6, predicted["predicted_ms"]
    all_notes = [*notes, *filter(None, (note,)), *search.notes, *task.said]
    candidates = tuple(
        each if each.model is None else dataclasses.replace(each, model=_handed_back(each.model, task, as_given))
        for each in search.candidates
    )
    delivered = _handed_back(student, task, as_given)
    trained = [candidate.model for candidate in candidates if candidate.model is not None]
    if not all(_compiled(model, task.objective) for model in (delivered, *trained)):
        note = "The model is not compiled: its loss or metric is not part of Keras, and would not load elsewhere."
        all_notes.append(note)
    return Result(
        model=delivered,
        trail=search.trail.ending_with(MODEL).of_layers(tuple(task.whole.graph.operations)),
        candidates=candidates,
        before=dataclasses.replace(before, on_device=first),
        after=put_together(finished, after.get("validation"), after.get("test"), task, measurements, last),
        history={"search": search.history, "recover": recovered.history},
        metric=task.objective.metric_name or "",
        method=method.name,
        settings=method.settings(),
        seed=task.seed,
        budget=dict(task.budget),
        control=task.control.settings(),
        notes=tuple(all_notes),
        calibration=_inputs(task, _CALIBRATION_SAMPLES),
        held_out=_held_out(task),
        measure=measure_of(delivered, task.objective),
        higher_is_better=task.objective.higher_is_better,
        layers_before=layers_of(task.whole),
        files=recovered.files,
    )


def _measured_within(
    task: Task, student: keras.Model, before: Measured, known: Mapping[str, float]
) -> dict[str, float]:
    """Returns the measurements that the budget limits; a planned latency above its limit is a median.

    Args:
        task: the task.
        student: the finished model.
        before: measurements of the original.
        known: numbers that were measured already.
    """
    network, budget = task.network_of(student), task.budget
    measured = measurements_of(network, budget, {name: known[name] for name in known if name in budget})
    if not budget.plans_latency or LATENCY not in measured:
        return measured
    first, limit = measured[LATENCY], budget.measured_limits(before.measurements)[LATENCY]
    if first > limit:
        others = {name: number for name, number in measured.items() if name != LATENCY}
        further = [measurements_of(network, budget, others)[LATENCY] for _ in range(_MEASUREMENTS - 1)]
        measured[LATENCY] = sorted([first, *further])[_MEASUREMENTS // 2]
        task.say(
            f"The finished student first measured {shown(first)} ms, {first / limit - 1:.1%} above {shown(limit)} "
            f"({budget.said(LATENCY)}): its latency is {shown(measured[LATENCY])} ms, the median of {_MEASUREMENTS} "
            "measurements."
        )
    return measured


def _handed_back(student: keras.Model, task: Task, as_given: LayerGraph) -> keras.Model:
    """Returns the student with the nested models and input sizes of the model that was given, checked against it."""
    flat = task.network_of(student)
    delivered = nested_copy(as_given, flat)
    if delivered is not student:
        check_copy(flat, delivered, _inputs(task, _CHECKED_SAMPLES))
    return delivered


def _compiled(model: keras.Model, objective: Objective) -> bool:
    """Compiles a model with the objective's loss and metrics, if these are part of Keras; returns whether they are."""
    metrics = objective.compiled_metrics()
    losses = [loss for loss in keras.tree.flatten(objective.loss) if loss is not None]
    if not all(map(is_of_keras, [*losses, *(part for parts in metrics.values() for part in parts or [])])):
        return False
    model.compile(optimizer="sgd", loss=objective.loss, loss_weights=objective.loss_weights, **metrics)
    return True


def _held_out(task: Task) -> tuple[Any, Any]:
    """Returns samples with labels to compare exported files on: of the test split if there is one."""
    split = task.splits.validation if task.splits.test is None else task.splits.test
    x, y = split.source.shuffled().take(_HELD_OUT_SAMPLES)[:2]
    return x, y
