"""`apply(source, plan)`: builds what a plan describes. The one place that builds models and slices weights."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from tfcompress.graph import ChannelGroups, LayerGraph, TensorRef
from tfcompress.graph.channel_groups import NodeAnalysis
from tfcompress.graph.handlers import WeightAxes, handler_of
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


class _Width:
    """What a plan leaves of labels, as handlers ask for it."""

    def __init__(self, kept: _Mask) -> None:
        self._kept = kept

    def __call__(self, ids: Ids) -> int:
        return int(np.count_nonzero(self._kept[ids]))

    def stays(self, ids: Ids) -> _Mask:
        stays: _Mask = self._kept[ids]
        return stays


def apply(source: keras.Model, plan: Plan, groups: ChannelGroups | None = None) -> keras.Model:
    """Builds the student that a plan describes, with the source's weights where channels stay.

    The source is not changed. The student is made of the source's own layer classes, with nested models flattened and
    shared layers still shared; it is not compiled.

    Args:
        source: a built Functional or Sequential model.
        plan: the edits.
        groups: the source's channel groups, if they are known already.

    Returns:
        A new `keras.Model` with the inputs and outputs of the source, in the same nested structure.

    Raises:
        KeyError: the plan names a group that the source does not have.
        ValueError: an index beyond the group's size.
    """
    if groups is None:
        groups = ChannelGroups.of(LayerGraph.from_keras(source))
    kept = kept_labels(groups, plan)
    operations: dict[str, Any] = {}
    tensors: dict[TensorRef, Any] = {}

    width = _Width(kept)
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
    for name, axes in groups.weight_axes().items():
        if name in operations:
            _copy_weights(groups.graph.operations[name], operations[name], axes, kept)
            handler_of(operations[name]).finish(operations[name])
    graph = groups.graph
    return keras.Model(
        map_refs(tensors.__getitem__, graph.inputs), map_refs(tensors.__getitem__, graph.outputs), name=graph.name
    )


def _new_input(node: Any) -> Any:
    layer = node.operation
    return keras.Input(batch_shape=layer.batch_shape, dtype=layer.dtype, sparse=layer.sparse or None, name=node.name)


def _new_operation(item: NodeAnalysis, width: _Width) -> Any:
    operation = item.node.operation
    config = _config_of(operation)
    config.update(item.handler.config(item.call, item.outputs, width))
    config["name"] = item.node.layer_name
    return item.handler.create(item.call, config)


def _config_of(operation: Any) -> dict[str, Any]:
    try:
        config: dict[str, Any] = operation.get_config()
        return config
    except NotImplementedError:
        # Keras gives no config for operations with an array among their arguments; they keep these under their names.
        if isinstance(operation, keras.Layer):
            raise
        names = inspect.signature(type(operation).__init__).parameters
        return {name: getattr(operation, name) for name in names if hasattr(operation, name)}


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
