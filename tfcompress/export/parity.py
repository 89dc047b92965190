"""Reads written files back, runs them, and compares their outputs with those of the Keras model."""

import pathlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcompress.export import inputs as inputs_lib
from tfcompress.export import onnx_file, saved_model
from tfcompress.export.errors import ExportError
from tfcompress.export.running import run_tflite

BATCH = 32  # samples at a time where the model leaves it open

# What rounding explains, as a share of the largest output: measured differences are about 1e-6 in float32, and some
# 1e-3 where layers compute in half precision.
FLOAT32_TOLERANCE = 1e-3
HALF_TOLERANCE = 5e-2


def keras_outputs(model: keras.Model, network: keras.Model, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Returns a Keras model's outputs at inference, an array [samples, ...] each, in the order of `network.outputs`."""
    return _outputs(lambda structure: model(structure, training=False), network, arrays)


def keras_file_outputs(path: pathlib.Path, network: keras.Model, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Loads a .keras file as a user would, and returns its outputs.

    Raises:
        ExportError: Keras cannot load it, for example because a layer's class is not registered.
    """
    try:
        loaded = keras.models.load_model(path)
    except Exception as error:
        raise ExportError(
            f"Expected the written .keras file to load. Received: {type(error).__name__}: {error}"
            " Register custom layers with @keras.saving.register_keras_serializable() and give them get_config,"
            " or leave 'keras' out of the formats."
        ) from error
    return keras_outputs(loaded, network, arrays)


def saved_model_outputs(path: pathlib.Path, network: keras.Model, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Loads a SavedModel and returns the outputs of its signature `serving_default`, as a server calls it."""
    loaded = tf.saved_model.load(str(path))
    names, output_names = saved_model.signature_names(network)

    def call(structure: Any) -> list[tf.Tensor]:
        answers = loaded.signatures[saved_model.SERVING](**dict(zip(names, keras.tree.flatten(structure), strict=True)))
        return [answers[name] for name in output_names]

    return _outputs(call, network, arrays)


def onnx_outputs(path: pathlib.Path, network: keras.Model, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Runs an ONNX file and returns its outputs, in the order of `network.outputs`."""
    return onnx_file.outputs(path, network, arrays, BATCH)


def tflite_outputs(path: pathlib.Path, network: keras.Model, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Runs a TFLite file and returns its outputs, in the order of `network.outputs`."""
    input_names, output_names = saved_model.signature_names(network)
    outputs = run_tflite(path, dict(zip(input_names, arrays, strict=True)))
    return [outputs[name] for name in output_names]


def _outputs(call: Callable[[Any], Any], network: keras.Model, arrays: list[np.ndarray]) -> list[np.ndarray]:
    def flat(*tensors: tf.Tensor) -> list[tf.Tensor]:
        return keras.tree.flatten(call(keras.tree.pack_sequence_as(network.input, list(tensors))))

    traced, parts = None, []
    for batch in inputs_lib.batches(arrays, network.inputs[0].shape[0] or min(BATCH, len(arrays[0]))):
        traced = traced or inputs_lib.compiled(flat, batch)
        parts.append([np.asarray(tensor) for tensor in traced(*map(tf.constant, batch))])
    return [np.concatenate(column)[: len(arrays[0])] for column in zip(*parts, strict=True)]
