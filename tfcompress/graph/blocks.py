"""Blocks: single-entry, single-exit parts of the graph, and the pruning units that RLAL calls layers.

RLAL, appendix A.1: for a residual block the unit is the channels inside it (the output of its first convolution, the
input of its second); for an inverted residual the expansion channels. The block's own input and output keep their
width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tfcompress.graph.channel_groups import ChannelGroup, ChannelGroups
from tfcompress.graph.handlers import handler_of
from tfcompress.graph.handlers.convolution import DepthwiseConvolution
from tfcompress.graph.handlers.merge import ElementwiseMerge
from tfcompress.graph.layer_graph import LayerGraph, Node

__all__ = ["Block", "PruningUnit", "find_blocks", "immediate_dominators", "pruning_units"]


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


@dataclass(frozen=True, eq=False)
class PruningUnit:
    """What one action of a channel-pruning agent prunes: one channel group, or the several inside one block.

    Attributes:
        name: name of its first group.
        groups: the groups, which are pruned at the same rate.
    """

    name: str
    groups: tuple[ChannelGroup, ...]

    @property
    def size(self) -> int:
        """Channels of the widest group: the number of steps that a pruning rate can make."""
        return max(group.size for group in self.groups)


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


def pruning_units(groups: ChannelGroups) -> tuple[PruningUnit, ...]:
    """The units that RLAL's actions prune, in the order of the graph.

    In a network with residual blocks or inverted residuals: the groups that live inside a block, one unit a block. In a
    network without (VGG): every group that a layer reads.
    """
    layer_of = {name: item.node.layer_name for name, item in groups.analysis.items()}
    blocks = sorted(find_blocks(groups), key=lambda block: len(block.nodes))
    inside = [{layer_of[name] for name in block.nodes} for block in blocks]
    around: dict[str, list[int]] = {}
    for number, layers in enumerate(inside):
        for layer in layers:
            around.setdefault(layer, []).append(number)
    units: dict[str, list[ChannelGroup]] = {}
    for group in groups:
        if not group.producers or not group.readers:
            continue
        touched = {*group.producers, *group.readers, *group.carriers}
        home = next((blocks[i].name for i in around.get(group.producers[0], ()) if touched <= inside[i]), None)
        if home is None and _is_expansion(group, groups):
            home = f"expansion:{group.name}"
        if home is not None:
            units.setdefault(home, []).append(group)
    if not units:
        units = {group.name: [group] for group in groups if group.producers and group.readers}
    order = {name: i for i, name in enumerate(groups.groups)}
    found = [PruningUnit(members[0].name, tuple(members)) for members in units.values()]
    return tuple(sorted(found, key=lambda unit: order[unit.name]))


def _is_expansion(group: ChannelGroup, groups: ChannelGroups) -> bool:
    """Whether these are the expansion channels of an inverted residual that no sum closes.

    Expansion channels are widened from a narrower tensor, pass a depthwise convolution, and are narrowed again; the
    first block of a MobileNetV2 takes the stem's channels as they are and so has none.
    """
    operations = groups.graph.operations
    if not any(isinstance(handler_of(operations[name]), DepthwiseConvolution) for name in group.carriers):
        return False
    first = groups.layers[group.producers[0]]
    return first.call.inputs[0].ids.size < group.size and not any(
        groups.graph.nodes[ref.node].is_input for ref in first.node.inputs
    )
