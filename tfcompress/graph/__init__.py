"""The model as a graph: nodes, channel groups, blocks."""

from tfcompress.graph.blocks import Block, PruningUnit, find_blocks, pruning_units
from tfcompress.graph.channel_groups import ChannelGroup, ChannelGroups, FixedChannels
from tfcompress.graph.layer_graph import LayerGraph, Node, TensorRef

__all__ = [
    "Block",
    "ChannelGroup",
    "ChannelGroups",
    "FixedChannels",
    "LayerGraph",
    "Node",
    "PruningUnit",
    "TensorRef",
    "find_blocks",
    "pruning_units",
]
