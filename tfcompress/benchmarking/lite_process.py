"""The process that measures a TFLite file. It loads LiteRT and nothing else, so that its memory is the file's."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from tfcompress.benchmarking.job import Job, Measurement, PeakMemory, serve, timing
from tfcompress.litert import numbers, operators_outside_xnnpack, unrunnable

__all__ = ["measure"]


def measure(job: Job) -> Measurement:
    """Measures a TFLite file. Its memory is that of the first interpreter, with the file's own number of samples.

    Raises:
        ValueError: LiteRT cannot run the file, or an input has an unknown size; the message says it.
    """
    peak = PeakMemory()
    own = _own_batch(job.path)
    first = _ready(job.path, own or job.batches[0], job.threads[0])
    measurement = Measurement(memory_bytes=peak.growth())  # before anything else that takes memory
    measurement.operators, measurement.outside = operators_outside_xnnpack(first)
    unable = [batch for batch in job.batches if own is not None and not _takes(job.path, batch, own)]
    batches = [batch for batch in job.batches if batch not in unable] or [own or 1]
    if unable:
        said = " or ".join(map(str, unable))
        measurement.notes.append(
            f"the file takes {own} {'sample' if own == 1 else 'samples'} at a time, and does not run with {said}"
        )
    for batch in batches:
        for threads in job.threads:
            interpreter = _ready(job.path, batch, threads)
            # One thread is this one: the time that it computes does not grow with what else the machine does.
            clock = time.thread_time if threads == 1 else time.perf_counter
            measurement.latencies.append(timing(interpreter.invoke, job, batch, threads, clock))
    return measurement


def _own_batch(path: str) -> int | None:
    """Returns the number of samples that a file is made for; None if it is open.

    Raises:
        ValueError: no TFLite file, or an input of unknown size.
    """
    try:
        details = Interpreter(path).get_input_details()
    except (RuntimeError, ValueError) as error:
        raise ValueError(unrunnable(str(error))) from error
    for detail in details:
        if any(size < 0 for size in detail["shape_signature"][1:]):
            raise ValueError(
                f"Expected inputs of known size, which latency depends on. Received: input {detail['name']!r} of shape "
                f"{tuple(map(int, detail['shape_signature']))}. Convert the model with a shape that is known."
            )
    firsts = {int(detail["shape_signature"][0]) if len(detail["shape_signature"]) else 1 for detail in details} or {1}
    return None if firsts == {-1} else max(max(firsts), 1)


def _takes(path: str, batch: int, own: int) -> bool:
    """Whether the file runs with another number of samples than its own, and gives as many answers."""
    if batch == own:
        return True
    interpreter = Interpreter(path)
    inputs = interpreter.get_input_details()
    if any(not len(detail["shape"]) or detail["shape"][0] != own for detail in inputs):
        return False  # inputs that are no samples, such as a size or a table
    before = [tuple(detail["shape"]) for detail in interpreter.get_output_details()]
    try:
        after = [tuple(detail["shape"]) for detail in _ready(path, batch, 1).get_output_details()]
    except ValueError:  # a number of samples that is written in the graph, as in a Reshape
        return False
    return all(old[:1] == (own,) and new == (batch, *old[1:]) for old, new in zip(before, after, strict=True))


def _ready(path: str, batch: int, threads: int) -> Any:
    """Returns an interpreter that has run once, on seeded inputs of that many samples."""
    try:
        interpreter = Interpreter(path, num_threads=threads)
        for detail in interpreter.get_input_details():
            if len(detail["shape"]) and detail["shape"][0] != batch:
                interpreter.resize_tensor_input(detail["index"], (batch, *map(int, detail["shape"][1:])))
        interpreter.allocate_tensors()
        generator = np.random.default_rng(0)
        for detail in interpreter.get_input_details():
            interpreter.set_tensor(detail["index"], numbers(detail["shape"], detail["dtype"], generator))
        interpreter.invoke()
    except (RuntimeError, ValueError) as error:
        raise ValueError(unrunnable(str(error))) from error
    return interpreter


if __name__ == "__main__":
    serve(measure)
