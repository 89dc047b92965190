"""Units: the parts of a network that DARC may replace, each with its alternatives and what they cost."""

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
"""Name of the alternative that stays what it is."""

Choice = Mapping[str, str]
"""For each unit, by its name, the alternative that stands in its place."""

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
    """A part of a network, and what may stand in its place.

    Attributes:
        part: the part.
        graph: the graph that it is a part of.
        replacements: those that fit the part and are cheaper, by name.
        table: of each alternative its cost and its own small graph.
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
        """Names of its layers as it is."""
        return tuple(dict.fromkeys(self.graph.nodes[node].layer_name for node in self.part.nodes))

    @property
    def reads(self) -> tuple[TensorRef, ...]:
        """The tensors that come into it."""
        inside = set(self.part.nodes)
        refs = (ref for node in self.part.nodes for ref in self.graph.nodes[node].inputs)
        return tuple(dict.fromkeys(ref for ref in refs if ref.node not in inside))

    @property
    def gives(self) -> TensorRef:
        """The tensor that goes out of it."""
        return self.graph.nodes[self.part.nodes[-1]].outputs[0]

    def layers(self, alternative: str, source: keras.Model) -> list[keras.layers.Layer]:
        """New layers of an alternative, one after the other; a region as it is, is one Functional model.

        A part that has a mask is one too, in each of its alternatives, and reads the mask last.

        Args:
            alternative: its name.
            source: the model that the unit is of.
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
    """Layers one after the other, as one."""
    return layers[0] if len(layers) == 1 else keras.Sequential(list(layers))


def piece(unit: Unit, alternative: str, source: keras.Model) -> keras.Model:
    """A model that is one alternative of a unit and nothing else; what the source has keeps its weights."""
    return apply(source, Plan(), unit.table[alternative].groups)


@dataclasses.dataclass(frozen=True, eq=False)
class CostTable:
    """The cost of a network with any choice: a sum over its units, for each metric.

    Attributes:
        whole: for each metric the cost of the network as it is.
        parts: for each unit and alternative what that costs by itself, by metric.
    """

    whole: Mapping[str, float]
    parts: Mapping[str, Mapping[str, Mapping[str, float]]]

    @classmethod
    def of(cls, units: Sequence[Unit], whole: Cost) -> CostTable:
        """The table of what is counted."""
        parts = {unit.name: {name: columns(cost) for name, cost in unit.costs.items()} for unit in units}
        return cls(columns(whole), parts)

    def total(self, choice: Choice, metric: str) -> float:
        """The cost of the network with a choice."""
        return self.whole[metric] + sum(
            self.parts[unit][name][metric] - self.parts[unit][ORIGINAL][metric] for unit, name in choice.items()
        )

    def fits(self, choice: Choice, limits: Mapping[str, float]) -> bool:
        """Whether a choice is within limits."""
        return all(self.total(choice, metric) <= limit for metric, limit in limits.items())

    def cheapest(self, metric: str) -> dict[str, str]:
        """The choice of the lowest cost."""
        return {unit: min(costs, key=lambda name: costs[name][metric]) for unit, costs in self.parts.items()}

    def lowest(self, metric: str) -> float:
        """The lowest cost that any choice reaches."""
        return self.total(self.cheapest(metric), metric)

    def shares(self, metrics: Sequence[str]) -> dict[str, dict[str, float]]:
        """Costs of alternatives, as shares of what all originals cost together; the mean over metrics."""
        wholes = {m: sum(costs[ORIGINAL][m] for costs in self.parts.values()) or 1 for m in metrics}
        return {
            unit: {name: sum(cost[m] / wholes[m] for m in metrics) / len(metrics) for name, cost in costs.items()}
            for unit, costs in self.parts.items()
        }


def columns(cost: Cost) -> dict[str, float]:
    """A cost as numbers by metric."""
    return {"macs": cost.macs, "params": cost.params, "bytes": cost.bytes, **cost.others}


def find_units(
    costs: CostModel,
    replacements: Sequence[Replacement],
    unit: str | Sequence[str | Sequence[str]],
    free: Set[str],
) -> tuple[Unit, ...]:
    """The units of a network for which there is a replacement.

    Args:
        costs: of the network.
        replacements: what may stand in a unit's place.
        unit: "layer", "bottleneck", "block", or what `DARC.unit` names.
        free: names of the layers that may be replaced.

    Raises:
        ValueError: names that are no layers, or no region, or twice the same, or that nothing could replace; a
            replacement of layers that are not Keras' own.
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
    """As `find_units`; asked for the same once more, it gives the units that were found then."""
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
    """From the first to the last convolution of the longest branch of each residual block that has enough of them."""
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
