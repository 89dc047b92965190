"""Widths: what may be pruned and by how much, the units that are pruned together, and the environment of the agents."""

from tfcompress._needs_tensorflow import BACKEND  # noqa: F401
from tfcompress.channels.control import Control, Pattern, Widths
from tfcompress.channels.units import PruningUnit, pruning_units

__all__ = ["Control", "Pattern", "PruningUnit", "Widths", "pruning_units"]
