"""`apply(source, plan)`: builds what a plan describes. The one place that builds models and slices weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from tfcompress.graph import ChannelGroups, LayerGraph, TensorRef
from tfcompress.graph.channel_groups import NodeAnalysis
from tfcompress.graph.handlers import WeightAxes
from tfcompress.graph.labels import Ids
from tfcompress.graph.layer_graph import map_refs
from tfcompress.plan import Plan

__all__ = ["apply", "kept_labels"]

_Mask = npt.NDArray[np.bool_]


def kept_labels(groups: ChannelGroups, plan: Plan) -> _Mask:
    """bool `[labels]`: which channel labels stay under a plan.

    Raises:
        KeyError: the plan names a group that the graph does not have.
        ValueError: an index beyond the group's size.
    """
    stays = np.ones(len(groups.roots), dtype=bool)
    for edit in plan:
        group = groups[edit.group]
        if edit.indices[-1] >= group.size:
            raise ValueError(
                f"Expected indices below {group.size}, the size of group {edit.group!r}. Received: {edit.indices[-1]}"
            )
        stays[group.roots] = False
        stays[group.roots[list(edit.indices)]] = True
    kept: _Mask = stays[groups.roots]
    return kept


def apply(
    source: keras.Model, plan: Plan, groups: ChannelGroups | None = None, through_norms: bool = False
) -> keras.Model:
    """Builds the student that a plan describes, with the source's weights where channels stay.

    The source is not changed. The student is made of the source's own layer classes, with nested models flattened and
    shared layers still shared; it is not compiled.

    Args:
        source: a built Functional or Sequential model.
        plan: the edits.
        groups: the source's channel groups, if they are known already.
        through_norms: of the groups, where they are not given: see `ChannelGroups.of`.

    Returns:
        A new `keras.Model` with the inputs and outputs of the source, in the same nested structure.

    Raises:
        KeyError: the plan names a group that the source does not have.
        ValueError: an index beyond the group's size.
    """
    if groups is None:
        groups = ChannelGroups.of(LayerGraph.from_keras(source), through_norms)
    kept = kept_labels(groups, plan)
    operations: dict[str, Any] = {}
    tensors: dict[TensorRef, Any] = {}

    def width(ids: Ids) -> int:
        return int(kept[ids].sum())

    for item in groups.analysis.values():
        node = item.node
        if node.is_input:
            tensors[node.outputs[0]] = _new_input(node)
            continue
        args, kwargs = item.handler.arguments(item.call, item.outputs, width)
        if node.layer_name not in operations:
            operations[node.layer_name] = _new_operation(item, width)
        args, kwargs = map_refs(tensors.__getitem__, (args, dict(kwargs)))
        outputs = keras.tree.flatten(operations[node.layer_name](*args, **kwargs))
        tensors.update(zip(node.outputs, outputs, strict=True))
    for name, item in groups.layers.items():
        if name in operations:
            _copy_weights(item.node.operation, operations[name], item.weights, kept)
            item.handler.finish(operations[name], item.call)
    graph = groups.graph
    return keras.Model(
        map_refs(tensors.__getitem__, graph.inputs), map_refs(tensors.__getitem__, graph.outputs), name=graph.name
    )


def _new_input(node: Any) -> Any:
    layer = node.operation
    return keras.Input(batch_shape=layer.batch_shape, dtype=layer.dtype, sparse=layer.sparse or None, name=node.name)


def _new_operation(item: NodeAnalysis, width: Callable[[Ids], int]) -> Any:
    operation = item.node.operation
    config = operation.get_config()
    config.update(item.handler.config(item.call, item.outputs, width))
    config["name"] = item.node.layer_name
    return item.handler.create(item.call, config)


def _copy_weights(old: Any, new: Any, axes: tuple[WeightAxes, ...], kept: _Mask) -> None:
    labelled = {id(weight.variable): weight.axes for weight in axes}
    old_variables, new_variables = getattr(old, "variables", ()), getattr(new, "variables", ())
    for source, target in zip(old_variables, new_variables, strict=True):
        value = keras.ops.convert_to_numpy(source)
        for axis, ids in labelled.get(id(source), {}).items():
            stays = kept[ids]
            if not stays.all():
                value = np.compress(stays, value, axis=axis)
        target.assign(value)
