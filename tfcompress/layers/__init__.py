"""Keras layers, constraints and regularizers that are in a model only while a method decides."""

from tfcompress._needs_tensorflow import BACKEND  # noqa: F401
from tfcompress.layers.handler import MixtureHandler
from tfcompress.layers.mixture import Mixture
from tfcompress.layers.simplex import CostPenalty, SimplexConstraint

__all__ = ["CostPenalty", "Mixture", "MixtureHandler", "SimplexConstraint"]
