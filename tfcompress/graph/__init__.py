"""The model as a graph: nodes, channel groups, blocks."""

from tfcompress._needs_tensorflow import BACKEND  # noqa: F401
from tfcompress.graph.blocks import Block, find_blocks
from tfcompress.graph.channel_groups import ChannelGroup, ChannelGroups, FixedChannels
from tfcompress.graph.handlers import Call, Handler, MacTerm, WeightAxes, handles
from tfcompress.graph.labels import Labels
from tfcompress.graph.layer_graph import LayerGraph, Node, TensorRef
from tfcompress.graph.part import part_of
from tfcompress.graph.processor import check_runs_here
from tfcompress.graph.regions import cut_points
from tfcompress.graph.sections import Section, Sections, bypasses, find_sections
from tfcompress.graph.structure import Mixture, Structure, groups_after, restructured

__all__ = [
    "Block",
    "Call",
    "ChannelGroup",
    "ChannelGroups",
    "FixedChannels",
    "Handler",
    "Labels",
    "LayerGraph",
    "MacTerm",
    "Mixture",
    "Node",
    "Section",
    "Sections",
    "Structure",
    "TensorRef",
    "WeightAxes",
    "bypasses",
    "check_runs_here",
    "cut_points",
    "find_blocks",
    "find_sections",
    "groups_after",
    "handles",
    "part_of",
    "restructured",
]
