"""Greedy pruning by a Taylor criterion, the baseline that N2N compares with."""

from tfcompress.methods.taylor.method import TaylorPruning

__all__ = ["TaylorPruning"]
