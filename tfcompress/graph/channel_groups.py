"""Which channels must be kept or removed together: `ChannelGroups.of(graph)`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from tfcompress.graph.handlers import Call, Handler, MacTerm, WeightAxes, handler_of
from tfcompress.graph.handlers.tied import TiedReader, sharing
from tfcompress.graph.labels import Ids, LabelBook, Labels
from tfcompress.graph.layer_graph import LayerGraph, Node, TensorRef

__all__ = ["ChannelGroup", "ChannelGroups", "FixedChannels", "NodeAnalysis"]


@dataclass(frozen=True, eq=False)
class ChannelGroup:
    """Channels of several layers that must be kept or removed together: the unit of channel pruning.

    Position i of the group stands for the same set of channels in every layer named here.

    Attributes:
        name: the layer that produces the channels first.
        size: number of positions; at least one must stay.
        producers: layers whose weights write the channels.
        readers: layers whose weights read them.
        carriers: layers with weights for the channels that pass through them (normalization, depthwise convolutions).
        roots: int64 `[size]`, the label that represents each position.
    """

    name: str
    size: int
    producers: tuple[str, ...]
    readers: tuple[str, ...]
    carriers: tuple[str, ...]
    roots: Ids

    def __str__(self) -> str:
        read = ", ".join(self.readers) or "nothing"
        through = f", through {', '.join(self.carriers)}" if self.carriers else ""
        return f"{self.name}: {self.size} channels, written by {', '.join(self.producers)}{through}, read by {read}"


@dataclass(frozen=True)
class FixedChannels:
    """Channels that cannot be removed.

    Attributes:
        layer: the layer that produces them.
        channels: number of its channels.
        node: the node that is the reason.
        reason: why.
    """

    layer: str
    channels: int
    node: str
    reason: str

    def __str__(self) -> str:
        return f"{self.layer}: {self.channels} channels stay: {self.reason} (at {self.node})"


@dataclass(frozen=True, eq=False)
class NodeAnalysis:
    """A node with its handler's results.

    Attributes:
        call: the call, as the handler saw it.
        handler: the handler of its class.
        outputs: labels of its outputs.
        weights: its weights with labelled axes.
        macs: its multiply-adds.
        whole: why the layer is left whole although its class has a handler, or `None`.
    """

    call: Call
    handler: Handler
    outputs: tuple[Labels, ...]
    weights: tuple[WeightAxes, ...]
    macs: tuple[MacTerm, ...]
    whole: str | None = None

    @property
    def node(self) -> Node:
        """The node itself."""
        return self.call.node


@dataclass(frozen=True, eq=False)
class ChannelGroups:
    """The channel groups of a graph, and the channels that cannot be pruned, with reasons.

    Attributes:
        graph: the graph.
        groups: prunable groups by name, in the order of the graph.
        fixed: channels that cannot be removed.
        analysis: the handlers' results, by node.
        roots: int64 `[labels]`: the representative of each label.
        through_norms: whether channels may be pruned if that changes a statistic over them.
    """

    graph: LayerGraph
    groups: Mapping[str, ChannelGroup]
    fixed: tuple[FixedChannels, ...]
    analysis: Mapping[str, NodeAnalysis]
    roots: Ids
    through_norms: bool = False

    @classmethod
    def of(cls, graph: LayerGraph, through_norms: bool = False) -> ChannelGroups:
        """Follows every channel through the graph.

        Args:
            graph: the graph.
            through_norms: by default, channels that enter a layer's statistic stay: those that LayerNormalization,
                GroupNormalization, RMSNormalization and UnitNormalization normalize over, and the key width of
                attention. True makes them prunable: each layer's own formula then runs over the remaining channels;
                attention keeps the scale of its scores.

        Returns:
            The groups.
        """
        book = LabelBook()
        analysis = _follow(graph, book, through_norms)
        roots = book.roots()
        fixed_roots = {int(roots[label]): why for label, why in sorted(book.fixed_reasons.items())[::-1]}
        return cls(
            graph=graph,
            groups=_groups(analysis, roots, fixed_roots, book.inner_names),
            fixed=_fixed(analysis, roots, fixed_roots),
            analysis=analysis,
            roots=roots,
            through_norms=through_norms,
        )

    def __iter__(self) -> Iterator[ChannelGroup]:
        return iter(self.groups.values())

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, name: str) -> ChannelGroup:
        if name not in self.groups:
            raise KeyError(f"Expected the name of a channel group. Received: {name!r}. Known: {sorted(self.groups)}")
        return self.groups[name]

    @property
    def unknown(self) -> tuple[Node, ...]:
        """Nodes without a handler, which are left whole."""
        return tuple(a.node for a in self.analysis.values() if not a.handler.known)

    def group_of_labels(self) -> npt.NDArray[np.int64]:
        """Returns int64 `[labels]`: index of a label's group, -1 if it is fixed."""
        owner = np.full(len(self.roots), -1, dtype=np.int64)
        for index, group in enumerate(self):
            owner[group.roots] = index
        return owner[self.roots]

    @cached_property
    def layers(self) -> Mapping[str, NodeAnalysis]:
        """Returns the analysis of each layer's first call, by layer name, in the order of the graph."""
        first: dict[str, NodeAnalysis] = {}
        for item in self.analysis.values():
            first.setdefault(item.node.layer_name, item)
        return first

    def weight_axes(self) -> dict[str, tuple[WeightAxes, ...]]:
        """Returns the labelled weights of every layer, by layer name; for a shared layer those of its first call."""
        return {name: item.weights for name, item in self.layers.items()}

    def __str__(self) -> str:
        lines = [str(group) for group in self]
        return "\n".join([*lines, *(str(f) for f in self.fixed)])


