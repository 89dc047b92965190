"""What the coverage sweep does to one model: prunes it with Uniform, and checks the result by every oracle."""

import collections
import dataclasses
import functools
import gc
import math
import pathlib
import tempfile
import time
import warnings
from dataclasses import dataclass

import coverage_models
import keras
import numpy as np
import oracles
import small_tasks

from tfcompress.costs import Budget, Cost, cost
from tfcompress.export import ExportError, convert, export
from tfcompress.graph import ChannelGroups, LayerGraph
from tfcompress.methods import Uniform
from tfcompress.plan import Plan
from tfcompress.rewrite import apply
from tfcompress.rewrite.subnetwork import Subnetwork
from tfcompress.task import Task

# TensorFlow Lite has convolutions of its own, which sum in another order.
TFLITE_TOLERANCE = 1e-4
HALF_TOLERANCE = 5e-2
# Below, masks would change so little that the first oracle could not tell right from wrong.
LEAST_CHANGE = 1e-3


def task_of(subject):
    """The task of bringing a subject to its limit."""
    task = small_tasks.task_without_data(subject.model, through_norms=subject.through_norms)
    limit = max(math.floor(task.costs.total.macs * subject.share), subject.least)
    return dataclasses.replace(task, budget=Budget({"macs": limit}))


@dataclass(frozen=True)
class Pruned:
    """What came of pruning a subject, and how long it took."""

    task: Task
    plan: object
    student: keras.Model
    analysis_ms: float
    search_ms: float
    rebuild_ms: float


def prune(subject):
    """From a model to its half."""
    _warm_up()
    task, analysis_ms = timed(lambda: task_of(subject))
    search, search_ms = timed(lambda: Uniform(epochs=0).search(task))
    student, rebuild_ms = timed(lambda: apply(subject.model, search.plan, task.groups))
    return Pruned(task, search.plan, student, analysis_ms, search_ms, rebuild_ms)


def row(kind, name, tflite=True):
    """Everything the table says of a model; `failures` names what is not as it must be."""
    start = time.perf_counter()
    subject = coverage_models.subject(kind, name)
    pruned = prune(subject)
    result = {"kind": kind, "name": name, "tolerance": subject.tolerance, **described(subject, pruned)}
    result |= costs_compared(pruned) | outputs_compared(subject, pruned) | rewards_compared(subject, pruned)
    with tempfile.TemporaryDirectory(prefix="coverage-") as folder:
        result["loaded"] = loaded_difference(subject, pruned.student, pathlib.Path(folder))
        result["tflite"] = tflite_difference(subject, pruned.student, folder) if tflite else None
    result["failures"] = failures(result)
    result["seconds"] = time.perf_counter() - start
    return result


def described(subject, pruned):
    """Sizes, times, and what stays whole."""
    task = pruned.task
    total, smallest, limit = task.costs.total.macs, task.costs.smallest.macs, task.limits["macs"]
    return {
        "input": _shapes(subject.model),
        "macs_before": total,
        "macs_after": cost(pruned.student).macs,
        "limit": limit,
        "because": subject.because if limit > total // 2 or subject.share > 0.5 else "",
        "prunable": 1 - smallest / max(total, 1),
        "groups": len(task.groups),
        "analysis_ms": pruned.analysis_ms,
        "search_ms": pruned.search_ms,
        "rebuild_ms": pruned.rebuild_ms,
        "whole": left_whole(task.groups),
        "unknown": sorted({node.type_name for node in task.groups.unknown}),
    }


def costs_compared(pruned):
    """Whether the plan's cost is that of the student: as tfcompress counts it, and as a walk through it does."""
    student, predicted = pruned.student, pruned.task.costs.of(pruned.plan)
    walked = Cost(oracles.walked_macs(student), oracles.walked_params(student), oracles.walked_bytes(student))
    counted = Cost(*(getattr(cost(student), name) for name in ("macs", "params", "bytes")))
    return {"cost": predicted == counted == walked, "costs": [str(one) for one in (predicted, counted, walked)]}


def outputs_compared(subject, pruned):
    """The masked original against the cut model, and whether the outputs could tell."""
    model, inputs = subject.model, subject.inputs
    whole, received = oracles.call(model, inputs), oracles.call(pruned.student, inputs)
    expected = oracles.masked_outputs(model, pruned.task.groups, pruned.plan, inputs)
    return {
        "masked": oracles.relative_error(received, expected),
        "changed": oracles.relative_error(expected, whole),
        "spread": max(float(np.std(array, axis=0).max() / max(np.abs(array).max(), 1e-30)) for array in expected),
        "largest": max(float(np.abs(array).max()) for array in expected),
    }


