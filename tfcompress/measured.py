"""`Measured`: what a model costs and how good it is."""

from __future__ import annotations

import dataclasses
import gzip
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from tfcompress.costs import Budget, Cost, FileSize
from tfcompress.costs.file_size import FILE
from tfcompress.costs.latency import LATENCY, device, file_for_latency, measure_latency
from tfcompress.costs.metrics import GraphTerms, metric_of
from tfcompress.evaluation import Evaluator, meter
from tfcompress.network import Network
from tfcompress.plan import Plan
from tfcompress.rewrite import apply
from tfcompress.rewrite.working_copy import any_batch
from tfcompress.task import Task
from tfcompress.training import Objective

__all__ = [
    "FILE",
    "GZIPPED",
    "Measured",
    "file_size",
    "further_of",
    "measure_of",
    "measured_first",
    "measurements_of",
    "metrics_of",
    "on_this_machine",
    "planned_file",
]

GZIPPED = "gzip_bytes"
"""The size of the float32 TFLite file compressed by gzip, as it travels to a device."""

_RUNS, _SECONDS = 20, 1.0  # of each round of invocations, and of all of them


@dataclasses.dataclass(frozen=True)
class Measured:
    """Cost and accuracy of a model.

    Attributes:
        macs: multiply-adds of one sample (FLOPs = 2 x MACs).
        params: learned weights.
        bytes: size of all weights.
        accuracy: the metric on `split`, `None` if there is no metric.
        split: `"test"`, or `"validation"` where no test split was given.
        validation_accuracy: the metric on the validation split, which was used to choose.
        others: costs by registered metrics, by name.
        measurements: measured values that the budget limits, by the name of the metric.
        metrics: the further metrics that the model is compiled with, by name, on `split`.
        on_device: `"file_bytes"`, the size of the model as a float32 TFLite file, and `"latency_ms"`, the time of one
            sample in LiteRT on one thread of the machine of the run, and where latency was planned for
            `"predicted_ms"`, what the table says; empty if LiteRT cannot run the model. Ignored when
            two of these objects are compared, because no two runs measure the same latency.
    """

    macs: int
    params: int
    bytes: int
    accuracy: float | None
    split: str
    validation_accuracy: float | None
    others: Mapping[str, int] = dataclasses.field(default_factory=dict, hash=False)
    measurements: Mapping[str, float] = dataclasses.field(default_factory=dict, hash=False)
    metrics: Mapping[str, float] = dataclasses.field(default_factory=dict, hash=False)
    on_device: Mapping[str, float] = dataclasses.field(default_factory=dict, compare=False)

    @classmethod
    def of(
        cls,
        cost: Cost,
        validation: float | None,
        test: float | None,
        measurements: Mapping[str, float] | None = None,
        metrics: Mapping[str, float] | None = None,
        on_device: Mapping[str, float] | None = None,
    ) -> Measured:
        """Combines a cost and accuracies; `accuracy` is that of the test split, if there is one."""
        split = "validation" if test is None else "test"
        accuracy = validation if test is None else test
        further = {"measurements": measurements, "metrics": metrics, "on_device": on_device}
        return cls(
            cost.macs,
            cost.params,
            cost.bytes,
            accuracy,
            split,
            validation,
            {name: number for name, number in cost.counted.others.items() if not metric_of(name).is_of_package},
            **{name: dict(given or {}) for name, given in further.items()},
        )

    def __getitem__(self, metric: str) -> float:
        for numbers in (self.measurements, self.on_device):
            if metric in numbers:
                return numbers[metric]
        return self.cost[metric]

    @property
    def cost(self) -> Cost:
        """All columns of the cost."""
        return Cost(self.macs, self.params, self.bytes, self.others)


def planned_file(network: Network, budget: Budget) -> tuple[Budget, dict[str, GraphTerms], dict[str, float]]:
    """Makes the size of a model's file a metric that can be planned, if a budget limits it.

    Args:
        network: the original.
        budget: the limits.

    Returns:
        The budget with a reserve for what the plan does not know; the terms, for `planned_by`; and the measurement of
        the original. Without such a limit the same budget and nothing else.

    Raises:
        MissingOperatorError, ExportError: the model has no such file; the message names the operator.
    """
    if FILE not in budget.planned:
        return budget, {}, {}
    size = FileSize.of(apply(network.model, Plan(), network.groups), network.groups)
    return budget.reserving({FILE: size.reserve}), {FILE: size.terms}, {FILE: float(size.measured)}


