"""Uniform pruning of a ResNet-50 against Torch-Pruning."""

import json
import os
import pathlib
import subprocess
import sys

import keras
import measuring
import pytest

from tfcompress import Budget, cost
from tfcompress.methods import Uniform
from tfcompress.rewrite import apply
from tfcompress.task import Task

_SIDE = pathlib.Path(__file__).with_name("torch_pruning_side.py")
_PYTHON = os.environ.get("TFCOMPRESS_TORCH_PYTHON", sys.executable)


class TorchPruning:
    """Torch-Pruning in a process of its own, which waits while it is not asked."""

    def __enter__(self):
        self._process = subprocess.Popen(
            [_PYTHON, str(_SIDE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.info = self._answer()
        return self

    def __exit__(self, *error):
        self._process.stdin.close()
        self._process.wait()

    def prune(self):
        """Prunes a ResNet-50 once."""
        print("prune", file=self._process.stdin, flush=True)
        answer = self._answer()
        assert answer["macs"] <= answer["whole_macs"] / 2
        return measuring.Span(answer["wall_s"], answer["cpu_s"])

    def _answer(self):
        line = self._process.stdout.readline()
        assert line, f"{_SIDE.name} ended"
        return json.loads(line)


def prune(model):
    """From a model to its half: graph, groups, costs, ratio, ranking, rebuilding."""
    whole = Task(model, splits=None, objective=None, limits={})
    limits = Budget(flops=0.5).limits(whole.costs.total, whole.costs.smallest)
    task = Task(model, splits=None, objective=None, limits=limits)
    search = Uniform(epochs=0).search(task)
    return apply(search.source, search.plan, task.groups)


def test_resnet50(table):
    """Pruning to half the MACs, model building outside of both."""
    probe = subprocess.run([_PYTHON, "-c", "import torch, torch_pruning"], capture_output=True, text=True)
    if probe.returncode:
        pytest.skip(
            f"{_PYTHON} has no PyTorch and Torch-Pruning: install the extra `benchmarks`, or set "
            "TFCOMPRESS_TORCH_PYTHON to an interpreter that has both"
        )
    model = keras.applications.ResNet50(weights=None)
    students = []
    with TorchPruning() as reference:
        pairs = measuring.interleaved(
            lambda: measuring.timed(lambda: students.append(prune(model))), reference.prune, pairs=7
        )
    half = cost(model).macs / 2
    assert all(0.97 * half < cost(student).macs <= half for student in students)
    info = reference.info
    note = (
        f"224x224, weights=None; torch {info['torch']}, Torch-Pruning {info['torch_pruning']}, {info['threads']} threads"
        f"; Torch-Pruning is given the ratio that halves the MACs ({info['ratio']}), tfcompress finds its own"
    )
    table.add(measuring.ratio_row("Uniform on ResNet-50 / Torch-Pruning", pairs, 1.0, note))
