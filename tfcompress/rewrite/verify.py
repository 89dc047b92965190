"""The student really is what the plan says: masking the channels and cutting them are compared."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import keras
import numpy as np

from tfcompress.costs import CostModel, cost
from tfcompress.graph import ChannelGroups, LayerGraph, check_runs_here
from tfcompress.graph.layer_graph import map_refs
from tfcompress.plan import Plan
from tfcompress.rewrite.apply import apply, kept_labels

__all__ = ["mask", "run_without", "verify"]


def mask(source: keras.Model, plan: Plan, groups: ChannelGroups | None = None) -> keras.Model:
    """A copy of the source in which the weights that would read removed channels are zero.

    It has the source's shapes and the student's outputs. Where the plan cuts through normalisations, these take their
    statistics over the channels that stay.

    Raises:
        KeyError: the plan names a group that the source does not have.
    """
    groups = ChannelGroups.of(LayerGraph.from_keras(source)) if groups is None else groups
    kept = kept_labels(groups, plan)
    copy = apply(source, Plan(), groups)
    operations = LayerGraph.from_keras(copy).operations
    for name, axes in groups.weight_axes().items():
        old_weights = list(getattr(groups.graph.operations[name], "weights", ()))
        for weight in axes:
            target = next(
                new for old, new in zip(old_weights, operations[name].weights, strict=True) if old is weight.variable
            )
            for axis, ids in weight.reads.items():
                shape = [1] * len(target.shape)
                shape[axis] = -1
                target.assign(target * kept[ids].reshape(shape).astype("float32"))
    for name, item in groups.layers.items():
        if groups.through_norms and not item.node.is_input:
            stays = kept[item.call.inputs[0].ids].astype("float32")
            masked = item.handler.masked_call(item.call, operations[name], stays)
            if masked is not None:
                operations[name].call = masked
    return copy


def run_without(model: keras.Model, nodes: Collection[str], inputs: Any) -> Any:
    """The outputs of a model whose layers are called one by one, those in `nodes` passed over.

    What a removed layer would have given is what the first layer of its part reads. It builds nothing.

    Args:
        model: a built Functional or Sequential model.
        nodes: names of nodes of its `LayerGraph`.
        inputs: one batch.
    """
    graph = LayerGraph.from_keras(model)
    values = dict(zip(graph.input_refs, keras.tree.flatten(inputs), strict=True))
    for node in graph.nodes.values():
        if node.is_input:
            continue
        if node.name in nodes:
            values.update(dict.fromkeys(node.outputs, values[node.inputs[0]]))
            continue
        args, kwargs = map_refs(values.__getitem__, (node.args, dict(node.kwargs)))
        values.update(zip(node.outputs, keras.tree.flatten(node.operation(*args, **kwargs)), strict=True))
    return map_refs(values.__getitem__, graph.outputs)


def verify(
    source: keras.Model,
    plan: Plan,
    student: keras.Model,
    inputs: Any,
    tolerance: float = 1e-4,
    groups: ChannelGroups | None = None,
) -> float:
    """Checks a freshly cut student (before any training) against its source.

    Args:
        source: the model that the plan was applied to.
        plan: the plan.
        student: what `apply` built.
        inputs: one batch of inputs.
        tolerance: allowed difference, relative to the largest output of the masked source.
        groups: the source's channel groups that the plan speaks of, if they are known already.

    Returns:
        The largest relative difference between the outputs of the masked source and of the student.

    Raises:
        RuntimeError: outputs differ by more than `tolerance`, or the student's counted cost is not the plan's.
        ValueError: a layer that TensorFlow cannot run on this machine.
    """
    check_runs_here(source)
    groups = ChannelGroups.of(LayerGraph.from_keras(source)) if groups is None else groups
    predicted, counted = CostModel(groups).of(plan), cost(student)
    if predicted != counted:
        raise RuntimeError(f"Expected a student of the plan's cost. Received: predicted {predicted}, counted {counted}")
    masked = mask(source, plan, groups)
    outputs = run_without(masked, plan.removed, inputs) if plan.removed else masked(inputs, training=False)
    expected = keras.tree.flatten(outputs)
    received = keras.tree.flatten(student(inputs, training=False))
    difference = 0.0
    for one, other in zip(expected, received, strict=True):
        a, b = keras.ops.convert_to_numpy(one), keras.ops.convert_to_numpy(other)
        difference = max(difference, float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-12)))
    if not difference <= tolerance:
        raise RuntimeError(
            f"Expected the cut model to give the outputs of the masked one within {tolerance}. "
            f"Received: {difference:.3g}"
        )
    return difference
