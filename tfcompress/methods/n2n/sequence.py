"""The layers of a network as N2N's policies read them (Ashok et al. 2018, section 3.2.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from tfcompress.graph import Block, ChannelGroups, LayerGraph, find_blocks
from tfcompress.graph.layer_graph import Node
from tfcompress.graph.regions import between
from tfcompress.methods.n2n.rules import TEXT, Rules

__all__ = ["FEATURES", "LayerSequence", "names_of_features"]

FEATURES = ("type", "kernel", "stride", "padding", "outputs", "skip_start", "skip_end")
"""The numbers that describe a layer to a policy: `x_t = (l, k, s, p, n, s_start, s_end)`."""


def names_of_features(rules: Rules) -> tuple[str, ...]:
    """Returns names of a policy's inputs: a policy for standardized numbers cannot continue with others."""
    kind = "standardised" if rules.standardised else "as it is"
    return tuple(f"{name} {kind}" for name in FEATURES)


@dataclass(frozen=True, eq=False)
class LayerSequence:
    """The layers of a network in the order of its graph, as a policy reads them.

    Attributes:
        nodes: names of all nodes except the inputs and, under some rules, skip connections.
        numbers: float32 `[layers, 7]`, see `FEATURES`: the layer's type as a number, its kernel, stride and padding
            along its first axis, its outputs, and the number of layers between it and the start and the end of the skip
            connection around it, 0 if there is none. Properties that a layer lacks are 0.
    """

    nodes: tuple[str, ...]
    numbers: npt.NDArray[np.float32]

    @classmethod
    def of(cls, groups: ChannelGroups, rules: Rules = TEXT) -> LayerSequence:
        """Returns the sequence of a network."""
        graph, blocks = groups.graph, find_blocks(groups)
        left_out = set() if rules.sequence_has_shortcuts else _shortcuts(graph, blocks)
        nodes = [node for node in graph.nodes.values() if not node.is_input and node.name not in left_out]
        place = {node.name: number for number, node in enumerate(nodes)}
        around: dict[str, tuple[int, int]] = {}
        for block in sorted(blocks, key=lambda block: -len(block.nodes)):  # the innermost one is told
            inside = [place[name] for name in block.nodes if name in place]
            for at in inside:
                around[nodes[at].name] = (at - min(inside) + 1, max(inside) - at)
        rows = [[*_numbers(node, graph), *around.get(node.name, (0, 0))] for node in nodes]
        return cls(tuple(place), np.array(rows, "float32").reshape(len(nodes), len(FEATURES)))

    def read(self, rules: Rules) -> npt.NDArray[np.float32]:
        """Returns the numbers as a policy reads them, float32 `[layers, 7]`."""
        return self.standardised() if rules.standardised else self.numbers

    def standardised(self) -> npt.NDArray[np.float32]:
        """Returns the numbers with each column scaled to mean 0 and deviation 1 over the sequence, log for outputs.

        A policy then sees how layers differ, whatever the sizes of a network, and policies can be transferred from one
        teacher to another. A column that is equal in all layers is 0.
        """
        numbers = self.numbers.copy()
        outputs = FEATURES.index("outputs")
        numbers[:, outputs] = np.log2(1 + numbers[:, outputs])
        spread = numbers.std(axis=0)
        return (numbers - numbers.mean(axis=0)) / np.where(spread > 1e-6, spread, 1)


def _shortcuts(graph: LayerGraph, blocks: Sequence[Block]) -> set[str]:
    """Returns the sums of residual blocks, and the nodes of all their branches except the one with the most nodes."""
    left_out = set()
    for block in blocks:
        reads = dict.fromkeys(ref.node for ref in graph.nodes[block.name].inputs)
        branches = [set() if name == block.entry else set(between(graph, name, block.entry)) for name in reads]
        longest = max(branches, key=len)
        left_out |= {block.name}.union(*branches) - longest
    return left_out


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
    """Returns type, kernel, stride, padding and outputs of a layer; types that are not listed share a number."""
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
