"""`LayerGraph`: a Keras model as an immutable graph of nodes, one call of one Keras operation each.

The only place that reads the inner structure of Keras models (`_inbound_nodes`, `_keras_history`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras

__all__ = ["LayerGraph", "Node", "TensorRef", "map_refs", "readers_of"]


@dataclass(frozen=True)
class TensorRef:
    """One output of one node.

    Attributes:
        node: name of the node.
        index: which of its outputs.
    """

    node: str
    index: int = 0


@dataclass(frozen=True, eq=False)
class Node:
    """One call of one Keras operation.

    Attributes:
        name: unique in the graph: the layer's name at its first call, `name@2` and so on after that.
        layer_name: unique name of the operation, the same for every call of a shared layer.
        operation: the `keras.Layer` or other `keras.Operation` that is called.
        args, kwargs: the arguments of the call, with a `TensorRef` in place of each tensor.
        inputs: all tensors among the arguments, in order.
        input_shapes, output_shapes: static shapes, batch dimension first (`None` where unknown).
        inside: the nested models that the call lies in, the outermost first: their names, `name@2` for a second call.
    """

    name: str
    layer_name: str
    operation: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    inputs: tuple[TensorRef, ...]
    input_shapes: tuple[tuple[int | None, ...], ...]
    output_shapes: tuple[tuple[int | None, ...], ...]
    inside: tuple[str, ...] = ()

    @property
    def is_input(self) -> bool:
        """Whether the node is an entry of the model."""
        return isinstance(self.operation, keras.layers.InputLayer)

    @property
    def outputs(self) -> tuple[TensorRef, ...]:
        """References to all outputs of the node."""
        return tuple(TensorRef(self.name, i) for i in range(len(self.output_shapes)))

    @property
    def type_name(self) -> str:
        """Class name of the operation, as reports show it."""
        return type(self.operation).__name__


def map_refs(function: Any, structure: Any) -> Any:
    """Replaces every `TensorRef` in a nested structure by `function(ref)`."""
    return keras.tree.map_structure(lambda leaf: function(leaf) if isinstance(leaf, TensorRef) else leaf, structure)


def _refs(structure: Any) -> tuple[TensorRef, ...]:
    return tuple(leaf for leaf in keras.tree.flatten(structure) if isinstance(leaf, TensorRef))


def readers_of(nodes: Mapping[str, Node]) -> dict[TensorRef, tuple[str, ...]]:
    """Returns the names of the nodes that read each tensor, in the order of the nodes."""
    readers: dict[TensorRef, list[str]] = {}
    for node in nodes.values():
        for ref in node.inputs:
            readers.setdefault(ref, []).append(node.name)
    return {ref: tuple(names) for ref, names in readers.items()}


@dataclass(frozen=True, eq=False)
class LayerGraph:
    """A Functional or Sequential Keras model as nodes in an order in which they can be computed.

    Nested Functional and Sequential models are flattened into the graph; a layer that is called several times is one
    operation with several nodes.

    Attributes:
        name: name of the model.
        nodes: the nodes by name, each after those that it reads.
        inputs: the model's inputs in its own nested structure, with a `TensorRef` for each tensor.
        outputs: the model's outputs, likewise.
        readers: the nodes that read each tensor.
        tensors: the model's own symbolic tensors; inside nested models, those of the nested model.
    """

    name: str
    nodes: Mapping[str, Node]
    inputs: Any
    outputs: Any
    readers: Mapping[TensorRef, tuple[str, ...]] = field(repr=False)
    tensors: Mapping[TensorRef, Any] = field(repr=False)

    @classmethod
    def from_keras(cls, model: keras.Model) -> LayerGraph:
        """Reads a built Functional or Sequential model.

        Raises:
            TypeError: not a Keras model, or a subclassed one, whose layers' calls cannot be read.
            ValueError: a Sequential model that has not been built.
        """
        return _Reader().read(model)

    @property
    def input_refs(self) -> tuple[TensorRef, ...]:
        """The model's input tensors, flat."""
        return _refs(self.inputs)

    @property
    def output_refs(self) -> tuple[TensorRef, ...]:
        """The model's output tensors, flat."""
        return _refs(self.outputs)

    def shape(self, ref: TensorRef) -> tuple[int | None, ...]:
        """Static shape of a tensor, batch dimension first."""
        return self.nodes[ref.node].output_shapes[ref.index]

    @property
    def operations(self) -> dict[str, Any]:
        """Every operation once, by its `layer_name`, in the order of its first call."""
        return {node.layer_name: node.operation for node in self.nodes.values()}


