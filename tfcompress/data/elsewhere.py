"""Describes splits as plain data, so that another process can open them: arrays in files, and places on disk."""

from __future__ import annotations

import hashlib
import importlib
import json
import pathlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from tfcompress import expect
from tfcompress.data.batches.class_weights import ClassWeights
from tfcompress.data.batches.failures import reading
from tfcompress.data.batches.scaling import Prepared
from tfcompress.data.named.text_sets import BuilderTexts
from tfcompress.data.sources.arrays import ArraySource
from tfcompress.data.sources.folders import FolderStream
from tfcompress.data.sources.image_streams import ImageStream
from tfcompress.data.sources.named_data import fits_in_memory, memory_limit_gb
from tfcompress.data.sources.shuffled_streams import ShuffledStream
from tfcompress.data.sources.source import Source
from tfcompress.data.sources.streams import TensorFlowSource
from tfcompress.data.splits import Split, Splits
from tfcompress.data.texts.characters import CharacterEncoder
from tfcompress.data.texts.files import FileTexts
from tfcompress.data.texts.streams import Texts, TextStream

__all__ = ["NotElsewhere", "imported", "name_of", "reopened", "written"]

_ARRAYS = "Pass arrays, a dataset by its name, a path, or tfcompress.data.load(...)"


class NotElsewhere(ValueError):
    """Data that no other process can open: the message says why, and what to do."""


def written(splits: Splits, folder: pathlib.Path) -> dict[str, Any]:
    """Describes the training and validation split, and writes their arrays to files, each array once.

    Args:
        splits: the splits of a task.
        folder: the folder for the arrays, as .npy files.

    Returns:
        JSON data for `reopened`.

    Raises:
        NotElsewhere: some data exists only in this process.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = _Files(folder)
    return {
        split.name: {"text": split.text, "source": _described(split, files)}
        for split in (splits.train, splits.validation)
    }


def reopened(description: Mapping[str, Any]) -> Splits:
    """Returns the splits of a description; arrays are mapped from their files, which several processes share.

    The validation split also serves as calibration data, and there is no test split.
    """
    train, validation = (
        Split(name, _OPENED[entry["source"]["kind"]](entry["source"]), entry["text"])
        for name, entry in description.items()
    )
    return Splits(train, validation, validation, None)


class _Files:
    """Arrays in files; each array is written once, however many sources share it."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._written: dict[int, tuple[Any, str]] = {}

    def new(self) -> pathlib.Path:
        """Returns the path of a new file."""
        return self._folder / f"array-{len(self._written)}.npy"

    def path_of(self, array: Any, what: str) -> str:
        """Returns the file of an array, written if it is new."""
        if id(array) not in self._written:
            path = self.new()
            self._written[id(array)] = (array, str(path))
            if np.asarray(array).dtype.hasobject:
                raise NotElsewhere(f"{what} hold Python objects. Convert them to numbers")
            np.save(path, np.asarray(array), allow_pickle=False)
        return self._written[id(array)][1]

    def add(self, path: pathlib.Path) -> None:
        """Counts a file that was written without holding its array in memory."""
        self._written[-1 - len(self._written)] = (None, str(path))


def _described(split: Split, files: _Files) -> dict[str, Any]:
    source, what = split.source, f"the {split.name} data"
    if isinstance(source, ArraySource):
        return {
            "kind": "arrays",
            "x": _packed(source.x, lambda array: files.path_of(array, what)),
            "y": _packed(source.y, lambda array: files.path_of(array, what)),
            "weights": None if source.weights is None else _packed(source.weights, lambda a: files.path_of(a, what)),
            "indices": None if source.indices is None else files.path_of(source.indices, what),
            "preprocess": _preprocess(source.preprocess),
            "augment": name_of(source.augment, "augment"),
            "weighs": source.weighs,
            "batch_size": source.batch_size,
            "seed": source.seed,
        }
    if isinstance(source, ImageStream):
        return {
            "kind": "images",
            "folder": str(source.builder.data_dir),
            "ranges": source.ranges,
            "batch_size": source.batch_size,
            "seed": source.seed,
            "class_weights": _pairs(source),
            "size": source.size,
            "preprocess": _preprocess(source.preprocess),
            "augment": source.augment if source.augment == "auto" else name_of(source.augment, "augment"),
        }
    if isinstance(source, FolderStream):
        return {
            "kind": "folder",
            "folder": str(source.folder),
            "files": source.files,
            "labels": source.labels.tolist(),
            "ranges": source.ranges,
            "batch_size": source.batch_size,
            "seed": source.seed,
            "class_weights": _pairs(source),
            "size": source.size,
            "channels": source.channels,
            "preprocess": _preprocess(source.preprocess),
            "augment": name_of(source.augment, "augment"),
            "one_hot": source.one_hot,
        }
    if isinstance(source, TextStream) and isinstance(source.texts.source, (FileTexts, BuilderTexts)):
        texts = source.texts.source
        if isinstance(texts, FileTexts):
            of_texts: dict[str, Any] = {"path": texts.path, "columns": texts.columns}
        else:
            of_texts = {"folder": str(texts.builder.data_dir), "split": texts.split, "text": texts.text}
            of_texts |= {"label": texts.label, "classes": texts.classes}
        return {
            "kind": "texts",
            "texts": of_texts,
            "chosen": files.path_of(source.texts.chosen, what),
            "length": source.encoder.length,
            "alphabet": source.encoder.alphabet,
            "ranges": source.ranges,
            "batch_size": source.batch_size,
            "seed": source.seed,
            "class_weights": _pairs(source),
        }
    if isinstance(source, TensorFlowSource):
        return _written_out(source, what, files)
    raise NotElsewhere(f"{what} are {source.describe()} of an object that only this process has. {_ARRAYS}")


