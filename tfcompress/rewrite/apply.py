"""`apply(source, plan)`: builds what a plan describes. The one place that builds models and slices weights."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from tfcompress.graph import ChannelGroups, LayerGraph, TensorRef, bypasses
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
    for edit in plan.channels:
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
        KeyError: the plan names a group or a node that the source does not have.
        ValueError: an index beyond the group's size; removed layers whose output has another shape than their input.
        TypeError: a layer that tfcompress does not know cannot be made again from its config.
    """
    if groups is None:
        groups = ChannelGroups.of(LayerGraph.from_keras(source), through_norms)
    kept = kept_labels(groups, plan)
    removed = set(plan.removed)
    passed = _passed_by(groups, plan, kept)
    operations: dict[str, Any] = {}
    tensors: dict[TensorRef, Any] = {}

    def tensor(ref: TensorRef) -> Any:
        return tensors[passed.get(ref, ref)]

    width = _Width(kept)
    for item in groups.analysis.values():
        node = item.node
        if node.name in removed:
            continue
        if node.is_input:
            tensors[node.outputs[0]] = _new_input(node)
            continue
        args, kwargs = item.handler.arguments(item.call, item.outputs, width)
        args, kwargs = map_refs(tensor, (args, dict(kwargs)))
        if node.layer_name not in operations:
            operation = _new_operation(item, width)
            operations[node.layer_name] = operation
            with _Weights(node.operation, operation, groups.layers[node.layer_name].weights, kept):
                called = operation(*args, **kwargs)
            item.handler.finish(operation, item.call)
        else:
            called = operations[node.layer_name](*args, **kwargs)
        tensors.update(zip(node.outputs, keras.tree.flatten(called), strict=True))
    graph = groups.graph
    return keras.Model(map_refs(tensor, graph.inputs), map_refs(tensor, graph.outputs), name=graph.name)


def _passed_by(groups: ChannelGroups, plan: Plan, kept: _Mask) -> dict[TensorRef, TensorRef]:
    """What stands for the outputs of removed layers.

    Raises:
        ValueError: as for `bypasses`; or other channels are removed after the layers than before them.
    """
    passed = bypasses(groups.graph, plan.removed)
    labels = {
        ref: found for a in groups.analysis.values() for ref, found in zip(a.node.outputs, a.outputs, strict=True)
    }
    for after, before in passed.items():
        if not np.array_equal(kept[labels[after].ids], kept[labels[before].ids]):
            raise ValueError(
                "Expected a plan that keeps the same channels before and after the layers that it removes. Received: "
                f"one that keeps others of {after.node!r} than of {before.node!r}."
            )
    return passed


def _new_input(node: Any) -> Any:
    layer = node.operation
    return keras.Input(batch_shape=layer.batch_shape, dtype=layer.dtype, sparse=layer.sparse or None, name=node.name)


def _new_operation(item: NodeAnalysis, width: _Width) -> Any:
    node = item.node
    try:
        config = _config_of(node.operation)
        config.update(item.handler.config(item.call, item.outputs, width))
        config["name"] = node.layer_name
        return item.handler.create(item.call, config)
    except (NotImplementedError, TypeError, ValueError) as error:
        if item.handler.known:
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise TypeError(
            f"Expected {node.type_name} to be made again by from_config(get_config()), as every layer of a copied "
            f"model is. Received: layer {node.layer_name!r}, {reason} Give its class a get_config() that returns all "
            "arguments of its constructor."
        ) from error


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


class _Weights:
    """While a new layer is called first, and so built: gives its variables what stays of the old layer's.

    Where a layer has an initializer for a variable, the initializer gives the value: random numbers that are replaced
    at once would be most of the time that building takes.
    """

    def __init__(self, old: Any, new: Any, axes: tuple[WeightAxes, ...], kept: _Mask) -> None:
        self._old, self._new, self._kept = old, new, kept
        self._labelled = {id(weight.variable): weight.axes for weight in axes}
        self._initializers: dict[str, Any] = {}
        self._given: set[int] = set()

    def __enter__(self) -> None:
        for variable in getattr(self._old, "variables", ()):
            name = f"{variable.name}_initializer"
            if getattr(self._old, variable.name, None) is variable and hasattr(self._new, name):
                self._initializers[name] = getattr(self._new, name)
                setattr(self._new, name, self._giver(variable))

    def _giver(self, variable: Any) -> Callable[..., Any]:
        def give(shape: Any, dtype: Any = None) -> Any:
            self._given.add(id(variable))
            return keras.ops.convert_to_tensor(self._value(variable), dtype)

        return give

    def _value(self, variable: Any) -> Any:
        value = keras.ops.convert_to_numpy(variable)
        for axis, ids in self._labelled.get(id(variable), {}).items():
            stays = self._kept[ids]
            if not stays.all():
                value = np.compress(stays, value, axis=axis)
        return value

    def __exit__(self, *error: Any) -> None:
        for name, initializer in self._initializers.items():
            setattr(self._new, name, initializer)
        if error[0] is not None:
            return
        old, new = getattr(self._old, "variables", ()), getattr(self._new, "variables", ())
        for source, target in zip(old, new, strict=True):
            if id(source) not in self._given:
                target.assign(self._value(source))
        _take_flags(self._old, self._new)


def _take_flags(old: Any, new: Any) -> None:
    """Gives a layer, those inside it and its variables the `trainable` flags of another of its kind.

    A config holds the flag of the layer itself, but not of what is made when it is built (the parts of
    MultiHeadAttention), nor of single variables.
    """
    if not isinstance(old, keras.Layer):
        return
    layers = old._flatten_layers(), new._flatten_layers()
    if len(layers[0]) == len(layers[1]):
        for source, target in zip(*layers, strict=True):
            if target.trainable != source.trainable:
                target.trainable = source.trainable
    for source, target in zip(old.variables, new.variables, strict=True):
        if target.trainable != source.trainable:
            target.trainable = source.trainable
