"""Blocks: single-entry, single-exit parts of the graph that end at a sum."""

from __future__ import annotations

from dataclasses import dataclass

from tfcompress.graph.channel_groups import ChannelGroups
from tfcompress.graph.handlers.merge import ElementwiseMerge
from tfcompress.graph.regions import between, immediate_dominators

__all__ = ["Block", "find_blocks"]


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
    """Returns the residual blocks of a graph, in its order.

    A block ends at a layer that merges several tensors elementwise, and begins at the last node on all paths to it
    (its immediate dominator).
    """
    graph = groups.graph
    dominator = immediate_dominators(graph)
    blocks = []
    for item in groups.analysis.values():
        node = item.node
        if isinstance(item.handler, ElementwiseMerge) and len(set(node.inputs)) > 1 and dominator[node.name]:
            entry = str(dominator[node.name])
            inside = between(graph, node.name, entry)
            blocks.append(Block(node.name, entry, inside))
    return tuple(blocks)
