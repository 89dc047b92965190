"""`apply(source, plan)`: builds the student of a plan. The only place that builds models and slices weights."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

import tfcompress.layers  # noqa: F401  registers the mixture, which a plan may put in
from tfcompress import expect
from tfcompress.graph import ChannelGroups, LayerGraph, TensorRef, groups_after
from tfcompress.graph.channel_groups import NodeAnalysis
from tfcompress.graph.copying import (
    CannotBeCopied,
    Copies,
    carry_flags,
    carry_settings,
    carry_state,
    config_of,
    has_own_objects,
    made,
    names_last_axis,
    pairs_of_layers,
)
from tfcompress.graph.handlers import WeightAxes
from tfcompress.graph.labels import Ids
from tfcompress.graph.layer_graph import map_refs
from tfcompress.plan import Plan
from tfcompress.rewrite.drawing import drawing_from
from tfcompress.rewrite.nesting import Nesting
from tfcompress.streams import Stream

__all__ = ["apply", "kept_labels"]

_Mask = npt.NDArray[np.bool_]


def kept_labels(groups: ChannelGroups, plan: Plan) -> _Mask:
    """Returns bool `[labels]`: which channel labels a plan keeps.

    Raises:
        KeyError: the plan names an unknown group.
        ValueError: an index is beyond the group's size.
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
    """The labels that a plan keeps, for handlers."""

    def __init__(self, kept: _Mask) -> None:
        self._kept = kept

    def __call__(self, ids: Ids) -> int:
        return int(np.count_nonzero(self._kept[ids]))

    def stays(self, ids: Ids) -> _Mask:
        stays: _Mask = self._kept[ids]
        return stays


def apply(
    source: keras.Model,
    plan: Plan,
    groups: ChannelGroups | None = None,
    through_norms: bool = False,
    free_batch: bool = False,
    seed: int | None = None,
    nesting: Nesting | None = None,
) -> keras.Model:
    """Builds the student of a plan: first its structural edits, then its channel edits.

    Weights are the source's where they are inherited (see `Plan`); those of fresh layers are drawn by their own
    initializers, from `seed`. The source is not changed. The student is made of the source's own layer classes, with
    nested models flattened and shared layers still shared; it is not compiled.

    Args:
        source: a built Functional or Sequential model.
        plan: the edits.
        groups: the source's channel groups, if they are known already.
        through_norms: if the groups are not given: see `ChannelGroups.of`.
        free_batch: whether inputs of a fixed batch size take any batch size in the student.
        seed: random seed of initializers that have none of their own; Python's and Keras' global random states are then
            neither read nor changed then. By default they draw from the global states.
        nesting: which nodes belong to nested models, and other sizes of inputs; none by default. See `nested_copy`.

    Returns:
        A new `keras.Model` with the inputs and outputs of the source, in the same nested structure.

    Raises:
        KeyError: the plan names a node that the source does not have, or a group that its structural half does not
            leave.
        ValueError: an index is beyond the group's size; or structural edits cannot be carried out, see
            `tfcompress.graph.restructured`.
        TypeError: a layer without a handler cannot be rebuilt from its config.
    """
    expect.seed("seed", seed, or_none=True)
    stream = None if seed is None else (seed, Stream.FRESH_LAYERS)
    with drawing_from(stream):
        if groups is None:
            groups = ChannelGroups.of(LayerGraph.from_keras(source), through_norms)
        groups, fresh = groups_after(groups, plan)
        kept = kept_labels(groups, plan)
    with drawing_from(stream):  # once more: what was drawn so far depends on whether groups were given
        return _student(groups, kept, fresh, free_batch, nesting or Nesting())


def _student(
    groups: ChannelGroups, kept: _Mask, fresh: frozenset[str], free_batch: bool, nesting: Nesting
) -> keras.Model:
    """Returns the model of a graph with only these labels, in which these layers start fresh."""
    width = _Width(kept)
    first = {id(item.node.operation): item for item in groups.layers.values()}
    built: set[str] = set()
    batch = groups.graph.shape(groups.graph.input_refs[0])[0] if free_batch else None
    names = nesting.names
    with Copies(
        groups.graph.operations.values(), lambda operation: _new_operation(first[id(operation)], width, batch, names)
    ) as copies:

        def call(name: str, tensors: dict[TensorRef, Any]) -> None:
            item = groups.analysis[name]
            node = item.node
            if node.is_input:
                tensors[node.outputs[0]] = _new_input(node, free_batch, nesting.inputs.get(node.name))
                return
            args, kwargs = item.handler.arguments(item.call, item.outputs, width)
            args, kwargs = map_refs(tensors.__getitem__, (args, dict(kwargs)))
            args, kwargs = _with_new_variables(copies, args, kwargs)
            operation = copies.new(node.operation)
            if node.layer_name not in built:
                built.add(node.layer_name)
                axes = groups.layers[node.layer_name].weights
                drawn = _learned(node.operation) if node.layer_name in fresh else set[int]()
                with _refusing(item), _Weights(node, operation, axes, kept, copies, drawn):
                    called = operation(*args, **kwargs)
                if not drawn:
                    item.handler.finish(operation, item.call)
            else:
                called = operation(*args, **kwargs)
            tensors.update(zip(node.outputs, keras.tree.flatten(called), strict=True))

        tensors = nesting.tensors(groups.graph, list(groups.analysis), call)
    graph = groups.graph
    ends = map_refs(tensors.__getitem__, [graph.inputs, graph.outputs])
    return keras.Model(*ends, name=graph.name)


