"""Batches that depend on seed, epoch and index alone, and the checks of what is in a batch."""
