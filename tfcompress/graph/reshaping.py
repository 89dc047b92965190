"""Recomputes shapes in a graph whose structure changed, with new layers and never with the source's own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from tfcompress.graph.copying import CannotBeCopied, carry_flags, carry_settings, carry_state, config_of, copied
from tfcompress.graph.layer_graph import LayerGraph, Node, TensorRef, map_refs, readers_of

__all__ = ["Place", "Shape", "line_of", "place", "reshape"]

Shape = tuple[int | None, ...]

_RANDOM = (
    keras.initializers.VarianceScaling,
    keras.initializers.TruncatedNormal,
    keras.initializers.RandomNormal,
    keras.initializers.RandomUniform,
    keras.initializers.Orthogonal,
)


@dataclass(frozen=True, eq=False)
class Place:
    """A node of the new graph before its tensors are known.

    Attributes:
        node: a node of the source or of a replacement; its arguments are in terms of the source's tensors.
        dtypes: dtypes of its outputs, if known.
        is_new: whether its layer belongs to a replacement and has weights of its own.
    """

    node: Node
    dtypes: tuple[str, ...] = ()
    is_new: bool = False


def place(node: Node, graph: LayerGraph, is_new: bool = False) -> Place:
    """Returns the place of a node of a graph."""
    return Place(node, tuple(str(graph.tensors[ref].dtype) for ref in node.outputs), is_new)


def reshape(
    source: LayerGraph,
    places: Iterable[Place],
    tensor: Callable[[TensorRef], TensorRef],
    settings: Mapping[str, Mapping[str, Any]],
    draws: bool = True,
) -> tuple[LayerGraph, frozenset[str]]:
    """Builds a graph, with new layers where settings or input shapes changed.

    Call it while `Copies` of all operations are being made.

    Args:
        source: the graph that it is made from, with the same inputs and outputs.
        places: its nodes, each after those that it reads.
        tensor: returns the tensor that replaces one of the source.
        settings: new settings, by layer.
        draws: whether new layers draw weights; zeros are used in a graph that only shows shapes.

    Returns:
        The graph, and the layers whose weights could not be inherited.

    Raises:
        ValueError: a layer does not fit its inputs.
    """
    shapes = _Shapes(tensor, settings, draws)
    for entry in places:
        shapes.add(entry)
    return shapes.graph(source), frozenset(shapes.fresh)


class _Shapes:
    """The shapes of all tensors of the new graph, and the layers that have to change for them."""

    def __init__(
        self, tensor: Callable[[TensorRef], TensorRef], settings: Mapping[str, Mapping[str, Any]], draws: bool
    ) -> None:
        self._tensor, self._settings, self._draws = tensor, settings, draws
        self._tensors: dict[TensorRef, Any] = {}
        self._nodes: dict[str, Node] = {}
        self._made: dict[str, Any] = {}  # by layer: the one made anew from its config
        self._operations: dict[str, Any] = {}
        self.fresh: set[str] = set()

    def graph(self, source: LayerGraph) -> LayerGraph:
        """Returns the new graph."""
        return LayerGraph(
            name=source.name,
            nodes=self._nodes,
            inputs=source.inputs,
            outputs=map_refs(self._tensor, source.outputs),
            readers=readers_of(self._nodes),
            tensors=self._tensors,
        )

    def add(self, place: Place) -> None:
        """Adds the next node, which reads nodes that were added before."""
        node = place.node
        args, kwargs = map_refs(self._tensor, (node.args, dict(node.kwargs)))
        inputs = tuple(map(self._tensor, node.inputs))
        shapes = tuple(tuple(self._tensors[ref].shape) for ref in inputs)
        name = node.layer_name
        if place.is_new:
            self.fresh.add(name)
        if name not in self._made and name not in self._settings and shapes == node.input_shapes:
            operation, outputs = node.operation, node.output_shapes
            tensors = [_symbolic(*spec) for spec in zip(outputs, place.dtypes, strict=True)]
        else:
            tensors = self._called(place, args, kwargs, shapes)
            operation, outputs = self._operation(place), tuple(tuple(tensor.shape) for tensor in tensors)
        if self._operations.setdefault(name, operation) is not operation:
            raise ValueError(
                f"Expected edits after which all calls of {name!r} fit one set of weights. Received: {node.name!r}, "
                f"which reads {shapes}."
            )
        self._nodes[node.name] = replace(
            node,
            operation=operation,
            args=args,
            kwargs=kwargs,
            inputs=inputs,
            input_shapes=shapes,
            output_shapes=outputs,
        )
        self._tensors.update(zip(self._nodes[node.name].outputs, tensors, strict=True))

    def _called(self, place: Place, args: Any, kwargs: Any, shapes: Sequence[Shape]) -> list[Any]:
        """Returns the outputs of a call on tensors of these shapes: by a new layer, or by one without weights."""
        node = place.node

        def symbolic(ref: TensorRef) -> Any:
            return _symbolic(self._tensors[ref].shape, self._tensors[ref].dtype)

        try:
            args, kwargs = map_refs(symbolic, (args, kwargs))
            if not isinstance(node.operation, keras.Layer):
                outputs = keras.tree.flatten(node.operation.compute_output_spec(*args, **kwargs))
                if _has_sizes(node.operation):
                    keras.Operation.compute_output_spec(node.operation, *args, **kwargs)
                _check_entries(node, shapes, [tuple(tensor.shape) for tensor in outputs])
                return [_symbolic(tensor.shape, tensor.dtype) for tensor in outputs]
            layer = self._anew(place)
            with nullcontext() if self._draws else _drawing_nothing(layer):
                outputs = keras.tree.flatten(layer(*args, **kwargs))
            if _has_sizes(layer):
                keras.Operation.compute_output_spec(layer, *args, **kwargs)
            return [_symbolic(tensor.shape, tensor.dtype) for tensor in outputs]
        except CannotBeCopied:
            raise
        except Exception as error:
            raise ValueError(
                f"Expected edits after which every layer fits its inputs. Received: {node.name!r} "
                f"({node.type_name}), which would read {list(shapes)}: {line_of(error)}"
            ) from error

    def _anew(self, place: Place) -> Any:
        """Returns a new layer from its config, with changed settings if an edit says so."""
        node = place.node
        if node.layer_name not in self._made:
            settings = self._settings.get(node.layer_name, {})
            changed = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
            layer = copied(node.operation, lambda config: {**config, **changed})
            carry_settings(node.operation, layer)
            if not layer.built:
                carry_state(node.operation, layer, built=False)
            self._made[node.layer_name] = layer
        return self._made[node.layer_name]

    def _operation(self, place: Place) -> Any:
        """Returns the operation of a node: the source's own layer if settings and weights have not changed."""
        name, old = place.node.layer_name, place.node.operation
        if not isinstance(old, keras.Layer):
            return old
        if name in self._operations and self._operations[name] is self._made[name]:
            return self._made[name]
        new = self._made[name]
        fits = old.built and [tuple(v.shape) for v in old.variables] == [tuple(v.shape) for v in new.variables]
        if not fits:
            self.fresh.add(name)
            return new
        if name not in self._settings and not place.is_new:
            return old
        for source, target in zip(old.variables, new.variables, strict=True):
            target.assign(source)
        carry_state(old, new)
        carry_flags(old, new)
        return new


