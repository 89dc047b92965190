"""Reads written files back, runs them, and compares their outputs with those of the Keras model."""

import contextlib
import pathlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcompress.export import inputs as inputs_lib
from tfcompress.export import tflite
from tfcompress.export.errors import ExportError
from tfcompress.process import quiet

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
    """Loads a SavedModel and returns the outputs of its endpoint `serve`."""
    loaded = tf.saved_model.load(str(path))
    return _outputs(loaded.serve, network, arrays)


def tflite_outputs(path: pathlib.Path, network: keras.Model, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Runs a TFLite file and returns its outputs, in the order of `network.outputs`."""
    input_names, output_names = tflite.signature_names(network)
    outputs = run_tflite(path, dict(zip(input_names, arrays, strict=True)))
    return [outputs[name] for name in output_names]


def run_tflite(path: Any, inputs: Any) -> dict[str, np.ndarray]:
    """Runs a TFLite file in LiteRT, in batches of the file's own size.

    Args:
        path: the file, or its content as bytes.
        inputs: arrays [samples, ...] by input name; for a file with one input, only the array.

    Returns:
        The outputs [samples, ...] by output name.
    """
    from ai_edge_litert.interpreter import Interpreter

    source = {"model_content": path} if isinstance(path, bytes) else {"model_path": str(path)}
    with quiet():
        runner = Interpreter(**source).get_signature_runner()
        details = runner.get_input_details()
    if not isinstance(inputs, dict):
        inputs = {next(iter(details)): inputs}
    arrays = [np.asarray(inputs[name]).astype(detail["dtype"], copy=False) for name, detail in details.items()]
    size = int(next(iter(details.values()))["shape"][0])
    results: list[dict[str, np.ndarray]] = []
    for batch in inputs_lib.batches(arrays, size):
        with contextlib.nullcontext() if results else quiet():  # the first call says which delegate it made
            results.append(runner(**dict(zip(details, batch, strict=True))))
    samples = len(arrays[0])
    return {name: np.concatenate([result[name] for result in results])[:samples] for name in results[0]}


def largest_difference(expected: list[np.ndarray], actual: list[np.ndarray]) -> float:
    """Returns the largest absolute difference over all outputs; infinite if a number or a shape is missing."""
    return max(_difference(first, second) for first, second in zip(expected, actual, strict=True))


def top1_agreement(expected: list[np.ndarray], actual: list[np.ndarray]) -> float | None:
    """Returns the share of samples with the same largest class in every output [samples, classes > 1], else None."""
    agree = [
        np.argmax(first, axis=1) == np.argmax(second, axis=1)
        for first, second in zip(expected, actual, strict=True)
        if first.ndim == 2 and first.shape[1] > 1 and first.shape == second.shape
    ]
    return float(np.mean(np.all(agree, axis=0))) if agree else None


def largest_magnitude(outputs: list[np.ndarray]) -> float:
    """Returns the largest absolute finite number in the outputs, 0.0 if there is none."""
    return max(
        float(np.max(np.abs(_numbers(output)), initial=0.0, where=np.isfinite(_numbers(output)))) for output in outputs
    )


def _outputs(call: Callable[[Any], Any], network: keras.Model, arrays: list[np.ndarray]) -> list[np.ndarray]:
    def flat(*tensors: tf.Tensor) -> list[tf.Tensor]:
        return keras.tree.flatten(call(keras.tree.pack_sequence_as(network.input, list(tensors))))

    traced, parts = None, []
    for batch in inputs_lib.batches(arrays, network.inputs[0].shape[0] or min(BATCH, len(arrays[0]))):
        traced = traced or inputs_lib.compiled(flat, batch)
        parts.append([np.asarray(tensor) for tensor in traced(*map(tf.constant, batch))])
    return [np.concatenate(column)[: len(arrays[0])] for column in zip(*parts, strict=True)]


def _numbers(array: np.ndarray) -> np.ndarray:
    return np.asarray(array, np.float64)


def _difference(expected: np.ndarray, actual: np.ndarray) -> float:
    if expected.shape != actual.shape:
        return float("inf")
    first, second = _numbers(expected), _numbers(actual)
    with np.errstate(invalid="ignore"):
        difference = np.abs(first - second)
    same = (first == second) | (np.isnan(first) & np.isnan(second))
    difference = np.where(same, 0.0, np.where(np.isnan(difference), np.inf, difference))
    return float(np.max(difference, initial=0.0))
