"""Replaces Lambda layers by the Keras operations that they call, so that a file holds no Python code.

Keras stores a Lambda's function as bytecode or by name, and rightly refuses to load it from a file. A function written
with operators or `keras.ops` can be called on symbolic tensors; the result is a model of operations that every Keras
loads. A function that uses `tf.` functions, random numbers, `mask` or `training` stays a Lambda.
"""

import inspect
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcompress.process import ignored_warnings

_TOLERANCE = 1e-5  # of the largest output: the operations are the same, rounding is all that may differ
_HALF_TOLERANCE = 1e-2


def kept_lambdas(network: keras.Model) -> tuple[str, ...]:
    """Returns the names of the Lambdas, also in nested models and wrappers, that Keras could not read from a file.

    Operations cannot replace them, and their functions are not registered with Keras.
    """
    inside = [layer for layer in network._flatten_layers() if isinstance(layer, keras.layers.Lambda)]
    direct = {id(layer) for layer in _operations_of(network)}
    return tuple(
        layer.name
        for layer in inside
        if (id(layer) not in direct or as_operations(layer) is None) and not _is_registered(layer)
    )


def without_lambdas(network: keras.Model) -> keras.Model:
    """Returns a copy with operations instead of Lambda layers; the network itself if nothing can be replaced.

    Args:
        network: a Functional or Sequential model; it is not changed.
    """
    lambdas = [layer for layer in _operations_of(network) if isinstance(layer, keras.layers.Lambda)]
    replaced = {id(layer): as_operations(layer) for layer in lambdas}
    if not any(replaced.values()) or kept_lambdas(network):
        return network

    def clone(operation: Any) -> Any:
        stand_in = replaced.get(id(operation))
        return type(operation).from_config(operation.get_config()) if stand_in is None else stand_in

    try:
        copy = keras.models.clone_model(network, clone_function=clone, recursive=True)
        copy.set_weights(network.get_weights())
        for layer in copy._flatten_layers():
            if isinstance(layer, keras.layers.Normalization):
                layer.finalize_state()  # what it computes with is worked out from its weights
    except Exception:  # a layer that cannot be made again from its config
        return network
    return copy


def as_operations(layer: keras.layers.Lambda) -> keras.Model | None:
    """Returns a model of Keras operations that computes the same as a Lambda; None if there is none.

    The model has been rebuilt from its config, as from a file, and compared with the Lambda on inputs.
    """
    if layer.mask is not None or {"mask", "training"} & set(inspect.signature(layer.function).parameters):
        return None
    calls = [call.arguments.args for call in layer._inbound_nodes]
    if not calls or any(len(args) != 1 or _specs(args[0]) != _specs(calls[0][0]) for args in calls):
        return None
    try:
        inputs = keras.tree.map_structure(_input, calls[0][0])
        # As the Lambda does: in its compute type. A layer says so in its policy, which export can change.
        cast = keras.layers.Identity(dtype=layer.dtype_policy.name) if _casts(layer, inputs) else lambda tensor: tensor
        outputs = layer.function(keras.tree.map_structure(cast, inputs), **layer.arguments)
        given, made = keras.tree.flatten(inputs), keras.tree.flatten(outputs)
        if not all(isinstance(tensor, keras.KerasTensor) for tensor in made):
            return None
        if any(tensor is source for tensor in made for source in given):
            return None  # a Lambda drops the mask of what it hands through
        traced = keras.Model(inputs, outputs, name=layer.name)
        model = keras.Model.from_config(traced.get_config())
        alike = all(_alike(layer, model, inputs, batch_size) for batch_size in (1, 3))
    except Exception:  # whatever a function of the user's says to symbolic tensors
        return None
    return model if alike else None


def _is_registered(layer: keras.layers.Lambda) -> bool:
    """Whether Keras finds the function by its name."""
    try:
        with ignored_warnings("The object being serialized includes a `lambda`"):
            keras.layers.Lambda.from_config(layer.get_config())
    except Exception:  # Keras' own errors have no one type
        return False
    return True


def _operations_of(network: keras.Model) -> list[Any]:
    """Returns the calls of a model; nested models are replaced by their own operations."""
    operations = []
    for operation in network.layers if isinstance(network, keras.Sequential) else network.operations:
        nested = isinstance(operation, (keras.Sequential, keras.Function))
        operations += _operations_of(operation) if nested else [operation]
    return operations


def _specs(structure: Any) -> Any:
    return [(tuple(tensor.shape), str(tensor.dtype)) for tensor in keras.tree.flatten(structure)]


def _input(tensor: Any) -> Any:
    """Returns an input of a tensor's shape; float32 if the tensor is in half precision, to lose nothing before."""
    is_half = str(tensor.dtype) in ("float16", "bfloat16")
    return keras.Input(batch_shape=tensor.shape, dtype="float32" if is_half else tensor.dtype)


def _casts(layer: keras.layers.Lambda, inputs: Any) -> bool:
    types = {str(tensor.dtype) for tensor in keras.tree.flatten(inputs) if tf.as_dtype(tensor.dtype).is_floating}
    return layer.autocast and bool(types - {layer.compute_dtype})


def _alike(layer: keras.layers.Lambda, model: keras.Model, inputs: Any, batch_size: int) -> bool:
    generator = np.random.default_rng(batch_size)

    def numbers(tensor: Any) -> tf.Tensor:
        shape = [size or 5 for size in (tensor.shape[0] or batch_size, *tensor.shape[1:])]
        is_float = tf.as_dtype(tensor.dtype).is_floating
        return tf.cast(generator.normal(size=shape) if is_float else generator.integers(0, 2, shape), tensor.dtype)

    arrays = keras.tree.map_structure(numbers, inputs)
    expected, actual = keras.tree.flatten(layer(arrays)), keras.tree.flatten(model(arrays))
    return len(expected) == len(actual) and all(map(_close, expected, actual))


def _close(expected: Any, actual: Any) -> bool:
    if expected.shape != actual.shape or expected.dtype != actual.dtype:
        return False
    first, second = np.asarray(expected).astype(np.float64), np.asarray(actual).astype(np.float64)
    tolerance = _TOLERANCE if expected.dtype in (tf.float32, tf.float64) else _HALF_TOLERANCE
    largest = np.max(np.abs(first), initial=0.0, where=np.isfinite(first))
    return np.allclose(first, second, rtol=0.0, atol=tolerance * largest, equal_nan=True)
