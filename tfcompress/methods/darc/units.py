"""Units: the parts of a network that DARC may replace, each with its alternatives and their costs."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

import keras

from tfcompress.costs import Alternative, Cost, CostModel, alternatives
from tfcompress.graph import ChannelGroups, LayerGraph, TensorRef, find_blocks
from tfcompress.graph.copying import copied, has_own_objects
from tfcompress.graph.regions import between, calls_of
from tfcompress.plan import Plan, ReplaceLayers
from tfcompress.replacements import Part, Replacement, fitting
from tfcompress.rewrite import apply

__all__ = ["ORIGINAL", "Choice", "CostTable", "Unit", "as_one", "find_units", "known_units", "piece"]

ORIGINAL = "original"
"""Name of the alternative that keeps the original."""

Choice = Mapping[str, str]
"""The chosen alternative of each unit, by its name."""

_REPLACEABLE = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Dense,
    keras.layers.LSTM,
    keras.layers.GRU,
    keras.layers.SimpleRNN,
)
_CONVOLUTIONS = _REPLACEABLE[:3]


@dataclasses.dataclass(frozen=True, eq=False)
class Unit:
    """A part of a network, and its possible replacements.

    Attributes:
        part: the part.
        graph: the graph of the network.
        replacements: the cheaper replacements that fit the part, by name.
        table: the cost of each alternative, and its own small graph.
    """

    part: Part
    graph: LayerGraph
    replacements: Mapping[str, Replacement]
    table: Mapping[str, Alternative]

    @property
    def name(self) -> str:
        """Name of its first layer."""
        return self.part.name

    @property
    def alternatives(self) -> tuple[str, ...]:
        """The original, and the replacements."""
        return (ORIGINAL, *self.replacements)

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Names of its original layers."""
        return tuple(dict.fromkeys(self.graph.nodes[node].layer_name for node in self.part.nodes))

    @property
    def reads(self) -> tuple[TensorRef, ...]:
        """The tensors that it reads."""
        inside = set(self.part.nodes)
        refs = (ref for node in self.part.nodes for ref in self.graph.nodes[node].inputs)
        return tuple(dict.fromkeys(ref for ref in refs if ref.node not in inside))

    @property
    def gives(self) -> TensorRef:
        """The tensor that it gives."""
        return self.graph.nodes[self.part.nodes[-1]].outputs[0]

    def layers(self, alternative: str, source: keras.Model) -> list[keras.layers.Layer]:
        """Returns new layers of an alternative, in sequence; an original region is one Functional model.

        A part with a mask is one model too, in each of its alternatives, and reads the mask last.

        Args:
            alternative: its name.
            source: the model of the unit.
        """
        if alternative != ORIGINAL:
            return _new(self.part, self.replacements[alternative])
        if self.part.layer is not None and self.part.mask_shape is None:
            return [copied(self.part.layer)]
        return [piece(self, ORIGINAL, source)]

    @property
    def costs(self) -> Mapping[str, Cost]:
        """The cost of each alternative by itself."""
        return {name: each.cost for name, each in self.table.items()}


def _new(part: Part, replacement: Replacement) -> list[keras.layers.Layer]:
    made = fitting(part, replacement)
    assert made is not None
    return [made] if isinstance(made, keras.Model) else list(made)


def as_one(layers: Sequence[keras.layers.Layer]) -> keras.layers.Layer:
    """Returns a sequence of layers as a single layer."""
    return layers[0] if len(layers) == 1 else keras.Sequential(list(layers))


def piece(unit: Unit, alternative: str, source: keras.Model) -> keras.Model:
    """Returns a model of only one alternative of a unit; original layers keep the source's weights."""
    return apply(source, Plan(), unit.table[alternative].groups)


@dataclasses.dataclass(frozen=True, eq=False)
class CostTable:
    """The cost of a network with any choice: a sum over its units, for each metric.

    Attributes:
        whole: the cost of the unchanged network, by metric.
        parts: the cost of each alternative alone, by unit, alternative and metric.
    """

    whole: Mapping[str, float]
    parts: Mapping[str, Mapping[str, Mapping[str, float]]]

    @classmethod
    def of(cls, units: Sequence[Unit], whole: Cost) -> CostTable:
        """Returns the table of counted costs."""
        parts = {unit.name: {name: columns(cost) for name, cost in unit.costs.items()} for unit in units}
        return cls(columns(whole), parts)

    def total(self, choice: Choice, metric: str) -> float:
        """Returns the cost of the network with a choice."""
        return self.whole[metric] + sum(
            self.parts[unit][name][metric] - self.parts[unit][ORIGINAL][metric] for unit, name in choice.items()
        )

    def fits(self, choice: Choice, limits: Mapping[str, float]) -> bool:
        """Whether a choice is within limits."""
        return all(self.total(choice, metric) <= limit for metric, limit in limits.items())

    def cheapest(self, metric: str) -> dict[str, str]:
        """Returns the choice of the lowest cost."""
        return {unit: min(costs, key=lambda name: costs[name][metric]) for unit, costs in self.parts.items()}

    def lowest(self, metric: str) -> float:
        """Returns the lowest cost of any choice."""
        return self.total(self.cheapest(metric), metric)

    def shares(self, metrics: Sequence[str]) -> dict[str, dict[str, float]]:
        """Returns costs of alternatives as shares of the cost of all originals together; the mean over metrics."""
        wholes = {m: sum(costs[ORIGINAL][m] for costs in self.parts.values()) or 1 for m in metrics}
        return {
            unit: {name: sum(cost[m] / wholes[m] for m in metrics) / len(metrics) for name, cost in costs.items()}
            for unit, costs in self.parts.items()
        }


