"""Reads files (.h5) of Keras 2 with Keras 3: translates layer configs and the compile state."""

from __future__ import annotations

import json
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any

import keras

__all__ = ["attribute", "compiled_as_written", "loaded_from_copy"]

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


def loaded_from_copy(path: pathlib.Path) -> keras.Model:
    """Loads an .h5 file of Keras 2 from a copy whose config Keras 3 can read, without the compile state."""
    import h5py

    with tempfile.TemporaryDirectory(prefix="tfcompress-") as folder:
        copy = pathlib.Path(folder) / "model.h5"
        with h5py.File(path, "r") as old, h5py.File(copy, "w") as new:
            new.attrs["model_config"] = json.dumps(_for_keras3(attribute(old, "model_config"))).encode()
            new.attrs["keras_version"] = keras.__version__.encode()
            old.copy("model_weights", new)
        return keras.saving.load_model(copy, compile=False)


def attribute(file: Any, name: str) -> Any:
    """Returns the parsed JSON of an HDF5 attribute, `None` if it does not exist."""
    text = file.attrs.get(name)
    return None if text is None else json.loads(text.decode() if isinstance(text, bytes) else text)


def compiled_as_written(model: keras.Model, path: pathlib.Path) -> str | None:
    """Compiles a model with the loss, metrics and optimizer in its file; returns a description of them."""
    import h5py

    with h5py.File(path, "r") as file:
        state = attribute(file, "training_config")
    if not state or not state.get("loss"):
        return None
    loss, metrics = _part(state["loss"], keras.losses), _part(state.get("metrics") or [], keras.metrics)
    if len(model.outputs) == 1 and len(metrics) == 1 and isinstance(metrics[0], list):
        metrics = metrics[0]
    optimizer = _optimizer(**state["optimizer_config"])
    model.compile(optimizer, loss, loss_weights=state.get("loss_weights"), metrics=metrics or None)
    return f"loss {_in_words(state['loss'])} and {type(optimizer).__name__}({float(optimizer.learning_rate):g})"


def _part(value: Any, module: Any) -> Any:
    """Converts a loss or metric that Keras 2 wrote, or a structure of them, to the form that `compile` takes."""
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
    """Returns a Keras 2 config of a model or layer, without arguments that Keras 3 does not take.

    References to a nested model count its calls from 1 in the file, because building the model itself was call 0.
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
    """Yields the `[layer, call, output, ...]` of a functional config, as lists that can be changed in place."""

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
