"""`benchmark`: files side by side, each measured in a process of its own."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

from tfcompress import expect
from tfcompress.benchmarking.job import Job, Measurement
from tfcompress.benchmarking.table import Benchmark, FileBenchmark
from tfcompress.costs import Latency, device
from tfcompress.export.saved_model import size_in_bytes

__all__ = ["benchmark"]

_KINDS = {".tflite": "tflite", ".keras": "keras", ".h5": "keras", ".hdf5": "keras"}
_RUNTIMES = {"tflite": "LiteRT", "keras": "TensorFlow", "saved_model": "TensorFlow"}
_WHAT = "a .tflite, .keras, .h5 or .hdf5 file, or the folder of a SavedModel"


def benchmark(
    *files: str | os.PathLike[str],
    against: str | os.PathLike[str] | None = None,
    batch: int = 8,
    threads: int | None = None,
    runs: int = 50,
    seconds: float = 2.0,
    show: Callable[[str], object] | None = None,
) -> Benchmark:
    """Measures files side by side: latency, memory, size, and the operators that XNNPACK does not take.

        print(tfcompress.benchmark("int8.tflite", "float32.tflite", against="original.tflite"))

    Each file is measured in the runtime that reads it, in processes of its own: TFLite in LiteRT; a Keras file, traced
    for inference, and the signature of a SavedModel in TensorFlow on the processor. Latency is measured as by
    `tfcompress.costs.measure_latency`, of one sample and of `batch` samples, on one thread and on `threads` threads.

    Args:
        files: .tflite, .keras, .h5 and .hdf5 files, and folders of SavedModels.
        against: the original, whose numbers the others' are shown as shares of.
        batch: samples in an invocation, beside one.
        threads: number of threads, beside one; by default as many as this process may use.
        runs: invocations in a round.
        seconds: time limit of the invocations of each measurement.
        show: is given a line before each file is measured.

    Returns:
        A `Benchmark`. A file that cannot be read or run is in it with the reason (`failures`); the others
        are measured.

    Raises:
        TypeError, ValueError: no file is given, or an argument is out of range.
    """
    if not files:
        raise ValueError(f"Expected {_WHAT}, or several. Received: none. Give the files to measure.")
    given = [expect.path("files", file, _WHAT) for file in files]
    original = expect.path("against", against, _WHAT, or_none=True)
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = expect.whole("threads", usable if threads is None else threads, 1)
    batch, runs = expect.whole("batch", batch, 1), expect.whole("runs", runs, 1)
    seconds = expect.number("seconds", seconds, above=0)
    paths = list(dict.fromkeys([*([] if original is None else [original]), *given]))
    job = Job("", "", _one_and(batch), _one_and(threads), runs, seconds)
    measured = []
    for number, path in enumerate(paths, 1):
        if show is not None:
            show(f"Measuring {path} ({number} of {len(paths)})")
        measured.append(_measured(path, job))
    return Benchmark(tuple(measured), "" if original is None else str(original), device())


def _one_and(number: int) -> tuple[int, ...]:
    return (1,) if number == 1 else (1, number)


def _measured(path: pathlib.Path, job: Job) -> FileBenchmark:
    kind, refusal = _kind_of(path)
    if refusal:
        return FileBenchmark(str(path), _RUNTIMES.get(kind, ""), error=refusal)
    job = dataclasses.replace(job, path=str(path.absolute()), kind=kind)
    parts = _in_processes(job)
    whole = parts[0]
    latencies = sorted(
        (Latency(**each) for part in parts for each in part.latencies), key=lambda each: (each.batch, each.threads)
    )
    return FileBenchmark(
        path=str(path),
        runtime=_RUNTIMES[kind],
        bytes=size_in_bytes(path),
        memory_bytes=whole.memory_bytes,
        latencies=tuple(latencies),
        operators=whole.operators,
        outside_xnnpack=whole.outside,
        notes=tuple(whole.notes),
        error=next((part.refused for part in parts if part.refused), ""),
    )


def _kind_of(path: pathlib.Path) -> tuple[str, str]:
    """Returns the kind of a file, and why it is refused, if it is."""
    if not path.exists():
        return "", f"Expected {_WHAT}. Received: {str(path)!r}, which does not exist."
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return "saved_model", ""
        return "", f"Expected {_WHAT}. Received: {str(path)!r}, a folder without a saved_model.pb."
    kind = _KINDS.get(path.suffix.lower(), "")
    if not kind:
        return "", f"Expected {_WHAT}. Received: {str(path)!r}."
    if not os.access(path, os.R_OK):
        return kind, f"Expected a file that can be read. Received: {str(path)!r}, which this user may not read."
    if path.stat().st_size == 0:
        return kind, f"Expected {_WHAT}. Received: {str(path)!r}, which is empty."
    return kind, ""


def _in_processes(job: Job) -> list[Measurement]:
    """Measures a file in a process for LiteRT, or in one for each number of threads for TensorFlow, where it is fixed
    when TensorFlow starts.
    """
    if job.kind == "tflite":
        return [_in_process("lite_process", job)]
    parts = []
    for threads in job.threads:
        parts.append(_in_process("tensorflow_process", dataclasses.replace(job, threads=(threads,))))
        if parts[-1].refused:
            break
    return parts


def _in_process(module: str, job: Job) -> Measurement:
    """Runs a module of this package in a process of its own, so that a file that kills it takes nothing else along."""
    root = pathlib.Path(__file__).resolve().parents[2]
    paths = [str(root), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "CUDA_VISIBLE_DEVICES": "-1",  # the processor is what is measured
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3"),
    }
    with tempfile.TemporaryDirectory() as folder:
        answer = pathlib.Path(folder) / "answer.json"
        # -P: a file of the current folder that is called like a module is not taken for it.
        command = [sys.executable, "-P", "-m", f"tfcompress.benchmarking.{module}"]
        done = subprocess.run(
            [*command, json.dumps(dataclasses.asdict(job)), str(answer)],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
        )
        if answer.exists() and done.returncode == 0:
            content: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
            return Measurement(**content)
    return Measurement(refused=_ended(job.path, done.returncode, done.stderr))


def _ended(path: str, code: int, said: str) -> str:
    """Returns the message for a process that ended without an answer."""
    last = (said.strip().splitlines() or ["it said nothing"])[-1][:300]
    how = f"ended by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    return (
        f"Expected a file that can be run. Received: {path!r}, whose process {how} ({last}). It is damaged, or memory "
        "ran out: write it anew, or measure it alone."
    )
