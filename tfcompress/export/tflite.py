"""Conversion to TensorFlow Lite, with built-in operators only: float32 (dense or sparse), float16, and integers in
several widths."""

import dataclasses
import re
import tempfile
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcompress import expect
from tfcompress.export import edge_quantizer, integers
from tfcompress.export import inputs as inputs_lib
from tfcompress.export.calibration import Activations, representative
from tfcompress.export.errors import ExportError, MissingOperatorError
from tfcompress.export.network import in_float32, network_of
from tfcompress.export.operators import float_operators
from tfcompress.export.recurrent import fused, has_fused, unrolled
from tfcompress.export.responsible import responsible_part
from tfcompress.export.running import run_tflite
from tfcompress.export.saved_model import SIGNATURE, archive_of, signature_names, write_archive
from tfcompress.process import ignored_warnings, quiet

__all__ = [
    "QUANTIZATIONS",
    "Conversion",
    "batch_size",
    "convert",
    "convert_network",
    "float_operators",
    "signature_names",
]

QUANTIZATIONS = ("float32", "float16", "dynamic", "int8", "int16x8", "int4", "mixed", "sparse")
_JUDGED = 256  # calibration inputs on which "mixed" is compared with float32


@dataclasses.dataclass(frozen=True, eq=False)
class Conversion:
    """Settings of a conversion.

    Attributes:
        calibration: inputs that the ranges of activations are taken from, one array for each input; None for none.
        batch: number of samples at a time; None for one wherever the network runs with one.
        integer_io: type of inputs and outputs of int8 files, "int8" or "uint8"; None for float32.
        recipe: the user's own rules of ai-edge-quantizer for "mixed"; None for ours.
    """

    calibration: list[np.ndarray] | None = None
    batch: int | None = None
    integer_io: str | None = None
    recipe: list[dict[str, Any]] | None = None


def convert(
    model: keras.Model,
    quantize: str = "float32",
    calibration: Any = None,
    batch: int | None = None,
    integer_io: str | None = None,
    recipe: Any = None,
) -> bytes:
    """Returns the content of a TensorFlow Lite file of the model.

    The file takes one sample at a time if the model runs with one, else the fixed number of the model's inputs: with an
    unknown number the converter computes shapes in the graph (three more operators for every Reshape), which
    accelerators of phones refuse. An LSTM becomes the one fused operator of TensorFlow Lite wherever there is one for
    it; the file then keeps its state from call to call, until `reset_all_variables()` of the interpreter.

    Args:
        model: a Functional or Sequential model; it is not changed.
        quantize: `"float32"`; `"float16"`, weights stored in float16; `"dynamic"`, weights in int8, activations
            quantized at run time; `"int8"`, weights and activations in int8; `"int16x8"`, weights in int8, activations
            in int16; `"int4"`, weights in int4 or int8, activations quantized at run time; `"mixed"`, activations in
            int8, weights in int8, or in int4 where the answers on the calibration inputs stay. The last two need the
            extra `quantizer`. `"sparse"`: float32, with the zeros of weights left out of the file where that saves
            space; LiteRT puts them back when it loads the file.
        calibration: inputs that `"int8"`, `"int16x8"` and `"mixed"` take the ranges of the activations from; all are
            used, some hundred are enough.
        batch: another number of samples at a time, for a file that is used or measured in that way.
        integer_io: the type of the file's inputs and outputs where activations are integers: `"int8"`, `"uint8"` (not
            for `"mixed"`; `"int16x8"` takes int16 for either), or None for float32, so that the file can replace the
            float32 file (its first operator quantizes, its last dequantizes).
        recipe: rules of ai-edge-quantizer for `"mixed"`, as a list or a JSON file, in place of ours.

    Raises:
        ExportError: the model cannot be converted.
        ImportError: the extra is not installed.
        MissingOperatorError: TensorFlow Lite lacks an operator; names the layer.
        ValueError: a name is unknown, or the calibration inputs are missing or constant.
    """
    quantize = expect.one_of("quantize", quantize, QUANTIZATIONS, "Use one of these names.")
    batch = expect.whole("batch", batch, 1, or_none=True)
    integer_io = integers.checked(integer_io, (quantize,))
    recipe = integers.checked_recipe(recipe, (quantize,))
    require_calibration((quantize,), calibration, recipe)
    network = network_of(model)
    integers.refuse_inputs_without_range(integer_io, network)
    arrays = None if calibration is None else inputs_lib.as_arrays(calibration, network, "calibration")
    return convert_network(network, (quantize,), Conversion(arrays, batch, integer_io, recipe))[quantize]


