"""The layers as N2N's policies see them, and the plans from their actions (Ashok et al. 2018, section 3.2).

The layers come from the graph: every layer without which the network still runs may be removed, and everything that
may be smaller is a variable. Nothing is built here.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from tfcompress.channels import pruning_units
from tfcompress.costs import CostModel
from tfcompress.graph import Block, ChannelGroup, ChannelGroups, LayerGraph, find_blocks
from tfcompress.graph.layer_graph import Node
from tfcompress.graph.regions import calls_of
from tfcompress.graph.structure import restructured
from tfcompress.methods.n2n.rules import TEXT, Rules
from tfcompress.methods.n2n.sequence import FEATURES, LayerSequence
from tfcompress.methods.n2n.shapes import runs_after
from tfcompress.plan import Edit, KeepChannels, Plan, Reconfigure, RemoveLayers, StructuralEdit

__all__ = ["Removable", "Shrinkable", "Space", "Variable", "structure_error"]


def structure_error(graph: LayerGraph, edits: Sequence[StructuralEdit]) -> str | None:
    """Returns why structural edits with fresh weights leave a network that does not run; `None` if it runs."""
    try:
        ChannelGroups.of(restructured(graph, edits, "fresh").graph)  # follows states of recurrent layers as well
    except ValueError as error:
        return " ".join(str(error).split())
    return None


@dataclass(frozen=True, eq=False)
class Removable:
    """The removal stage: a decision for each layer of a sequence.

    Attributes:
        groups: channel groups of the network.
        sequence: the layers.
        allowed: bool `[layers]`: whether each of them alone may be removed.
    """

    groups: ChannelGroups
    sequence: LayerSequence
    allowed: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, groups: ChannelGroups, rules: Rules = TEXT) -> Removable:
        """Finds the layers that may be removed.

        The first and the last layer with weights stay, with everything before and after, and so do strided convolutions
        (decided, docs/methods/n2n.md). Of the others, those without which the network still runs may be removed.
        """
        graph, sequence, calls = groups.graph, LayerSequence.of(groups, rules), calls_of(groups.graph)
        with_weights = [
            number
            for number, name in enumerate(sequence.nodes)
            if getattr(graph.nodes[name].operation, "trainable_variables", ())
        ]
        allowed = np.zeros(len(sequence.nodes), bool)
        if with_weights:
            for number in range(with_weights[0] + 1, with_weights[-1]):
                node = graph.nodes[sequence.nodes[number]]
                allowed[number] = (
                    len(set(node.inputs)) == 1
                    and not isinstance(node.operation, rules.never_removed)
                    and not (_is_strided(node) if rules.strided_stay == "all" else _is_strided_convolution(node))
                    and len(calls[node.layer_name]) == 1
                    and (_changes_nothing(node, graph) or _runs(graph, RemoveLayers((node.name,))))
                )
        return cls(groups, sequence, allowed)

    def plan(self, removed: Sequence[bool]) -> Plan:
        """Returns the plan without the layers marked in `removed`; its weights are fresh."""
        gone = tuple(
            name for name, go, may in zip(self.sequence.nodes, removed, self.allowed, strict=True) if go and may
        )
        return Plan((RemoveLayers(gone),) if gone else (), "fresh")

    def smallest(self, keeping_widths: bool = False) -> Plan:
        """Returns the plan without all layers that may be removed together, except those that reduce feature maps.

        Args:
            keeping_widths: whether only layers that keep the number of channels are removed: without a layer that
                reduces the channels, the layers behind it would be larger.
        """
        graph = self.groups.graph
        gone: list[bool] = [
            bool(may)
            and not _shrinks_maps(graph, graph.nodes[name])
            and (_changes_nothing(graph.nodes[name], graph) or not keeping_widths)
            for name, may in zip(self.sequence.nodes, self.allowed, strict=True)
        ]
        if structure_error(graph, self.plan(gone).structural) is None:
            return self.plan(gone)
        alone = [False] * len(gone)
        for number in (number for number, go in enumerate(gone) if go):
            alone[number] = True
            alone[number] = structure_error(graph, self.plan(alone).structural) is None
        return self.plan(alone)


def _shrinks_maps(graph: LayerGraph, node: Node) -> bool:
    read, given = (math.prod(size or 1 for size in graph.shape(refs[0])[1:-1]) for refs in (node.inputs, node.outputs))
    return given < read


def _runs(graph: LayerGraph, edit: RemoveLayers | Reconfigure) -> bool:
    """Whether a network with fresh weights runs after an edit: as its layers tell, or by trying it."""
    runs = runs_after(graph, edit)
    return structure_error(graph, [edit]) is None if runs is None else runs


def _changes_nothing(node: Node, graph: LayerGraph) -> bool:
    """Whether a node's output has the form of its single input: everything behind it runs without it."""
    if len(node.outputs) != 1:
        return False
    read, given = (graph.tensors[refs[0]] for refs in (node.inputs, node.outputs))
    return read.shape == given.shape and read.dtype == given.dtype


