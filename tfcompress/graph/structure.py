"""Structural edits: `restructured(graph, edits)` turns one `LayerGraph` into another, only on the graph.

No layer of the source is called, built or changed. A layer whose settings or input shapes change is rebuilt from its
config, and called on symbolic tensors of its own; if its weights then have the same shapes as before, the graph keeps
the source's layer. So a graph of another structure costs only its new parts, and leaves no trace in the source.
"""

from __future__ import annotations

import copy
import heapq
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import keras

from tfcompress.edits import CHANGEABLE
from tfcompress.graph.channel_groups import ChannelGroups
from tfcompress.graph.copying import Copies
from tfcompress.graph.layer_graph import LayerGraph, Node, TensorRef, map_refs
from tfcompress.graph.reshaping import Place, Shape, line_of, place, reshape
from tfcompress.graph.sections import bypasses
from tfcompress.plan import Plan, Reconfigure, RemoveLayers, ReplaceLayers, StructuralEdit

__all__ = ["Mixture", "Structure", "groups_after", "restructured"]


@runtime_checkable
class Mixture(Protocol):
    """A layer that contains other layers, each of which can replace it."""

    def parts(self) -> Mapping[str, keras.layers.Layer | Sequence[keras.layers.Layer]]:
        """Returns the parts by name: built layers, Sequential or Functional models, or built layers in sequence."""

    def alone(self, part: str) -> Sequence[tuple[keras.Variable, Any]]:
        """Returns values of the mixture's own weights with which it computes only this part: `(weight, value)`."""


@dataclass(frozen=True, eq=False)
class Structure:
    """The graph after structural edits.

    Attributes:
        graph: the graph. Its operations are the source's own where settings and weights did not change.
        fresh: names of the layers whose weights all start fresh; every other layer inherits all of its weights.
    """

    graph: LayerGraph
    fresh: frozenset[str]


def groups_after(groups: ChannelGroups, plan: Plan) -> tuple[ChannelGroups, frozenset[str]]:
    """Returns the channel groups that a plan's `KeepChannels` name, and the layers whose weights start fresh.

    Args:
        groups: groups of the source.
        plan: the plan; only its structural half is used.

    Raises:
        KeyError, ValueError: as for `restructured`.
    """
    if not plan.structural:
        return groups, frozenset(groups.layers if plan.weights == "fresh" else ())
    left = restructured(groups.graph, plan.structural, plan.weights)
    return ChannelGroups.of(left.graph, groups.through_norms), left.fresh


def restructured(graph: LayerGraph, edits: Sequence[StructuralEdit], weights: str = "inherited") -> Structure:
    """Carries out structural edits.

    Args:
        graph: graph of the source.
        edits: the edits, applied together: each one names nodes of the source.
        weights: "inherited" or "fresh", see `Plan`.

    Returns:
        The new graph, and the layers that start fresh.

    Raises:
        KeyError: a name is not a node of the graph.
        ValueError: edits that cannot be applied to these nodes, layers that no longer fit their inputs, changed shapes
            of the model's outputs; with inherited weights a removed or replaced part that changes a
            width.
    """
    return _Editing(graph, weights != "inherited").carried_out(edits)