def rewards_compared(subject, pruned):
    """The sub-network of the working copy, as RLAL, Random and sensitivity run it, against the cut model."""
    copy = apply(subject.model, Plan())
    groups = ChannelGroups.of(LayerGraph.from_keras(copy), subject.through_norms)
    outputs = keras.tree.flatten(Subnetwork(copy, groups).predict(pruned.plan, subject.inputs))
    # One of its own, at inference: a model inside that was called with training=True moves its statistics elsewhere.
    student = apply(copy, pruned.plan, groups)(subject.inputs, training=False)
    received, expected = (
        [keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32")) for tensor in tensors]
        for tensors in (outputs, keras.tree.flatten(student))
    )
    return {"rewards": oracles.relative_error(received, expected)}


@functools.cache
def _warm_up():
    """Prunes a small model once, so that no time is taken of what happens once in a process."""
    task = task_of(coverage_models.subject(coverage_models.TOPOLOGY, "conv_chain"))
    apply(task.model, Uniform(epochs=0).search(task).plan, task.groups)


def timed(function):
    """The function's result, and the milliseconds it took."""
    gc.collect()
    start = time.perf_counter()
    result = function()
    return result, 1e3 * (time.perf_counter() - start)


def loaded_difference(subject, student, folder):
    """How far the outputs of the student's file, loaded as its user would, are from its own.

    Text where Keras loads neither the student's file nor that of the model that it was cut from.
    """
    try:
        loaded = loaded_anew(student, subject, folder)
    except Exception as error:
        if loads(subject, folder):
            raise
        return f"Keras does not load the whole model's file either: {type(error).__name__}"
    return oracles.relative_error(oracles.call(loaded, subject.inputs), oracles.call(student, subject.inputs))


def loaded_anew(model, subject, folder):
    """The model out of its file; functions of the user's are marshalled, which Keras calls unsafe."""
    path = folder / "model.keras"
    model.save(path)
    return keras.models.load_model(path, custom_objects=dict(subject.custom), safe_mode=not subject.custom)


def loads(subject, folder):
    """Whether the subject's own file can be loaded."""
    try:
        loaded_anew(subject.model, subject, folder)
    except Exception:
        return False
    return True


def tflite_difference(subject, student, folder):
    """How far the outputs of the student's TFLite file are from its own, relative to the largest.

    Text where TensorFlow Lite converts neither the student nor the model that it was cut from.
    """
    samples = keras.tree.flatten(keras.tree.map_structure(lambda x: x[:3], subject.inputs))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            report = export(student, folder, "tflite", samples=tuple(samples) if len(samples) > 1 else samples[0])
    except ExportError as error:
        if converts(subject.model):
            raise
        return f"TensorFlow Lite does not convert the whole model either: {error}"
    return report.files[0].max_difference / max(report.largest_output, 1e-30)


def converts(model):
    """Whether TensorFlow Lite converts a model."""
    try:
        convert(model)
    except ExportError:
        return False
    return True


def left_whole(groups):
    """`{reason: [layers, channels]}` of channels that stay, the most frequent reason first."""
    found = collections.defaultdict(lambda: [set(), 0])
    for fixed in groups.fixed:
        kind, reason = groups.analysis[fixed.node].node.type_name, fixed.reason
        if kind.lower() not in reason.lower() and "put of the model" not in reason:
            reason = f"{kind}: {reason}"
        found[reason][0].add(fixed.layer)
        found[reason][1] += fixed.channels
    ordered = sorted(found.items(), key=lambda item: -len(item[1][0]))
    return {reason: [len(layers), channels] for reason, (layers, channels) in ordered}


def failures(result):
    """What of a row is not as it must be."""
    found = []
    half = result["tolerance"] > 1e-4
    tflite_tolerance = HALF_TOLERANCE if half else TFLITE_TOLERANCE
    if not result["macs_after"] <= result["limit"]:
        found.append(f"{result['macs_after']} MACs remain, the limit is {result['limit']}")
    if not result["masked"] <= result["tolerance"]:
        found.append(f"masked and cut differ by {result['masked']:.2g}")
    if result["macs_after"] < result["macs_before"] and not result["changed"] >= LEAST_CHANGE:
        found.append(f"masks change no more than {result['changed']:.2g}")
    if not result.get("rewards", 0.0) <= 10 * result["tolerance"]:  # its convolutions may sum in another order
        found.append(f"the sub-network that rewards look at differs by {result['rewards']:.2g}")
    if not result["spread"] >= 1e-4 or not np.isfinite(result["largest"]):
        found.append(f"outputs say nothing: spread {result['spread']:.2g}, largest {result['largest']:.2g}")
    if not result["cost"]:
        found.append("predicted, counted and walked: " + ", ".join(result["costs"]))
    if isinstance(result["loaded"], float) and not result["loaded"] <= 1e-6:
        found.append(f"the loaded model differs by {result['loaded']:.2g}")
    if isinstance(result["tflite"], float) and not result["tflite"] <= tflite_tolerance:
        found.append(f"the TFLite file differs by {result['tflite']:.2g}")
    return found


def _shapes(model):
    shapes = [tensor.shape[1:] for tensor in model.inputs]
    return ", ".join(" x ".join(map(str, shape)) or "number" for shape in shapes)