def _is_strided(node: Node) -> bool:
    """Whether a layer has a stride above 1."""
    config = node.operation.get_config() if isinstance(node.operation, keras.Layer) else {}
    strides = config.get("strides")
    return (max(strides) if isinstance(strides, Sequence) else strides or 1) > 1


def _is_strided_convolution(node: Node) -> bool:
    return _is_strided(node) and "kernel_size" in node.operation.get_config()


@dataclass(frozen=True, eq=False)
class Variable:
    """A number of a network that the shrinkage policy may reduce.

    Attributes:
        node: name of its node.
        what: "kernel_size", "padding" or "outputs".
        size: its value in the network; for a kernel its longest side.
        sides: for "kernel_size", all of its sides.
        groups: for "outputs", the channel groups that become narrower together.
    """

    node: str
    what: str
    size: int
    sides: tuple[int, ...] = ()
    groups: tuple[ChannelGroup, ...] = ()


@dataclass(frozen=True, eq=False)
class Shrinkable:
    """The shrinkage stage: a share for each variable of a network.

    Attributes:
        sequence: the layers.
        variables: for each layer, in order, its kernel size, padding and outputs.
        rules: the rules that they were derived by.
    """

    sequence: LayerSequence
    variables: tuple[Variable, ...]
    rules: Rules = TEXT

    @classmethod
    def of(cls, groups: ChannelGroups, rules: Rules = TEXT) -> Shrinkable:
        """Finds the numbers that may be smaller.

        Kernels and paddings of convolutions of stride 1, if the network runs with the smallest ones; outputs inside
        residual blocks, or everywhere in a network without such blocks.
        """
        graph, sequence, blocks = groups.graph, LayerSequence.of(groups, rules), find_blocks(groups)
        outputs: dict[str, list[Variable]] = {}
        for unit in pruning_units(groups):
            node = _node_of(groups, unit.groups[0])
            if rules.width_of_a_block == "last":
                node = _last_of_block(graph, blocks, sequence, node)
            variable = Variable(node, "outputs", unit.size, groups=unit.groups)
            outputs.setdefault(node, []).append(variable)
        variables = []
        for name in sequence.nodes:
            variables += [*_of_kernel(graph, graph.nodes[name]), *outputs.get(name, ())]
        return cls(sequence, tuple(variables), rules)

    @property
    def numbers(self) -> npt.NDArray[np.float32]:
        """The numbers of each variable's layer as a policy reads them, float32 `[variables, 7]`."""
        place = {name: number for number, name in enumerate(self.sequence.nodes)}
        rows = self.sequence.read(self.rules)
        return np.array([rows[place[v.node]] for v in self.variables], "float32").reshape(-1, len(FEATURES))

    def plan(self, shares: Sequence[float]) -> Plan:
        """Returns the plan in which each variable has its share of its original value, rounded; its weights are fresh.

        Args:
            shares: for each variable, above 0 and at most 1.
        """
        settings: dict[str, dict[str, Any]] = {}
        kept: list[Edit] = []
        for variable, share in zip(self.variables, shares, strict=True):
            size = math.floor(share * variable.size + 0.5)
            if variable.what == "outputs":
                kept += [_narrower(group, share, self.rules.widths_from) for group in variable.groups]
            elif variable.what == "kernel_size" and max(size, 1) < variable.size:
                sides = tuple(min(side, max(size, 1)) for side in variable.sides)
                kernel = sides[0] if len(set(sides)) == 1 else sides
                settings.setdefault(variable.node, {})["kernel_size"] = kernel
            elif variable.what == "padding" and size == 0:
                settings.setdefault(variable.node, {})["padding"] = "valid"
        edits: list[Edit] = [Reconfigure(node, config) for node, config in settings.items()]
        return Plan((*edits, *(edit for edit in kept if edit is not None)), "fresh")

    def uniform(self, share: float) -> Plan:
        """Returns the plan in which all kernels and outputs keep the same share, and paddings stay: it always runs."""
        return self.plan([1.0 if variable.what == "padding" else share for variable in self.variables])


