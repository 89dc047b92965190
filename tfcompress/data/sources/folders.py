"""Folders of images with a folder for each class, as `keras.utils.image_dataset_from_directory` reads them."""

from __future__ import annotations

import pathlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import keras
import numpy as np

from tfcompress.data.batches.checks import Expected
from tfcompress.data.batches.failures import reading
from tfcompress.data.batches.forms import Augment, Preprocess
from tfcompress.data.sources.holdout import hold_out_indices
from tfcompress.data.sources.image_streams import augmented, in_numpy
from tfcompress.data.sources.shuffled_streams import Range, ShuffledStream

if TYPE_CHECKING:
    import tensorflow as tf

__all__ = ["FolderStream", "ImageFolder"]

_BATCH = 64
_COLOURS = {1: "grayscale", 3: "rgb", 4: "rgba"}


@dataclass(frozen=True, eq=False)
class ImageFolder:
    """The images of a folder, listed but not read.

    Attributes:
        path: the folder.
        files: their paths, ordered by class and then by name.
        labels: the class of each, int64 `[files]`.
        class_names: the names of the folders, in alphabetical order, which numbers the classes.
    """

    path: pathlib.Path
    files: tuple[str, ...]
    labels: np.ndarray
    class_names: tuple[str, ...]

    @classmethod
    def of(cls, path: pathlib.Path) -> ImageFolder:
        """Lists the images of a folder. Raises ValueError if it holds no folders of images."""
        classes = sorted(entry.name for entry in path.iterdir() if entry.is_dir())
        advice = f"Put the images of each class into a folder of its own, such as {path / 'cats'}."
        if not classes:
            raise ValueError(
                f"Expected a folder for each class in {str(path)!r}, with its images. Received: no folder in it. "
                f"{advice}"
            )
        try:
            listed = _listed(path, (1, 1), "rgb", None)
        except ValueError as error:
            raise ValueError(
                f"Expected images in the folders of {str(path)!r}, as .jpg, .jpeg, .png, .bmp or .gif files. Received: "
                f"none in {classes[:8]} ({str(error).splitlines()[0]}). {advice}"
            ) from None
        names = tuple(listed.class_names)
        labels = [names.index(pathlib.Path(file).relative_to(path).parts[0]) for file in listed.file_paths]
        folder = cls(path, tuple(map(str, listed.file_paths)), np.array(labels, "int64"), names)
        if empty := [name for number, name in enumerate(names) if number not in set(labels)]:
            raise ValueError(
                f"Expected images in each folder of {str(path)!r}. Received: none in {empty}, each of which "
                "would be a class. Remove these folders, or put images into them."
            )
        return folder

    def num_bytes(self, size: tuple[int, int], channels: int) -> int:
        """Returns the memory that the images take as arrays, in bytes."""
        return len(self.files) * size[0] * size[1] * channels

    def read(self, size: tuple[int, int], channels: int) -> np.ndarray:
        """Reads all images into an array, uint8 `[files, *size, channels]`."""
        images = np.empty((len(self.files), *size, channels), "uint8")
        start = 0
        with reading(f"the images of {str(self.path)!r}"):
            for batch in _listed(self.path, size, _COLOURS[channels], _BATCH).as_numpy_iterator():
                pictures = batch[0]
                images[start : start + len(pictures)] = np.clip(np.round(pictures), 0, 255)
                start += len(pictures)
        return images


def _listed(path: pathlib.Path, size: tuple[int, int], colours: str, batch: int | None) -> tf.data.Dataset:
    return keras.utils.image_dataset_from_directory(
        str(path), shuffle=False, image_size=size, color_mode=colours, batch_size=batch, verbose=False
    )


@dataclass(frozen=True, kw_only=True)
class FolderStream(ShuffledStream):
    """Images of a folder that are too many for memory, read when they are needed.

    Attributes:
        folder: the folder, which tells streams apart.
        files: the images of this split, by their paths in the folder, in random order.
        labels: the class of each, int64 `[files]`.
        size: `(height, width)` that the model reads.
        channels: 1, 3 or 4.
        preprocess: function of a numpy batch of uint8 images.
        augment: `None`, or a function `(images, numpy.random.Generator) -> images`.
        one_hot: number of classes if labels are one-hot, else `None`.
    """

    folder: pathlib.Path
    files: tuple[str, ...]
    labels: np.ndarray
    size: tuple[int, int]
    channels: int
    preprocess: Preprocess
    augment: Augment | None
    one_hot: int | None

    _SHUFFLE_BUFFER = 1024  # images as they are read, and smaller than the files may be

    @classmethod
    def of(cls, folder: ImageFolder, batch_size: int, seed: int, **how: Any) -> Self:
        """Returns a stream of all images of a folder, in the order of a seed."""
        order = np.random.default_rng([seed, len(folder.files)]).permutation(len(folder.files))
        files = tuple(str(pathlib.Path(folder.files[place]).relative_to(folder.path)) for place in order)
        given: dict[str, Any] = {"folder": folder.path, "files": files, "labels": folder.labels[order], **how}
        return cls(ranges=((None, 0, len(files)),), batch_size=batch_size, seed=seed, **given)

    def _read(self, ranges: tuple[Range, ...]) -> tf.data.Dataset:
        import tensorflow as tf

        chosen = np.concatenate([np.arange(start, stop) for _, start, stop in ranges])
        paths = [str(self.folder / self.files[place]) for place in chosen]
        labels = self.labels[chosen]
        if self.one_hot is not None:
            labels = np.eye(self.one_hot, dtype="float32")[labels]
        return tf.data.Dataset.from_tensor_slices({"path": paths, "label": labels})

    def _evaluated(self, example: Any) -> Any:
        import tensorflow as tf

        image = tf.image.decode_image(tf.io.read_file(example["path"]), channels=self.channels, expand_animations=False)
        resized = tf.image.resize(image, self.size)
        resized.set_shape((*self.size, self.channels))
        return tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), "uint8"), example["label"]

    def _augmented_batch(self, batch: Any, place: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images, labels = batch
        return augmented(images, self.augment, self.seed, place), labels

    def _preprocessed(self, parts: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, tf.Tensor]:
        images, labels = parts
        return in_numpy(self.preprocess, images), labels

    def hold_out(self, share: float, expected: Expected) -> tuple[Self, Self, str]:
        """Returns `(rest, held out, how)`: each class in the same proportion."""
        kept, held_out = (
            self._chosen(part) for part in hold_out_indices(len(self.files), self.labels, share, self.seed)
        )
        return kept, held_out, f"{held_out.describe()} held out of the training data (seed {self.seed})"

    def _chosen(self, places: np.ndarray) -> Self:
        files = tuple(self.files[place] for place in places)
        return replace(self, files=files, labels=self.labels[places], ranges=((None, 0, len(files)),))

    def describe(self) -> str:
        """The source in words, such as "20,000 images"."""
        return f"{self.num_samples:,} images"
