"""The layers as N2N's policies see them, and the plans that their actions make (Ashok et al. 2018, section 3.2).

The layers come from the graph: whatever leaves a network that runs when it goes may be removed, and whatever may be
smaller is a variable. Nothing is built here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from tfcompress.channels import pruning_units
from tfcompress.graph import ChannelGroup, ChannelGroups, LayerGraph, find_blocks
from tfcompress.graph.layer_graph import Node
from tfcompress.graph.structure import restructured
from tfcompress.plan import Edit, KeepChannels, Plan, Reconfigure, RemoveLayers, StructuralEdit

__all__ = ["FEATURES", "LayerSequence", "Removable", "Shrinkable", "Variable", "structure_error"]

FEATURES = ("type", "kernel", "stride", "padding", "outputs", "skip_start", "skip_end")
"""The numbers by which a policy knows a layer: `x_t = (l, k, s, p, n, s_start, s_end)`."""

_SIZES = {"kernel_size": "kernel", "pool_size": "kernel", "strides": "stride"}


@dataclass(frozen=True, eq=False)
class LayerSequence:
    """The layers of a network in the order of its graph, as a policy reads them.

    Attributes:
        nodes: their names: all nodes but the inputs.
        numbers: float32 `[layers, 7]`, see `FEATURES`: the layer's type as a number, its kernel, stride and padding
            along its first axis, its outputs, and how many layers lie between it and the start and the end of the skip
            connection around it, 0 where there is none. What a layer does not have is 0.
    """

    nodes: tuple[str, ...]
    numbers: npt.NDArray[np.float32]

    @classmethod
    def of(cls, groups: ChannelGroups) -> LayerSequence:
        """The sequence of a network."""
        graph = groups.graph
        nodes = [node for node in graph.nodes.values() if not node.is_input]
        place = {node.name: number for number, node in enumerate(nodes)}
        around: dict[str, tuple[int, int]] = {}
        for block in sorted(find_blocks(groups), key=lambda block: -len(block.nodes)):  # the innermost one is told
            inside = [place[name] for name in block.nodes]
            around.update({name: (place[name] - min(inside) + 1, max(inside) - place[name]) for name in block.nodes})
        rows = [[*_numbers(node, graph), *around.get(node.name, (0, 0))] for node in nodes]
        return cls(tuple(place), np.array(rows, "float32").reshape(len(nodes), len(FEATURES)))

    def scaled(self) -> npt.NDArray[np.float32]:
        """The numbers, each column from 0 to 1; outputs by their logarithm, which policies of other networks share."""
        numbers = self.numbers.copy()
        numbers[:, FEATURES.index("outputs")] = np.log2(1 + numbers[:, FEATURES.index("outputs")]) / 12
        for name, full in (("type", len(_TYPES) + 1), ("kernel", 7), ("stride", 4), ("padding", 3)):
            numbers[:, FEATURES.index(name)] /= full
        for name in ("skip_start", "skip_end"):
            numbers[:, FEATURES.index(name)] /= 10
        return numbers


_TYPES = (
    "Conv2D",
    "DepthwiseConv2D",
    "SeparableConv2D",
    "Conv1D",
    "Dense",
    "BatchNormalization",
    "ReLU",
    "Activation",
    "MaxPooling2D",
    "AveragePooling2D",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling2D",
    "Flatten",
    "Dropout",
    "ZeroPadding2D",
    "Add",
    "Concatenate",
)


def _numbers(node: Node, graph: LayerGraph) -> list[float]:
    """Type, kernel, stride, padding and outputs of a layer; types that are not listed share a number."""
    config = node.operation.get_config() if isinstance(node.operation, keras.Layer) else {}
    kind = _TYPES.index(node.type_name) + 1 if node.type_name in _TYPES else len(_TYPES) + 1
    kernel = _first(config.get("kernel_size", config.get("pool_size")))
    padding = config.get("padding")
    if padding == "same":
        around = (kernel - 1) // 2
    else:
        around = 0 if isinstance(padding, str) else _first(padding)
    outputs = config.get("filters", config.get("units"))
    width = outputs if isinstance(outputs, int) else _width(node, graph)
    return [kind, kernel, _first(config.get("strides")), around, width]


def _width(node: Node, graph: LayerGraph) -> int:
    shape = graph.shape(node.outputs[0]) if node.outputs else ()
    first = getattr(node.operation, "data_format", None) == "channels_first" and len(shape) > 2
    size = shape[1 if first else -1] if len(shape) > 1 else 0
    return size or 0


def _first(value: Any) -> int:
    while isinstance(value, Sequence) and not isinstance(value, str):
        value = value[0] if value else 0
    return value if isinstance(value, int) else 0


def structure_error(graph: LayerGraph, edits: Sequence[StructuralEdit]) -> str | None:
    """Why structural edits with fresh weights leave no network that runs; `None` where they do."""
    try:
        restructured(graph, edits, "fresh")
    except ValueError as error:
        return " ".join(str(error).split())
    return None


@dataclass(frozen=True, eq=False)
class Removable:
    """The removal stage: a decision for each layer of a sequence.

    Attributes:
        sequence: the layers.
        allowed: bool `[layers]`: which of them may be removed, each alone.
    """

    groups: ChannelGroups
    sequence: LayerSequence
    allowed: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, groups: ChannelGroups) -> Removable:
        """Works out what may be removed.

        The first and the last layer with weights stay, with what lies before and after, and strided convolutions do
        (decided, docs/n2n.md). Of the others those may go without which the network still runs.
        """
        graph, sequence = groups.graph, LayerSequence.of(groups)
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
                    and not _is_strided_convolution(node)
                    and structure_error(graph, [RemoveLayers((node.name,))]) is None
                )
        return cls(groups, sequence, allowed)

    def plan(self, removed: Sequence[bool]) -> Plan:
        """The plan without the layers for which `removed` says so; its weights are fresh."""
        gone = tuple(
            name for name, go, may in zip(self.sequence.nodes, removed, self.allowed, strict=True) if go and may
        )
        return Plan((RemoveLayers(gone),) if gone else (), "fresh")

    def smallest(self) -> Plan:
        """The plan without all layers that may go together, but for those that make feature maps smaller."""
        graph = self.groups.graph
        gone: list[bool] = [
            bool(may) and not _shrinks_maps(graph, graph.nodes[name])
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


def _is_strided_convolution(node: Node) -> bool:
    config = node.operation.get_config() if isinstance(node.operation, keras.Layer) else {}
    strides = config.get("strides")
    largest = max(strides) if isinstance(strides, Sequence) else strides or 1
    return "kernel_size" in config and largest > 1


@dataclass(frozen=True, eq=False)
class Variable:
    """A number of a network that the shrinkage policy may lower.

    Attributes:
        node: name of the node that has it.
        what: "kernel_size", "padding" or "outputs".
        size: what it is in the network.
        groups: of "outputs", the channel groups that become narrower together.
    """

    node: str
    what: str
    size: int
    groups: tuple[ChannelGroup, ...] = ()


@dataclass(frozen=True, eq=False)
class Shrinkable:
    """The shrinkage stage: a share for each variable of a network.

    Attributes:
        sequence: the layers.
        variables: in the order of the layers, for each its kernel size, padding and outputs.
        numbers: float32 `[variables, 7]`, the rows of the sequence.
    """

    groups: ChannelGroups
    sequence: LayerSequence
    variables: tuple[Variable, ...]

    @classmethod
    def of(cls, groups: ChannelGroups) -> Shrinkable:
        """Works out what may be smaller.

        Kernels and paddings of convolutions of stride 1, where the network runs with the smallest; outputs inside of
        residual blocks, or everywhere in a network without.
        """
        graph, sequence = groups.graph, LayerSequence.of(groups)
        outputs = {_node_of(groups, unit.groups[0]): unit.groups for unit in pruning_units(groups)}
        variables = []
        for name in sequence.nodes:
            variables += _of_kernel(graph, graph.nodes[name])
            if name in outputs:
                size = max(group.size for group in outputs[name])
                variables.append(Variable(name, "outputs", size, outputs[name]))
        return cls(groups, sequence, tuple(variables))

    @property
    def numbers(self) -> npt.NDArray[np.float32]:
        """The scaled row of each variable's layer."""
        place = {name: number for number, name in enumerate(self.sequence.nodes)}
        rows = self.sequence.scaled()
        return np.array([rows[place[v.node]] for v in self.variables], "float32").reshape(-1, len(FEATURES))

    def plan(self, shares: Sequence[float], least: int = 1) -> Plan:
        """The plan in which each variable is its share of what it was, rounded; its weights are fresh.

        Args:
            shares: for each variable, above 0 and at most 1.
            least: fewest outputs.
        """
        settings: dict[str, dict[str, Any]] = {}
        kept: list[Edit] = []
        for variable, share in zip(self.variables, shares, strict=True):
            size = math.floor(share * variable.size + 0.5)
            if variable.what == "outputs":
                kept += [_narrower(group, share, least) for group in variable.groups]
            elif variable.what == "kernel_size" and max(size, 1) < variable.size:
                settings.setdefault(variable.node, {})["kernel_size"] = max(size, 1)
            elif variable.what == "padding" and size == 0:
                settings.setdefault(variable.node, {})["padding"] = "valid"
        edits: list[Edit] = [Reconfigure(node, config) for node, config in settings.items()]
        return Plan((*edits, *(edit for edit in kept if edit is not None)), "fresh")

    def uniform(self, share: float) -> Plan:
        """The plan in which every kernel and all outputs keep the same share, and paddings stay: it always runs."""
        return self.plan([1.0 if variable.what == "padding" else share for variable in self.variables])


