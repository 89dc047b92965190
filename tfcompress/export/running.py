"""Runs TFLite files in LiteRT."""

import contextlib
from typing import Any

import numpy as np

from tfcompress.export import inputs as inputs_lib
from tfcompress.process import quiet


def run_tflite(path: Any, inputs: Any) -> dict[str, np.ndarray]:
    """Runs a TFLite file in LiteRT, in batches of the file's own size.

    A file with integer inputs and outputs takes and gives the numbers that they stand for: they are quantized before
    and dequantized after. An array that has the file's integer type already is taken as it is. The state of a fused
    LSTM is reset before each batch.

    Args:
        path: the file, or its content as bytes.
        inputs: arrays [samples, ...] by input name; for a file with one input, only the array.

    Returns:
        The outputs [samples, ...] by output name.
    """
    from ai_edge_litert.interpreter import Interpreter

    source = {"model_content": path} if isinstance(path, bytes) else {"model_path": str(path)}
    with quiet():
        interpreter = Interpreter(**source)
        runner = interpreter.get_signature_runner()
        details = runner.get_input_details()
    if not isinstance(inputs, dict):
        inputs = {next(iter(details)): inputs}
    arrays = [_quantized(np.asarray(inputs[name]), detail) for name, detail in details.items()]
    size = int(next(iter(details.values()))["shape"][0])
    results: list[dict[str, np.ndarray]] = []
    for batch in inputs_lib.batches(arrays, size):
        with contextlib.nullcontext() if results else quiet():  # the first call says which delegate it made
            results.append(runner(**dict(zip(details, batch, strict=True))))
        interpreter.reset_all_variables()  # the state of a fused LSTM, which goes on with the next call otherwise
    samples = len(arrays[0])
    outputs = {name: np.concatenate([result[name] for result in results])[:samples] for name in results[0]}
    given = runner.get_output_details()
    return {name: _dequantized(array, given[name]) for name, array in outputs.items()}


def _quantized(array: np.ndarray, detail: dict[str, Any]) -> np.ndarray:
    """Returns numbers in the type of a file's input; real numbers as the integers that stand for them."""
    scale, zero_point = detail["quantization"]
    if not scale or array.dtype == detail["dtype"]:
        return array.astype(detail["dtype"], copy=False)
    limits = np.iinfo(detail["dtype"])
    integers = np.round(array / np.float32(scale)) + zero_point
    return np.clip(integers, limits.min, limits.max).astype(detail["dtype"])


def _dequantized(array: np.ndarray, detail: dict[str, Any]) -> np.ndarray:
    scale, zero_point = detail["quantization"]
    if not scale or array.dtype.kind not in "iu":
        return array
    return ((array.astype(np.float32) - zero_point) * np.float32(scale)).astype(np.float32)
