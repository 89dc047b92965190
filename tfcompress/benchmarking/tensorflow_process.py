"""The process that measures a Keras file or a SavedModel in TensorFlow, with one number of threads."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcompress.benchmarking.job import Job, Measurement, PeakMemory, serve, timing
from tfcompress.export.network import network_of
from tfcompress.litert import numbers
from tfcompress.model_files import read_model

__all__ = ["measure", "with_threads"]

_SIGNATURES = ("serving_default", "serve")


def with_threads(threads: int) -> None:
    """Sets the number of threads of TensorFlow, which has to happen before its first operation."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.function(lambda x: x + 1.0)(tf.zeros(()))  # what starts TensorFlow counts for no file


def measure(job: Job) -> Measurement:
    """Measures a Keras model, traced for inference, or a signature of a SavedModel, in the one number of threads.

    Raises:
        ValueError: the file cannot be read, or an input has an unknown size; the message says it.
    """
    (threads,) = job.threads
    peak = PeakMemory()
    measurement = Measurement()
    name, specs, traced_for = (_of_keras if job.kind == "keras" else _of_saved_model)(pathlib.Path(job.path))
    if name:
        measurement.notes.append(name)
    for spec in specs:
        sizes = spec.shape.as_list() if spec.shape.rank is not None else None
        if sizes is None or None in sizes[1:]:
            raise ValueError(
                f"Expected inputs of known size, which latency depends on. Received: input {spec.name!r} of shape "
                f"{'unknown' if sizes is None else tuple(sizes)}. Save the model with a shape that is known."
            )
    fixed = sorted({int(spec.shape[0]) if spec.shape.rank else 1 for spec in specs if not _is_open(spec)})
    batches: Sequence[int] = job.batches
    if fixed and tuple(fixed) != tuple(batches):
        batches = fixed[-1:]
        measurement.notes.append(f"the file takes {fixed[-1]} {'sample' if fixed[-1] == 1 else 'samples'} at a time")
    for batch in batches:
        generator = np.random.default_rng(0)
        shapes = [(batch, *spec.shape[1:]) if _is_open(spec) else tuple(spec.shape) for spec in specs]
        arrays = [
            tf.constant(numbers(shape, spec.dtype.as_numpy_dtype, generator))
            for shape, spec in zip(shapes, specs, strict=True)
        ]
        call = traced_for(arrays)
        call()
        if measurement.memory_bytes is None:
            measurement.memory_bytes = peak.growth()
        # With one thread the process computes in that alone: what else the machine does adds no CPU time.
        clock = time.process_time if threads == 1 else time.perf_counter
        measurement.latencies.append(timing(call, job, batch, threads, clock))
    return measurement


_Traced = Callable[[list[tf.Tensor]], Callable[[], Any]]


def _is_open(spec: tf.TensorSpec) -> bool:
    return bool(spec.shape.rank) and spec.shape[0] is None


def _of_keras(path: pathlib.Path) -> tuple[str, list[tf.TensorSpec], _Traced]:
    """Returns a note, the inputs, and a function that makes the call for given inputs."""
    network = network_of(read_model(path).model)
    specs = [tf.TensorSpec(tensor.shape, tensor.dtype, tensor.name) for tensor in network.inputs]

    def traced(arrays: list[tf.Tensor]) -> Callable[[], Any]:
        def forward(*tensors: tf.Tensor) -> Any:
            return network(keras.tree.pack_sequence_as(network.input, list(tensors)), training=False)

        function = tf.function(forward).get_concrete_function(*(tf.TensorSpec(a.shape, a.dtype) for a in arrays))
        return lambda: function(*arrays)

    return "", specs, traced


def _of_saved_model(path: pathlib.Path) -> tuple[str, list[tf.TensorSpec], _Traced]:
    """Returns a note, the inputs, and a function that makes the call for given inputs."""
    loaded = tf.saved_model.load(str(path))
    known = dict(loaded.signatures)
    if not known:
        raise ValueError(
            f"Expected a SavedModel with a signature. Received: {str(path)!r}, which has none. Write it with "
            "tfcompress.export, or with model.export(folder)."
        )
    key = next((name for name in _SIGNATURES if name in known), min(known))
    signature = known[key]
    inputs = signature.structured_input_signature[1]
    specs = [tf.TensorSpec(spec.shape, spec.dtype, name) for name, spec in inputs.items()]

    def traced(arrays: list[tf.Tensor]) -> Callable[[], Any]:
        given = dict(zip(inputs, arrays, strict=True))
        return lambda: (loaded, signature(**given))[1]  # a signature does not keep its model alive

    return f"its signature {key!r} is measured" if len(known) > 1 else "", specs, traced


if __name__ == "__main__":

    def _measured(job: Job) -> Measurement:
        with_threads(job.threads[0])
        return measure(job)

    serve(_measured)
