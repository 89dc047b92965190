"""Conversion to TensorFlow Lite in float32, float16, dynamic range and int8, with built-in operators only."""

import re
import tempfile
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcompress import expect
from tfcompress.export import inputs as inputs_lib
from tfcompress.export.calibration import refuse_what_crashes, representative
from tfcompress.export.errors import ExportError, MissingOperatorError
from tfcompress.export.network import in_float32, network_of
from tfcompress.export.responsible import responsible_part
from tfcompress.export.saved_model import SIGNATURE, archive_of, write_archive
from tfcompress.process import ignored_warnings, quiet

QUANTIZATIONS = ("float32", "float16", "dynamic", "int8")


def convert(model: keras.Model, quantize: str = "float32", calibration: Any = None, batch: int | None = None) -> bytes:
    """Returns the content of a TensorFlow Lite file of the model.

    The file takes one sample at a time if the model runs with one, else the fixed number of the model's inputs: with an
    unknown number the converter computes shapes in the graph (three more operators for every Reshape), which
    accelerators of phones refuse.

    Args:
        model: a Functional or Sequential model; it is not changed.
        quantize: `"float32"`; `"float16"`, weights stored in float16; `"dynamic"`, weights in int8, activations
            quantized at run time; `"int8"`, weights and activations in int8. Inputs and outputs of an int8 file are
            float32 (its first operator quantizes, its last dequantizes), so that it can replace the float32 file.
        calibration: inputs that `"int8"` takes the ranges of the activations from; all are used, some hundred are
            enough.
        batch: another number of samples at a time, for a file that is used or measured in that way.

    Raises:
        ExportError: the model cannot be converted.
        MissingOperatorError: TensorFlow Lite lacks an operator; names the layer.
        ValueError: `quantize` is unknown, or `"int8"` comes without calibration inputs.
    """
    quantize = expect.one_of("quantize", quantize, QUANTIZATIONS, "Use one of these names.")
    batch = expect.whole("batch", batch, 1, or_none=True)
    require_calibration((quantize,), calibration)
    network = network_of(model)
    arrays = None if calibration is None else inputs_lib.as_arrays(calibration, network, "calibration")
    return convert_network(network, (quantize,), arrays, batch)[quantize]


def require_calibration(quantizations: Sequence[str], calibration: Any) -> None:
    """Refuses int8 without calibration inputs."""
    if "int8" in quantizations and calibration is None:
        raise ValueError(
            "Expected calibration inputs for quantize='int8'. Received: calibration=None."
            " Give some hundred real inputs, without labels."
        )


def convert_network(
    network: keras.Model, quantizations: Sequence[str], calibration: list[np.ndarray] | None, batch: int | None = None
) -> dict[str, bytes]:
    """Converts a Functional model once for each name in `quantizations`; see `convert`."""
    network = in_float32(network)
    if "int8" in quantizations:
        assert calibration is not None
        refuse_what_crashes(network, calibration)
    try:
        return _convert(network, quantizations, calibration, batch)
    except Exception as error:  # the converter raises its own type, RuntimeError and ValueError
        raise _explained(error, network) from error


def signature_names(network: keras.Model) -> tuple[list[str], list[str]]:
    """Returns the names of inputs and outputs in the file's signature, in the order of `.inputs` and `.outputs`.

    Inputs have their Keras names; outputs their key in the dictionary that the model returns, else their layer's name.
    """
    outputs = network.output
    names = [key for key, _ in sorted(outputs.items())] if isinstance(outputs, dict) else network.output_names
    if len(names) != len(network.outputs):
        names = network.output_names
    return _unique_names(inputs_lib.input_keys(network)), _unique_names(names)


def batch_size(network: keras.Model) -> int:
    """Returns the batch size of the converted file: 1, unless the network runs only with its own fixed size.

    A Sequential model that was built by `fit` has the size of its batches but runs with any; a model that reshapes to a
    fixed number, or keeps states between calls, does not.
    """
    size = network.inputs[0].shape[0] or 1
    return 1 if size == 1 or _runs_alone(network, size) else size


def _runs_alone(network: keras.Model, size: int) -> bool:
    """Whether a single sample has the same outputs as when it is the first of a batch."""
    together = next(inputs_lib.batches(inputs_lib.random_arrays(network), size))
    alone = [array[:1] for array in together]
    flat = keras.Model(network.inputs, network.outputs)

    def call(arrays: list[np.ndarray]) -> list[np.ndarray]:
        traced = inputs_lib.compiled(lambda *tensors: keras.tree.flatten(flat(list(tensors), training=False)), arrays)
        return [np.asarray(tensor) for tensor in traced(*map(tf.constant, arrays))]

    try:
        expected, actual = call(together), call(alone)
    except Exception:  # Keras' and TensorFlow's errors about shapes have no one type
        return False
    return all(
        lone.shape[:1] == (1,) and np.allclose(full[:1], lone, rtol=1e-3, atol=1e-3 * np.max(np.abs(full), initial=0.0))
        for full, lone in zip(expected, actual, strict=True)
    )