def require_calibration(quantizations: Sequence[str], calibration: Any, recipe: Any = None) -> None:
    """Refuses forms with integer activations without calibration inputs, and missing packages."""
    if {"int4", "mixed"} & set(quantizations):
        edge_quantizer.require()
    for name in integers.CALIBRATED:
        if name in quantizations and calibration is None and not (name == "mixed" and recipe is not None):
            raise ValueError(
                f"Expected calibration inputs for quantize={name!r}. Received: calibration=None."
                " Give some hundred real inputs, without labels."
            )


def convert_network(
    network: keras.Model, quantizations: Sequence[str], conversion: Conversion | None = None
) -> dict[str, bytes]:
    """Converts a Functional model once for each name in `quantizations`; see `convert`."""
    conversion = conversion or Conversion()
    network = fused(in_float32(network))
    calibrated = [name for name in quantizations if name in integers.CALIBRATED]
    without_loops = network
    if calibrated and conversion.calibration is not None:
        integers.refuse_constant(conversion.calibration, network)
        activations = Activations(network, conversion.calibration)
        if activations.has_loop:
            without_loops = unrolled(network)
            activations = Activations(without_loops, conversion.calibration)
        activations.refuse_what_crashes()
    try:
        if without_loops is network:
            return _convert(network, quantizations, conversion)
        others = [name for name in quantizations if name not in calibrated]
        contents = _convert(network, others, conversion) if others else {}
        contents |= _convert(without_loops, calibrated, conversion)
    except (ExportError, ImportError):
        raise
    except Exception as error:  # the converter raises its own type, RuntimeError and ValueError
        raise _explained(error, network) from error
    return {name: contents[name] for name in quantizations}


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


def _convert(network: keras.Model, quantizations: Sequence[str], conversion: Conversion) -> dict[str, bytes]:
    size = conversion.batch or batch_size(network)
    made_here = [name for name in quantizations if name not in integers.FROM_FLOAT32]
    if len(made_here) < len(quantizations) and "float32" not in made_here:
        made_here.append("float32")
    with tempfile.TemporaryDirectory() as folder:
        write_archive(_archive(network, size), folder)
        # The calibrator of int8 is built on an interpreter that says it is deprecated.
        with quiet(), ignored_warnings(r"\s*Warning: tf\.lite\.Interpreter is deprecated"):
            contents = {name: _converter(folder, name, network, size, conversion).convert() for name in made_here}
    with quiet():
        if "int4" in quantizations:
            contents["int4"] = edge_quantizer.int4(contents["float32"])
        if "mixed" in quantizations:
            contents["mixed"] = _mixed(contents["float32"], network, size, conversion)
    return {name: contents[name] for name in quantizations}


def _mixed(content: bytes, network: keras.Model, size: int, conversion: Conversion) -> bytes:
    names, output_names = signature_names(network)
    arrays = conversion.calibration or []
    judged = dict(zip(names, (array[:_JUDGED] for array in arrays), strict=False))

    def outputs(file: bytes) -> list[np.ndarray]:
        answers = run_tflite(file, judged)
        return [answers[name] for name in output_names]

    return edge_quantizer.mixed(
        content,
        list(representative(arrays, names, size)()) if arrays else [],
        SIGNATURE,
        outputs,
        has_integer_io=conversion.integer_io is not None,
        recipe=conversion.recipe,
    )


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
    folder: str, quantize: str, network: keras.Model, size: int, conversion: Conversion
) -> tf.lite.TFLiteConverter:
    operators = tf.lite.OpsSet
    converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])
    converter.target_spec.supported_ops = [operators.TFLITE_BUILTINS]
    if quantize == "sparse":
        converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
    elif quantize != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "dynamic" and has_fused(network):
        converter.experimental_new_dynamic_range_quantizer = False  # the new one leaves a fused LSTM in float32
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantize in integers.CALIBRATED:
        assert conversion.calibration is not None
        converter.representative_dataset = representative(conversion.calibration, signature_names(network)[0], size)
    if quantize == "int8":
        converter.target_spec.supported_ops = [operators.TFLITE_BUILTINS_INT8]
    if quantize == "int16x8":  # what has no form in int16 stays in float32
        int16 = operators.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        converter.target_spec.supported_ops = [int16, operators.TFLITE_BUILTINS]
    if conversion.integer_io is not None and quantize in integers.CALIBRATED:
        kind = tf.int16 if quantize == "int16x8" else tf.as_dtype(conversion.integer_io)
        converter.inference_input_type = converter.inference_output_type = kind
    return converter


def _explained(error: Exception, network: keras.Model) -> ExportError:
    """Finds the layer that the converter has no operator for, by converting ever smaller parts of the network."""

    def failure(part: keras.Model) -> Exception | None:
        try:
            _convert(part, ("float32",), Conversion())
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
