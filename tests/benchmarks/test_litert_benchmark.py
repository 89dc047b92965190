"""Latencies of `tfcompress benchmark` against those of `litert-benchmark`, which comes with LiteRT, of the same files."""

import json
import os
import pathlib
import statistics
import subprocess
import sys

import keras
import measuring
import pytest

import tfcompress
from tfcompress.export import convert

_PAIRS, _RUNS = 7, 300
# The program `litert-benchmark`, which reads its clock by this name.
_PROGRAM = """
import time
time.perf_counter = time.{clock}
from ai_edge_litert.tools.benchmark_litert_model import main
main()
"""
_TEACHER = pathlib.Path(__file__).parents[2] / "savedmodels/teachers/resnet56_cifar10.keras"
_MODELS = {
    "ResNet-56, 32x32": lambda: keras.saving.load_model(_TEACHER),
    "MobileNetV2, 96x96": lambda: keras.applications.MobileNetV2((96, 96, 3), weights=None),
    "MobileNetV2, 224x224": lambda: keras.applications.MobileNetV2(weights=None),
}


def ours(path, threads):
    """The median of one sample, in milliseconds."""
    measured = tfcompress.benchmark(path, batch=1, threads=threads, runs=_RUNS // 3)
    assert not measured.failures
    return measured.files[0].latency(1, threads).median_ms


def theirs(path, threads, folder):
    """The median of one sample, in milliseconds, which it rounds to a hundredth of one.

    With one thread it is given the clock that ours has, the time that the thread computes: on a machine that other
    programs use, the elapsed time of an invocation says how busy they are.
    """
    answer = folder / "answer.json"
    flags = ["--num_runs", str(_RUNS), "--warmup_runs", "10", "--num_threads", str(threads)]
    command = [sys.executable, "-c", _PROGRAM.format(clock="thread_time" if threads == 1 else "perf_counter")]
    done = subprocess.run(
        [*command, "--model", str(path), *flags, "--result_json", str(answer)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(answer.read_text())["latency"]["median_ms"]


@pytest.mark.parametrize("name", _MODELS)
def test_one_sample(table, tmp_path, name):
    """One thread by CPU time, and as many as there are by elapsed time."""
    path = tmp_path / "model.tflite"
    path.write_bytes(convert(_MODELS[name]()))
    for threads in sorted({1, len(os.sched_getaffinity(0))}):
        pairs = [(ours(path, threads), theirs(path, threads, tmp_path)) for _ in range(_PAIRS)]
        ratios = [a / b for a, b in pairs]
        own, reference = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
        spread = f"{statistics.median(ratios):.3f} [{min(ratios):.3f}, {max(ratios):.3f}]"
        sides = ("-", spread) if threads == 1 else (spread, "-")
        said = f"{name}, {threads} {'thread' if threads == 1 else 'threads'}"
        note = f"{_PAIRS} pairs of processes in turn, the median of some {_RUNS} invocations each"
        table.add(measuring.Row(said, f"{own:.3f} ms", f"{reference:.3f} ms", *sides, 1.05, note))
