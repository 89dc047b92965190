"""Preprocessing of images in recipes."""

import dataclasses

import numpy as np

from tfcompress.data import flip_and_crop
from tfcompress.data.batches.scaling import to_unit_interval

__all__ = ["centred", "flipped_and_cropped", "framed", "halved", "of_half_size"]


def centred(images):
    """Returns uint8 images as float32 in [-0.5, 0.5]."""
    return to_unit_interval(images) - np.float32(0.5)


def framed(images):
    """Returns uint8 images of at most 32 pixels as float32 in [0, 1], padded to 32x32 with black edges."""
    edges = [(missing // 2, missing - missing // 2) for missing in (32 - size for size in images.shape[1:3])]
    return np.pad(to_unit_interval(images), ((0, 0), *edges, (0, 0)))


def flipped_and_cropped(images, rng):
    """Returns images mirrored at random and, after padding by an eighth of their height (4 pixels at 32), cropped."""
    return flip_and_crop(images, rng, padding=images.shape[1] // 8)


def halved(images):
    """Returns images uint8 `[samples, height, width, channels]` with each 2x2 pixels averaged; even sizes only."""
    samples, height, width, channels = images.shape
    blocks = images.reshape(samples, height // 2, 2, width // 2, 2, channels)
    return ((blocks.sum(axis=(2, 4), dtype="uint16") + 2) // 4).astype("uint8")


def of_half_size(arrays):
    """Returns `NamedArrays` of halved images."""
    train, test = ((halved(x), y) for x, y in (arrays.train, arrays.test))
    return dataclasses.replace(arrays, name=f"{arrays.name}, halved", train=train, test=test)