class _Editing:
    """Edits of one graph in progress."""

    def __init__(self, graph: LayerGraph, fresh: bool) -> None:
        self._graph = graph
        self._all_fresh = fresh
        self._stands_for: dict[TensorRef, TensorRef] = {}
        self._settings: dict[str, Mapping[str, Any]] = {}  # by layer
        self._replaced: list[tuple[TensorRef, tuple[Node, ...]]] = []
        self._taken = {*graph.nodes, *graph.operations}
        self._calls: dict[str, set[str]] = {}
        for node in graph.nodes.values():
            self._calls.setdefault(node.layer_name, set()).add(node.name)

    def carried_out(self, edits: Sequence[StructuralEdit]) -> Structure:
        graph = self._graph
        removed = tuple(node for edit in edits if isinstance(edit, RemoveLayers) for node in edit.nodes)
        self._stands_for.update(bypasses(graph, removed, any_shape=self._all_fresh))
        bypassed = tuple(self._stands_for)
        places: dict[str, list[Place]] = {node.name: [place(node, graph)] for node in graph.nodes.values()}
        places.update({name: [] for name in removed})
        for edit in edits:
            if isinstance(edit, ReplaceLayers):
                last = [name for name in graph.nodes if name in edit.nodes]
                new = self._replacement(edit)
                places.update({name: [] for name in last})
                places[last[-1]] = new
            elif isinstance(edit, Reconfigure):
                self._reconfigure(edit)
        ordered = self._ordered(list(itertools.chain(*places.values())))
        with Copies(node_place.node.operation for node_place in ordered):
            # Where all weights are fresh, nobody reads those of this graph: they are drawn for the model.
            left, reshaped = reshape(graph, ordered, self._tensor, self._settings, draws=not self._all_fresh)
        self._check_types(left, (*bypassed, *(ref for ref, _ in self._replaced)))
        self._check_widths(left.shape)
        return Structure(left, frozenset(left.operations) if self._all_fresh else reshaped)

    def _tensor(self, ref: TensorRef) -> TensorRef:
        """Returns the tensor that replaces one of the source."""
        while ref in self._stands_for:
            ref = self._stands_for[ref]
        return ref

    def _node(self, name: str) -> Node:
        if name not in self._graph.nodes:
            raise KeyError(f"Expected names of nodes of {self._graph.name!r}. Received: {[name]}")
        return self._graph.nodes[name]

    def _reconfigure(self, edit: Reconfigure) -> None:
        node = self._node(edit.node)
        if node.layer_name in self._settings:
            raise ValueError(f"Expected one edit for each layer. Received: several for {node.layer_name!r}")
        config = node.operation.get_config() if isinstance(node.operation, keras.Layer) else {}
        unknown = sorted(set(edit.config) - config.keys())
        if unknown:
            known = ", ".join(name for name in CHANGEABLE if name in config) or "nothing"
            raise ValueError(
                f"Expected settings that {edit.node!r} ({node.type_name}) has, of which {known} can be changed. "
                f"Received: {unknown}"
            )
        self._settings[node.layer_name] = edit.config

    def _replacement(self, edit: ReplaceLayers) -> list[Place]:
        graph = self._graph
        inside = {self._node(name).name: self._node(name) for name in graph.nodes if name in set(edit.nodes)}
        for name in edit.nodes:
            node = self._node(name)
            if node.is_input:
                raise ValueError(f"Expected nodes that compute something. Received: {name!r}, an input of the model.")
            elsewhere = sorted(self._calls[node.layer_name] - inside.keys())
            if elsewhere:
                raise ValueError(
                    f"Expected all calls of a layer to be replaced, or none. Received: {name!r}, of a layer that is "
                    f"also called as {elsewhere}."
                )
        coming = list(dict.fromkeys(ref for n in inside.values() for ref in n.inputs if ref.node not in inside))
        going = [ref for node in inside.values() for ref in node.outputs if self._is_read_outside(ref, inside)]
        prefix = graph.nodes[edit.nodes[0]].layer_name
        self._replaced += [(ref, tuple(inside.values())) for ref in going]
        if edit.part is not None:
            return self._spliced(self._part(edit.nodes[0], edit.part), prefix, coming, going, is_new=False)
        try:
            # Of a copy, which Keras takes to pieces.
            made = keras.saving.deserialize_keras_object(copy.deepcopy(edit.replacement))
        except Exception as error:
            raise ValueError(
                f"Expected a replacement that Keras can build. Received for {edit.nodes}: {line_of(error)}"
            ) from error
        return self._spliced(made, prefix, coming, going, is_new=True)

    def _is_read_outside(self, ref: TensorRef, inside: Mapping[str, Node]) -> bool:
        readers = self._graph.readers.get(ref, ())
        return ref in self._graph.output_refs or any(name not in inside for name in readers)

    def _part(self, name: str, part: str) -> Any:
        node = self._graph.nodes[name]
        if not isinstance(node.operation, Mixture):
            raise ValueError(
                "Expected a layer with methods `parts` and `alone`, to take a part out of it. Received: "
                f"{name!r} ({node.type_name})"
            )
        parts = node.operation.parts()
        if part not in parts:
            raise ValueError(f"Expected a part of {name!r}, one of {sorted(parts)}. Received: part={part!r}")
        return parts[part]

    def _spliced(
        self, made: Any, prefix: str, coming: Sequence[TensorRef], going: Sequence[TensorRef], is_new: bool
    ) -> list[Place]:
        """Returns the nodes of a layer or a model, between the inputs and outputs of its region."""
        if isinstance(made, (list, tuple)):
            return self._chained(made, prefix, coming, going, is_new)
        if isinstance(made, keras.Sequential) and not made.built:
            return self._chained(made.layers, prefix, coming, going)
        if not isinstance(made, keras.Model):
            return self._chained([made], prefix, coming, going, is_new)
        small = LayerGraph.from_keras(made)
        self._check_ends(prefix, len(small.input_refs), len(small.output_refs), coming, going)
        names = {name: self._new_name(f"{prefix}_{name}") for name in small.operations}
        ends = dict(zip(small.input_refs, coming, strict=True))

        def moved(ref: TensorRef) -> TensorRef:
            return ends[ref] if ref in ends else TensorRef(_renamed(small.nodes[ref.node], names), ref.index)

        places = []
        for node in small.nodes.values():
            if not node.is_input:
                args, kwargs = map_refs(moved, (node.args, dict(node.kwargs)))
                name = _renamed(node, names)
                spliced = replace(node, name=name, layer_name=names[node.layer_name], args=args, kwargs=kwargs)
                spliced = replace(spliced, inputs=tuple(map(moved, node.inputs)))
                places.append(replace(place(node, small, is_new), node=spliced))
        self._stands_for.update(zip(going, map(moved, small.output_refs), strict=True))
        return places

    def _chained(
        self,
        layers: Sequence[Any],
        prefix: str,
        coming: Sequence[TensorRef],
        going: Sequence[TensorRef],
        is_new: bool = True,
    ) -> list[Place]:
        """Returns the nodes of layers in sequence; the first may read several tensors."""
        self._check_ends(prefix, len(coming), 1, coming, going)
        places, read = [], tuple(coming)
        for layer in layers:
            name = self._new_name(f"{prefix}_{layer.name}")
            args = read if len(read) == 1 else (list(read),)
            places.append(Place(Node(name, name, layer, args, {}, read, (), ()), (), is_new))
            read = (TensorRef(name),)
        self._stands_for[going[0]] = read[0]
        return places

    def _check_ends(
        self, prefix: str, inputs: int, outputs: int, coming: Sequence[TensorRef], going: Sequence[TensorRef]
    ) -> None:
        if not coming or (inputs, outputs) != (len(coming), len(going)):
            raise ValueError(
                "Expected a replacement with as many inputs and outputs as the region. Received at "
                f"{prefix!r}: {inputs} and {outputs} for a region that reads "
                f"{[ref.node for ref in coming]} and gives {[ref.node for ref in going]}."
            )

    def _new_name(self, wanted: str) -> str:
        name = next(
            name
            for name in itertools.chain([wanted], (f"{wanted}_{count}" for count in itertools.count(2)))
            if name not in self._taken
        )
        self._taken.add(name)
        return name

    def _ordered(self, places: list[Place]) -> list[Place]:
        """Returns the inputs, and the nodes that lead to the outputs, each after those that it reads."""
        by_name = {place.node.name: place for place in places}
        number = {name: i for i, name in enumerate(by_name)}
        reads = {name: {self._tensor(ref).node for ref in place.node.inputs} for name, place in by_name.items()}
        needed, pending = set(), [self._tensor(ref).node for ref in self._graph.output_refs]
        while pending:
            name = pending.pop()
            if name not in needed:
                needed.add(name)
                pending += reads[name]
        needed |= {name for name, place in by_name.items() if place.node.is_input}
        readers: dict[str, list[str]] = {}
        for name in needed:
            for before in reads[name]:
                readers.setdefault(before, []).append(name)
        waiting = {name: len(reads[name]) for name in needed}
        ready = [number[name] for name in needed if not waiting[name]]
        heapq.heapify(ready)
        ordered: list[Place] = []
        while ready:
            place = places[heapq.heappop(ready)]
            ordered.append(place)
            for name in readers.get(place.node.name, ()):
                waiting[name] -= 1
                if not waiting[name]:
                    heapq.heappush(ready, number[name])
        if len(ordered) < len(needed):
            left = sorted(needed - {place.node.name for place in ordered})
            raise ValueError(
                "Expected nodes of one region, whose inputs do not depend on its outputs. Received a "
                f"replacement that would read its own output, through {left[:6]}."
            )
        return ordered

    def _check_types(self, left: LayerGraph, refs: Sequence[TensorRef]) -> None:
        """Refuses other number types, and other shapes of masks or indices, because no weights adapt to these."""
        for ref in refs:
            new = self._tensor(ref)
            if new not in left.tensors:  # nothing reads it any more
                continue
            types = [str(graph.tensors[tensor].dtype) for graph, tensor in ((self._graph, ref), (left, new))]
            shapes = [self._graph.shape(ref), left.shape(new)]
            floats = ["float" in name for name in types]
            if not (all(floats) or (types[0] == types[1] and shapes[0] == shapes[1])):
                raise ValueError(
                    "Expected edits that keep masks, indices and other integer tensors unchanged, and "
                    f"make no float tensor an integer one. Received: {ref.node!r} {types[0]} {shapes[0]}, replaced "
                    f"by {new.node!r} {types[1]} {shapes[1]}."
                )

    def _check_widths(self, shape: Callable[[TensorRef], Shape]) -> None:
        """Refuses outputs of another shape, and, with inherited weights, replacements of another width."""
        graph = self._graph
        for ref in graph.output_refs:
            if shape(self._tensor(ref)) != graph.shape(ref):
                raise ValueError(
                    f"Expected edits that keep the shapes of the model's outputs. Received: {ref.node!r} "
                    f"{graph.shape(ref)}, replaced by {self._tensor(ref).node!r} {shape(self._tensor(ref))}."
                )
        for ref, nodes in self._replaced if not self._all_fresh else ():
            old, new = graph.shape(ref), shape(self._tensor(ref))
            first = any(getattr(node.operation, "data_format", "") == "channels_first" for node in nodes)
            axis = 1 if first and len(old) > 2 else -1
            if len(old) != len(new) or old[axis] != new[axis]:
                raise ValueError(
                    "Expected a replacement of the same width, because the layers behind it inherit their weights. "
                    f"Received: {ref.node!r} {old}, replaced by {self._tensor(ref).node!r} {new}. "
                    'Give the plan weights="fresh", or a replacement of that width.'
                )


def _renamed(node: Node, names: Mapping[str, str]) -> str:
    return names[node.layer_name] + node.name[len(node.layer_name) :]
