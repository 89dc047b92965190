"""Reduces a model to its network: without optimizer, loss and subclass, and in float32 if a converter needs it."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tfcompress.export.errors import ExportError
from tfcompress.export.lambdas import without_lambdas
from tfcompress.graph.copying import Copies, carry_state, copied

_OTHER_FLOATS = ("float16", "bfloat16", "float64")
_OTHER_POLICIES = (*_OTHER_FLOATS, "mixed_float16", "mixed_bfloat16")


def network_of(model: keras.Model) -> keras.Model:
    """Returns a plain Functional model on the layers and weights of `model`.

    It shares everything with `model`, which is not changed, but has neither optimizer nor loss: a written file holds no
    optimizer slots, and loads without the code of a training loss or of a Functional model's subclass. A model with
    Lambda layers is copied if Keras operations can replace them.

    Args:
        model: a Functional or built Sequential model, or a subclass made of inputs and outputs.

    Raises:
        ExportError: the model is of another kind, not built, on another backend than TensorFlow, or not finite.
    """
    if keras.backend.backend() != "tensorflow":
        raise ExportError(
            f"Expected Keras on the TensorFlow backend. Received: backend={keras.backend.backend()!r}."
            " Save the model, set KERAS_BACKEND=tensorflow and load it there."
        )
    if isinstance(model, keras.Sequential) and model.built:
        network = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    elif isinstance(model, keras.Model) and isinstance(model, keras.Function):
        network = keras.Model(model.input, model.output, name=model.name)
    else:
        raise ExportError(
            "Expected a Functional model, or a Sequential model that knows its input shape."
            f" Received: model of type {type(model).__name__}. Make it from keras.Input tensors."
        )
    _refuse_non_finite(network)
    return without_lambdas(network)


def _refuse_non_finite(network: keras.Model) -> None:
    """Refuses NaN and infinity: such a file is useless, and the int8 calibrator crashes on infinities."""
    for weight in network.weights:
        if (
            "float" in str(weight.dtype)
            and not np.isfinite(keras.ops.convert_to_numpy(weight).astype(np.float32)).all()
        ):
            raise ExportError(
                f"Expected finite weights. Received: NaN or infinity in {weight.path!r}."
                " Export a state from before the training went wrong."
            )


def is_float32(network: keras.Model) -> bool:
    """Whether every layer, also in nested models, computes in float32 (or in integers)."""
    for operation in network.operations:
        if getattr(operation, "compute_dtype", "float32") in _OTHER_FLOATS or (
            _is_model(operation) and not is_float32(operation)
        ):
            return False
    return True


def in_float32(network: keras.Model) -> keras.Model:
    """Returns the network itself if it computes in float32, else a copy in float32 with the same weights.

    TensorFlow Lite has no convolution, product or bias in half precision; its float16 files store float16 weights.
    """
    return network if is_float32(network) else copy_of(network, _float32_config)


def copy_of(network: keras.Model, change: Callable[[Any], Any] | None = None) -> keras.Model:
    """Returns a copy of a network with the same weights, in which `change` has changed each layer's config."""
    operations = _operations(network)
    with Copies(operations, lambda operation: copied(operation, change)) as copies:
        copy = keras.models.clone_model(network, clone_function=copies.new, recursive=True)
        copy.set_weights(network.get_weights())
        for operation in operations:
            carry_state(operation, copies.new(operation))
    return copy


def _operations(network: keras.Model) -> list[Any]:
    """Returns the layers and operations of a network and of its nested models, without these models themselves."""
    nested = [operation for operation in network.operations if _is_model(operation)]
    own = [operation for operation in network.operations if not _is_model(operation)]
    return [*own, *(inner for model in nested for inner in _operations(model))]


def _is_model(operation: Any) -> bool:
    return isinstance(operation, keras.Model) and hasattr(operation, "operations")


def _float32_config(config: Any) -> Any:
    """Replaces every dtype policy in a layer's config, including those of wrapped layers."""
    if isinstance(config, (list, tuple)):
        return type(config)(_float32_config(value) for value in config)
    if not isinstance(config, dict):
        return config
    if config.get("class_name") == "DTypePolicy":
        return "float32" if config["config"]["name"] in _OTHER_POLICIES else config
    return {
        key: "float32" if key == "dtype" and value in _OTHER_POLICIES else _float32_config(value)
        for key, value in config.items()
    }
