"""Batches that depend only on seed, epoch and index, and the checks of their contents."""
