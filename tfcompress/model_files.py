"""Models read from files: those of Keras 2 as far as Keras 3 can, and for all others one clear line with the way out.

Nothing here runs code that a file holds: `safe_mode` stays on, and a file that needs it off is for its owner to load.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import tempfile
import zipfile
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
from absl import logging

from tfcompress import expect
from tfcompress.graph import LayerGraph

__all__ = ["GivenModel", "given_model", "read_model"]

_WHAT = "a keras.Model, or the path of a .keras or .h5 file"
_LOAD = "load it yourself and pass the model object: model = keras.saving.load_model(path, {0}); tfcompress.{1}"
_CALL = "compress(model, ...)"
_UNCOMPILED = (
    "the model is taken as one that is not compiled, its loss and metric inferred from outputs and labels. Compile it, "
    "or pass objective=, if it was trained for something else."
)
_MISSING = (
    r"Could not locate class '([^']+)'",
    r"Could not locate function '([^']+)'",
    r"Unknown \w+: '?([\w>]+)'?",
)
_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
# Arguments that Keras 2 wrote into configs and Keras 3 does not take, with the values at which they change nothing in a
# model whose weights are loaded; `None` for all values.
_KERAS2_ARGUMENTS: dict[str, tuple[Any, ...] | None] = {"time_major": (False,)}
_SEPARABLE: dict[str, tuple[Any, ...] | None] = {
    "groups": (1,),
    "kernel_initializer": None,
    "kernel_regularizer": (None,),
    "kernel_constraint": (None,),
}
_KERAS2_ARGUMENTS_OF: dict[str, dict[str, tuple[Any, ...] | None]] = {
    "DepthwiseConv1D": _SEPARABLE,
    "DepthwiseConv2D": _SEPARABLE,
    "SeparableConv1D": _SEPARABLE,
    "SeparableConv2D": _SEPARABLE,
    "Conv1DTranspose": {"groups": (1,)},
    "Conv2DTranspose": {"groups": (1,)},
    "Conv3DTranspose": {"groups": (1,)},
    "MultiHeadAttention": {
        "query_shape": None,
        "key_shape": None,
        "value_shape": None,
        "softmax_robust_masking": (False,),
    },
}
_MODELS = ("Functional", "Model", "Sequential")


class GivenModel(NamedTuple):
    """A model as a user gave it.

    Attributes:
        model: the model.
        notes: what is to be known of its file.
    """

    model: keras.Model
    notes: tuple[str, ...] = ()


def given_model(model: keras.Model | str | os.PathLike[str]) -> keras.Model:
    """The model, read from its file where a path is given; see `read_model`."""
    return read_model(model).model


def read_model(model: keras.Model | str | os.PathLike[str]) -> GivenModel:
    """The model, read from its file where a path is given.

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
            logging.warning("%s", note)
    expect.instance("model", model, keras.Model, _WHAT)
    LayerGraph.from_keras(model)  # says what is wrong with a model that cannot be read
    return GivenModel(model, notes)


def _loaded(path: pathlib.Path) -> tuple[keras.Model, tuple[str, ...]]:
    if not path.exists():
        raise FileNotFoundError(f"Expected `model` to be a model or an existing file. Received: {str(path)!r}")
    try:
        kind = _no_model_file(path)
    except PermissionError:
        raise PermissionError(f"Expected `model` to be a file that can be read. Received: {str(path)!r}") from None
    if kind:
        raise ValueError(f"Expected `model` to be the path of a .keras or .h5 file. Received: {str(path)!r}, {kind}")
    _check_meaning(path)
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


def _check_meaning(path: pathlib.Path) -> None:
    """Refuses what Keras 3 loads from a file of Keras 2 and computes otherwise."""
    written = _keras_version(path)
    if written and _is_old(written) and b"hard_sigmoid" in _config_of(path):
        raise ValueError(
            f"Expected activations that mean the same in Keras 2 and 3. Received: {str(path)!r}, written by Keras "
            f"{written}, with hard_sigmoid: 0.2 * x + 0.5 within 0 and 1 there, x / 6 + 0.5 in Keras 3. Build the "
            "model anew in Keras 3 with a function of your own in its place, load its weights (model.load_weights), "
            "and pass the model object."
        )