def _with_new_variables(copies: Copies, args: Any, kwargs: Any) -> Any:
    """Returns arguments with variables of copied layers replaced by the copies' variables."""
    if not any(isinstance(leaf, keras.Variable) for leaf in keras.tree.flatten((args, kwargs))):
        return args, kwargs

    def new(leaf: Any) -> Any:
        return copies.variables.get(id(leaf), leaf) if isinstance(leaf, keras.Variable) else leaf

    return keras.tree.map_structure(new, (args, kwargs))


def _new_input(node: Any, free_batch: bool, sizes: tuple[int | None, ...] | None) -> Any:
    layer = node.operation
    batch, *shape = sizes or layer.batch_shape
    return keras.Input(
        batch_shape=(None if free_batch else batch, *shape),
        dtype=layer.dtype,
        sparse=layer.sparse or None,
        ragged=getattr(layer, "ragged", None) or None,
        optional=layer.optional,
        name=node.name,
    )


def _without_batch(item: NodeAnalysis, config: dict[str, Any], batch: int) -> dict[str, Any]:
    """Returns a reshape or noise config without its fixed batch size."""
    shape, noise = config.get("newshape"), config.get("noise_shape")
    if noise and noise[0] == batch:
        return {**config, "noise_shape": (None, *noise[1:])}
    if not isinstance(shape, (list, tuple)) or not shape or shape[0] in (-1, None) or shape[0] % batch:
        return config
    rest = [s if t == -1 else t for t, s in zip(shape[1:], item.node.output_shapes[0][1:], strict=True)]
    return {**config, "newshape": (-1, *rest)}


def _new_operation(item: NodeAnalysis, width: _Width, batch: int | None, names: Mapping[str, str]) -> Any:
    node = item.node
    name = names.get(node.layer_name, node.layer_name)
    with _refusing(item):
        config = _config_of(node.operation)
        if item.whole is None:
            config.update(item.handler.config(item.call, item.outputs, width))
        if batch:
            config = _without_batch(item, config, batch)
        if isinstance(node.operation, keras.Layer):
            config = names_last_axis(node.operation, config, len(node.input_shapes[0]) if node.input_shapes else 0)
        if "name" in config or not isinstance(node.operation, keras.Layer):
            config["name"] = name
        operation = (item.handler.create if item.whole is None else _as_it_is)(item.call, config)
        if isinstance(operation, keras.Layer):
            carry_settings(node.operation, operation)
            if "name" not in config:
                operation.name = name
            if not operation.built:
                carry_state(node.operation, operation, built=False)
        return operation


def _as_it_is(call: Any, config: dict[str, Any]) -> Any:
    return made(call.layer, config)


@contextlib.contextmanager
def _refusing(item: NodeAnalysis) -> Iterator[None]:
    """Names the layer that cannot be rebuilt, and says what to do."""
    try:
        yield
    except CannotBeCopied:
        raise
    except Exception as error:
        if item.handler.known and item.whole is None and not has_own_objects(item.node.operation):
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        node = item.node
        raise CannotBeCopied(
            f"Expected {node.type_name} to be rebuilt by from_config(get_config()), as every layer of a copied "
            f"model is. Received: layer {node.layer_name!r}, {reason} Give its class a get_config() that returns all "
            "arguments of its constructor."
        ) from error


def _initialized_by(layer: Any, name: str) -> Any:
    """Returns the variable that a layer's attribute of this name initializes, or `None`."""
    stem, ending, _ = name.partition("_initializer")
    if not ending:
        return None
    kinds = (stem, f"{stem}_kernel", "kernel") if stem in ("recurrent", "depthwise", "pointwise") else (stem,)
    attributes = (getattr(layer, kind, None) for kind in kinds)
    return next((variable for variable in attributes if isinstance(variable, keras.Variable)), None)


def _config_of(operation: Any) -> dict[str, Any]:
    try:
        return config_of(operation)
    except NotImplementedError:
        # Keras gives no config for operations with an array among their arguments; they keep these under their names.
        if isinstance(operation, keras.Layer):
            raise
        names = inspect.signature(type(operation).__init__).parameters
        return {name: getattr(operation, name) for name in names if hasattr(operation, name)}


def _learned(operation: Any) -> set[int]:
    """Returns the ids of a layer's variables that training makes, even if frozen; the others are its state."""
    learned: set[int] = set()
    for layer in operation._flatten_layers() if isinstance(operation, keras.Layer) else ():
        if isinstance(layer, keras.layers.Embedding) and not layer.trainable:  # learned elsewhere
            continue
        follows = isinstance(layer, (keras.layers.BatchNormalization, keras.layers.SpectralNormalization))
        own = [*layer._trainable_variables, *(layer._non_trainable_variables if follows else ())]
        learned.update(id(variable) for variable in own)
    return learned


