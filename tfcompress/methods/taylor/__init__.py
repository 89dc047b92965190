"""Greedy pruning by a Taylor criterion, a baseline of N2N."""

from tfcompress.methods.taylor.method import TaylorPruning

__all__ = ["TaylorPruning"]
