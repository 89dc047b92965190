"""Feasibility: the lowest cost that pruning channels can reach, for refusals, tables and environments."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfcompress.channels.control import Widths
from tfcompress.channels.units import PruningUnit, pruning_units
from tfcompress.costs import Cost, CostModel
from tfcompress.graph import ChannelGroups

__all__ = ["INSIDE_BLOCKS", "inside_units", "reachable", "reachable_inside"]

INSIDE_BLOCKS = (
    "That is what pruning inside blocks can reach. Ask for less, loosen exclusions and limits, or choose a "
    "method that also prunes the channels between blocks (method='uniform')."
)
"""Advice for a budget below the cost that pruning inside blocks can reach."""


def reachable(costs: CostModel, widths: Widths) -> Cost:
    """Returns the lowest cost with allowed widths: every group at its least."""
    return costs.of_kept(widths.least)


def reachable_inside(costs: CostModel, widths: Widths) -> Cost:
    """Returns the lowest cost if only pruning units are pruned, as by RLAL and Random; other groups stay at their
    greatest.
    """
    return reachable(costs, inside_units(widths, costs.groups, pruning_units(costs.groups)))


def inside_units(widths: Widths, groups: ChannelGroups, units: Sequence[PruningUnit]) -> Widths:
    """Returns the widths with choices only for groups of the units."""
    inside = {group.name for unit in units for group in unit.groups}
    return widths.only(np.array([name in inside for name in groups.groups], dtype=bool))