def _is_functional(operation: Any) -> bool:
    return isinstance(operation, keras.Sequential) or (
        isinstance(operation, keras.Model) and hasattr(operation, "_nodes_by_depth")
    )


def _as_functional(model: Any) -> Any:
    if isinstance(model, keras.Sequential):
        if not model.built or not model.inputs:
            raise ValueError(
                f"Expected a built model. Received: the Sequential model {model.name!r}, which does not know its input "
                "shape. Add a keras.Input(shape) as its first element, or call model.build(input_shape)."
            )
        return keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    return model


class _Reader:
    """Walks a model once and flattens nested ones; its state is everything read so far."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.tensors: dict[TensorRef, Any] = {}
        self.names: dict[int, str] = {}  # id of an operation -> its unique name
        self.taken: set[str] = set()
        self.calls: dict[str, int] = {}
        self.keep_alive: list[Any] = []  # ids must not be reused while we read
        self.inside: tuple[str, ...] = ()  # the nested models that are walked through at present
        self.entered: dict[int, int] = {}  # id of a nested model -> its calls so far

    def read(self, model: Any) -> LayerGraph:
        if not isinstance(model, keras.Model):
            raise TypeError(f"Expected a keras.Model. Received: {type(model).__name__}")
        if not _is_functional(model):
            raise TypeError(
                f"Expected a Functional or Sequential model. Received: the subclassed model {type(model).__name__!r}, "
                "whose calls cannot be read. Rebuild it as keras.Model(inputs, outputs)."
            )
        functional = _as_functional(model)
        input_tensors = keras.tree.flatten(functional.input)
        env: dict[int, TensorRef] = {}
        for tensor in input_tensors:
            operation = tensor._keras_history.operation
            env[id(tensor)] = self._add(operation, (), {}, (), [tensor], "")[0]
        self._walk(functional, env, prefix="", training=None)
        return LayerGraph(
            name=model.name,
            nodes=self.nodes,
            inputs=keras.tree.map_structure(lambda t: env[id(t)], functional.input),
            outputs=keras.tree.map_structure(lambda t: env[id(t)], functional.output),
            readers=readers_of(self.nodes),
            tensors=self.tensors,
        )

    def _unique_name(self, operation: Any, prefix: str) -> str:
        name = operation.name
        if name in self.taken and prefix:
            name = f"{prefix}_{name}"
        base, count = name, 1
        while name in self.taken:
            count += 1
            name = f"{base}_{count}"
        self.taken.add(name)
        return str(name)

    def _name(self, operation: Any, prefix: str) -> str:
        if id(operation) not in self.names:
            self.names[id(operation)] = self._unique_name(operation, prefix)
            self.keep_alive.append(operation)
        return self.names[id(operation)]

    def _add(
        self,
        operation: Any,
        args: Any,
        kwargs: Any,
        input_shapes: Any,
        outputs: list[Any],
        prefix: str,
        tensors: list[Any] | None = None,
    ) -> tuple[TensorRef, ...]:
        layer_name = self._name(operation, prefix)
        calls = self.calls[layer_name] = self.calls.get(layer_name, 0) + 1
        name = layer_name if calls == 1 else f"{layer_name}@{calls}"
        node = Node(
            name=name,
            layer_name=layer_name,
            operation=operation,
            args=args,
            kwargs=kwargs,
            inputs=_refs((args, kwargs)),
            input_shapes=tuple(input_shapes),
            output_shapes=tuple(tuple(t.shape) for t in outputs),
            inside=self.inside,
        )
        self.nodes[name] = node
        self.tensors.update(zip(node.outputs, tensors or outputs, strict=True))
        return node.outputs

    def _walk(self, functional: Any, env: dict[int, TensorRef], prefix: str, training: Any) -> None:
        """Adds every call that `functional` makes, each after its inputs; `env` maps its tensors to references."""
        calls = _ordered_calls(functional, env)
        for call in calls:  # before what lies inside nested models, so that a model's own layers keep their names
            if not _is_functional(call.operation):
                self._name(call.operation, prefix)
        for call in calls:
            self._call(call, env, prefix, training)

    def _call(self, call: Any, env: dict[int, TensorRef], prefix: str, training: Any) -> None:
        operation = call.operation
        arguments = call.arguments

        def to_ref(leaf: Any) -> Any:
            return env[id(leaf)] if isinstance(leaf, keras.KerasTensor) else leaf

        args, kwargs = keras.tree.map_structure(to_ref, (tuple(arguments.args), dict(arguments.kwargs)))
        outputs = list(call.output_tensors)
        if _is_functional(operation):
            inner = _as_functional(operation)
            self.keep_alive.append(inner)
            # The mask that Keras gives a model is the one that its inputs carry; the layers inside find it there.
            given = _refs((args, {name: value for name, value in kwargs.items() if name != "mask"}))
            inner_env = dict(zip((id(t) for t in keras.tree.flatten(inner.input)), given, strict=True))
            inner_training = kwargs.get("training", None)
            calls = self.entered[id(operation)] = self.entered.get(id(operation), 0) + 1
            around = self.inside
            self.inside = (*around, operation.name if calls == 1 else f"{operation.name}@{calls}")
            self._walk(inner, inner_env, operation.name, training if inner_training is None else inner_training)
            self.inside = around
            for outer, tensor in zip(outputs, keras.tree.flatten(inner.output), strict=True):
                env[id(outer)] = inner_env[id(tensor)]
            return
        if training is not None and getattr(operation, "_call_has_training_arg", False) and not kwargs.get("training"):
            kwargs = {**kwargs, "training": training}
        input_shapes = [self.nodes[ref.node].output_shapes[ref.index] for ref in _refs((args, kwargs))]
        specs = outputs
        known = all(None not in shape[1:] for shape in input_shapes)
        if input_shapes != [tuple(t.shape) for t in arguments.keras_tensors] or (known and not _are_known(outputs)):
            specs = self._called_on(operation, args, kwargs, outputs)
        refs = self._add(operation, args, kwargs, input_shapes, specs, prefix, outputs)
        for outer, ref in zip(outputs, refs, strict=True):
            env[id(outer)] = ref

    def _called_on(self, operation: Any, args: Any, kwargs: Any, outputs: list[Any]) -> list[Any]:
        """Returns the results of a call on the present shapes.

        They may be known even if the shapes in the nested model, or in the layer's own record, are not.
        """

        def symbolic(ref: TensorRef) -> Any:
            shape = self.nodes[ref.node].output_shapes[ref.index]
            return keras.KerasTensor(shape, dtype=self.tensors[ref].dtype)

        try:
            args, kwargs = map_refs(symbolic, (args, kwargs))
            specs = keras.tree.flatten(operation.compute_output_spec(*args, **kwargs))
            if not _are_known(specs):  # run, as EinsumDense(output_shape=(None, 64)) says less than it could
                specs = keras.tree.flatten(keras.Operation.compute_output_spec(operation, *args, **kwargs))
        except Exception:  # then the shapes are those that the nested model knows
            return outputs
        return specs if len(specs) == len(outputs) else outputs


def _are_known(tensors: Sequence[Any]) -> bool:
    """Whether all sizes except the batch are known."""
    return all(None not in tensor.shape[1:] for tensor in tensors)


def _ordered_calls(functional: Any, known: Mapping[int, Any]) -> list[Any]:
    """Returns the Keras nodes that lead from the tensors in `known` to the outputs of `functional`, inputs first."""
    ordered: list[Any] = []
    done: set[int] = set()
    stack = [(_call_of(t), False) for t in reversed(keras.tree.flatten(functional.output)) if id(t) not in known]
    while stack:
        call, ready = stack.pop()
        if id(call) in done:
            continue
        if ready:
            done.add(id(call))
            ordered.append(call)
            continue
        stack.append((call, True))
        for tensor in reversed(call.arguments.keras_tensors):
            if id(tensor) not in known:
                parent = _call_of(tensor)
                if id(parent) not in done:
                    stack.append((parent, False))
    return ordered


def _call_of(tensor: Any) -> Any:
    history = tensor._keras_history
    return history.operation._inbound_nodes[history.node_index]
