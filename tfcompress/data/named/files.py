"""The user's own data on disk: folders of images, and .npz files."""

from __future__ import annotations

import pathlib
from dataclasses import replace

import numpy as np

from tfcompress.data.batches.forms import Augment, Preprocess
from tfcompress.data.sources.folders import ImageFolder
from tfcompress.data.sources.named_data import Folders, NamedArrays, NamedData

__all__ = ["are_images", "check_same_classes", "folder_data", "npz_data"]

_TRAINING, _VALIDATION, _TEST = ("train", "training"), ("validation", "val", "valid"), ("test", "testing")


def folder_data(path: pathlib.Path, preprocess: Preprocess, augment: Augment | None) -> NamedData:
    """Returns the data of a folder with a folder for each class, or with folders train, validation and test of these.

    Raises:
        ValueError: no images, or parts with different classes.
    """
    parts = _parts(path)
    train = ImageFolder.of(parts.get("train", path))
    held_out = {name: ImageFolder.of(parts[name]) for name in ("validation", "test") if name in parts}
    for part in held_out.values():
        check_same_classes(train, part)
    folders = Folders(train, held_out.get("validation"), held_out.get("test"))
    names = train.class_names
    return NamedData(str(path), len(names), preprocess, augment, folders=folders, class_names=names)


def check_same_classes(train: ImageFolder, part: ImageFolder) -> None:
    """Refuses images whose classes would get other numbers than those of the training images."""
    if part.class_names != train.class_names:
        others = sorted({*part.class_names} ^ {*train.class_names})
        raise ValueError(
            f"Expected the same classes in {str(part.path)!r} as in {str(train.path)!r}. Received: {others[:8]} in one "
            "of them only. Give both the same folders, as their order numbers the classes."
        )


def _parts(path: pathlib.Path) -> dict[str, pathlib.Path]:
    """Returns the folders of splits by name, if the folder contains no other folders."""
    inside = (entry for entry in sorted(path.iterdir()) if entry.is_dir() and not entry.name.startswith((".", "__")))
    folders = {entry.name.lower(): entry for entry in inside}
    parts = {}
    for name, words in (("train", _TRAINING), ("validation", _VALIDATION), ("test", _TEST)):
        there = [word for word in words if word in folders]
        if there:
            parts[name] = folders.pop(there[0])
    if folders and "train" in parts and len(parts) > 1:
        raise ValueError(
            f"Expected in {str(path)!r} either a folder for each class, or only the folders train, validation and "
            f"test. Received: {[entry.name for entry in parts.values()]} beside {sorted(folders)[:8]}. Move the "
            "others elsewhere."
        )
    return parts if "train" in parts and not folders else {}


def npz_data(path: pathlib.Path, preprocess: Preprocess | None, augment: Augment | None) -> NamedData:
    """Returns the arrays of an .npz file: x and y, or x_train and y_train; optionally also x_val to y_test.

    Raises:
        ValueError: other arrays, or arrays of Python objects.
    """
    with np.load(path, allow_pickle=False) as file:
        names = list(file.files)
        train = ("x_train", "y_train") if "x_train" in names else ("x", "y")
        if not {*train} <= {*names}:
            raise ValueError(
                f"Expected the arrays x_train and y_train in {str(path)!r}, or x and y. Received: {names[:12]}. Save "
                "them by these names: `numpy.savez(path, x_train=..., y_train=...)`."
            )
        weights = next((name for name in ("sample_weight_train", "sample_weight") if name in names), None)
        read = {part: _read(file, path, f"x_{part}", f"y_{part}") for part in ("val", "test") if f"x_{part}" in names}
        arrays = NamedArrays(
            str(path),
            _read(file, path, *train, *([] if weights is None else [weights])),
            read.get("test"),
            0,
            read.get("val"),
        )
    if not are_images(arrays.train[0]):
        preprocess = None
    elif arrays.train[0].ndim == 3:
        arrays = replace(
            arrays,
            train=_with_channels(arrays.train),
            test=None if arrays.test is None else _with_channels(arrays.test),
            validation=None if arrays.validation is None else _with_channels(arrays.validation),
        )
    return NamedData(str(path), 0, preprocess, augment, arrays=arrays)


def are_images(x: np.ndarray) -> bool:
    """Whether an array holds uint8 images, `[samples, height, width]`, optionally with channels."""
    return x.dtype == np.uint8 and (x.ndim == 3 or (x.ndim == 4 and x.shape[-1] in (1, 3, 4)))


def _with_channels(parts: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    return parts[0][..., None], *parts[1:]


def _read(file: np.lib.npyio.NpzFile, path: pathlib.Path, *names: str) -> tuple[np.ndarray, ...]:
    arrays = []
    for name in names:
        try:
            arrays.append(file[name])
        except KeyError:
            raise ValueError(
                f"Expected the array {name} in {str(path)!r}, beside {names[0]}. Received: {file.files[:12]}."
            ) from None
        except ValueError as error:
            raise ValueError(
                f"Expected an array of numbers as {name} in {str(path)!r}. Received: Python objects ({error}), which "
                "are not read from files. Save arrays of one shape and of numbers."
            ) from None
    return tuple(arrays)
