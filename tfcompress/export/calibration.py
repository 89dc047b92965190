"""Calibration data for int8, and checks for models on which TensorFlow's calibrator would crash the process."""

from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from tfcompress.export.errors import ExportError
from tfcompress.export.inputs import batches, compiled
from tfcompress.export.recurrent import UNROLLED_STEPS
from tfcompress.export.responsible import calls_of, responsible_part

_SAMPLES_AT_A_TIME = 4  # all activations of the network are held for so many


def representative(
    arrays: list[np.ndarray], names: list[str], size: int
) -> Callable[[], Iterator[dict[str, np.ndarray]]]:
    """Returns a function that gives the converter calibration batches of `size` samples, by input name."""

    def generate() -> Iterator[dict[str, np.ndarray]]:
        for batch in batches(arrays, size):
            yield dict(zip(names, batch, strict=True))

    return generate


def refuse_what_crashes(network: keras.Model, arrays: list[np.ndarray], is_known_loopless: bool = False) -> None:
    """Refuses loops, and activations that are not finite on the calibration inputs.

    Raises:
        ExportError: names the layer.
    """
    if not is_known_loopless:
        _refuse_loops(network)
    _refuse_infinity(network, arrays)


def _refuse_loops(network: keras.Model) -> None:
    """Refuses loops: on many while loops the calibrator reads freed memory (tensorflow issue 75140)."""
    part, _ = responsible_part(network, lambda part: has_loop(part) or None)
    if part is not None:
        raise ExportError(
            "Expected a model without loops where activations are integers (int8, int16x8, mixed). Received: layer"
            f" {part.path!r} ({part.kind}), which loops. A recurrent layer is unrolled if its inputs have a known"
            f" length of at most {UNROLLED_STEPS}: state it in keras.Input, or build the layer with unroll=True, or"
            " use 'dynamic', which stores weights in int8 too."
        )


def has_loop(network: keras.Model) -> bool:
    """Whether a network computes in a while loop."""
    specs = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in network.inputs]
    flat = keras.Model(network.inputs, network.outputs)
    graph = tf.function(lambda *tensors: flat(list(tensors), training=False)).get_concrete_function(*specs).graph
    definition = graph.as_graph_def()
    nodes = [*definition.node, *(node for function in definition.library.function for node in function.node_def)]
    return any(node.op in ("While", "StatelessWhile") for node in nodes)


def _refuse_infinity(network: keras.Model, arrays: list[np.ndarray]) -> None:
    """Refuses infinite activations: the calibrator crashes on their range (tensorflow issue 120295)."""
    outputs = [(call.operation, tensor) for call in calls_of(network) for tensor in call.output_tensors]
    outputs = [(operation, tensor) for operation, tensor in outputs if "float" in str(tensor.dtype)]
    if not outputs:
        return
    activations = keras.Model(network.inputs, [tensor for _, tensor in outputs])

    def are_finite(*batch: tf.Tensor) -> list[tf.Tensor]:
        values = keras.tree.flatten(activations(list(batch), training=False))
        return [tf.reduce_all(tf.math.is_finite(value)) for value in values]

    traced = None
    for batch in batches(arrays, network.inputs[0].shape[0] or min(_SAMPLES_AT_A_TIME, len(arrays[0]))):
        traced = traced or compiled(are_finite, batch)
        finite = traced(*map(tf.constant, batch))
        for (operation, _), is_finite in zip(outputs, finite, strict=True):
            if not is_finite:
                raise ExportError(
                    "Expected finite activations on the calibration inputs for quantize='int8'. Received: NaN or"
                    f" infinity from layer {operation.name!r} ({type(operation).__name__}). Check how the inputs are"
                    " scaled."
                )