def float_operators(content: bytes) -> tuple[str, ...]:
    """Returns the built-in names of the operators in a file that read or give float32, without quantizing ones.

    The converter leaves operators without an int8 kernel in float32, even if int8 is asked for.
    """
    from ai_edge_litert import schema_py_generated as schema

    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    model = schema.Model.GetRootAs(content)
    operators: dict[str, None] = {}
    for graph in (model.Subgraphs(index) for index in range(model.SubgraphsLength())):
        for operator in (graph.Operators(index) for index in range(graph.OperatorsLength())):
            name = names[model.OperatorCodes(operator.OpcodeIndex()).BuiltinCode()]
            tensors = [operator.Inputs(index) for index in range(operator.InputsLength())]
            tensors += [operator.Outputs(index) for index in range(operator.OutputsLength())]
            is_float = any(graph.Tensors(index).Type() == schema.TensorType.FLOAT32 for index in tensors if index >= 0)
            if is_float and name not in ("QUANTIZE", "DEQUANTIZE"):
                operators[name] = None
    return tuple(operators)


def _convert(
    network: keras.Model, quantizations: Sequence[str], calibration: list[np.ndarray] | None, batch: int | None = None
) -> dict[str, bytes]:
    size = batch or batch_size(network)
    with tempfile.TemporaryDirectory() as folder:
        write_archive(_archive(network, size), folder)
        # The calibrator of int8 is built on an interpreter that says it is deprecated.
        with quiet(), ignored_warnings(r"\s*Warning: tf\.lite\.Interpreter is deprecated"):
            return {name: _converter(folder, name, network, size, calibration).convert() for name in quantizations}


def _archive(network: keras.Model, size: int) -> keras.export.ExportArchive:
    """Returns the SavedModel to convert, with a fixed batch size and named outputs."""
    input_names, output_names = signature_names(network)
    # Its name is part of those of all tensors: by default it would be longer in a process that has made more models.
    flat = keras.Model(network.inputs, network.outputs, name="network")
    signature = [
        tf.TensorSpec((size, *tensor.shape[1:]), tensor.dtype, name=name)
        for tensor, name in zip(network.inputs, input_names, strict=True)
    ]

    def serve(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = keras.tree.flatten(flat(list(tensors), training=False))
        return dict(zip(output_names, outputs, strict=True))

    return archive_of(network, serve, signature)


def _converter(
    folder: str, quantize: str, network: keras.Model, size: int, calibration: list[np.ndarray] | None
) -> tf.lite.TFLiteConverter:
    converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if quantize != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantize == "int8":
        assert calibration is not None
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.representative_dataset = representative(calibration, signature_names(network)[0], size)
    return converter


def _explained(error: Exception, network: keras.Model) -> ExportError:
    """Finds the layer that the converter has no operator for, by converting ever smaller parts of the network."""

    def failure(part: keras.Model) -> Exception | None:
        try:
            _convert(part, ("float32",), None)
        except Exception as caught:
            return caught
        return None

    operators = _missing_operators(error)
    if not operators:
        return ExportError(f"TensorFlow Lite could not convert the model: {_first_line(error)}")
    part, cause = responsible_part(network, failure)
    operators = (cause and _missing_operators(cause)) or operators
    where = f"layer {part.path!r} ({part.kind})" if part else "the model (no single layer)"
    message = (
        f"Expected operators that TensorFlow Lite has built in. Received: {where}, which needs {', '.join(operators)}."
        " Build the model with another layer instead, or leave 'tflite' out of the formats."
    )
    return MissingOperatorError(message, part.path if part else None, operators)


def _missing_operators(error: Exception) -> tuple[str, ...]:
    named = [data.operator.name for data in getattr(error, "errors", ()) if data.operator.name]
    named += re.findall(r"'(tf\.\w+)' op is neither a custom op nor a flex op", str(error))
    return tuple(sorted({name.removeprefix("tf.") for name in named}))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _unique_names(names: Sequence[str]) -> list[str]:
    """Returns the names in a form valid for signatures: letters, digits and underscores, all different."""
    unique: list[str] = []
    for name in names:
        name = re.sub(r"\W", "_", name)
        same = sum(taken == name or taken.startswith(f"{name}__") for taken in unique)
        unique.append(f"{name}__{same}" if same else name)
    return unique
