"""RLAL: jointly training and pruning CNNs via learnable agent guidance and alignment."""

from tfcompress.methods.rlal.method import RLAL
from tfcompress.methods.rlal.settings import AgentSettings

__all__ = ["RLAL", "AgentSettings"]