class Space:
    """All decisions of a search in one network, each part computed when it is first needed.

    Args:
        groups: channel groups of the network.
        rules: the rules to derive it by.
    """

    def __init__(self, groups: ChannelGroups, rules: Rules = TEXT) -> None:
        self._groups, self._rules = groups, rules

    @classmethod
    def of(cls, costs: CostModel, rules: Rules = TEXT) -> Space:
        """Returns the space of a cost model's network, which is computed once."""
        known = _KNOWN.setdefault(costs, {})
        if rules not in known:
            known[rules] = cls(costs.groups, rules)
        return known[rules]

    @cached_property
    def removable(self) -> Removable:
        """The removal stage."""
        return Removable.of(self._groups, self._rules)

    @cached_property
    def shrinkable(self) -> Shrinkable:
        """The shrinkage stage."""
        return Shrinkable.of(self._groups, self._rules)


# By cost model: it holds the groups that a space speaks of, and they do not hold it, so a space goes with its network.
_KNOWN: weakref.WeakKeyDictionary[CostModel, dict[Rules, Space]] = weakref.WeakKeyDictionary()


def _last_of_block(graph: LayerGraph, blocks: Sequence[Block], sequence: LayerSequence, name: str) -> str:
    """Returns the last layer with outputs of its own in the innermost residual block around a node, or the node."""
    around = [set(block.nodes) for block in blocks if name in block.nodes]
    inside = min(around, key=len) if around else {name}
    makers = (node for node in reversed(sequence.nodes) if node in inside and _has_outputs(graph.nodes[node]))
    return next(makers, name)


def _has_outputs(node: Node) -> bool:
    """Whether a layer has a setting for its number of outputs."""
    config = node.operation.get_config() if isinstance(node.operation, keras.Layer) else {}
    return "filters" in config or "units" in config


def _node_of(groups: ChannelGroups, group: ChannelGroup) -> str:
    """Returns the node that makes the channels of a group, the first one if there are several."""
    made = group.producers[0]
    return next(name for name, item in groups.analysis.items() if item.node.layer_name == made)


def _narrower(group: ChannelGroup, share: float, least: int) -> Any:
    width = max(math.floor(share * group.size + 0.5), min(least, group.size), 1)
    return KeepChannels(group.name, tuple(range(width))) if width < group.size else None


def _of_kernel(graph: LayerGraph, node: Node) -> list[Variable]:
    """Returns kernel size and padding of a convolution, if they may be reduced; if shared, only at its first call."""
    config: Mapping[str, Any] = node.operation.get_config() if isinstance(node.operation, keras.Layer) else {}
    kernel = config.get("kernel_size") or 1
    sides = tuple(kernel) if isinstance(kernel, Sequence) else (kernel,)
    if max(sides) <= 1 or _is_strided(node) or node.name != node.layer_name:
        return []
    variables, same = [], config.get("padding") == "same"
    if same or _runs(graph, Reconfigure(node.name, {"kernel_size": 1})):
        variables.append(Variable(node.name, "kernel_size", max(sides), sides))
    if same and _runs(graph, Reconfigure(node.name, {"padding": "valid"})):
        variables.append(Variable(node.name, "padding", (max(sides) - 1) // 2))
    return variables
