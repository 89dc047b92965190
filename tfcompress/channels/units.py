"""Pruning units: the "layers" of RLAL, one for each action of an agent.

RLAL, appendix A.1: for a residual block the unit is the channels inside it (the output of its first convolution, the
input of its second); for an inverted residual the expansion channels. The block's own input and output keep their
width.
"""

from __future__ import annotations

from dataclasses import dataclass

from tfcompress.graph import ChannelGroup, ChannelGroups, find_blocks
from tfcompress.graph.handlers import handler_of
from tfcompress.graph.handlers.convolution import DepthwiseConvolution

__all__ = ["PruningUnit", "pruning_units"]


@dataclass(frozen=True, eq=False)
class PruningUnit:
    """The channels that one action of an agent prunes: one channel group, or the several groups inside one block.

    Attributes:
        name: name of its first group.
        groups: the groups, which are pruned at the same rate.
    """

    name: str
    groups: tuple[ChannelGroup, ...]

    @property
    def size(self) -> int:
        """Channels of the widest group: the number of steps of a pruning rate."""
        return max(group.size for group in self.groups)


def pruning_units(groups: ChannelGroups) -> tuple[PruningUnit, ...]:
    """Returns the units that RLAL's actions prune, in the order of the graph.

    In a network with residual blocks or inverted residuals: the groups inside a block, one unit per block. In another
    network (VGG): every group that a layer reads.
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
    results = [PruningUnit(members[0].name, tuple(members)) for members in units.values()]
    return tuple(sorted(results, key=lambda unit: order[unit.name]))


def _is_expansion(group: ChannelGroup, groups: ChannelGroups) -> bool:
    """Whether a group holds the expansion channels of an inverted residual without a sum.

    Expansion channels are wider than the tensor they come from, pass a depthwise convolution, and are narrowed again;
    the first block of a MobileNetV2 uses the stem's channels unchanged and so has none.
    """
    operations = groups.graph.operations
    if not any(isinstance(handler_of(operations[name]), DepthwiseConvolution) for name in group.carriers):
        return False
    first = groups.layers[group.producers[0]]
    return first.call.inputs[0].ids.size < group.size and not any(
        groups.graph.nodes[ref.node].is_input for ref in first.node.inputs
    )
