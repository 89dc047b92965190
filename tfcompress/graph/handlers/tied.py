"""User layers that read the weights of another layer, such as the decoder of a tied autoencoder.

No handler knows them; but the meaning of each axis of a weight can be found by a trial with numbers, because the other
layer's handler gives its meaning in that layer. If the trial is not conclusive, both layers stay whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from tfcompress.graph.handlers.base import Call, Handler, MacTerm, WeightAxes, handler_of, sizes
from tfcompress.graph.labels import Labels
from tfcompress.graph.layer_graph import LayerGraph, Node

__all__ = ["TiedReader", "sharing"]

_Array = npt.NDArray[Any]


@dataclass
class _Role:
    """The axes of a weight that are indexed by the layer's input channels and by its output channels."""

    variable: Any
    reads: list[int] = field(default_factory=list)
    writes: list[int] = field(default_factory=list)


class TiedReader(Handler):
    """A layer whose weights' axes were found by a trial."""

    def __init__(self, roles: Iterable[_Role]) -> None:
        self._roles = list(roles)

    def runs_on_slices(self, call: Call) -> bool:
        """False: masks are used, which are known to be right."""
        return False

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """New labels on the last axis."""
        call.input_along(-1)
        shape = call.node.output_shapes[0]
        return (Labels(call.new_output(shape[-1] or 0), len(shape) - 1),)

    def weights(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[WeightAxes, ...]:
        """Returns the axes found by the trial; weights that the layer holds but does not read are left out."""
        read, written = call.input_along(-1), outputs[0].ids
        return tuple(
            WeightAxes(role.variable, dict.fromkeys(role.reads, read), dict.fromkeys(role.writes, written))
            for role in self._roles
        )

    def macs(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[MacTerm, ...]:
        """Returns positions x all entries of each weight between the input's and the output's channels."""
        positions = sizes(call.node.output_shapes[0][1:-1], call.node)
        labels = (call.input_along(-1), outputs[0].ids)
        return tuple(
            MacTerm(
                positions * math.prod(s for a, s in enumerate(r.variable.shape) if a not in (*r.reads, *r.writes)),
                labels,
            )
            for r in self._roles
            if r.reads and r.writes
        )


def sharing(graph: LayerGraph) -> tuple[dict[str, str], dict[str, Handler]]:
    """Returns layers that share weights: `{layer: another}` that stay whole, and handlers of the others.

    A layer does not stay whole if one layer with a handler owns the weights, and the meaning of each axis to all others
    was found. If an operation is called with another layer's weight as an argument, that layer stays whole.
    """
    holders: dict[int, dict[str, Node]] = {}
    for node in graph.nodes.values():
        arguments = keras.tree.flatten((node.args, dict(node.kwargs)))
        given = [leaf for leaf in arguments if isinstance(leaf, keras.Variable)]
        for variable in (*getattr(node.operation, "weights", ()), *given):
            holders.setdefault(id(variable), {}).setdefault(node.layer_name, node)
    parts: list[dict[str, Node]] = []
    for holder in holders.values():
        if len(holder) > 1:
            joined = [part for part in parts if part.keys() & holder.keys()]
            parts = [part for part in parts if part not in joined]
            parts.append({name: node for part in (*joined, holder) for name, node in part.items()})
    whole: dict[str, str] = {}
    readers: dict[str, Handler] = {}
    for part in parts:
        by_name = {name: handler_of(node.operation) for name, node in part.items()}
        owners = [name for name, handler in by_name.items() if handler.known]
        handlers = {name: h if h.known else tied_reader(part[name]) for name, h in by_name.items()}
        if len(owners) == 1 and all(handlers.values()):
            readers.update({name: handler for name, handler in handlers.items() if handler is not None})
        else:
            first, second, *_ = part
            whole.update({name: second if name == first else first for name in part})
    return whole, readers


def tied_reader(node: Node) -> TiedReader | None:
    """Returns the handler of a layer without one, by a trial; `None` if its axes cannot be determined.

    The layer maps one tensor to another, `[batch, ..., channels]`, adapts to the other layer's weights (its config has
    no width), and gives the same with slices of its weights as with zeros instead of the rest.
    """
    layer = node.operation
    try:
        trial = _Trial(node)
        return TiedReader(trial.roles()) if _says_no_width(layer, (trial.read, trial.written)) else None
    except Exception:  # whatever a layer of the user's says of numbers that it does not expect
        return None


def _says_no_width(layer: Any, widths: tuple[int, int]) -> bool:
    config = layer.get_config()
    values = keras.tree.flatten([v for v in config.values() if not (isinstance(v, dict) and "class_name" in v)])
    return not any(isinstance(v, int) and not isinstance(v, bool) and v in widths for v in values)


class _DoubtError(Exception):
    """The trial does not determine the meaning of an axis."""


class _Trial:
    def __init__(self, node: Node) -> None:
        self._layer = node.operation
        shape, out = node.input_shapes[0], node.output_shapes[0]
        if (
            len(node.inputs) != 1
            or len(node.output_shapes) != 1
            or len(node.args) != 1
            or None in (*shape[1:], out[-1])
        ):
            raise _DoubtError
        self._rng = np.random.default_rng(0)
        self.read, self.written = int(shape[-1] or 0), int(out[-1] or 0)
        self._x = self._normal((2, *(size or 0 for size in shape[1:])))
        # Random ones: weights may be zero, or so small that nothing would be seen.
        self._values = {id(v): self._normal(v.shape) for v in self._layer.weights if "float" in str(v.dtype)}
        self._y = self._run(self._x, {})

    def _normal(self, shape: Any) -> _Array:
        return self._rng.normal(size=tuple(shape)).astype("float32")

    def _run(self, x: _Array, values: dict[int, _Array]) -> _Array:
        scope = keras.StatelessScope()
        merged = {**self._values, **values}
        scope.state_mapping.update({key: keras.ops.convert_to_tensor(value) for key, value in merged.items()})
        with scope:
            return np.asarray(keras.ops.convert_to_numpy(self._layer.call(keras.ops.convert_to_tensor(x))))

    def roles(self) -> list[_Role]:
        roles = [_Role(v) for v in self._layer.weights if id(v) in self._values and self._is_used(v)]
        for role in roles:
            for axis, size in enumerate(role.variable.shape):
                if size == self.read and self._reads(role.variable, axis):
                    role.reads.append(axis)
                elif size == self.written and self._writes(role.variable, axis):
                    role.writes.append(axis)
        if not any(role.reads for role in roles) or not any(role.writes for role in roles):
            raise _DoubtError
        self._slice(roles)
        return roles

    def _is_used(self, variable: Any) -> bool:
        return not _same(self._y, self._run(self._x, {id(variable): self._normal(variable.shape)}))

    def _some(self, count: int) -> npt.NDArray[np.bool_]:
        chosen: npt.NDArray[np.bool_] = np.arange(count) % 2 == 0
        self._rng.shuffle(chosen)
        return chosen

    def _reads(self, variable: Any, axis: int) -> bool:
        """Whether the output ignores the input's channels where slices along the axis are zero."""
        some = self._some(self.read)
        value = self._values[id(variable)] * _along(~some, axis, len(variable.shape))
        changed = np.where(some, self._normal(self._x.shape), self._x)
        blind = _same(self._run(self._x, {id(variable): value}), self._run(changed, {id(variable): value}))
        return blind and not _same(self._y, self._run(changed, {}))

    def _writes(self, variable: Any, axis: int) -> bool:
        """Whether slices along the axis change the output's channels in their places, and no others."""
        some = self._some(self.written)
        mask = _along(some, axis, len(variable.shape))
        y = self._run(self._x, {id(variable): np.where(mask, self._normal(variable.shape), self._values[id(variable)])})
        return _same(y[..., ~some], self._y[..., ~some]) and not _same(y[..., some], self._y[..., some])

    def _slice(self, roles: list[_Role]) -> None:
        """Checks that slices give the same as masks, as the cut layer has to."""
        read, written = self._some(self.read), self._some(self.written)
        masked, sliced = {}, {}
        for role in roles:
            value = part = self._values[id(role.variable)]
            for axis in role.reads:
                value = value * _along(read, axis, value.ndim)
                part = np.compress(read, part, axis)
            for axis in role.writes:
                part = np.compress(written, part, axis)
            masked[id(role.variable)], sliced[id(role.variable)] = value, part
        whole, cut = self._run(self._x, masked), self._run(self._x[..., read], sliced)
        if not _same(whole[..., written], cut):
            raise _DoubtError


def _along(values: _Array, axis: int, rank: int) -> _Array:
    return values.reshape([-1 if a == axis else 1 for a in range(rank)])


def _same(first: _Array, second: _Array) -> bool:
    return first.shape == second.shape and bool(np.allclose(first, second, rtol=1e-4, atol=1e-4))
