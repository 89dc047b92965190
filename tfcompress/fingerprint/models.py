"""Models by what they compute: the graph without the names of layers, and weights layer by layer."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tfcompress.fingerprint.contents import Contents
from tfcompress.fingerprint.hashing import digest, update_with_array
from tfcompress.graph import TensorRef
from tfcompress.network import Network

__all__ = ["config_of", "layer_names", "model_contents", "model_digest", "weights_digest"]


def model_digest(model: keras.Model) -> str:
    """Returns a hash of a model's architecture and weights, whatever its layers' names are."""
    content = model_contents(model, Contents(), "model")
    return digest([content["architecture"], content["weights"]])


def layer_names(model: keras.Model | Network) -> list[str]:
    """Returns the unique names of a model's layers, in the order of its graph."""
    return list(Network.of(model).graph.operations)


def model_contents(model: keras.Model | Network, contents: Contents, where: str) -> dict[str, Any]:
    """Returns a model as data: `names` of its layers, `architecture` and `weights`, an entry per layer, in graph order.

    Names do not count, because Keras numbers them differently in every process. Nor does the compile state.
    """
    network = Network.of(model)
    try:
        graph = network.graph
    except (TypeError, ValueError):
        return _subclassed(network.model, contents, where)
    operations = graph.operations
    numbers = {name: index for index, name in enumerate(graph.nodes)}
    calls: dict[str, list[Any]] = {name: [] for name in operations}
    for node in graph.nodes.values():
        arguments = _numbered((node.args, dict(node.kwargs)), numbers)
        calls[node.layer_name].append(contents.of(arguments, f"{where}: a call of {node.layer_name}"))
    ends = _numbered([graph.inputs, graph.outputs], numbers)
    architecture = [
        f"{type(operation).__name__} {digest([_parts(operation, contents, f'{where}: {name}'), calls[name]])}"
        for name, operation in operations.items()
    ]
    return {
        "names": list(operations),
        "architecture": [*architecture, f"inputs and outputs {digest(contents.of(ends, where))}"],
        "weights": [weights_digest(operation) for operation in operations.values()],
    }


def _numbered(structure: Any, numbers: Mapping[str, int]) -> Any:
    """Returns arguments of a call with node names replaced by their numbers."""
    if isinstance(structure, TensorRef):
        return {"output": structure.index, "of": numbers[structure.node]}
    if isinstance(structure, dict):
        return {str(key): _numbered(value, numbers) for key, value in structure.items()}
    return [_numbered(value, numbers) for value in structure] if isinstance(structure, (list, tuple)) else structure


def _subclassed(model: keras.Model, contents: Contents, where: str) -> dict[str, Any]:
    layers = list(model._flatten_layers(include_self=False))
    own = {"class": contents.of(type(model), where), "config": contents.of(config_of(model), where)}
    return {
        "names": [layer.name for layer in layers],
        "architecture": [f"{type(model).__name__} {digest([own, [_parts(x, contents, where) for x in layers]])}"],
        "weights": [weights_digest(model)],
    }


def _parts(operation: Any, contents: Contents, where: str) -> list[Any]:
    """Returns the operation and the layers inside it."""
    inner = operation._flatten_layers(include_self=False) if isinstance(operation, keras.Layer) else ()
    return [contents.of_keras(part, where) for part in (operation, *inner)]


def weights_digest(operation: Any) -> str:
    """Returns a hash of a layer's weights, and of its vocabulary if it is a lookup."""
    hasher = hashlib.sha256()
    for weight in getattr(operation, "weights", ()):
        update_with_array(hasher, np.asarray(keras.ops.convert_to_numpy(weight)))
    if hasattr(operation, "get_vocabulary"):  # of a lookup, state that is no weight
        hasher.update(repr(list(operation.get_vocabulary())).encode())
    return hasher.hexdigest()[:32]


def config_of(thing: Any) -> Any:
    """Returns the config of a Keras object without names that Keras may have generated; `None` if there is none."""
    try:
        config = thing.get_config()
    except Exception:  # of a class that does not say how it is made
        return None
    names: dict[str, str] = {}
    return _anonymous({"class_name": type(thing).__name__, "config": config}, names)


def _anonymous(config: Any, names: dict[str, str]) -> Any:
    """Replaces names of layers and other Keras objects anywhere in a config by their order."""
    if isinstance(config, (list, tuple)):
        return [_anonymous(entry, names) for entry in config]
    if not isinstance(config, Mapping):
        return config
    if config.get("class_name") == "__lambda__":  # its code is looked at in the layer itself
        return "lambda"
    is_object = "class_name" in config and isinstance(config.get("config"), Mapping)
    entries: dict[str, Any] = {}
    for key, value in config.items():
        if is_object and key in ("module", "registered_name", "shared_object_id", "compile_config"):
            continue
        if is_object and key == "config" and isinstance(value.get("name"), str):
            value = {**value, "name": names.setdefault(value["name"], f"#{len(names)}")}
        if is_object and key == "name":
            entries[key] = names.setdefault(value, f"#{len(names)}")
        elif key == "keras_history":
            entries[key] = [names.setdefault(value[0], f"#{len(names)}"), *value[1:]]
        elif key in ("input_layers", "output_layers"):
            entries[key] = _anonymous_ends(value, names)
        else:
            entries[key] = _anonymous(value, names)
    return entries


def _anonymous_ends(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], str):
        return [names.setdefault(value[0], f"#{len(names)}"), *value[1:]]
    if isinstance(value, (list, tuple)):
        return [_anonymous_ends(entry, names) for entry in value]
    return {key: _anonymous_ends(entry, names) for key, entry in value.items()} if isinstance(value, dict) else value
