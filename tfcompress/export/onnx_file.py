"""Writes and runs ONNX files, where the packages for it (an extra) are installed."""

import pathlib
from typing import Any

import keras
import numpy as np

from tfcompress import expect
from tfcompress.export import inputs as inputs_lib
from tfcompress.export.errors import ExportError
from tfcompress.process import ignored_warnings, quiet

_NEEDS = {"tf2onnx": "converts to ONNX", "onnx": "holds ONNX files", "onnxruntime": "runs ONNX files to compare them"}


def require() -> None:
    """Refuses the format where its packages are missing.

    Raises:
        ImportError: with the line that installs them.
    """
    for module in ("onnx", "onnxruntime", "tf2onnx"):
        with ignored_warnings("In the future `np.object`"):
            expect.extra("onnx", module, _NEEDS[module], "The other formats need no extra.")


def write(network: keras.Model, path: pathlib.Path) -> None:
    """Writes an ONNX file of a float32 network, by Keras' own export; the batch size stays open where it is.

    Raises:
        ExportError: an operation has no ONNX form.
    """
    signature = [keras.InputSpec(shape=tensor.shape, dtype=tensor.dtype, name=tensor.name) for tensor in network.inputs]
    flat = keras.Model(network.inputs, network.outputs, name=network.name)
    try:
        with quiet(), ignored_warnings("In the future `np.object`"):
            flat.export(str(path), format="onnx", verbose=False, input_signature=[signature])
    except Exception as error:  # tf2onnx's errors have no one type
        raise ExportError(
            f"Expected a model that tf2onnx can convert. Received: {type(error).__name__}: {error}"
            " Leave 'onnx' out of the formats."
        ) from error


def outputs(path: pathlib.Path, network: keras.Model, arrays: list[np.ndarray], batch: int) -> list[np.ndarray]:
    """Runs an ONNX file in onnxruntime; returns its outputs in the order of `network.outputs`.

    Args:
        path: the file.
        network: the network that it was made of.
        arrays: one array [samples, ...] for each input.
        batch: samples at a time where the network leaves it open.
    """
    import onnxruntime

    try:
        session: Any = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ExportError(
            f"Expected the written ONNX file to load. Received: {type(error).__name__}: {error}"
            " Leave 'onnx' out of the formats."
        ) from error
    names = [entry.name for entry in session.get_inputs()]
    size = network.inputs[0].shape[0] or min(batch, len(arrays[0]))
    parts = [session.run(None, dict(zip(names, part, strict=True))) for part in inputs_lib.batches(arrays, size)]
    return [np.concatenate(column)[: len(arrays[0])] for column in zip(*parts, strict=True)]
