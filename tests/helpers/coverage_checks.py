"""What the coverage sweep does to one model: prunes it with Uniform, and checks the result by every oracle."""

import collections
import functools
import gc
import math
import pathlib
import shutil
import tempfile
import time
import types
import warnings

import coverage_models
import keras
import numpy as np
import oracles

from tfcompress.costs import CostModel, cost
from tfcompress.export import ExportError, convert, export
from tfcompress.graph import ChannelGroups, LayerGraph
from tfcompress.methods import Uniform
from tfcompress.rewrite import apply
from tfcompress.task import Task
from tfcompress.training import Objective

# TensorFlow Lite has convolutions of its own, which sum in another order.
TFLITE_TOLERANCE = 1e-4
HALF_TOLERANCE = 5e-2
# Below, masks would change so little that the first oracle could not tell right from wrong.
LEAST_CHANGE = 1e-3


class SweepTask(Task):
    """A task without data; its groups may go through norms."""

    through_norms = False

    @functools.cached_property
    def groups(self):
        graph = LayerGraph.from_keras(self.model)
        return ChannelGroups.of(graph, self.through_norms)


def task_of(subject):
    """The task of bringing a subject to its limit."""
    objective = Objective(loss=None, metric=None)
    limits = {}
    task = SweepTask(subject.model, types.SimpleNamespace(calibration=None), objective, limits)
    object.__setattr__(task, "through_norms", subject.through_norms)
    limits["macs"] = max(math.floor(task.costs.total.macs * subject.share), subject.least)
    return task


def row(kind, name, tflite=True):
    """Everything the table says of a model; `failures` names what is not as it must be."""
    start = time.perf_counter()
    subject = coverage_models.subject(kind, name)
    model, inputs = subject.model, subject.inputs
    _warm_up()
    task, analysis_ms = timed(lambda: task_of(subject), lambda task: task.costs.total)
    total, smallest = task.costs.total, task.costs.smallest
    search, search_ms = timed(lambda: Uniform(epochs=0).search(task))
    plan, groups = search.plan, task.groups
    student, rebuild_ms = timed(lambda: apply(model, plan, groups))

    predicted, counted = task.costs.of(plan), cost(student)
    walked = (oracles.walked_macs(student), oracles.walked_params(student), oracles.walked_bytes(student))
    whole = oracles.call(model, inputs)
    expected = oracles.masked_outputs(model, groups, plan, inputs)
    received = oracles.call(student, inputs)
    result = {
        "kind": kind,
        "name": name,
        "input": _shapes(model),
        "macs_before": total.macs,
        "macs_after": counted.macs,
        "limit": task.limits["macs"],
        "because": subject.because if task.limits["macs"] > total.macs // 2 else "",
        "prunable": 1 - smallest.macs / max(total.macs, 1),
        "groups": len(groups),
        "analysis_ms": analysis_ms,
        "search_ms": search_ms,
        "rebuild_ms": rebuild_ms,
        "masked": oracles.relative_error(received, expected),
        "changed": oracles.relative_error(expected, whole),
        "spread": max(float(np.std(array, axis=0).max() / max(np.abs(array).max(), 1e-30)) for array in expected),
        "largest": max(float(np.abs(array).max()) for array in expected),
        "cost": predicted == counted and walked == (predicted.macs, predicted.params, predicted.bytes),
        "costs": [str(predicted), str(counted), str(walked)],
        "whole": left_whole(groups),
        "unknown": sorted({node.type_name for node in groups.unknown}),
        "tolerance": subject.tolerance,
    }
    del whole, expected, task, groups, search
    folder = pathlib.Path(tempfile.mkdtemp(prefix="coverage-"))
    try:
        result["loaded"] = oracles.relative_error(loaded_outputs(student, subject, folder), received)
        result["tflite"] = tflite_error(student, subject, folder) if tflite else None
    finally:
        shutil.rmtree(folder)
    result["failures"] = failures(result)
    result["seconds"] = time.perf_counter() - start
    return result


@functools.cache
def _warm_up():
    """Prunes a small model once, so that no time is taken of what happens once in a process."""
    task = task_of(coverage_models.subject(coverage_models.TOPOLOGY, "conv_chain"))
    apply(task.model, Uniform(epochs=0).search(task).plan, task.groups)


def timed(function, use=lambda result: None):
    """The function's result, and the milliseconds it took."""
    gc.collect()
    start = time.perf_counter()
    result = function()
    use(result)
    return result, 1e3 * (time.perf_counter() - start)


def loaded_outputs(student, subject, folder):
    """Outputs of the student's file, loaded as its user would."""
    path = folder / "student.keras"
    student.save(path)
    loaded = keras.models.load_model(path, custom_objects=dict(subject.custom), safe_mode=not subject.custom)
    path.unlink()
    return oracles.call(loaded, subject.inputs)


def tflite_error(student, subject, folder):
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
        return f"nor the whole model: {error}"
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
        kind = groups.analysis[fixed.node].node.type_name
        reason = (
            fixed.reason
            if kind.lower() in fixed.reason.lower() or "of the model" in fixed.reason
            else f"{kind}: {fixed.reason}"
        )
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
    if not result["spread"] >= 1e-4 or not np.isfinite(result["largest"]):
        found.append(f"outputs say nothing: spread {result['spread']:.2g}, largest {result['largest']:.2g}")
    if not result["cost"]:
        found.append("predicted, counted and walked: " + ", ".join(result["costs"]))
    if not result["loaded"] <= 1e-6:
        found.append(f"the loaded model differs by {result['loaded']:.2g}")
    if isinstance(result["tflite"], float) and not result["tflite"] <= tflite_tolerance:
        found.append(f"the TFLite file differs by {result['tflite']:.2g}")
    return found


def _shapes(model):
    shapes = [tensor.shape[1:] for tensor in model.inputs]
    return ", ".join(" x ".join(map(str, shape)) or "number" for shape in shapes)
