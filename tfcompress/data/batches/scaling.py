"""Resizes and scales stored uint8 images to the inputs that a model reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from tfcompress.data.batches.forms import Preprocess

__all__ = [
    "SCALINGS",
    "Prepared",
    "as_held",
    "to_caffe",
    "to_float",
    "to_plus_minus_one",
    "to_torch",
    "to_unit_interval",
    "words_for",
]

_CAFFE_MEAN = np.array([103.939, 116.779, 123.68], "float32")  # blue, green, red
_TORCH_MEAN = np.array([0.485, 0.456, 0.406], "float32")  # red, green, blue
_TORCH_DEVIATION = np.array([0.229, 0.224, 0.225], "float32")


def as_held(images: np.ndarray) -> np.ndarray:
    """Returns images unchanged."""
    return images


def to_unit_interval(images: np.ndarray) -> np.ndarray:
    """Returns uint8 images as float32 in [0, 1]."""
    return images.astype("float32") / np.float32(255)


def to_float(images: np.ndarray) -> np.ndarray:
    """Returns uint8 images as float32 in [0, 255]."""
    return images.astype("float32")


def to_plus_minus_one(images: np.ndarray) -> np.ndarray:
    """Returns uint8 images as float32 in [-1, 1], for MobileNet, Inception and ResNetV2 of keras.applications."""
    return images.astype("float32") / np.float32(127.5) - np.float32(1)


def to_caffe(images: np.ndarray) -> np.ndarray:
    """Returns uint8 images in BGR order minus the ImageNet mean, for ResNet and VGG of keras.applications."""
    scaled: np.ndarray = images[..., ::-1].astype("float32") - _CAFFE_MEAN
    return scaled


def to_torch(images: np.ndarray) -> np.ndarray:
    """Returns uint8 images scaled to [0, 1], minus ImageNet's mean, over its deviation, as DenseNet reads them."""
    scaled: np.ndarray = (to_unit_interval(images) - _TORCH_MEAN) / _TORCH_DEVIATION
    return scaled


SCALINGS: Mapping[str | None, Preprocess] = MappingProxyType(
    {
        "unit_interval": to_unit_interval,
        "plus_minus_one": to_plus_minus_one,
        None: to_float,
        "caffe": to_caffe,
        "torch": to_torch,
    }
)
"""The usual scalings by their names."""

_WORDS = {
    "unit_interval": "[0, 1]",
    "plus_minus_one": "[-1, 1]",
    None: "[0, 255]",
    "caffe": "BGR, minus the mean",
    "torch": "normalized by mean and deviation",
}


def words_for(name: str | None) -> str:
    """Returns a scaling by its name and in words, such as `preprocess="caffe"` (BGR, minus the mean)."""
    return f"preprocess={name!r} ({_WORDS[name]})"


@dataclass(frozen=True)
class Prepared:
    """Resizes images, as `keras.layers.Resizing` does, and then scales them.

    Attributes:
        size: `(height, width)` that the model reads.
        then: the function that is then applied to the uint8 images.
    """

    size: tuple[int, int]
    then: Preprocess

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Returns a batch of images `[batch, height, width, channels]` as the model reads them."""
        import tensorflow as tf

        if images.shape[1:3] != self.size:
            with tf.device("CPU"):
                resized = tf.image.resize(images, self.size).numpy()
            images = np.clip(np.round(resized), 0, 255).astype("uint8")
        prepared: np.ndarray = self.then(images)
        return prepared