def _node_of(groups: ChannelGroups, group: ChannelGroup) -> str:
    """The node that makes the channels of a group, the first where there are several."""
    made = group.producers[0]
    return next(name for name, item in groups.analysis.items() if item.node.layer_name == made)


def _narrower(group: ChannelGroup, share: float, least: int) -> Any:
    width = max(math.floor(share * group.size + 0.5), min(least, group.size), 1)
    return KeepChannels(group.name, tuple(range(width))) if width < group.size else None


def _of_kernel(graph: LayerGraph, node: Node) -> list[Variable]:
    """Kernel size and padding of a convolution, where both may be lowered."""
    config: Mapping[str, Any] = node.operation.get_config() if isinstance(node.operation, keras.Layer) else {}
    kernel = config.get("kernel_size")
    kernel = max(kernel) if isinstance(kernel, Sequence) else kernel or 1
    if kernel <= 1 or _is_strided_convolution(node):
        return []
    variables = []
    if structure_error(graph, [Reconfigure(node.name, {"kernel_size": 1})]) is None:
        variables.append(Variable(node.name, "kernel_size", kernel))
    if (
        config.get("padding") == "same"
        and structure_error(graph, [Reconfigure(node.name, {"padding": "valid"})]) is None
    ):
        variables.append(Variable(node.name, "padding", (kernel - 1) // 2))
    return variables