def _preprocess(function: Any) -> Any:
    """Describes a preprocessing function by its name, with the size that images are resized to before it."""
    if isinstance(function, Prepared):
        return {"size": function.size, "then": name_of(function.then, "preprocess")}
    return name_of(function, "preprocess")


def _opened_preprocess(described: Any) -> Any:
    if isinstance(described, Mapping):
        return Prepared(tuple(described["size"]), imported(described["then"]))
    return imported(described)


def _pairs(source: ShuffledStream) -> tuple[tuple[int, float], ...] | None:
    return None if source.class_weights is None else source.class_weights.pairs


def _packed(structure: Any, leaf: Callable[[Any], Any]) -> dict[str, Any]:
    """Converts a structure to JSON data, which `_unpacked` converts back."""
    if isinstance(structure, dict):
        return {"dict": {name: _packed(part, leaf) for name, part in structure.items()}}
    if isinstance(structure, (tuple, list)):
        return {"tuple" if isinstance(structure, tuple) else "list": [_packed(part, leaf) for part in structure]}
    return {"leaf": leaf(structure)}


def _unpacked(packed: Mapping[str, Any], leaf: Callable[[Any], Any]) -> Any:
    ((kind, content),) = packed.items()
    if kind == "dict":
        return {name: _unpacked(part, leaf) for name, part in content.items()}
    if kind == "leaf":
        return leaf(content)
    parts = [_unpacked(part, leaf) for part in content]
    return tuple(parts) if kind == "tuple" else parts


def name_of(function: Any, argument: str) -> str | None:
    """Returns the name by which a function can be imported, `None` for no function.

    Raises:
        NotElsewhere: the function is defined where no other process finds it.
    """
    if function is None:
        return None
    module, name = getattr(function, "__module__", None) or "", getattr(function, "__qualname__", "")
    if module not in sys.modules or module == "__main__" or imported(f"{module}:{name}") is not function:
        raise NotElsewhere(
            f"{argument}={name or type(function).__name__} is a function that only this process has. Define it, with a "
            "name, in a module of its own that can be imported"
        )
    return f"{module}:{name}"


def imported(name: str | None) -> Any:
    """Imports the function of a name from `name_of`."""
    if name is None:
        return None
    module, _, path = name.partition(":")
    value: Any = importlib.import_module(module)
    for part in path.split("."):
        value = getattr(value, part, None)
    return value


# A tf.data.Dataset is written out, if it gives the same batches each time and they fit.


def _batches(source: TensorFlowSource, what: str) -> Iterator[tuple[Any, ...]]:
    with reading(what):
        yield from source.dataset.as_numpy_iterator()


def _written_out(source: TensorFlowSource, what: str, files: _Files) -> dict[str, Any]:
    import keras

    sizes, digests, num_bytes = [], [], 0
    packed: dict[str, Any] = {}
    for batch in _batches(source, what):
        leaves = keras.tree.flatten(batch)
        if any(leaf.dtype.hasobject for leaf in leaves):
            raise NotElsewhere(f"{what} hold Python objects. Convert them to numbers")
        sizes.append(len(leaves[0]))
        digests.append(_digest(leaves))
        num_bytes += sum(leaf.nbytes for leaf in leaves)
        if not fits_in_memory(num_bytes):
            raise NotElsewhere(
                f"{what} are a tf.data.Dataset of more than {memory_limit_gb()}, too large to be written out. Use a "
                "dataset by its name, which each process streams by itself"
            )
    numbers = iter(range(len(leaves)))
    packed = _packed(batch, lambda leaf: next(numbers))
    paths = []
    outputs = []
    for leaf in leaves:
        path = files.new()
        files.add(path)
        paths.append(str(path))
        shape = (sum(sizes), *leaf.shape[1:])
        outputs.append(np.lib.format.open_memmap(path, mode="w+", dtype=leaf.dtype, shape=shape))  # type: ignore[no-untyped-call]  # numpy has no types there
    start = 0
    for number, batch in enumerate(_batches(source, what)):
        leaves = keras.tree.flatten(batch)
        same = number < len(sizes) and digests[number] == _digest(leaves)
        if not same:
            raise NotElsewhere(
                f"{what} are a tf.data.Dataset that gives other batches each time it is read, as it shuffles or "
                f"augments. {_ARRAYS}: tfcompress shuffles these by the seed"
            )
        for output, leaf in zip(outputs, leaves, strict=True):
            output[start : start + sizes[number]] = leaf
        start += sizes[number]
    for output in outputs:
        output.flush()
    return {
        "kind": "batches",
        "paths": paths,
        "structure": packed,
        "sizes": sizes,
        "batch_size": source.batch_size,
        "seed": source.seed,
        "weighted": source.weighted,
        "weighs": source.weighs,
        "part": source.part,
    }


