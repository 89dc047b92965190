"""Writes the two formats that Keras writes itself: .keras and SavedModel."""

import pathlib
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfcompress.process import absl_level_kept, lock

SIGNATURE = "serve"


def write_keras(network: keras.Model, path: pathlib.Path) -> None:
    """Writes a .keras file; read it with `keras.models.load_model`."""
    network.save(path)


def write_saved_model(network: keras.Model, path: pathlib.Path) -> None:
    """Writes a SavedModel folder with one endpoint and signature, `serve`; read it with `tf.saved_model.load`."""
    signature = keras.tree.map_structure(
        lambda tensor: tf.TensorSpec(tensor.shape, tensor.dtype, name=tensor.name), network.input
    )
    archive = archive_of(network, lambda inputs: network(inputs, training=False), [signature])
    write_archive(archive, path)


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
