"""Augmentation of training images in numpy: the same on every Keras backend, and repeatable from a seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfcompress.data.batches.forms import Arrays, Augment

__all__ = ["augment_images", "flip_and_crop"]


def flip_and_crop(images: np.ndarray, rng: np.random.Generator, padding: int = 4) -> np.ndarray:
    """Mirrors each image with probability 1/2 and crops it at random after padding with zeros.

    The augmentation of the papers for 32x32 images (He et al. 2016, section 4.2).

    Args:
        images: array `[batch, height, width, channels]`.
        rng: `numpy.random.Generator`.
        padding: pixels of zeros added on each side before the crop of the original size.

    Returns:
        A new array of the same shape and dtype.
    """
    batch, height, width, _ = map(int, images.shape)
    padded = np.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    top = rng.integers(0, 2 * padding + 1, batch)
    left = rng.integers(0, 2 * padding + 1, batch)
    flip = rng.random(batch) < 0.5
    rows = top[:, None] + np.arange(height)
    columns = np.where(flip[:, None], np.arange(width - 1, -1, -1), np.arange(width)) + left[:, None]
    crops: np.ndarray = padded[np.arange(batch)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return crops


def augment_images(augment: Augment, x: Arrays, seed: int | Sequence[int]) -> Arrays:
    """Applies `augment` to every array of images in `x`, and leaves arrays of other rank unchanged.

    Each array starts from the same random state, so that several views of one sample are changed alike.

    Args:
        augment: function `(images, numpy.random.Generator) -> images`.
        x: an array, or a tuple or dict of arrays; images are those of shape `[batch, height, width, channels]`.
        seed: a seed for `numpy.random.default_rng`.

    Returns:
        The same structure.
    """
    if isinstance(x, dict):
        return {name: augment_images(augment, part, seed) for name, part in x.items()}
    if isinstance(x, tuple | list):
        return type(x)(augment_images(augment, part, seed) for part in x)
    return augment(x, np.random.default_rng(seed)) if x.ndim == 4 else x
