"""Latency of a model on this machine, measured in LiteRT.

Measured is one invocation of a float32 TFLite file with built-in operators (XNNPACK runs them), without copying inputs
and outputs: with one thread the CPU time of this thread, with several the elapsed time. docs/latency.md says how close
the sum of the pieces is to the whole.
"""

from __future__ import annotations

import os
import pathlib
import platform
import re
import time
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import keras
import numpy as np

from tfcompress import expect
from tfcompress.costs.metrics import register_metric
from tfcompress.export import ExportError, MissingOperatorError, convert
from tfcompress.litert import numbers, timed, unrunnable
from tfcompress.process import quiet

__all__ = ["LATENCY", "Latency", "device", "file_for_latency", "measure_latency", "running"]

LATENCY = "latency_ms"
"""The metric's name."""


@dataclass(frozen=True)
class Latency:
    """The latency of a model.

    Attributes:
        median_ms: milliseconds of one invocation: the median of those that count. With one thread it is CPU time, so
            that a busy machine measures nearly the same as an idle one.
        spread_ms: their interquartile range, in milliseconds.
        runs: number of invocations that count.
        batch: samples in one invocation.
        threads: threads of the interpreter.
        settled: whether the medians of three rounds agreed before time was up; otherwise all invocations count, and the
            machine was busy with something else.
    """

    median_ms: float
    spread_ms: float
    runs: int
    batch: int
    threads: int
    settled: bool


def measure_latency(
    model: keras.Model | bytes,
    *,
    batch: int | None = None,
    threads: int = 1,
    warm_up: int = 10,
    runs: int = 50,
    tolerance: float = 0.02,
    seconds: float = 5.0,
) -> Latency:
    """Measures the time of one invocation of a model.

    Rounds of `runs` invocations are repeated until the medians of three rounds in a row differ by no more than
    `tolerance`, or time is up. Inputs are seeded normal numbers, and zeros where a model takes integers.

    Args:
        model: a Functional or Sequential model, or the content of a TFLite file.
        batch: samples in one invocation: 1 by default; for a file its own fixed number.
        threads: threads of the interpreter.
        warm_up: initial invocations that do not count.
        runs: invocations in a round.
        tolerance: how far the medians of rounds may differ, as a share of the median.
        seconds: time limit of the invocations, without the conversion; a round may be cut short, but three are made.

    Raises:
        TypeError, ValueError: not a model, an argument out of range, or an input of unknown size.
        MissingOperatorError: LiteRT lacks an operator; the message names it and the layer.
        ExportError: the model cannot be converted, or LiteRT cannot run the file; the message names the operator.
    """
    expect.instance("model", model, (keras.Model, bytes), "a keras.Model, or the content of a TFLite file")
    batch = expect.whole("batch", batch, 1, or_none=True)
    threads = expect.whole("threads", threads, 1)
    warm_up, runs = expect.whole("warm_up", warm_up), expect.whole("runs", runs, 1)
    tolerance, seconds = expect.number("tolerance", tolerance, above=0), expect.number("seconds", seconds, above=0)
    content = model if isinstance(model, bytes) else file_for_latency(model, batch or 1)
    interpreter, size = running(content, threads)
    if batch is not None and size != batch:
        expect.refuse("batch", f"the file's own, {size}", batch, "Convert the model with convert(model, batch=...).")
    # One thread is this one: the time that it computes does not grow with what else the machine does.
    clock = time.thread_time if threads == 1 else time.perf_counter
    times, settled = timed(interpreter.invoke, warm_up, runs, tolerance, seconds, clock)
    low, median, high = np.percentile(times, (25, 50, 75))
    return Latency(float(median), float(high - low), len(times), size, threads, settled)


def device() -> dict[str, str]:
    """Returns the machine and programs that a latency is valid for, as data."""
    cpu = platform.processor() or platform.machine()
    listed = pathlib.Path("/proc/cpuinfo")
    if listed.exists():
        names = re.findall(r"^model name\s*:\s*(.+)$", listed.read_text(encoding="utf-8", errors="replace"), re.M)
        cpu = names[0].strip() if names else cpu
    return {
        "cpu": cpu,
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
        "litert": version("ai-edge-litert"),
        "tensorflow": version("tensorflow"),
    }


def file_for_latency(model: keras.Model, batch: int = 1) -> bytes:
    """Returns the model as a float32 TFLite file for this number of samples.

    Raises:
        ValueError: an input of unknown size.
        MissingOperatorError: LiteRT lacks an operator; the message names it and the layer.
        ExportError: the model cannot be converted.
    """
    for tensor in getattr(model, "inputs", None) or ():
        if None in tensor.shape[1:]:
            raise ValueError(
                f"Expected inputs of known size, which latency depends on. Received: input {tensor.name!r} of shape "
                f"{tuple(tensor.shape)}. Build the model with the shape that it will be given."
            )
    try:
        return convert(model, batch=batch)
    except MissingOperatorError as error:
        raise error.said_for(
            "Expected a model that LiteRT can run, to measure its latency.",
            "an operator that LiteRT lacks",
            "Use another layer in its place, or limit 'macs' or 'params' instead.",
        ) from error


def running(content: bytes, threads: int) -> tuple[Any, int]:
    """Returns an interpreter that has run the file once, on deterministic inputs, and the file's batch size."""
    from ai_edge_litert.interpreter import Interpreter

    try:
        with quiet():  # it says which delegate it made
            interpreter = Interpreter(model_content=content, num_threads=threads)
            details = interpreter.get_input_details()
            for detail in details:
                _refuse_unknown_size(detail)
            interpreter.allocate_tensors()
            generator = np.random.default_rng(0)
            for detail in details:
                interpreter.set_tensor(detail["index"], numbers(detail["shape"], detail["dtype"], generator))
            interpreter.invoke()
    except (RuntimeError, ValueError) as error:
        if str(error).startswith("Expected"):
            raise
        raise ExportError(unrunnable(str(error))) from error
    return interpreter, int(details[0]["shape"][0]) if details and len(details[0]["shape"]) else 1


def _refuse_unknown_size(detail: dict[str, Any]) -> None:
    if any(size < 0 for size in detail["shape_signature"]):
        raise ValueError(
            f"Expected inputs of known size, which latency depends on. Received: input {detail['name']!r} of shape "
            f"{tuple(map(int, detail['shape_signature']))}. Convert the model with a shape and batch that are known."
        )


def _latency_ms(model: keras.Model) -> float:
    return measure_latency(model).median_ms


register_metric(LATENCY, unit="ms", measure=_latency_ms)
