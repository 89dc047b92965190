"""From a model and a plan to a new model; and the proof that it is what the plan says."""

from tfcompress._needs_tensorflow import BACKEND  # noqa: F401
from tfcompress.rewrite.apply import apply
from tfcompress.rewrite.trails import replay

__all__ = ["apply", "replay"]
