"""Blocks: single-entry, single-exit parts of the graph, which a sum ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tfcompress.graph.channel_groups import ChannelGroups
from tfcompress.graph.handlers.merge import ElementwiseMerge
from tfcompress.graph.layer_graph import LayerGraph, Node

__all__ = ["Block", "find_blocks", "immediate_dominators"]


@dataclass(frozen=True, eq=False)
class Block:
    """A residual block.

    Attributes:
        name: name of the sum that ends it.
        entry: node whose output enters the block.
        nodes: the nodes inside, the sum included.
    """

    name: str
    entry: str
    nodes: tuple[str, ...]


def find_blocks(groups: ChannelGroups) -> tuple[Block, ...]:
    """The residual blocks of a graph, in its order.

    A block ends at a layer that merges several tensors elementwise, and begins at the last node that all paths to it
    go through (its immediate dominator).
    """
    graph = groups.graph
    dominator = immediate_dominators(graph)
    order = {name: i for i, name in enumerate(graph.nodes)}
    blocks = []
    for item in groups.analysis.values():
        node = item.node
        if isinstance(item.handler, ElementwiseMerge) and len(set(node.inputs)) > 1 and dominator[node.name]:
            entry = str(dominator[node.name])
            inside = _between(graph, entry, node, order)
            blocks.append(Block(node.name, entry, inside))
    return tuple(blocks)


def immediate_dominators(graph: LayerGraph) -> dict[str, str | None]:
    """For each node the last one on every path from the inputs to it (Cooper, Harvey and Kennedy 2001)."""
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


def _between(graph: LayerGraph, entry: str, end: Node, order: Mapping[str, int]) -> tuple[str, ...]:
    inside: dict[str, None] = {}
    stack = [end.name]
    while stack:
        name = stack.pop()
        if name != entry and name not in inside:
            inside[name] = None
            stack.extend(ref.node for ref in graph.nodes[name].inputs)
    return tuple(sorted(inside, key=order.__getitem__))
