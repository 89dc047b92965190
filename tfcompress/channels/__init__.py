"""Widths: which channels may be pruned and how many, the units that are pruned together, the agents' environment."""

from tfcompress._needs_tensorflow import BACKEND  # noqa: F401
from tfcompress.channels.control import Control, Pattern, Widths
from tfcompress.channels.feasibility import INSIDE_BLOCKS, inside_units, reachable, reachable_inside
from tfcompress.channels.units import PruningUnit, pruning_units

__all__ = [
    "INSIDE_BLOCKS",
    "Control",
    "Pattern",
    "PruningUnit",
    "Widths",
    "inside_units",
    "pruning_units",
    "reachable",
    "reachable_inside",
]