def measurements_of(
    model: keras.Model | Network, budget: Budget, known: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Measures the metrics of a budget that are measured, on a copy of the model that is not compiled.

    Args:
        model: the model.
        budget: the limits.
        known: numbers of the model that were measured already.

    Raises:
        TypeError, ValueError: a number is not a valid cost; or an error of the metrics' own functions.
    """
    network = Network.of(model)
    if set(budget.measured) <= set(known or {}):
        return {name: (known or {})[name] for name in budget.measured}
    return budget.measure(apply(network.model, Plan(), network.groups), known)


def on_this_machine(
    before: keras.Model,
    after: keras.Model,
    known: tuple[Mapping[str, float], Mapping[str, float]],
    file: bytes | None = None,
    gzipped: bool = False,
) -> tuple[dict[str, float], dict[str, float], str]:
    """Measures two models side by side as files: their sizes, and their latencies in LiteRT, one sample, one thread.

    Args:
        before: the original model.
        after: the compressed model.
        known: for each model the values that were measured already, which are kept.
        file: the TFLite file of the compressed model; `None` for a float32 file.
        gzipped: whether to give the sizes of the files compressed by gzip, too.

    Returns:
        For each model `{"file_bytes": int, "latency_ms": float}`, or both empty; and a note on how they were measured,
        or why they were not.
    """
    try:
        files = [file_for_latency(before), file_for_latency(after) if file is None else file]
        latencies = [measure_latency(content, runs=_RUNS, seconds=_SECONDS) for content in files]
    except Exception as error:  # a converter has no one type for what it cannot take
        why = " ".join(str(error).split()) or type(error).__name__
        return {}, {}, f"File size and latency are not measured, because LiteRT does not take the model: {why}"
    first, last = (
        {
            FILE: len(content),
            **({GZIPPED: len(gzip.compress(content, mtime=0))} if gzipped else {}),
            LATENCY: numbers.get(LATENCY, latency.median_ms),
        }
        for content, latency, numbers in zip(files, latencies, known, strict=True)
    )
    return first, last, f"latency and file size: float32 TFLite, one sample, one thread, {device()['cpu']}"


def file_size(model: keras.Model) -> dict[str, float]:
    """Measures the float32 TFLite file of a model: `{"file_bytes": int}`, empty if LiteRT cannot take the model."""
    try:
        return {FILE: len(file_for_latency(model))}
    except Exception:  # a converter has no one type for what it cannot take
        return {}


def measure_of(student: keras.Model, objective: Objective) -> Callable[[Any, Any], float] | None:
    """Returns a function that computes the objective's metric from all labels and outputs at once."""
    if objective.metric_name is None:
        return None

    def measure(y: Any, outputs: Any) -> float:
        metric = meter(student, objective)
        metric.update_state(y, outputs)
        return float(metric.result())

    return measure


def further_of(values: Mapping[str, float], objective: Objective) -> dict[str, float]:
    """Returns the further metrics among the values that were measured on a split."""
    return {name: values[name] for name in objective.further_names if name in values}


def measured_first(
    original: Network, task: Task, measurements: Mapping[str, float], note: Callable[[str], None]
) -> tuple[Task, dict[str, Any]]:
    """Returns the task with the metric of the uncompressed model, and what this run's first call measured of it.

    Args:
        original: the original.
        task: the task.
        measurements: the measured limits of the original, if this is the first call.
        note: is told of a file of the run folder that is damaged.

    Returns:
        The task, and `{"validation": all metrics on the validation split, "measurements": the measured limits}`.
    """
    before: dict[str, Any] | None = task.run.recall("before", note)
    if before is None:
        validation = metrics_of(original, task, ("validation",)).get("validation")
        before = {"validation": validation, "measurements": dict(measurements)}
        task.run.write_json("before", before)
    accuracy = (before["validation"] or {}).get(task.objective.metric_name or "")
    return dataclasses.replace(task, accuracy=accuracy), before


def metrics_of(model: keras.Model | Network, task: Task, names: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Measures the loss and all metrics, by name, on each split that exists."""
    network = Network.of(model)
    metric, evaluator = task.objective.metric_name, Evaluator(any_batch(network), task.objective)
    splits = {name: getattr(task.splits, name) for name in names}
    if metric is None:
        return {}
    measured = {}
    for name, split in splits.items():
        if split is not None:
            values = measured[name] = evaluator(split.batches(250), f"{name} data")
            if bad := [key for key, value in values.items() if not np.isfinite(value)]:
                task.say(f"Warning: {' and '.join(bad)} of {network.model.name} on the {name} split: NaN or infinite.")
    return measured