class _Weights:
    """Gives the variables of a new layer, while it is built by its first call, the remaining values of the old layer.

    If a layer, or one inside it, has an initializer for a variable, the initializer returns the value: otherwise
    drawing random numbers that are replaced at once would take most of the building time. Variables in `drawn`, by id,
    are not set: they keep the values of their initializers.
    """

    def __init__(
        self, node: Any, new: Any, axes: tuple[WeightAxes, ...], kept: _Mask, copies: Copies, drawn: set[int]
    ) -> None:
        self._node, self._old, self._new = node, node.operation, new
        self._kept, self._copies = kept, copies
        self._labelled = {id(weight.variable): weight.axes for weight in axes}
        self._initializers: list[tuple[Any, str, Any, Any]] = []
        self._given: set[int] = set()
        self._drawn = drawn

    def __enter__(self) -> None:
        for old, new in pairs_of_layers(self._old, self._new):
            if new.built:
                continue
            for name, initializer in [item for item in vars(new).items() if "_initializer" in item[0]]:
                variable = _initialized_by(old, name)
                if variable is not None and initializer is not None:
                    self._initializers.append((new, name, initializer, variable))
                    drawn = id(variable) in self._drawn
                    value = self._fitting(initializer, variable) if drawn else self._giver(variable, initializer)
                    vars(new)[name] = value  # no part that Keras would have to track

    def _giver(self, variable: Any, initializer: Any) -> Callable[..., Any]:
        value = self._value(variable)  # now: a layer in another one may be built in a graph

        def give(shape: Any, dtype: Any = None) -> Any:
            if tuple(shape) != tuple(value.shape):  # an LSTM puts its bias together out of parts
                return initializer(shape, dtype=dtype)
            self._given.add(id(variable))
            tensor = value if isinstance(value, tf.Tensor) else tf.constant(value)
            return tensor if dtype in (None, tensor.dtype.name) else keras.ops.cast(tensor, dtype)

        return give

    def _value(self, variable: Any) -> Any:
        whole = variable.value.value()  # TensorFlow's own: read, not copied, as who assigns to a variable copies first
        cuts = [(axis, self._kept[ids]) for axis, ids in self._labelled.get(id(variable), {}).items()]
        cuts = [(axis, stays) for axis, stays in cuts if not stays.all()]
        if not cuts:
            return whole
        value = np.asarray(whole)  # a view: cutting copies what stays, and no more
        for axis, stays in cuts:
            value = np.compress(stays, value, axis=axis)
        return value

    def __exit__(self, *error: Any) -> None:
        for layer, name, initializer, variable in self._initializers:
            vars(layer)[name] = initializer if error[0] else self._fitting(initializer, variable)
        if error[0] is not None:
            return
        carry_settings(self._old, self._new)
        for source, target in self._pairs():
            known = self._copies.variables.get(id(source))
            self._copies.variables[id(source)] = target
            if known is target:  # of another layer, which has given it its value
                continue
            if known is not None:
                raise CannotBeCopied(
                    f"Expected layer {self._node.layer_name!r} to keep sharing its weight {source.path!r} with "
                    "another layer. Received: a copy that has one of its own. Give its class a get_config() that "
                    "returns the layer whose weight it reads, keras.saving.serialize_keras_object(self.other), and a "
                    "from_config() that reads it back."
                )
            if id(source) not in self._given | self._drawn:
                target.assign(self._value(source))
        if isinstance(self._old, keras.Layer):
            carry_state(self._old, self._new)
            carry_flags(self._old, self._new)

    def _pairs(self) -> list[tuple[Any, Any]]:
        """Returns pairs of the variables of both: in order, or by their names if Keras orders them differently."""
        old, new = (list(getattr(layer, "variables", ())) for layer in (self._old, self._new))
        if [v.name for v in old] != [v.name for v in new]:
            paths = [{v.path.partition("/")[2]: v for v in variables} for variables in (old, new)]
            if len(paths[0]) == len(old) and paths[0].keys() == paths[1].keys():
                return [(variable, paths[1][path]) for path, variable in paths[0].items()]
        return list(zip(old, new, strict=True))

    def _fitting(self, initializer: Any, variable: Any) -> Any:
        """Returns an initializer for the cut values, or the values themselves if it can only give the uncut shape.

        A layer loaded from a file is built before it gets its weights.
        """
        if type(initializer).__module__.startswith("keras.") and np.ndim(getattr(initializer, "value", 0)) == 0:
            return initializer
        if all(self._kept[ids].all() for ids in self._labelled.get(id(variable), {}).values()):
            return initializer
        value = self._value(variable)
        try:
            if tuple(initializer(value.shape, dtype=variable.dtype).shape) == value.shape:
                return initializer
        except Exception:
            pass
        array = getattr(initializer, "value", None)
        whole = keras.ops.convert_to_numpy(variable)
        if array is not None and np.shape(array) == whole.shape:
            for axis, ids in self._labelled[id(variable)].items():
                array = np.compress(self._kept[ids], array, axis=axis)
            return keras.initializers.Constant(array)
        return keras.initializers.Zeros()
