"""The job of a process that measures a file, and what such a process does around it: plain data in, plain data out."""

from __future__ import annotations

import contextlib
import json
import pathlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from tfcompress.litert import timed

__all__ = ["Job", "Measurement", "PeakMemory", "serve", "timing"]


@dataclass(frozen=True)
class Job:
    """The measurements that a process makes of a file.

    Attributes:
        path: the file, or the folder of a SavedModel.
        kind: `"tflite"`, `"keras"` or `"saved_model"`.
        batches: samples in one invocation, each to be measured.
        threads: numbers of threads, each to be measured.
        runs, seconds: of each measurement, as for `measure_latency`.
    """

    path: str
    kind: str
    batches: tuple[int, ...]
    threads: tuple[int, ...]
    runs: int
    seconds: float


@dataclass
class Measurement:
    """The answer of a process.

    Attributes:
        latencies: the fields of a `Latency` each.
        memory_bytes: peak growth of the process; None where the system does not tell.
        operators: the number of operators of a TFLite file.
        outside: of them those that XNNPACK does not take, by name with their number.
        notes: remarks.
        refused: why the file cannot be measured; "" if it is.
    """

    latencies: list[dict[str, Any]] = field(default_factory=list)
    memory_bytes: int | None = None
    operators: int | None = None
    outside: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    refused: str = ""


class PeakMemory:
    """The peak of the memory that this process holds, counted from the moment when it is made.

    Linux keeps the peak of a process in /proc. That of `getrusage` is of no use here: a new process inherits the peak
    of the program that started it.
    """

    def __init__(self) -> None:
        with contextlib.suppress(OSError):  # where it cannot be reset, the peak so far is the start
            pathlib.Path("/proc/self/clear_refs").write_text("5")
        self._start = _peak()

    def growth(self) -> int | None:
        """Returns the bytes by which the peak has grown; None where the system does not tell."""
        now = _peak()
        return None if now is None or self._start is None else now - self._start


def _peak() -> int | None:
    try:
        lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)


def timing(
    invoke: Callable[[], Any], job: Job, batch: int, threads: int, clock: Callable[[], float], tolerance: float = 0.02
) -> dict[str, Any]:
    """Returns the fields of a `Latency`, measured as `measure_latency` does."""
    times, settled = timed(invoke, 10, job.runs, tolerance, job.seconds, clock)
    low, median, high = np.percentile(times, (25, 50, 75))
    return {
        "median_ms": float(median),
        "spread_ms": float(high - low),
        "runs": len(times),
        "batch": batch,
        "threads": threads,
        "settled": settled,
    }


def serve(measure: Callable[[Job], Measurement]) -> None:
    """Runs the job on this process's command line, and writes its answer into the file named there."""
    text, answer = sys.argv[1:]
    content: Mapping[str, Any] = json.loads(text)
    job = Job(**{**content, "batches": tuple(content["batches"]), "threads": tuple(content["threads"])})
    try:
        measurement = measure(job)
    except Exception as error:  # LiteRT, Keras and TensorFlow raise whatever a file makes them raise
        words = " ".join(str(error).split()) or type(error).__name__
        if not words.startswith("Expected"):
            words = f"Expected a file that can be run. Received: {job.path!r}, which fails ({words[:300]})."
        measurement = Measurement(refused=words)
    pathlib.Path(answer).write_text(json.dumps(asdict(measurement)), encoding="utf-8")
