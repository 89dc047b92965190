"""Builds a new model from a model and a plan, and verifies that it matches the plan."""

from tfcompress._needs_tensorflow import BACKEND  # noqa: F401
from tfcompress.rewrite.apply import apply
from tfcompress.rewrite.trails import replay

__all__ = ["apply", "replay"]
