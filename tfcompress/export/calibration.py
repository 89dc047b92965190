"""Calibration data for int8, and checks for models on which TensorFlow's calibrator would crash the process."""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcompress.export.errors import ExportError
from tfcompress.export.inputs import batches
from tfcompress.export.recurrent import UNROLLED_STEPS
from tfcompress.export.responsible import calls_of, responsible_part

_SAMPLES_AT_A_TIME = 8  # all activations of the network are held for so many


def representative(
    arrays: list[np.ndarray], names: list[str], size: int
) -> Callable[[], Iterator[dict[str, np.ndarray]]]:
    """Returns a function that gives the converter calibration batches of `size` samples, by input name."""

    def generate() -> Iterator[dict[str, np.ndarray]]:
        for batch in batches(arrays, size):
            yield dict(zip(names, batch, strict=True))

    return generate


class Activations:
    """All activations of a network, traced once for batches of calibration inputs.

    Args:
        network: a Functional model.
        arrays: the calibration inputs, one array [samples, ...] for each input.
    """

    def __init__(self, network: keras.Model, arrays: list[np.ndarray]):
        outputs = [(call.operation, tensor) for call in calls_of(network) for tensor in call.output_tensors]
        self._watched = [(operation, tensor) for operation, tensor in outputs if "float" in str(tensor.dtype)]
        self._network, self._arrays = network, arrays
        self._size = network.inputs[0].shape[0] or min(_SAMPLES_AT_A_TIME, len(arrays[0]))
        self._activations = keras.Model(network.inputs, [tensor for _, tensor in self._watched] or network.outputs)
        # Lengths that the network leaves open stay open: what loops in the file has to loop here.
        shapes = [(self._size, *tensor.shape[1:]) for tensor in network.inputs]
        specs = [tf.TensorSpec(shape, tensor.dtype) for shape, tensor in zip(shapes, network.inputs, strict=True)]
        self._traced = tf.function(self._are_finite).get_concrete_function(*specs)

    def _are_finite(self, *batch: tf.Tensor) -> list[tf.Tensor]:
        values = keras.tree.flatten(self._activations(list(batch), training=False))
        return [tf.reduce_all(tf.math.is_finite(value)) for value in values if value.dtype.is_floating]

    @property
    def has_loop(self) -> bool:
        """Whether the network computes in a while loop."""
        return _loops(self._traced.graph)

    def refuse_what_crashes(self) -> None:
        """Refuses loops, and activations that are not finite: the calibrator crashes on both.

        Raises:
            ExportError: names the layer.
        """
        if self.has_loop:
            _refuse_loops(self._network)
        self._refuse_infinity()

    def _refuse_infinity(self) -> None:
        """Refuses infinite activations: the calibrator crashes on their range (tensorflow issue 120295)."""
        for batch in batches(self._arrays, self._size):
            finite = self._traced(*map(tf.constant, batch))
            for (operation, _), is_finite in zip(self._watched, finite, strict=True):
                if not is_finite:
                    raise ExportError(
                        "Expected finite activations on the calibration inputs where activations are integers (int8,"
                        f" int16x8, mixed). Received: NaN or infinity from layer {operation.name!r}"
                        f" ({type(operation).__name__}). Check how the inputs are scaled."
                    )


def _refuse_loops(network: keras.Model) -> None:
    """Refuses loops: on many while loops the calibrator reads freed memory (tensorflow issue 75140)."""
    part, _ = responsible_part(network, lambda part: _has_loop(part) or None)
    if part is not None:
        raise ExportError(
            "Expected a model without loops where activations are integers (int8, int16x8, mixed). Received: layer"
            f" {part.path!r} ({part.kind}), which loops. A recurrent layer is unrolled if its inputs have a known"
            f" length of at most {UNROLLED_STEPS}: state it in keras.Input, or build the layer with unroll=True, or"
            " use 'dynamic', which stores weights in int8 too."
        )


def _has_loop(network: keras.Model) -> bool:
    specs = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in network.inputs]
    flat = keras.Model(network.inputs, network.outputs)
    return _loops(tf.function(lambda *tensors: flat(list(tensors), training=False)).get_concrete_function(*specs).graph)


def _loops(graph: Any) -> bool:
    definition = graph.as_graph_def()
    nodes = [*definition.node, *(node for function in definition.library.function for node in function.node_def)]
    return any(node.op in ("While", "StatelessWhile") for node in nodes)