def _explained(path: pathlib.Path, error: Exception, written: str | None) -> str:
    """What a model file that does not load lacks, and the way out."""
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
        other = ""
        if not _starts_with(path, _HDF5):
            other = "tf_keras.models.load_model(path).save('model.h5') writes a file of which more can be read. Or "
        build = f"{other}build" if other else "Build"
        return (
            f"Expected a model file that Keras 3 can read. {received}, written by Keras {written}: "
            f"{_one_line(error)}. {build} the model anew in Keras 3, load its weights (model.load_weights), "
            "and pass the model object."
        )
    return f"Expected a model file that Keras {keras.__version__} can read. {received}: {_one_line(error)}."


def _missing_class(text: str) -> str | None:
    for pattern in _MISSING:
        if found := re.search(pattern, text):
            return found.group(1).split(">")[-1]
    return None


def _one_line(error: Exception, longest: int = 160) -> str:
    text = str(error).rpartition("Exception encountered:")[2]  # Keras shows the layer's whole config before it
    text = " ".join(text.split()).rstrip(".") or type(error).__name__
    return text if len(text) <= longest else text[:longest] + "..."


def _no_model_file(path: pathlib.Path) -> str | None:
    """What the file is, and the way out, where it cannot hold a Keras model; told by its content, not its name."""
    if path.is_dir():
        return _no_model_folder(path)
    with path.open("rb") as file:
        head = file.read(8)
    if not head:
        return "an empty file. Write it anew."
    if head[4:8] == b"TFL3" or path.suffix == ".tflite":
        return "a TensorFlow Lite file, which cannot be trained. Give the Keras model that it was made of."
    if head.startswith(_HDF5):
        return _no_model_in_hdf5(path)
    if head.startswith(_ZIP):
        return _no_model_in_zip(path)
    if path.suffix in (".h5", ".hdf5", ".keras"):
        return "which is damaged or something else: it begins neither as HDF5 nor as a zip archive. Write it anew."
    if path.suffix == ".pb":
        return "a graph of TensorFlow, which has no layers. Give the Keras model that it was made of."
    return "which is no file of Keras. keras.Model.save('model.keras') writes one."