def _follow(graph: LayerGraph, book: LabelBook, through_norms: bool) -> dict[str, NodeAnalysis]:
    analysis: dict[str, NodeAnalysis] = {}
    labels: dict[TensorRef, Labels] = {}
    first_calls: dict[str, NodeAnalysis] = {}
    shared, readers = sharing(graph)
    for node in graph.nodes.values():
        inputs = tuple(labels[ref] for ref in node.inputs)
        earlier = first_calls.get(node.layer_name)
        written = earlier.outputs[0].ids if earlier and earlier.outputs else None
        calls = (earlier.call.inputs, earlier.outputs) if earlier else None
        call = Call(node, inputs, book, written, graph, calls, through_norms)
        outputs: tuple[Labels, ...]
        if node.is_input:
            outputs = (_input_labels(node, book),)
            item = NodeAnalysis(call, _INPUT, outputs, (), ())
        else:
            handler = readers.get(node.layer_name) or handler_of(node.operation)
            outputs = handler.flow(call)
            weights, macs = handler.weights(call, outputs), handler.macs(call, outputs)
            whole = _why_whole(node, handler, weights, shared)
            if whole is not None:
                for ids in _ids_of(inputs, outputs, weights):
                    call.fix(ids, whole)
            item = NodeAnalysis(call, handler, outputs, weights, macs, whole)
        if earlier is not None:
            _tie_calls(book, earlier, item)
        first_calls.setdefault(node.layer_name, item)
        analysis[node.name] = item
        labels.update(zip(node.outputs, outputs, strict=True))
    for ref in graph.output_refs:
        book.fix(labels[ref].ids, ref.node, "output of the model")
    _tie_shared(book, first_calls, [name for name in first_calls if name in readers])
    return analysis


def _tie_shared(book: LabelBook, layers: Mapping[str, NodeAnalysis], sharing: Iterable[str]) -> None:
    """Ties axes of a weight that layers share, by all of their handlers; an axis that one does not know is fixed."""
    said: dict[int, tuple[str, WeightAxes]] = {}
    for name in sharing:
        for weight in layers[name].weights:
            first, earlier = said.setdefault(id(weight.variable), (name, weight))
            for axis in weight.axes.keys() | earlier.axes.keys():
                pair = [side.axes[axis] for side in (weight, earlier) if axis in side.axes]
                if len(pair) == 2:
                    book.tie(*pair)
                else:
                    reason = f"it shares weights with {first!r}, which treats this axis otherwise"
                    book.fix(pair[0], layers[name].node.name, reason)


def _why_whole(node: Node, handler: Handler, weights: tuple[WeightAxes, ...], shared: Mapping[str, str]) -> str | None:
    """Returns why a layer is left whole although its handler would cut it."""
    if node.layer_name in shared:
        return f"it shares weights with {shared[node.layer_name]!r}"
    if not handler.known or isinstance(handler, TiedReader):
        return None
    labelled = {id(weight.variable) for weight in weights}
    others = [v.name for v in getattr(node.operation, "weights", ()) if id(v) not in labelled and len(v.shape)]
    if not others:
        return _held_to_a_width(node.operation, weights)
    mode = getattr(node.operation, "quantization_mode", None)
    if mode is not None:
        return f"{node.type_name} is quantized to {mode}: its scales go with all of its channels"
    return f"the handler of {node.type_name} does not describe its weights ({', '.join(others)})"


def _held_to_a_width(layer: Any, weights: tuple[WeightAxes, ...]) -> str | None:
    """Returns why a user's constraint or regularizer, such as one with a number per channel, fits only one width."""
    axes: dict[int, Any] | None = None
    for name, thing in vars(layer).items():
        if thing is None or not name.endswith(("_constraint", "_regularizer")):
            continue
        if type(thing).__module__.startswith("keras."):
            continue
        if axes is None:
            axes = {id(weight.variable): weight.axes for weight in weights}
        stem, _, kind = name.rpartition("_")
        variable = getattr(layer, stem, None)
        if id(variable) not in axes:
            continue
        values = keras.ops.convert_to_numpy(variable)
        for axis in axes[id(variable)]:
            wider = np.take(values, [*range(values.shape[axis]), 0], axis)
            try:
                result = thing(keras.ops.convert_to_tensor(wider))
                fits = kind == "regularizer" or tuple(result.shape) == wider.shape
            except Exception:  # whatever code of the user's says of another width
                fits = False
            if not fits:
                return f"its {name} fits this width only"
    return None


