"""Writes the two formats that Keras writes itself: .keras and SavedModel."""

import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfcompress.export import inputs as inputs_lib
from tfcompress.process import absl_level_kept, lock

SIGNATURE = "serve"
SERVING = "serving_default"


def write_keras(network: keras.Model, path: pathlib.Path) -> None:
    """Writes a .keras file; read it with `keras.models.load_model`."""
    network.save(path)


def write_saved_model(network: keras.Model, path: pathlib.Path) -> None:
    """Writes a SavedModel folder; read it with `tf.saved_model.load`.

    Its endpoint `serve` takes and gives the model's own structure. Its signature `serving_default`, which TensorFlow
    Serving calls, takes inputs and gives outputs by the names that a TFLite file of the model has.
    """
    structure = keras.tree.map_structure(
        lambda tensor: tf.TensorSpec(tensor.shape, tensor.dtype, name=tensor.name), network.input
    )
    archive = archive_of(network, lambda inputs: network(inputs, training=False), [structure])
    names, output_names = signature_names(network)
    flat = keras.Model(network.inputs, network.outputs)
    specs = [
        tf.TensorSpec(tensor.shape, tensor.dtype, name=name) for tensor, name in zip(network.inputs, names, strict=True)
    ]

    def serve_by_name(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = keras.tree.flatten(flat(list(tensors), training=False))
        return dict(zip(output_names, outputs, strict=True))

    archive.add_endpoint(SERVING, serve_by_name, specs)
    write_archive(archive, path)


def signature_names(network: keras.Model) -> tuple[list[str], list[str]]:
    """Returns the names of inputs and outputs in the file's signature, in the order of `.inputs` and `.outputs`.

    Inputs have their Keras names; outputs their key in the dictionary that the model returns, else their layer's name.
    """
    outputs = network.output
    names = [key for key, _ in sorted(outputs.items())] if isinstance(outputs, dict) else network.output_names
    if len(names) != len(network.outputs):
        names = network.output_names
    return _unique_names(inputs_lib.input_keys(network)), _unique_names(names)


def archive_of(network: keras.Model, serve: Callable[..., Any], signature: list[Any]) -> keras.export.ExportArchive:
    """Returns an archive whose endpoint `serve` calls a function of the network.

    `network.export` and `archive.track(network)` store every variable twice (keras issue 23553). The endpoint tracks
    its variables itself; only lookup tables are left to track, which Keras finds below any trackable object.
    """
    holder = tf.Module()
    holder.network = network
    archive = keras.export.ExportArchive()
    archive.track(holder)
    archive.add_endpoint(SIGNATURE, serve, signature)
    return archive


def write_archive(archive: keras.export.ExportArchive, path: str | pathlib.Path) -> None:
    """Writes an archive; only one at a time in the process.

    TensorFlow changes absl's verbosity and the warning filters while it saves; two archives at once would restore each
    other's values.
    """
    with lock, absl_level_kept():
        archive.write_out(str(path), verbose=False)


def size_in_bytes(path: pathlib.Path) -> int:
    """Returns the size of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def _unique_names(names: Sequence[str]) -> list[str]:
    """Returns the names in a form valid for signatures: letters, digits and underscores, all different."""
    unique: list[str] = []
    for name in names:
        name = re.sub(r"\W", "_", name)
        same = sum(taken == name or taken.startswith(f"{name}__") for taken in unique)
        unique.append(f"{name}__{same}" if same else name)
    return unique