def columns(cost: Cost) -> dict[str, float]:
    """Returns a cost as numbers by metric."""
    return {"macs": cost.macs, "params": cost.params, "bytes": cost.bytes, **cost.others}


def find_units(
    costs: CostModel,
    replacements: Sequence[Replacement],
    unit: str | Sequence[str | Sequence[str]],
    free: Set[str],
) -> tuple[Unit, ...]:
    """Returns the units of a network that have a replacement.

    Args:
        costs: costs of the network.
        replacements: possible replacements of a unit.
        unit: "layer", "bottleneck", "block", or the names as in `DARC.unit`.
        free: names of the layers that may be replaced.

    Raises:
        ValueError: names that are not layers, not a region, repeated, or without a replacement; a
            replacement with layers that are not Keras' own.
    """
    groups = costs.groups
    graph = groups.graph
    units: list[Unit] = []
    for nodes in _regions(groups, unit):
        if not {graph.nodes[name].layer_name for name in nodes} <= free:
            continue
        if any(has_own_objects(graph.nodes[name].operation) for name in nodes):
            continue  # a plan is plain data, and could not say how the original is made again
        try:
            part = Part.of(graph, nodes)
        except ValueError as error:
            if unit in ("layer", "bottleneck", "block"):
                continue
            raise ValueError(f"Expected `unit` to name layers and regions. Received: {nodes}. {error}") from error
        able = {item.name: item for item in replacements if fitting(part, item) is not None}
        edits = {f"replacement {name!r}": _edit(part, item) for name, item in able.items()}
        original, *others = alternatives(costs, part.nodes, edits).values()
        table = {name: each for name, each in zip(able, others, strict=True) if _is_cheaper(each.cost, original.cost)}
        if table:
            units.append(Unit(part, graph, {name: able[name] for name in table}, {ORIGINAL: original, **table}))
        elif not isinstance(unit, str):
            raise ValueError(
                f"Expected `unit` to name layers and regions that one of {[item.name for item in replacements]} could "
                f"replace, and cheaper. Received: {nodes}. Leave it out, or give other replacements=."
            )
    return tuple(units)


_LAST: weakref.WeakKeyDictionary[CostModel, tuple[Any, tuple[Unit, ...]]] = weakref.WeakKeyDictionary()


def known_units(
    costs: CostModel,
    replacements: Sequence[Replacement],
    unit: str | Sequence[str | Sequence[str]],
    free: Set[str],
) -> tuple[Unit, ...]:
    """Does the same as `find_units`, but returns the known units if the arguments are the same as last time."""
    asked = (list(replacements), unit, free)
    if costs not in _LAST or _LAST[costs][0] != asked:
        _LAST[costs] = (asked, find_units(costs, replacements, unit, free))
    return _LAST[costs][1]


def _edit(part: Part, replacement: Replacement) -> ReplaceLayers:
    try:
        return ReplaceLayers.by(part.nodes, as_one(_new(part, replacement)))
    except ValueError as error:
        raise ValueError(f"Replacement {replacement.name!r} of {part.name!r}: {error}") from error


def _is_cheaper(cost: Cost, original: Cost) -> bool:
    return cost.macs < original.macs or cost.params < original.params


def _regions(groups: ChannelGroups, unit: str | Sequence[str | Sequence[str]]) -> Iterator[tuple[str, ...]]:
    graph = groups.graph
    if unit == "layer":
        yield from _layers(graph)
    elif unit in ("bottleneck", "block"):
        inside: set[str] = set()
        for nodes in _branches(groups, 3 if unit == "bottleneck" else 2):
            if inside.isdisjoint(nodes):
                inside.update(nodes)
                yield nodes
        yield from (nodes for nodes in _layers(graph) if inside.isdisjoint(nodes))
    else:
        taken: set[str] = set()
        for entry in unit:
            names = (entry,) if isinstance(entry, str) else tuple(entry)
            if twice := sorted(taken & set(names)):
                raise ValueError(f"Expected `unit` to name each layer once. Received: {twice}, more than once.")
            taken.update(names)
            unknown = [name for name in names if name not in graph.nodes]
            if unknown:
                raise ValueError(
                    f"Expected `unit` to name layers of {graph.name!r}. Received: {unknown}. "
                    "tfcompress.inspect(model) lists them all."
                )
            yield names


def _layers(graph: LayerGraph) -> Iterator[tuple[str, ...]]:
    calls = calls_of(graph)
    for node in graph.nodes.values():
        if isinstance(node.operation, _REPLACEABLE) and len(calls[node.layer_name]) == 1:
            yield (node.name,)


def _branches(groups: ChannelGroups, convolutions: int) -> Iterator[tuple[str, ...]]:
    """Yields, for each residual block with enough convolutions, its longest branch from first to last convolution."""
    graph = groups.graph
    for block in find_blocks(groups):
        branches = []
        for ref in graph.nodes[block.name].inputs:
            nodes = between(graph, ref.node, block.entry) if ref.node != block.entry else ()
            own = [name for name in nodes if isinstance(graph.nodes[name].operation, _CONVOLUTIONS)]
            if len(own) >= convolutions:
                entry = graph.nodes[own[0]].inputs[0].node
                branches.append(between(graph, own[-1], entry))
        if branches:
            yield max(branches, key=len)
