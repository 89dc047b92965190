"""Feasibility: the lowest cost that pruning channels can reach. Refusals, tables and environments all ask here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfcompress.channels.control import Widths
from tfcompress.channels.units import PruningUnit, pruning_units
from tfcompress.costs import Cost, CostModel
from tfcompress.graph import ChannelGroups

__all__ = ["INSIDE_BLOCKS", "inside_units", "reachable", "reachable_inside"]

INSIDE_BLOCKS = (
    "That is what pruning inside blocks can reach. Ask for less, loosen what is left out or limited, or choose a "
    "method that prunes the channels between blocks as well (method='uniform')."
)
"""Advice on a budget below what pruning inside blocks can reach."""


def reachable(costs: CostModel, widths: Widths) -> Cost:
    """The lowest cost within the widths that groups may have: every group at its least."""
    return costs.of_kept(widths.least)


def reachable_inside(costs: CostModel, widths: Widths) -> Cost:
    """The lowest cost where pruning units alone are pruned, as RLAL and Random do; the other groups stay at their
    greatest.
    """
    return reachable(costs, inside_units(widths, costs.groups, pruning_units(costs.groups)))


def inside_units(widths: Widths, groups: ChannelGroups, units: Sequence[PruningUnit]) -> Widths:
    """The widths where only groups of the units have a choice."""
    inside = {group.name for unit in units for group in unit.groups}
    return widths.only(np.array([name in inside for name in groups.groups], dtype=bool))