def _ids_of(inputs: tuple[Labels, ...], outputs: tuple[Labels, ...], weights: tuple[WeightAxes, ...]) -> Iterator[Ids]:
    yield from (labels.ids for labels in (*inputs, *outputs))
    yield from (ids for weight in weights for ids in weight.axes.values())


class _InputHandler(Handler):
    """Entries of the model."""


_INPUT = _InputHandler()


def _input_labels(node: Node, book: LabelBook) -> Labels:
    shape = node.output_shapes[0]
    axis = len(shape) - 1
    ids = book.new((shape[axis] if axis > 0 else 0) or 0)
    book.fix(ids, node.name, "input of the model")
    return Labels(ids, axis)


def _tie_calls(book: LabelBook, first: NodeAnalysis, later: NodeAnalysis) -> None:
    """Ties the labels that several calls of a layer give to an axis of a weight, because a weight has one shape."""
    for early, late in zip(first.weights, later.weights, strict=True):
        if early.axes.keys() != late.axes.keys():  # the channels of the calls lie on different axes
            for ids in (*early.axes.values(), *late.axes.values()):
                book.fix(ids, later.node.name, "calls of one layer whose channels lie on different axes")
            continue
        for axis, ids in early.axes.items():
            book.tie(ids, late.axes[axis])


def _groups(
    analysis: Mapping[str, NodeAnalysis], roots: Ids, fixed: Mapping[int, Any], inner_names: Mapping[int, str]
) -> dict[str, ChannelGroup]:
    """Makes a position of labels with one representative, and a group of positions that always occur together."""
    signature = _signatures(analysis, roots)
    representatives = np.unique(roots)
    seen = signature[representatives] != 0
    free = np.array([int(r) not in fixed for r in representatives], dtype=bool)
    by_signature: dict[int, list[int]] = {}
    for root in representatives[seen & free].tolist():
        by_signature.setdefault(int(signature[root]), []).append(root)
    members = list(by_signature.values())
    index_of = np.full(len(roots), -1, dtype=np.int64)
    for index, positions in enumerate(members):
        index_of[positions] = index
    layers: dict[str, list[dict[str, None]]] = {k: [{} for _ in members] for k in ("writes", "reads", "carries")}
    shown: list[str | None] = [None] * len(members)
    for item in analysis.values():
        for labels in item.outputs:
            for index in _indices(index_of, roots, labels.ids):
                shown[index] = shown[index] or item.node.layer_name
        for weight in item.weights:
            for kind, names in layers.items():
                for ids in getattr(weight, kind).values():
                    for index in _indices(index_of, roots, ids):
                        names[index][item.node.layer_name] = None
    groups: dict[str, ChannelGroup] = {}
    for index, positions in enumerate(members):
        producers = tuple(layers["writes"][index])
        base = name = producers[0] if producers else str(shown[index])
        if positions[0] in inner_names:
            base = name = f"{base}:{inner_names[positions[0]]}"
        count = 1
        while name in groups:
            count += 1
            name = f"{base}:{count}"
        groups[name] = ChannelGroup(
            name=name,
            size=len(positions),
            producers=producers,
            readers=tuple(layers["reads"][index]),
            carriers=tuple(layers["carries"][index]),
            roots=np.array(positions, dtype=np.int64),
        )
    return groups


def _indices(index_of: Ids, roots: Ids, ids: Ids) -> list[int]:
    indices = np.unique(index_of[roots[ids]])
    return [int(i) for i in indices if i >= 0]


def _signatures(analysis: Mapping[str, NodeAnalysis], roots: Ids) -> npt.NDArray[np.uint64]:
    """Returns a hash for each representative of where and how often it occurs; equal for interchangeable positions."""
    signature = np.zeros(len(roots), dtype=np.uint64)
    rng = np.random.default_rng(0)
    seen: set[int] = set()
    for item in analysis.values():
        vectors = [labels.ids for labels in item.outputs]
        vectors += [ids for weight in item.weights for ids in weight.axes.values()]
        for ids in vectors:
            if id(ids) not in seen and len(ids):
                seen.add(id(ids))
                np.add.at(signature, roots[ids], rng.integers(1, 2**63, dtype=np.uint64))
    return signature


def _fixed(
    analysis: Mapping[str, NodeAnalysis], roots: Ids, fixed: Mapping[int, tuple[str, str]]
) -> tuple[FixedChannels, ...]:
    counts: dict[tuple[str, str, str], int] = {}
    done: set[str] = set()
    for item in analysis.values():
        layer = item.node.layer_name
        if layer in done:
            continue
        done.add(layer)
        written = [ids for weight in item.weights for ids in weight.writes.values()]
        if not item.handler.known:
            written = [labels.ids for labels in item.outputs]
        # Each channel once, in however many weights and gates it is written.
        for root in roots[np.unique(np.concatenate(written))].tolist() if written else ():
            if root in fixed:
                key = (layer, *fixed[root])
                counts[key] = counts.get(key, 0) + 1
    return tuple(FixedChannels(layer, count, node, reason) for (layer, node, reason), count in counts.items())
