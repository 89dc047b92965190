"""RLAL: jointly training and pruning CNNs via learnable agent guidance and alignment."""

from tfcompress.methods.rlal.method import RLAL

__all__ = ["RLAL"]