@contextmanager
def _drawing_nothing(layer: keras.Layer) -> Iterator[None]:
    """Makes layers create zeros instead of drawing weights, which takes most of the time."""
    held = vars(layer)
    own = {name: value for name, value in held.items() if isinstance(value, _RANDOM)}
    held.update(dict.fromkeys(own, keras.initializers.Zeros()))
    try:
        yield
    finally:
        held.update(own)


def _has_sizes(operation: Any) -> bool:
    """Whether an operation may hold sizes of its input unseen; it has to run to show whether it fits.

    A layer with weights makes them for its input. A layer without weights may hold a list, such as a scale for each
    channel, and another operation a number, such as the number of tensors it splits into.
    """
    if not isinstance(operation, keras.Layer):
        held = [value for name, value in vars(operation).items() if not name.startswith("_")]
        return any(isinstance(value, (int, list, tuple, np.ndarray)) and not isinstance(value, bool) for value in held)
    if operation.weights:
        return False
    if type(operation).__module__.partition(".")[0] != "keras":
        return True
    return any(isinstance(value, (list, tuple, np.ndarray)) for value in config_of(operation).values())


def _check_entries(node: Node, shapes: Sequence[Shape], outputs: Sequence[Shape]) -> None:
    """Refuses a reshape that leaves entries of a sample over: Keras would count those as part of the unknown batch."""
    before = [_entries(shape) for shape in (*node.input_shapes, *node.output_shapes)]
    after = [_entries(shape) for shape in (*shapes, *outputs)]
    if node.type_name == "Reshape" and before[0] == before[-1] and after[0] != after[-1]:
        raise ValueError(f"its output would have {after[-1]} entries a sample, of {after[0]} that it reads")


def _entries(shape: Shape) -> int:
    return math.prod(size or 0 for size in shape[1:])


def _symbolic(shape: Any, dtype: Any) -> Any:
    return keras.KerasTensor(tuple(shape), dtype=dtype)


def line_of(error: Exception) -> str:
    """Returns an error's message in one line."""
    return " ".join(str(error).split())[:300]
