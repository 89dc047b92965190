"""Chooses the samples of the training data that are held out for validation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

__all__ = ["hold_out_indices", "is_held_out", "stratified_counts"]

_BUCKETS = 1_000_000


def stratified_counts(counts: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Returns how many samples of each class to hold out; the largest remainders are rounded up.

    Args:
        counts: samples of each class, int `[classes]`.
        share: share of all samples to hold out, between 0 and 1.
        rng: `numpy.random.Generator`, which decides between equal remainders.

    Returns:
        int `[classes]`, whose sum is `share` of all samples, rounded, but at least 1 and not all of them.
    """
    total = int(np.clip(round(counts.sum() * share), 1, counts.sum() - 1))
    exact = counts * (total / counts.sum())
    taken: np.ndarray = np.floor(exact + 1e-9).astype(int)
    ties = rng.permutation(len(counts))
    by_remainder = ties[np.argsort(-np.round(exact - taken, 9)[ties], kind="stable")]
    taken[by_remainder[: total - taken.sum()]] += 1
    return taken


def hold_out_indices(
    num_samples: int, labels: np.ndarray | None, share: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Splits samples at random, each class in the same proportion where classes are known.

    Args:
        num_samples: number of samples.
        labels: the class of each, int `[num_samples]`, or `None`.
        share: share to hold out, between 0 and 1.
        seed: seed of the choice.

    Returns:
        `(kept, held_out)`: int arrays of indices, each in random order.

    Raises:
        ValueError: fewer than two samples.
    """
    if num_samples < 2:
        raise ValueError(
            f"Expected at least 2 samples, one of them to be held out for validation. Received: {num_samples}. "
            "Pass `validation_data`."
        )
    rng = np.random.default_rng([seed, num_samples])
    order = rng.permutation(num_samples)
    classes = np.zeros(num_samples, int) if labels is None else np.unique(labels, return_inverse=True)[1].ravel()
    counts = np.bincount(classes)
    by_class = order[np.argsort(classes[order], kind="stable")]
    rank = np.empty(num_samples, int)  # place of a sample among those of its class, at random
    rank[by_class] = np.arange(num_samples) - np.repeat(np.cumsum(counts) - counts, counts)
    held_out = rank < stratified_counts(counts, share, rng)[classes]
    return order[~held_out[order]], order[held_out[order]]


def is_held_out(x: Any, share: float, seed: int) -> tf.Tensor:
    """Returns whether a sample of a tf.data.Dataset is held out: it depends on its content and the seed, not its place.

    Args:
        x: a tensor or a structure of tensors: the inputs of one sample.
        share: share to hold out, on average.
        seed: seed of the choice.

    Returns:
        A bool scalar tensor.
    """
    import tensorflow as tf

    content = tf.strings.join([tf.io.serialize_tensor(part) for part in tf.nest.flatten(x)])
    bucket = tf.strings.to_hash_bucket_strong(content, _BUCKETS, key=[seed, 0])
    return bucket < round(share * _BUCKETS)
