"""Reads models from files, those of Keras 2 as far as Keras 3 can; refuses any other file with a way out.

No code in a file is ever run: `safe_mode` stays on, and a file that needs it off has to be loaded by its owner.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import zipfile
from typing import Any, NamedTuple

import keras

import tfcompress.layers  # noqa: F401  registers the mixture, which models in files and plans may hold
from tfcompress import expect
from tfcompress.graph import LayerGraph
from tfcompress.keras2_files import attribute, compiled_as_written, loaded_from_copy
from tfcompress.process import log

__all__ = ["GivenModel", "given_model", "read_model"]

_WHAT = "a keras.Model, or the path of a .keras or .h5 file"
_LOAD = "load it yourself and pass the model object: model = keras.saving.load_model(path, {0}); tfcompress.{1}"
_CALL = "compress(model, ...)"
_UNCOMPILED = (
    "the model counts as not compiled, and its loss and metric are inferred from outputs and labels. Compile it, "
    "or pass objective=, if it was trained for something else."
)
_MISSING = (
    r"Could not locate class '([^']+)'",
    r"Could not locate function '([^']+)'",
    r"Unknown \w+: '?([\w>]+)'?",
)
_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"


class GivenModel(NamedTuple):
    """A model as a user gave it.

    Attributes:
        model: the model.
        graph: its graph.
        notes: remarks on its file.
    """

    model: keras.Model
    graph: LayerGraph
    notes: tuple[str, ...] = ()


def given_model(model: keras.Model | str | os.PathLike[str]) -> keras.Model:
    """Returns the model, read from its file if a path is given; see `read_model`."""
    return read_model(model).model


def read_model(model: keras.Model | str | os.PathLike[str]) -> GivenModel:
    """Returns the model, read from its file if a path is given.

    Raises:
        FileNotFoundError: no file of that name.
        TypeError: not a model, or a subclassed one.
        ValueError: a file that Keras cannot read; an unknown dimension other than the batch.
    """
    notes: tuple[str, ...] = ()
    if isinstance(model, (str, os.PathLike)):
        path: pathlib.Path = expect.path("model", model, _WHAT)
        model, notes = _loaded(path)
        for note in notes:
            log.warning("%s", note)
    expect.instance("model", model, keras.Model, _WHAT)
    graph = LayerGraph.from_keras(model)  # says what is wrong with a model that cannot be read
    return GivenModel(model, graph, notes)


def _loaded(path: pathlib.Path) -> tuple[keras.Model, tuple[str, ...]]:
    if not path.exists():
        raise FileNotFoundError(f"Expected `model` to be a model or an existing file. Received: {str(path)!r}")
    try:
        kind = _no_model_file(path)
    except PermissionError:
        raise PermissionError(f"Expected `model` to be a file that can be read. Received: {str(path)!r}") from None
    if kind:
        raise ValueError(f"Expected `model` to be the path of a .keras or .h5 file. Received: {str(path)!r}, {kind}")
    _check_config(path)
    written = _keras_version(path)
    if written and _is_old(written) and _starts_with(path, _HDF5):
        return _of_keras2(path, written)
    try:
        return keras.saving.load_model(path), ()
    except Exception as error:  # Keras raises whatever a config's constructor does
        first = error
    try:
        model = keras.saving.load_model(path, compile=False)
    except Exception as error:
        raise ValueError(_explained(path, error, written)) from error
    return model, (
        f"{path.name} does not load with its loss, metrics and optimizer ({_one_line(first)}): {_UNCOMPILED}",
    )


def _check_config(path: pathlib.Path) -> None:
    """Refuses files that hold code, and files of Keras 2 that Keras 3 loads but computes differently."""
    config, written = _config_of(path), _keras_version(path)
    if code := _layers_of_code(config):
        raise ValueError(
            f"Expected a model file that holds no Python code. Received: {str(path)!r}, with the code of "
            f"{', '.join(code)} (Lambda), which would run when the file is loaded. tfcompress never does that. If you "
            f"trust the file, {_LOAD.format('safe_mode=False', _CALL)}."
        )
    if written and _is_old(written) and "hard_sigmoid" in json.dumps(config):
        raise ValueError(
            f"Expected activations that mean the same in Keras 2 and 3. Received: {str(path)!r}, written by Keras "
            f"{written}, with hard_sigmoid: 0.2 * x + 0.5 within 0 and 1 there, x / 6 + 0.5 in Keras 3. Build the "
            "model anew in Keras 3 with a function of your own in its place, load its weights (model.load_weights), "
            "and pass the model object."
        )


def _layers_of_code(config: Any, name: str = "a layer") -> list[str]:
    """Returns the names of layers whose config holds a Python lambda: as text, or as the list that Keras 2 wrote."""
    if isinstance(config, list):
        return [layer for entry in config for layer in _layers_of_code(entry, name)]
    if not isinstance(config, dict):
        return []
    if config.get("class_name") == "__lambda__":
        return [repr(name)]
    inner = config.get("config")
    if isinstance(inner, dict):
        name = str(inner.get("name", name))
        if config.get("class_name") == "Lambda" and isinstance(inner.get("function"), list):
            return [repr(name)]
    return [layer for entry in config.values() for layer in _layers_of_code(entry, name)]


def _explained(path: pathlib.Path, error: Exception, written: str | None) -> str:
    """Returns the message for a model file that does not load, with the way out."""
    text, received = str(error), f"Received: {str(path)!r}"
    if "Lambda" in text and ("safe_mode" in text or "unsafe" in text):
        return (
            f"Expected a model file that holds no Python code. {received}, with a Lambda layer, whose code would run "
            "when the file is loaded. tfcompress never does that. If you trust the file, "
            f"{_LOAD.format('safe_mode=False', _CALL)}."
        )
    missing = _missing_class(text)
    if missing and missing in ("TFOpLambda", "SlicingOpLambda"):
        return (
            f"Expected layers that Keras 3 knows. {received}, with a {missing}: a TensorFlow function that Keras "
            f"{written or 2} took into the model. Build the model anew in Keras 3, with keras.ops in its place, load "
            "its weights (model.load_weights), and pass the model object."
        )
    if missing:
        return (
            f"Expected layers that Keras knows. {received}, with {missing!r}, which is not registered. Import the code "
            "that registers it (@keras.saving.register_keras_serializable()) before, or "
            f"{_LOAD.format(f'custom_objects={{{missing!r}: {missing}}}', _CALL)}."
        )
    if written and _is_old(written):
        advice = ""
        if not _starts_with(path, _HDF5):
            advice = "tf_keras.models.load_model(path).save('model.h5') writes a file that Keras 3 reads better. Or "
        build = f"{advice}build" if advice else "Build"
        return (
            f"Expected a model file that Keras 3 can read. {received}, written by Keras {written}: "
            f"{_one_line(error)}. {build} the model anew in Keras 3, load its weights (model.load_weights), "
            "and pass the model object."
        )
    return f"Expected a model file that Keras {keras.__version__} can read. {received}: {_one_line(error)}."


def _missing_class(text: str) -> str | None:
    for pattern in _MISSING:
        if match := re.search(pattern, text):
            return match.group(1).split(">")[-1]
    return None


def _one_line(error: Exception, longest: int = 160) -> str:
    text = str(error).rpartition("Exception encountered:")[2]  # Keras shows the layer's whole config before it
    text = " ".join(text.split()).rstrip(".") or type(error).__name__
    return text if len(text) <= longest else text[:longest] + "..."


def _no_model_file(path: pathlib.Path) -> str | None:
    """Returns the kind of a file that cannot hold a Keras model, with the way out; judged by content, not by name."""
    if path.is_dir():
        return _no_model_folder(path)
    with path.open("rb") as file:
        head = file.read(8)
    if not head:
        return "an empty file. Write it anew."
    if head[4:8] == b"TFL3" or path.suffix == ".tflite":
        return "a TensorFlow Lite file, which cannot be trained. Give the Keras model that it was made from."
    if head.startswith(_HDF5):
        return _no_model_in_hdf5(path)
    if head.startswith(_ZIP):
        return _no_model_in_zip(path)
    if path.suffix in (".h5", ".hdf5", ".keras"):
        return "which is damaged or something else: it begins neither as HDF5 nor as a zip archive. Write it anew."
    if path.suffix == ".pb":
        return "a TensorFlow graph, which has no layers. Give the Keras model that it was made from."
    return "which is not a Keras file. keras.Model.save('model.keras') writes one."


def _no_model_folder(path: pathlib.Path) -> str | None:
    if (path / "config.json").exists():  # a .keras file that was unpacked
        return None
    if (path / "saved_model.pb").exists():
        return (
            "a SavedModel, whose layers Keras 3 cannot read. Give the .keras file of the same model; or, where Keras 2 "
            "wrote it, an .h5 file: tf_keras.models.load_model(path).save('model.h5')."
        )
    return "a folder."


def _no_model_in_hdf5(path: pathlib.Path) -> str | None:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            has_config = "model_config" in file.attrs
    except OSError as error:
        return f"which is damaged or cut short ({_one_line(error)}). Copy or write it anew."
    if not has_config:
        return (
            "which holds weights only, no layers. Build the model in code, call model.load_weights(path), and pass the "
            "model object."
        )
    if path.suffix not in (".h5", ".hdf5"):
        return "an HDF5 file under a name that Keras does not know. Rename it to end with .h5."
    return None


def _no_model_in_zip(path: pathlib.Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile as error:
        return f"which is damaged or cut short ({_one_line(error)}). Copy or write it anew."
    if "config.json" not in names:
        return "a zip archive that holds no Keras model. keras.Model.save('model.keras') writes one."
    if path.suffix != ".keras":
        return "a Keras file under a name that Keras does not know. Rename it to end with .keras."
    return None


def _is_old(version: str) -> bool:
    return version.startswith(("1.", "2."))


def _config_of(path: pathlib.Path) -> Any:
    """Returns the config of a model as the file has it; `None` if the file is damaged, which Keras reports."""
    with contextlib.suppress(Exception):
        if _starts_with(path, _HDF5):
            import h5py

            with h5py.File(path, "r") as file:
                return attribute(file, "model_config")
        if path.is_dir():
            return json.loads((path / "config.json").read_text())
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("config.json"))
    return None


def _starts_with(path: pathlib.Path, head: bytes) -> bool:
    if path.is_dir():
        return False
    with path.open("rb") as file:
        return file.read(len(head)) == head


def _keras_version(path: pathlib.Path) -> str | None:
    """Returns the version of Keras that wrote a file, if the file states it."""
    with contextlib.suppress(Exception):  # a damaged file has no version
        if _starts_with(path, _HDF5):
            import h5py

            with h5py.File(path, "r") as file:
                version = file.attrs.get("keras_version", "")
            return str(version.decode() if isinstance(version, bytes) else version) or None
        if path.is_dir():
            return str(json.loads((path / "metadata.json").read_text())["keras_version"])
        with zipfile.ZipFile(path) as archive:
            return str(json.loads(archive.read("metadata.json"))["keras_version"])
    return None


def _of_keras2(path: pathlib.Path, written: str) -> tuple[keras.Model, tuple[str, ...]]:
    """Returns a model from an .h5 file of Keras 2, compiled with the settings that mean the same in Keras 3."""
    try:
        try:
            model = keras.saving.load_model(path, compile=False)
        except Exception:
            model = loaded_from_copy(path)
    except Exception as error:
        raise ValueError(_explained(path, error, written)) from error
    said = f"{path.name} was written by Keras {written}."
    try:
        compiled = compiled_as_written(model, path)
    except Exception as error:
        return model, (f"{said} Its loss, metrics and optimizer cannot be read ({_one_line(error)}): {_UNCOMPILED}",)
    return model, (f"{said} It is compiled anew, with {compiled}." if compiled else said,)
