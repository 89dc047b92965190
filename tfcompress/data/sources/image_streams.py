"""Image classification sets too large for memory, as tf.data streams: cropped and scaled as ImageNet usually is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from tfcompress.data.batches.augment import flip_and_crop
from tfcompress.data.batches.checks import Expected
from tfcompress.data.batches.forms import Augment, Augmentation, Preprocess
from tfcompress.data.sources.shuffled_streams import Range, ShuffledStream

if TYPE_CHECKING:
    import tensorflow as tf
    import tensorflow_datasets as tfds

__all__ = ["ImageStream", "augmented", "central_crop", "in_numpy", "random_crop"]

_EVALUATION_MARGIN = 256 / 224  # images are scaled to this much more than the crop


def central_crop(image: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Scales an image so that it covers 8/7 of `size`, and cuts out the middle (256 and 224 pixels for ImageNet).

    Args:
        image: uint8 tensor `[height, width, channels]`.
        size: `(height, width)` of the result.

    Returns:
        A uint8 tensor `[*size, channels]`.
    """
    import tensorflow as tf

    shape = tf.cast(tf.shape(image)[:2], "float32")
    target = tf.constant(size, "float32")
    scale = tf.reduce_max(tf.round(target * _EVALUATION_MARGIN) / shape)
    scaled = tf.maximum(tf.cast(tf.round(shape * scale), "int32"), size)
    resized = tf.image.resize(image, scaled, antialias=True)
    top, left = tf.unstack((scaled - size) // 2)
    return _as_uint8(tf.image.crop_to_bounding_box(resized, top, left, *size))


def random_crop(image: tf.Tensor, size: tuple[int, int], seed: tf.Tensor) -> tf.Tensor:
    """Cuts out 8% to 100% of an image with an aspect ratio from 3/4 to 4/3, scales it, and mirrors it in half of cases.

    The augmentation of He et al. (2016, section 3.4) in the form that is used today (Szegedy et al. 2015).

    Args:
        image: uint8 tensor `[height, width, channels]`.
        size: `(height, width)` of the result.
        seed: int64 tensor `[2]`; the result depends only on the seed and the image.

    Returns:
        A uint8 tensor `[*size, channels]`.
    """
    import tensorflow as tf

    begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.shape(image),
        tf.zeros([1, 0, 4]),
        seed,
        min_object_covered=0.0,
        aspect_ratio_range=(3 / 4, 4 / 3),
        area_range=(0.08, 1.0),
        use_image_if_no_bounding_boxes=True,
    )
    resized = tf.image.resize(tf.slice(image, begin, extent), size, antialias=True)
    resized.set_shape((*size, image.shape[-1]))
    return tf.image.stateless_random_flip_left_right(_as_uint8(resized), seed + 1)


def _as_uint8(image: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    return tf.cast(tf.clip_by_value(tf.round(image), 0, 255), "uint8")


def in_numpy(function: Callable[..., np.ndarray], images: tf.Tensor, *arguments: tf.Tensor) -> tf.Tensor:
    """Applies a function of numpy arrays in a tf.data pipeline, with the shape and dtype it gives for one image."""
    import tensorflow as tf

    probe = function(np.zeros((1, *images.shape[1:]), "uint8"), *(np.zeros(a.shape, "int64") for a in arguments))
    result = tf.numpy_function(function, [images, *arguments], probe.dtype, stateful=False)
    result.set_shape((None, *probe.shape[1:]))
    return result


def augmented(images: tf.Tensor, augment: Augment | None, seed: int, place: tf.Tensor) -> tf.Tensor:
    """Applies a user's function to a batch of training images, by seed and place (epoch and number of the batch)."""
    if augment is None:
        return images

    def changed(images: np.ndarray, place: np.ndarray) -> np.ndarray:
        return augment(images, np.random.default_rng([seed, *place]))

    return in_numpy(changed, images, place)


@dataclass(frozen=True, kw_only=True)
class ImageStream(ShuffledStream):
    """Images of a split of a tensorflow-datasets builder, read from disk when they are needed.

    Attributes:
        builder: `tfds.core.DatasetBuilder` of a prepared dataset with the features "image" and "label".
        size: `(height, width)` that the model reads.
        preprocess: function of a numpy batch of uint8 images.
        augment: `"auto"` for random crops, `None`, or a function `(images, numpy.random.Generator) -> images`.
    """

    builder: tfds.core.DatasetBuilder
    size: tuple[int, int]
    preprocess: Preprocess
    augment: Augmentation

    def _read(self, ranges: tuple[Range, ...]) -> tf.data.Dataset:
        import tensorflow_datasets as tfds

        return self.builder.as_dataset(
            split="+".join(f"{split}[{start}:{stop}]" for split, start, stop in ranges),
            decoders={"image": tfds.decode.SkipDecoding()},
            shuffle_files=False,
        )

    @property
    def _fits(self) -> bool:
        """Whether the images already have the model's size, and are neither scaled nor cropped."""
        return tuple(self.builder.info.features["image"].shape[:2]) == self.size

    def _evaluated(self, example: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        image = self.builder.info.features["image"].decode_example(example["image"])
        return (image if self._fits else central_crop(image, self.size)), example["label"]

    def _augmented(self, example: Mapping[str, tf.Tensor], seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        if self.augment != "auto" or self._fits:
            return self._evaluated(example)
        image = self.builder.info.features["image"].decode_example(example["image"])
        return random_crop(image, self.size, seed), example["label"]

    def _augmented_batch(self, batch: tuple[tf.Tensor, tf.Tensor], place: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images, labels = batch
        augment = flip_and_crop if self.augment == "auto" and self._fits else self.augment
        if isinstance(augment, str):
            return images, labels
        return augmented(images, augment, self.seed, place), labels

    def _preprocessed(self, parts: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        images, labels = parts
        return in_numpy(self.preprocess, images), labels

    def hold_out(self, share: float, expected: Expected) -> tuple[Self, Self, str]:
        """Returns `(rest, held out, how)`: a run of consecutive images from a seeded place; their order is random."""
        ((split, start, stop),) = self.ranges
        count = min(max(1, round(self.num_samples * share)), self.num_samples - 1)
        first = start + int(np.random.default_rng(self.seed).integers(0, self.num_samples - count + 1))
        last = first + count
        rest = tuple(part for part in ((split, start, first), (split, last, stop)) if part[1] < part[2])
        kept, held_out = replace(self, ranges=rest), replace(self, ranges=((split, first, last),))
        return kept, held_out, f"{held_out.describe()} held out of the training data (seed {self.seed})"

    def describe(self) -> str:
        """The source in words, such as "1,281,167 images"."""
        return f"{self.num_samples:,} images"
