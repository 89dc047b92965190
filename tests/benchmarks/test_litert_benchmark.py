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
from tfcompress import zoo
from tfcompress.export import convert

_PAIRS, _RUNS = 7, 300
_TEACHER = pathlib.Path(__file__).parents[2] / "savedmodels/teachers/resnet56_cifar10.keras"
_MODELS = {
    "ResNet-56, 32x32": lambda: keras.saving.load_model(_TEACHER),
    "MobileNetV2, 96x96": lambda: keras.applications.MobileNetV2((96, 96, 3), weights=None),
    "VGG-7, 28x28": lambda: zoo.vgg7((28, 28, 1), 10),
}


def ours(path, threads):
    """The median of one sample, in milliseconds."""
    measured = tfcompress.benchmark(path, batch=1, threads=threads, runs=_RUNS // 3)
    assert not measured.failures
    return measured.files[0].latency(1, threads).median_ms


def theirs(path, threads, folder):
    """The median of one sample, in milliseconds, which it rounds to a hundredth of one."""
    program, answer = pathlib.Path(sys.executable).with_name("litert-benchmark"), folder / "answer.json"
    flags = ["--num_runs", str(_RUNS), "--warmup_runs", "10", "--num_threads", str(threads)]
    command = [str(program), "--model", str(path), *flags, "--result_json", str(answer)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(answer.read_text())["latency"]["median_ms"]


@pytest.mark.parametrize("name", _MODELS)
def test_one_sample(table, tmp_path, name):
    """One thread, and as many as there are; ours is CPU time with one thread, theirs the elapsed time."""
    path = tmp_path / "model.tflite"
    path.write_bytes(convert(_MODELS[name]()))
    for threads in sorted({1, len(os.sched_getaffinity(0))}):
        pairs = [(ours(path, threads), theirs(path, threads, tmp_path)) for _ in range(_PAIRS)]
        ratios = [a / b for a, b in pairs]
        own, reference = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
        spread = f"{statistics.median(ratios):.3f} [{min(ratios):.3f}, {max(ratios):.3f}]"
        said = f"{name}, {threads} {'thread' if threads == 1 else 'threads'}"
        note = f"{_PAIRS} pairs of processes in turn, the median of some {_RUNS} invocations each"
        table.add(measuring.Row(said, f"{own:.3f} ms", f"{reference:.3f} ms", spread, "", 1.05, note))