def _digest(leaves: list[np.ndarray]) -> str:
    text = hashlib.sha256(json.dumps([(leaf.shape, str(leaf.dtype)) for leaf in leaves]).encode())
    for leaf in leaves:
        text.update(np.ascontiguousarray(leaf).data)
    return text.hexdigest()


# What `_described` gives, opened again.


def _mapped(path: str) -> np.ndarray:
    array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    return array.view(np.ndarray)  # the same memory, but slices are plain arrays


def _open_arrays(entry: Mapping[str, Any]) -> Source:
    return ArraySource(
        _unpacked(entry["x"], _mapped),
        _unpacked(entry["y"], _mapped),
        None if entry["indices"] is None else _mapped(entry["indices"]),
        _opened_preprocess(entry["preprocess"]),
        imported(entry["augment"]),
        entry["batch_size"],
        entry["seed"],
        None if entry["weights"] is None else _unpacked(entry["weights"], _mapped),
        entry["weighs"],
    )


def _builder(folder: str) -> Any:
    tfds = expect.extra("datasets", "tensorflow_datasets", "the data were read by")
    return tfds.builder_from_directory(folder)


def _class_weights(entry: Mapping[str, Any]) -> ClassWeights | None:
    pairs = entry["class_weights"]
    return None if pairs is None else ClassWeights(tuple((label, weight) for label, weight in pairs))


def _of_a_stream(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments that all streams have."""
    return {
        "ranges": tuple(map(tuple, entry["ranges"])),
        "batch_size": entry["batch_size"],
        "seed": entry["seed"],
        "class_weights": _class_weights(entry),
    }


def _open_images(entry: Mapping[str, Any]) -> Source:
    return ImageStream(
        **_of_a_stream(entry),
        builder=_builder(entry["folder"]),
        size=tuple(entry["size"]),
        preprocess=_opened_preprocess(entry["preprocess"]),
        augment="auto" if entry["augment"] == "auto" else imported(entry["augment"]),
    )


def _open_folder(entry: Mapping[str, Any]) -> Source:
    return FolderStream(
        **_of_a_stream(entry),
        folder=pathlib.Path(entry["folder"]),
        files=tuple(entry["files"]),
        labels=np.array(entry["labels"], "int64"),
        size=tuple(entry["size"]),
        channels=entry["channels"],
        preprocess=_opened_preprocess(entry["preprocess"]),
        augment=imported(entry["augment"]),
        one_hot=entry["one_hot"],
    )


def _open_texts(entry: Mapping[str, Any]) -> Source:
    given = entry["texts"]
    if "path" in given:
        texts: Any = FileTexts(given["path"], given["columns"])
    else:
        classes = None if given["classes"] is None else tuple(given["classes"])
        texts = BuilderTexts(_builder(given["folder"]), given["split"], tuple(given["text"]), given["label"], classes)
    return TextStream(
        **_of_a_stream(entry),
        texts=Texts(texts, _mapped(entry["chosen"])),
        encoder=CharacterEncoder(entry["length"], entry["alphabet"]),
    )


def _open_batches(entry: Mapping[str, Any]) -> Source:
    import keras
    import tensorflow as tf

    arrays = _unpacked(entry["structure"], lambda number: _mapped(entry["paths"][number]))
    ends = np.cumsum(entry["sizes"]).tolist()

    def read() -> Iterator[Any]:
        for start, end in zip([0, *ends[:-1]], ends, strict=True):
            yield keras.tree.map_structure(lambda array, part=slice(start, end): array[part], arrays)

    signature = keras.tree.map_structure(lambda array: tf.TensorSpec([None, *array.shape[1:]], array.dtype), arrays)
    dataset = tf.data.Dataset.from_generator(read, output_signature=signature)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(ends))).prefetch(2)
    known = entry["batch_size"], entry["seed"], entry["weighted"], len(ends), entry["part"]
    return TensorFlowSource(dataset, *known, weighs=entry["weighs"])


_OPENED: dict[str, Callable[[Mapping[str, Any]], Source]] = {
    "arrays": _open_arrays,
    "images": _open_images,
    "folder": _open_folder,
    "texts": _open_texts,
    "batches": _open_batches,
}
