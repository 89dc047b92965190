"""The samples of a split as data: contents of arrays, and of streams in any order."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import numpy as np

from tfcompress.data import Split
from tfcompress.data.sources.arrays import ArraySource
from tfcompress.data.sources.folders import FolderStream
from tfcompress.data.sources.image_streams import ImageStream
from tfcompress.data.sources.streams import is_tensorflow_dataset
from tfcompress.data.texts.files import FileTexts
from tfcompress.data.texts.streams import TextStream
from tfcompress.fingerprint.contents import Contents
from tfcompress.fingerprint.hashing import SHA256, array_digest, digest, update_with_array

__all__ = ["split_contents"]

_WORDS = {"x": "inputs", "y": "labels", "indices": "chosen"}
_NO_CONTENT = ("batch_size", "seed")
_MOST_BYTES = 10**9  # of a stream, that are read to compare it


def split_contents(split: Split, contents: Contents, earlier: Any, note: Callable[[str], None]) -> dict[str, Any]:
    """Returns the contents of a split, as data that is equal for the same samples.

    Args:
        split: the split.
        contents: converts further values that count, such as a preprocessing function.
        earlier: the result of an earlier call, or `None`.
        note: called with remarks on what is not compared.
    """
    source, where = split.source, f"the {split.name} data"
    if isinstance(source, ArraySource):
        return _of_arrays(source, contents, where)
    if isinstance(source, FolderStream):
        return _of_folder(source, contents, where)
    if isinstance(source, (ImageStream, TextStream)):
        return _of_named(source, contents, where)
    return _of_stream(source, where, earlier, note)


def _of_arrays(source: ArraySource, contents: Contents, where: str) -> dict[str, Any]:
    fields = {_WORDS.get(field.name, field.name): getattr(source, field.name) for field in dataclasses.fields(source)}
    fields["labels"] = keras.tree.map_structure(_in_least_integers, source.y)
    return {name: contents.of(value, f"{where}: {name}") for name, value in fields.items() if name not in _NO_CONTENT}


def _of_named(source: Any, contents: Contents, where: str) -> dict[str, Any]:
    """Returns name, version and sizes of a prepared dataset, or the content of a file."""
    record: dict[str, Any] = {"ranges": contents.of(source.ranges, where)}
    if isinstance(source, ImageStream):
        parts = (source.builder, source.size, source.preprocess, source.augment)
        builder, *rest = parts
        return {**record, "dataset": _of_builder(builder), "reading": contents.of(rest, where)}
    texts = source.texts
    record |= {"chosen": array_digest(texts.chosen), "reading": contents.of(vars(source.encoder), where)}
    if isinstance(texts.source, FileTexts):
        with open(texts.source.path, "rb") as file:
            return {**record, "file": SHA256 + hashlib.file_digest(file, "sha256").hexdigest()}
    read = texts.source
    return {**record, "dataset": _of_builder(read.builder), "texts": contents.of([read.split, *read.text], where)}


def _of_folder(source: FolderStream, contents: Contents, where: str) -> dict[str, Any]:
    """Returns names, sizes in bytes, and classes of images that are too many to be read."""
    files = [[name, (source.folder / name).stat().st_size] for name in source.files]
    reading = (source.size, source.channels, source.preprocess, source.augment, source.one_hot)
    return {
        "ranges": contents.of(source.ranges, where),
        "files": digest([files, source.labels.tolist()]),
        "reading": contents.of(list(reading), where),
    }


def _of_builder(builder: Any) -> dict[str, Any]:
    splits = {name: [info.num_examples, info.num_bytes] for name, info in builder.info.splits.items()}
    return {"name": builder.info.full_name, "splits": splits}


def _of_stream(source: Any, where: str, earlier: Any, note: Callable[[str], None]) -> dict[str, Any]:
    record = {"form": _form(source), "batches": source.num_batches(), "samples": _samples_digest(_batches(source))}
    before = earlier.get("samples") if isinstance(earlier, dict) else None
    if record["samples"] is None:
        note(
            f"{where[0].upper()}{where[1:]} come from {source.describe()} of more than {_MOST_BYTES / 1e9:g} GB: in "
            "its run folder only their form is compared with that of an earlier call, not their contents."
        )
    elif before is not None and before != record["samples"] and _samples_digest(_batches(source)) != record["samples"]:
        note(
            f"{where[0].upper()}{where[1:]} are other samples in each reading: their contents are not compared with "
            "those of the earlier call."
        )
        record["samples"] = before
    return record


def _form(source: Any) -> Any:
    batches = source.batches(training=source.weighted)  # training alone gets the weights of samples
    if is_tensorflow_dataset(batches):
        x, y, *weights = batches.element_spec
        spec = (x, keras.tree.map_structure(_without_size_of_integers, y), *weights)
        return keras.tree.flatten(keras.tree.map_structure(str, spec))
    return [source.batch_size]


def _without_size_of_integers(spec: Any) -> str:
    return f"integers {spec.shape}" if spec.dtype.is_integer else str(spec)


def _in_least_integers(array: np.ndarray) -> np.ndarray:
    """Returns whole-number labels in the smallest type that holds them all: the same for int32 and int64."""
    if array.dtype.kind not in "iu" or not array.size:
        return array
    return array.astype(np.result_type(np.min_scalar_type(array.min()), np.min_scalar_type(array.max())), copy=False)


def _batches(source: Any) -> Iterator[Any]:
    batches = source.batches(training=source.weighted)  # training alone gets the weights of samples
    if is_tensorflow_dataset(batches):
        yield from batches.as_numpy_iterator()
        return
    for index in range(len(batches)):
        yield batches[index]


def _samples_digest(batches: Iterable[Any]) -> str | None:
    """Returns a hash of all samples in any order, or `None` if there is too much to read."""
    total, count, size = 0, 0, 0
    for batch in batches:
        x, y, *weights = (list(map(np.asarray, keras.tree.flatten(part))) for part in batch)
        leaves = [*x, *y, *itertools.chain(*weights)]
        are_labels = [False] * len(x) + [True] * len(y) + [False] * (len(leaves) - len(x) - len(y))
        size += sum(leaf.nbytes for leaf in leaves)
        if size > _MOST_BYTES:
            return None
        for index in range(len(leaves[0])):
            sample = hashlib.sha256()
            for leaf, is_label in zip(leaves, are_labels, strict=True):
                part = np.asarray(leaf[index])
                update_with_array(sample, _in_least_integers(part) if is_label else part)
            total = (total + int.from_bytes(sample.digest()[:16], "big")) % 2**128
        count += len(leaves[0])
    return digest([count, f"{total:032x}"])