def _no_model_folder(path: pathlib.Path) -> str | None:
    if (path / "config.json").exists():  # a .keras file that was unpacked
        return None
    if (path / "saved_model.pb").exists():
        return (
            "a SavedModel, of which Keras 3 reads no layers. Give the .keras file of the same model; or, where Keras 2 "
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


def _config_of(path: pathlib.Path) -> bytes:
    """The JSON of a model's config as it is in the file."""
    if _starts_with(path, _HDF5):
        import h5py

        with h5py.File(path, "r") as file:
            config = file.attrs["model_config"]
        return config if isinstance(config, bytes) else str(config).encode()
    if path.is_dir():
        return (path / "config.json").read_bytes()
    with zipfile.ZipFile(path) as archive:
        return archive.read("config.json")


def _starts_with(path: pathlib.Path, head: bytes) -> bool:
    if path.is_dir():
        return False
    with path.open("rb") as file:
        return file.read(len(head)) == head


def _keras_version(path: pathlib.Path) -> str | None:
    """The version of Keras that wrote a file, where the file says it."""
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
    """A model from an .h5 file of Keras 2, compiled anew with what of its compile state means the same in Keras 3."""
    try:
        try:
            model = keras.saving.load_model(path, compile=False)
        except Exception:
            model = _from_copy(path)
    except Exception as error:
        raise ValueError(_explained(path, error, written)) from error
    said = f"{path.name} was written by Keras {written}."
    try:
        compiled = _compiled_as_written(model, path)
    except Exception as error:
        return model, (f"{said} Its loss, metrics and optimizer cannot be read ({_one_line(error)}): {_UNCOMPILED}",)
    return model, (f"{said} It is compiled anew, with {compiled}." if compiled else said,)


def _from_copy(path: pathlib.Path) -> keras.Model:
    """Loads an .h5 file of Keras 2 from a copy whose config Keras 3 reads, without compile state."""
    import h5py

    with tempfile.TemporaryDirectory(prefix="tfcompress-") as folder:
        copy = pathlib.Path(folder) / "model.h5"
        with h5py.File(path, "r") as old, h5py.File(copy, "w") as new:
            new.attrs["model_config"] = json.dumps(_for_keras3(_attribute(old, "model_config"))).encode()
            new.attrs["keras_version"] = keras.__version__.encode()
            old.copy("model_weights", new)
        return keras.saving.load_model(copy, compile=False)


def _attribute(file: Any, name: str) -> Any:
    """The JSON of an attribute of an HDF5 file, `None` where there is none."""
    text = file.attrs.get(name)
    return None if text is None else json.loads(text.decode() if isinstance(text, bytes) else text)


def _compiled_as_written(model: keras.Model, path: pathlib.Path) -> str | None:
    """Compiles a model with the loss, metrics and optimizer in its file; returns them in words."""
    import h5py

    with h5py.File(path, "r") as file:
        state = _attribute(file, "training_config")
    if not state or not state.get("loss"):
        return None
    loss, metrics = _part(state["loss"], keras.losses), _part(state.get("metrics") or [], keras.metrics)
    if len(model.outputs) == 1 and len(metrics) == 1 and isinstance(metrics[0], list):
        metrics = metrics[0]
    optimizer = _optimizer(**state["optimizer_config"])
    model.compile(optimizer, loss, loss_weights=state.get("loss_weights"), metrics=metrics or None)
    return f"loss {_in_words(state['loss'])} and {type(optimizer).__name__}({float(optimizer.learning_rate):g})"


def _part(value: Any, module: Any) -> Any:
    """A loss or metric as Keras 2 wrote it, or a structure of them, as `compile` takes it."""
    if isinstance(value, list):
        return [_part(entry, module) for entry in value if entry is not None]
    if isinstance(value, dict) and "class_name" not in value:
        return {name: _part(entry, module) for name, entry in value.items()}
    if not isinstance(value, dict):
        module.get(value)
        return value
    settings = dict(value["config"])
    function = settings.pop("fn", None)
    if value["class_name"] in ("MeanMetricWrapper", "LossFunctionWrapper"):
        is_accuracy = str(function).endswith("_accuracy") and str(settings["name"]).endswith(("accuracy", "acc"))
        return "accuracy" if is_accuracy else _part(function, module)
    if settings.get("reduction") in ("auto", "sum_over_batch_size"):  # "auto" is what Keras 3 calls the default
        del settings["reduction"]
    return getattr(module, value["class_name"]).from_config(settings)


def _optimizer(class_name: str, config: dict[str, Any]) -> keras.optimizers.Optimizer:
    kind = getattr(keras.optimizers, class_name.rpartition(">")[2])
    settings = {"learning_rate": config["lr"], **config} if "lr" in config else config
    known = {name: value for name, value in settings.items() if name in kind().get_config() and value is not None}
    optimizer: keras.optimizers.Optimizer = kind.from_config({**known, "learning_rate": float(known["learning_rate"])})
    return optimizer


def _in_words(loss: Any) -> str:
    if isinstance(loss, list):
        return ", ".join(map(_in_words, loss))
    if isinstance(loss, dict) and "class_name" not in loss:
        return ", ".join(f"{name}: {_in_words(value)}" for name, value in loss.items())
    return str(loss["class_name"] if isinstance(loss, dict) else loss)


def _for_keras3(config: Any) -> Any:
    """The config of a model or layer of Keras 2 without arguments that Keras 3 does not take.

    References to a model inside a model count its calls from 1 there, as the model's own building was call 0.
    """
    if isinstance(config, list):
        return [_for_keras3(entry) for entry in config]
    if not isinstance(config, dict):
        return config
    kind, inner = config.get("class_name"), config.get("config")
    plain = {name: _for_keras3(value) for name, value in config.items()}
    if not isinstance(kind, str) or not isinstance(inner, dict):
        return plain
    plain.pop("build_config", None)  # the layer is built where it is called
    harmless = {**_KERAS2_ARGUMENTS, **_KERAS2_ARGUMENTS_OF.get(kind, {})}

    def goes(name: str, value: Any) -> bool:
        values = harmless.get(name, ())
        return values is None or value in values

    plain["config"] = {name: value for name, value in plain["config"].items() if not goes(name, value)}
    if kind in _MODELS and "input_layers" in inner:
        models = {layer["name"] for layer in inner["layers"] if layer.get("class_name") in _MODELS and "name" in layer}
        for reference in _references(plain["config"]):
            if reference[0] in models and reference[1] > 0:
                reference[1] -= 1
    return plain


def _references(config: dict[str, Any]) -> Iterator[list[Any]]:
    """The `[layer, call, output, ...]` of a functional config, as lists to be changed in place."""

    def walk(value: Any) -> Iterator[list[Any]]:
        if isinstance(value, list):
            is_reference = len(value) >= 3 and isinstance(value[0], str) and all(type(v) is int for v in value[1:3])
            if is_reference:
                yield value
                value = value[3:]
            for entry in value:
                yield from walk(entry)
        elif isinstance(value, dict):
            for entry in value.values():
                yield from walk(entry)

    for layer in config["layers"]:
        yield from walk(layer.get("inbound_nodes", []))
    yield from walk(config["input_layers"])
    yield from walk(config["output_layers"])
