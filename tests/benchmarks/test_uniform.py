"""Uniform pruning to half the MACs, analysis and rebuilding included: against Torch-Pruning, of all of
keras.applications, and of ever deeper networks."""

import io
import json
import os
import pathlib
import statistics
import subprocess
import sys

import applications
import keras
import measuring
import pytest
import small_tasks
from keras import layers

import tfcompress
from tfcompress import cost, zoo
from tfcompress.methods import Uniform
from tfcompress.rewrite import apply

_SIDE = pathlib.Path(__file__).with_name("torch_pruning_side.py")
_PYTHON = os.environ.get("TFCOMPRESS_TORCH_PYTHON", sys.executable)


class TorchPruning:
    """Torch-Pruning in a process of its own, which waits while it is not asked."""

    def __init__(self, network):
        self._network = network

    def __enter__(self):
        self._process = subprocess.Popen(
            [_PYTHON, str(_SIDE), self._network],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.info = self._answer()
        return self

    def __exit__(self, *error):
        self._process.stdin.close()
        self._process.wait()

    def prune(self):
        """Prunes a new network once."""
        print("prune", file=self._process.stdin, flush=True)
        answer = self._answer()
        assert answer["macs"] <= answer["whole_macs"] / 2
        return measuring.Span(answer["wall_s"], answer["cpu_s"])

    def _answer(self):
        line = self._process.stdout.readline()
        assert line, f"{_SIDE.name} ended"
        return json.loads(line)


def prune(model):
    """From a model to its half: graph, groups, costs, ratio, ranking, rebuilding. No data: norms need none."""
    task = small_tasks.task_without_data(model, {"macs": 0.5})
    search = Uniform(epochs=0).search(task)
    return apply(search.source, search.plan, task.groups)


@pytest.mark.parametrize("network", ["ResNet50", "DenseNet121"])
def test_against_torch_pruning(table, network):
    """Pruning to half the MACs, model building outside of both."""
    probe = subprocess.run([_PYTHON, "-c", "import torch, torch_pruning"], capture_output=True, text=True)
    if probe.returncode:
        pytest.skip(
            f"{_PYTHON} has no PyTorch and Torch-Pruning: install the extra `benchmarks`, or set "
            "TFCOMPRESS_TORCH_PYTHON to an interpreter that has both"
        )
    model = getattr(keras.applications, network)(weights=None)
    students = []
    with TorchPruning(network) as reference:
        pairs = measuring.interleaved(
            lambda: measuring.timed(lambda: students.append(prune(model))), reference.prune, pairs=7
        )
    half = cost(model).macs / 2
    assert all(0.95 * half < cost(student).macs <= half for student in students)
    info = reference.info
    note = (
        f"224x224, weights=None; torch {info['torch']}, Torch-Pruning {info['torch_pruning']}, {info['threads']} threads"
        f"; Torch-Pruning is given the ratio that halves the MACs ({info['ratio']}), tfcompress finds its own"
    )
    table.add(measuring.ratio_row(f"Uniform on {network} / Torch-Pruning", pairs, 0.7, note))


def test_all_applications(table):
    """Whatever keras.applications has, at its own size."""
    for name, build in applications.constructors().items():
        model = build(weights=None)
        if None in model.input_shape[1:]:  # MobileNetV3 takes images of any size; MACs want one
            model = build(weights=None, input_shape=(224, 224, 3))
        students = []
        span = measuring.timed(lambda: students.append(prune(model)))  # noqa: B023
        whole, left = cost(model).macs, cost(students[0]).macs
        assert left <= whole / 2
        table.add(measuring.single_row(f"Uniform on {name}", [span], f"{len(model.layers)} layers, {whole:,} MACs"))
        keras.backend.clear_session()


def resnet_1001():
    """He et al. (2016), "Identity mappings in deep residual networks": 111 bottlenecks of pre-activation a section."""

    def conv(x, filters, size, strides=1):
        return layers.Conv2D(filters, size, strides, padding="same", use_bias=False)(x)

    def before(x):
        return layers.ReLU()(layers.BatchNormalization()(x))

    inputs = keras.Input((32, 32, 3))
    x = conv(inputs, 16, 3)
    for section, width in enumerate((16, 32, 64)):
        for block in range(111):
            strides = 2 if section and not block else 1
            y = before(x)
            shortcut = x if block else conv(y, 4 * width, 1, strides)
            y = conv(before(conv(y, width, 1, strides)), width, 3)
            x = layers.Add()([shortcut, conv(before(y), 4 * width, 1)])
    x = layers.GlobalAveragePooling2D()(before(x))
    return keras.Model(inputs, layers.Dense(10)(x))


def test_ever_deeper(table):
    """No part grows faster than the number of layers: the time of a layer stays what it is."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)  # Keras follows the layers of a model by recursion
    try:
        of_a_layer = {}
        networks = {"ResNet-20": zoo.resnet20, "ResNet-56": zoo.resnet56, "ResNet-110": zoo.resnet110}
        for name, build in {**networks, "ResNet-1001": resnet_1001}.items():
            model = build()
            prune(model)
            spans = [measuring.timed(lambda: prune(model)) for _ in range(3)]  # noqa: B023
            of_a_layer[name] = measuring.median(spans).cpu_s / len(model.layers)
            note = f"{len(model.layers)} layers, {1e3 * of_a_layer[name]:.2f} ms of CPU time each"
            table.add(measuring.single_row(f"Uniform on {name}", spans, note))
    finally:
        sys.setrecursionlimit(limit)
    assert of_a_layer["ResNet-1001"] < 2 * statistics.median(of_a_layer.values()), of_a_layer


def test_inspect(table):
    """`inspect` of a ResNet-50: under a second."""
    model = keras.applications.ResNet50(weights=None)
    shown = io.StringIO()
    spans = [measuring.timed(lambda: tfcompress.inspect(model, shown.write)) for _ in range(5)]
    table.add(measuring.single_row("tfcompress.inspect(ResNet50), to stay below 1 s", spans))


def test_import(table):
    """What `import tfcompress` adds to `import keras`: under half a second."""
    code = (
        "import time, keras; t = time.perf_counter(); c = time.process_time(); import tfcompress; tfcompress.compress; "
    )
    code += "print(time.perf_counter() - t, time.process_time() - c)"
    spans = []
    for _ in range(3):
        answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        spans.append(measuring.Span(*map(float, answer.split())))
    table.add(measuring.single_row("import tfcompress and all that compress() needs, to stay below 0.5 s", spans))
