"""The header of a run, printed before its first step: model, plan, training, and the expected time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfcompress.costs.budget import as_budget
from tfcompress.methods import Method
from tfcompress.methods.presets import share_of_fast, words_for_preset, work
from tfcompress.methods.trained import TrainedMethod
from tfcompress.network import Network
from tfcompress.task import Task
from tfcompress.training import PhasePlan, RunFolder, StepTime, duration
from tfcompress.training.forecast import Forecast
from tfcompress.training.step_time import timed_step
from tfcompress.training.teaching import computing_in
from tfcompress.training.thawing import inner_layers, own_variables, thawed

__all__ = ["header", "measured_step", "processor", "warning_of_seconds", "warning_of_time"]

_LONG_S = 3600.0
_BATCH = 32  # of a method that does not say
_LEAST_SHARE = 0.005
_BRIEF_S = 60.0
# Building, optimizer, validation and a teacher come to what is timed: in runs of a ResNet-20 2 to 5 times as much for
# each phase.
_COMPILING = 3.0


def header(original: Network, method: Method, task: Task, step: StepTime | None) -> dict[str, str]:
    """Returns a line for each of "model", "plan", "training" and "time".

    Args:
        original: the network that was given.
        method: the method.
        task: the task, with the metric of the uncompressed model.
        step: the measured time of an epoch; `None` if none was measured.
    """
    phases = method.phases(task)
    return {
        "model": _model(original, task),
        "plan": _plan(original, method, task),
        "training": _training(method, task, phases),
        "time": _time(method, task, phases, step),
    }


def _model(original: Network, task: Task) -> str:
    total, metric = original.costs.total, task.objective.metric_name
    costs = f"{task.model.name}: {total.macs:,} MACs, {total.params:,} parameters"
    good = "no metric" if task.accuracy is None else f"{metric} {task.accuracy:.4f} on the validation split"
    return f"{costs}; {good} (loss {task.objective.name})"


def _plan(original: Network, method: Method, task: Task) -> str:
    total = original.costs.total
    shares = [
        f"at most {as_budget({metric: limit})} ({limit / total[metric]:.1%})" if total[metric] else metric
        for metric, limit in task.limits.items()
    ]
    shares += [task.budget.said(metric) for metric in task.budget.only_measured if not task.budget.is_planned(metric)]
    control = task.control.settings()
    words = [f"{method.name}, {' and '.join(shares) or 'without a budget'}", *words_for_preset(method)]
    criterion = method.settings().get("criterion")
    if isinstance(criterion, str):
        words.append(f"channels ranked by {criterion}")
    if round_to := control.pop("round_to", None):
        pays = "widths that pay in latency, by a table of operators that is measured"
        words.append(pays if round_to == "auto" else f"widths in multiples of {round_to}")
    return "; ".join([*words, *(f"{name}={value}" for name, value in control.items())])


def _training(method: Method, task: Task, phases: Sequence[PhasePlan]) -> str:
    lengths = ", ".join(f"{phase.name} {_counted(phase)}" for phase in phases if phase.epochs)
    trained = [method.trains_with(task), method.taught_by(task)] if lengths else []
    words = [lengths or "none", *(text for text in trained if text)]
    if isinstance(method, TrainedMethod) and lengths:
        words.insert(2, f"batches of {method.batch_size}")
    frozen = [layer for layer in inner_layers(task.original) if not layer.trainable and own_variables(layer)]
    if frozen and lengths:
        words.append(f"of {len(frozen)} frozen layers, only those whose weights change are trained")
    return "; ".join(words)


def _counted(phase: PhasePlan) -> str:
    return f"{phase.epochs} {phase.unit}{'s' * (phase.epochs != 1)}"


def _time(method: Method, task: Task, phases: Sequence[PhasePlan], step: StepTime | None) -> str:
    if task.run.is_finished:
        return "this run was finished before; only files that are damaged or missing are made again"
    parts = Forecast(phases, step).whole()
    safe = "Ctrl-C is safe, the same call goes on" if isinstance(task.run, RunFolder) else ""
    if parts is None:
        words = "nothing is trained" if not work(phases) else "known after the first epoch"
        return "; ".join(filter(None, (words, safe)))
    seconds = sum(parts.values())
    if seconds < _BRIEF_S:
        return "; ".join(filter(None, (f"under a minute on {_processor()}", safe)))
    each = [f"{phase.name} {duration(part)}" for phase, part in parts.items() if part >= _LEAST_SHARE * seconds]
    listed = f" ({', '.join(each)})" if len(each) > 1 else ""
    share = share_of_fast(method, task)
    faster = "" if share is None else f"preset='fast' takes about {duration(share * seconds)}"
    return "; ".join(filter(None, (f"about {duration(seconds)} on {_processor()}{listed}", safe, faster)))


def processor() -> str:
    """Returns what trains here: "2 CPU cores"."""
    return _processor()


def _processor() -> str:
    import tensorflow as tf

    if gpus := len(tf.config.list_logical_devices("GPU")):
        return f"{gpus} GPU{'s' * (gpus > 1)}"
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{count} CPU core{'s' * (count > 1)}"


def warning_of_time(method: Method, task: Task, step: StepTime | None) -> str | None:
    """Returns a warning if a run is long and an interruption would lose it; else `None`."""
    parts = Forecast(method.phases(task), step).whole()
    return warning_of_seconds(0.0 if parts is None else sum(parts.values()), task)


def warning_of_seconds(seconds: float, task: Task) -> str | None:
    """Returns the same warning for a run of a known time."""
    if seconds <= _LONG_S or isinstance(task.run, RunFolder):
        return None
    return (
        f"Warning: this run takes about {duration(seconds)}, and an interruption loses all of it. Give a folder as "
        "run_dir=, and the same call goes on where it stopped."
    )


def _numbers(model: keras.Model, size: int) -> Any:
    """Returns seeded random samples in the structure of the model's inputs; `None` if their size is not known."""
    if any(None in tensor.shape[1:] for tensor in model.inputs):
        return None
    generator = np.random.default_rng(0)

    def numbers(tensor: Any) -> np.ndarray:
        shape = (size, *tensor.shape[1:])
        values = generator.standard_normal(shape, "float32") if "float" in str(tensor.dtype) else np.zeros(shape)
        return values.astype(tensor.dtype)

    return keras.tree.map_structure(numbers, model.input)


