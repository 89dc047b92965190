"""Regions: single-entry, single-exit parts of a graph, the basis of blocks, sections and split models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tfcompress.graph.layer_graph import LayerGraph, Node, TensorRef, readers_of

__all__ = [
    "Chains",
    "Dominators",
    "Segment",
    "between",
    "calls_of",
    "context_of",
    "cut_points",
    "dominates",
    "immediate_dominators",
    "is_called_outside",
    "segments_of",
    "without_context",
]

Dominators = Mapping[str, str | None]
_SUM = "Add"  # the class of keras.layers.Add, and of keras.ops.add


def immediate_dominators(graph: LayerGraph) -> dict[str, str | None]:
    """Returns for each node the last one on every path from the inputs to it (Cooper, Harvey and Kennedy 2001)."""
    dominator: dict[str, str | None] = {}
    depth: dict[str, int] = {}
    for node in graph.nodes.values():
        common: str | None = None
        parents = list(dict.fromkeys(ref.node for ref in node.inputs))
        for i, parent in enumerate(parents):
            common = parent if i == 0 else _meet(common, parent, dominator, depth)
        dominator[node.name] = common
        depth[node.name] = depth[common] + 1 if common else 0
    return dominator


def _meet(a: str | None, b: str | None, dominator: Mapping[str, str | None], depth: Mapping[str, int]) -> str | None:
    while a != b:
        if a is None or b is None:
            return None
        if depth[a] >= depth[b]:
            a = dominator[a]
        else:
            b = dominator[b]
    return a


def dominates(name: str, following: str, dominators: Dominators) -> bool:
    """Whether every path from the inputs to `following` goes through `name`."""
    at: str | None = following
    while at is not None and at != name:
        at = dominators[at]
    return at == name


def between(graph: LayerGraph, end: str, entry: str | None = None) -> tuple[str, ...]:
    """Returns the nodes that `end` is computed from, including itself, in the order of the graph.

    Args:
        graph: the graph.
        end: name of a node.
        entry: a node where the walk stops, not included; `None` to walk to the inputs.
    """
    inside: set[str] = set()
    pending = [end]
    while pending:
        name = pending.pop()
        if name != entry and name not in inside:
            inside.add(name)
            pending.extend(ref.node for ref in graph.nodes[name].inputs)
    return tuple(name for name in graph.nodes if name in inside)


def cut_points(graph: LayerGraph) -> tuple[str, ...]:
    """Returns the nodes with one output that every path from inputs to outputs passes, in the order of the graph."""
    dominators = immediate_dominators(graph)
    at: str | None = None
    for i, ref in enumerate(graph.output_refs):
        at = ref.node if i == 0 else _last_common(at, ref.node, dominators)
    chain: list[str] = []
    while at is not None:
        if len(graph.nodes[at].outputs) == 1:
            chain.append(at)
        at = dominators[at]
    return tuple(reversed(chain))


def _last_common(a: str | None, b: str | None, dominators: Dominators) -> str | None:
    above = set()
    while a is not None:
        above.add(a)
        a = dominators[a]
    while b is not None and b not in above:
        b = dominators[b]
    return b


def context_of(graph: LayerGraph) -> frozenset[str]:
    """Returns the inputs of a graph, and the nodes computed only from them without weights, such as masks."""
    context: set[str] = set()
    for node in graph.nodes.values():
        if not getattr(node.operation, "weights", ()) and all(ref.node in context for ref in node.inputs):
            context.add(node.name)
    return frozenset(context)


def without_context(graph: LayerGraph) -> LayerGraph:
    """Returns the graph without its context if several layers read that; for finding regions, not for running.

    Otherwise a mask that all blocks of an encoder read would prevent them from being regions.
    """
    context = context_of(graph)
    inside = [node for node in graph.nodes.values() if node.name not in context]
    read = [node for node in inside if any(ref.node in context for ref in node.inputs)]
    if len(read) < 2 or any(ref.node in context for ref in graph.output_refs):
        return graph
    nodes = {}
    for node in inside:
        pairs = zip(node.inputs, node.input_shapes, strict=True)
        left = [(ref, shape) for ref, shape in pairs if ref.node not in context]
        inputs, shapes = tuple(ref for ref, _ in left), tuple(shape for _, shape in left)
        nodes[node.name] = replace(node, inputs=inputs, input_shapes=shapes)
    return replace(graph, nodes=nodes, readers=readers_of(nodes))


@dataclass(frozen=True, eq=False)
class Segment:
    """The nodes between two neighbouring points of a chain, including the second point."""

    nodes: tuple[Node, ...]
    entry: str | None
    keeps_shape: bool
    leaks: bool = False  # whether anything outside reads what lies before its exit, or calls its layers

    @property
    def exit(self) -> str:
        """Name of its last node."""
        return self.nodes[-1].name

    @property
    def is_residual(self) -> bool:
        """Whether it adds something to its input."""
        end = self.nodes[-1]
        return self.keeps_shape and end.type_name == _SUM and any(ref.node == self.entry for ref in end.inputs)

    @property
    def has_weights(self) -> bool:
        """Whether any of its layers has weights."""
        return any(getattr(node.operation, "weights", ()) for node in self.nodes)

    @property
    def signature(self) -> tuple[Any, ...]:
        """A value that is equal for interchangeable segments."""
        return tuple(
            (node.type_name, node.input_shapes, node.output_shapes, tuple(tuple(w.shape) for w in weights))
            for node in self.nodes
            for weights in [getattr(node.operation, "weights", ())]
        )


def segments_of(graph: LayerGraph) -> list[Segment]:
    """Returns the segments between the cut points of a graph, in its order."""
    order, calls = list(graph.nodes.values()), calls_of(graph)
    place = {node.name: i for i, node in enumerate(order)}
    segments, before, entry = [], 0, None
    for name in cut_points(graph):
        nodes = tuple(node for node in order[before : place[name] + 1] if entry is not None or not node.is_input)
        before = place[name] + 1
        if nodes:
            keeps = entry is not None and graph.shape(TensorRef(entry)) == graph.shape(TensorRef(name))
            segments.append(Segment(nodes, entry, keeps, _are_shared(nodes, calls)))
        entry = name
    return segments


def calls_of(graph: LayerGraph) -> dict[str, set[str]]:
    """Returns the nodes that are calls of each layer."""
    calls: dict[str, set[str]] = {}
    for node in graph.nodes.values():
        calls.setdefault(node.layer_name, set()).add(node.name)
    return calls


def is_called_outside(node: Node, gone: set[str], calls: Mapping[str, set[str]]) -> bool:
    """Whether a layer is also called outside of the removed nodes; its numbered calls would change names."""
    return not calls[node.layer_name] <= gone


def _are_shared(nodes: Sequence[Node], calls: Mapping[str, set[str]]) -> bool:
    names = {node.name for node in nodes}
    return any(is_called_outside(node, names, calls) for node in nodes)


class Chains:
    """The chains inside segments, each returned once: a branch may belong to many segments (NASNet)."""

    def __init__(self, graph: LayerGraph) -> None:
        self._graph = graph
        self._dominators = immediate_dominators(graph)
        self._ends = {ref.node for ref in graph.output_refs}
        self._calls = calls_of(graph)
        self._given: set[tuple[str, str]] = set()

    def inside(self, segment: Segment) -> Iterator[list[Segment]]:
        """Yields for each branch of a segment that ends with a join its segments between fork and join."""
        entry = str(segment.entry)
        for end in dict.fromkeys(ref.node for ref in segment.nodes[-1].inputs if ref.node != entry):
            if (entry, end) not in self._given:
                self._given.add((entry, end))
                yield self._along(entry, end)

    def _along(self, entry: str, end: str) -> list[Segment]:
        """Returns the segments between the nodes on every path from `entry` to `end`."""
        graph, chain, at = self._graph, [], end
        while at != entry:
            if len(graph.nodes[at].outputs) == 1:
                chain.append(at)
            at = str(self._dominators[at])
        segments = []
        for name in reversed(chain):
            names = between(graph, name, entry)
            inside, nodes = set(names), tuple(graph.nodes[node] for node in names)
            read = {reader for node in nodes[:-1] for ref in node.outputs for reader in graph.readers.get(ref, ())}
            keeps = graph.shape(TensorRef(entry)) == graph.shape(TensorRef(name))
            leaks = not read <= inside or not self._ends.isdisjoint(inside - {name})
            segments.append(Segment(nodes, entry, keeps, leaks or _are_shared(nodes, self._calls)))
            entry = name
        return segments
