"""N2N: policies that learn to remove and to shrink layers."""

from tfcompress.methods.n2n.method import N2N

__all__ = ["N2N"]