def measured_step(method: Method, task: Task) -> StepTime | None:
    """Times a training step of the whole network.

    Two batches are timed, after a first batch that compiles the step. They are not part of the training: see
    `timed_step`. Their samples are seeded random numbers, because a dataset that is read once more may give other
    batches; a model that takes inputs of any size gets real samples.

    Returns:
        The time of an epoch of the training split; `None` if nothing is trained, if the length of the split is not
        known, or if the model cannot be trained as it is.
    """
    if not work(method.phases(task)):
        return None
    size = method.batch_size if isinstance(method, TrainedMethod) else _BATCH
    precision = method.mixed_precision if isinstance(method, TrainedMethod) else None
    train, model = task.splits.train, task.model
    task.progress.doing("timing two batches")
    try:
        inputs = _numbers(model, size)
        inputs = task.splits.calibration.take(size)[0] if inputs is None else inputs
        taken = len(keras.tree.flatten(inputs)[0])
        # Layers that are cut are trained, whatever their flags.
        with thawed(model, inner_layers(model)), computing_in(precision, (model,)):
            timed = timed_step(model, inputs)
    except Exception:  # whatever a model cannot do, its own training says better
        return None
    if timed is None:
        return None
    step_s, compile_s = timed[0], _COMPILING * timed[1]
    if train.num_samples is not None:
        return StepTime(train.num_samples * step_s / taken, compile_s)
    batches = train.num_batches(size)
    return None if batches is None else StepTime(batches * step_s, compile_s)
