"""The network of a model alone: without optimizer, loss and subclass, and in float32 where a converter needs it."""

from typing import Any

import keras
import numpy as np

from tfcompress.export.errors import ExportError
from tfcompress.export.lambdas import without_lambdas

_OTHER_FLOATS = ("float16", "bfloat16", "float64")
_OTHER_POLICIES = (*_OTHER_FLOATS, "mixed_float16", "mixed_bfloat16")


def network_of(model: keras.Model) -> keras.Model:
    """Returns a plain Functional model on the layers and weights of `model`.

    It shares everything with `model`, which is not changed, but has neither optimizer nor loss: a delivered file holds
    no optimizer slots, and loads without the code of a training loss or of a Functional model's subclass. A model with
    Lambda layers is copied where Keras operations can stand in for them.

    Args:
        model: a Functional or built Sequential model, or a subclass made of inputs and outputs.

    Raises:
        ExportError: if the model is of another kind, not built, on another backend than TensorFlow, or not finite.
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
    """No file of such a model is of use, and the int8 calibrator ends the process on infinite numbers."""
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
    """Tells whether every layer, in nested models too, computes in float32 (or in integers)."""
    for operation in network.operations:
        nested = isinstance(operation, keras.Model) and hasattr(operation, "operations")
        if getattr(operation, "compute_dtype", "float32") in _OTHER_FLOATS or (nested and not is_float32(operation)):
            return False
    return True


def in_float32(network: keras.Model) -> keras.Model:
    """Returns the network itself where it computes in float32, else a copy of it that does, with the same weights.

    TensorFlow Lite has no convolution, product or bias in half precision; its float16 files store float16 weights.
    """
    if is_float32(network):
        return network
    copy = keras.models.clone_model(network, clone_function=_clone_in_float32, recursive=True)
    copy.set_weights(network.get_weights())
    return copy


def _clone_in_float32(operation: Any) -> Any:
    if isinstance(operation, keras.layers.Lambda):  # Keras refuses to make one from its config
        config = _float32_config(operation.get_config())
        own = {"function": operation.function, "mask": operation.mask, "arguments": operation.arguments}
        return keras.layers.Lambda(**{**config, **own, "output_shape": operation._output_shape})
    return type(operation).from_config(_float32_config(operation.get_config()))


def _float32_config(config: Any) -> Any:
    """Replaces every dtype policy in a layer's configuration, those of wrapped layers too."""
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
