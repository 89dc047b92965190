"""Graphs of another structure leave no trace in the source, and hold the source's own layers where nothing changed."""

import gc
import pathlib
import subprocess
import sys
import weakref

import keras
import numpy as np
import pytest
from keras import layers

from tests.helpers import oracles
from tfcompress.costs import CostModel
from tfcompress.graph import ChannelGroups, LayerGraph, restructured
from tfcompress.plan import KeepChannels, Plan, Reconfigure, RemoveLayers, ReplaceLayers
from tfcompress.rewrite import apply


def network(width=6):
    x = keras.Input((8, 8, 3), name="image")
    y = layers.Conv2D(width, 3, padding="same", name="a")(x)
    y = layers.Conv2D(width, 3, padding="same", name="b")(y)
    y = layers.BatchNormalization(name="norm")(y)
    y = layers.Conv2D(width, 3, padding="same", name="c")(y)
    return keras.Model(x, layers.Dense(2, name="head")(layers.GlobalAveragePooling2D(name="pool")(y)))


def plan(number, width=6):
    """Another plan for each number: all kinds of edits."""
    return Plan(
        (
            RemoveLayers(("c",)),
            ReplaceLayers.by(("a",), layers.SeparableConv2D(width, 3, padding="same", name="new")),
            Reconfigure("b", {"kernel_size": 1 + number % 3, "strides": 1 + number % 2}),
            KeepChannels("b", tuple(range(1 + number % width))),
        )
    )


def test_operations_are_the_sources_own_where_nothing_changed():
    graph = LayerGraph.from_keras(network())
    left = restructured(graph, [Reconfigure("b", {"strides": 2}), RemoveLayers(("c",))])
    assert left.graph.nodes["b"].operation is not graph.nodes["b"].operation
    for name in ("image", "a", "norm", "pool", "head"):
        assert left.graph.nodes[name].operation is graph.nodes[name].operation
    assert left.graph.nodes["norm"].output_shapes == ((None, 4, 4, 6),)  # 8 places, stride 2
    assert left.fresh == frozenset()
    assert list(left.graph.nodes) == ["image", "a", "b", "norm", "pool", "head"]
    assert left.graph.nodes["pool"].inputs == left.graph.nodes["norm"].outputs
    np.testing.assert_array_equal(left.graph.nodes["b"].operation.kernel, graph.nodes["b"].operation.kernel)


def test_masks_and_indices_stay_what_they_are():
    x = keras.Input((3, 2))
    y = layers.LSTM(3, name="memory")(layers.Masking(100.0)(x))
    model = keras.Model(x, layers.Dense(2)(y))
    assert {"not_equal", "any"} <= LayerGraph.from_keras(model).nodes.keys()
    for nodes, words in (
        (("not_equal", "any"), r"'any' bool \(None, 3\), in whose place stands 'input.*' float32 \(None, 3, 2\)"),
        (("any",), r"'any' bool \(None, 3\), in whose place stands 'not_equal' bool \(None, 3, 2\)"),
    ):
        with pytest.raises(ValueError, match=words):
            restructured(LayerGraph.from_keras(model), [RemoveLayers(nodes)], "fresh")
    ordered = keras.ops.take_along_axis(x, keras.ops.argsort(x, axis=1), axis=1)
    model = keras.Model(x, layers.Dense(2)(ordered))
    for edit in (RemoveLayers(("argsort",)), ReplaceLayers.by(("argsort",), layers.Dense(2))):
        with pytest.raises(ValueError, match=r"masks, indices.*Received: 'argsort' int32"):
            restructured(LayerGraph.from_keras(model), [edit])
    x = keras.Input((3,), dtype="int32")
    model = keras.Model(x, layers.Dense(2)(layers.Flatten()(layers.Embedding(5, 4, name="table")(x))))
    with pytest.raises(ValueError, match=r"none of what has fractions\. Received: 'table' float32"):
        restructured(LayerGraph.from_keras(model), [RemoveLayers(("table",))], "fresh")


def test_a_scale_of_each_channel_does_not_fit_another_width():
    x = keras.Input((2,))
    y = layers.Rescaling([0.5, 1.0, 1.5])(layers.Dense(3, name="three")(x))
    model = keras.Model(x, layers.Dense(2)(y))
    with pytest.raises(ValueError, match=r"every layer fits what it reads. Received: 'rescaling'.*\(None, 2\)"):
        restructured(LayerGraph.from_keras(model), [RemoveLayers(("three",))], "fresh")


def test_a_tensor_is_not_taken_apart_into_another_number():
    x = keras.Input((3, 2))
    y, _ = keras.ops.unstack(layers.Conv1D(2, 1, strides=2, padding="same", name="half")(x), 2, axis=1)
    model = keras.Model(x, layers.Dense(2)(y))
    with pytest.raises(ValueError, match=r"every layer fits what it reads. Received: 'unstack'.*\(None, 3, 2\)"):
        restructured(LayerGraph.from_keras(model), [RemoveLayers(("half",))], "fresh")


def test_students_leave_no_trace_in_the_source():
    """60 graphs, 6 costs, 6 students: no call of a layer of the source is recorded, and nothing that was made stays."""
    model = network()
    groups = ChannelGroups.of(LayerGraph.from_keras(model))
    inputs = np.ones((1, 8, 8, 3), "float32")
    before = oracles.snapshot(model, inputs)
    made = []
    for number in range(60):
        left = restructured(groups.graph, plan(number).structural)
        made += [weakref.ref(left.graph.nodes[name].operation) for name in ("a_new", "b")]
        if number % 10 == 0:
            CostModel(groups).of(plan(number))
            made.append(weakref.ref(apply(model, plan(number), groups)))
    del left
    gc.collect()
    assert oracles.snapshot(model, inputs) == before
    assert len(made) == 126
    assert not [ref for ref in made if ref() is not None]


_CODE = """
import gc, sys
import keras
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/tests/helpers"]
from tests.graph.test_structure import network, plan
from tfcompress.graph import ChannelGroups, LayerGraph
from tfcompress.rewrite import apply

def megabytes():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20

model = network(128)
groups = ChannelGroups.of(LayerGraph.from_keras(model))
calls = [len(layer._inbound_nodes) for layer in model.layers]
for number in range(220):
    if number == 20:
        before = megabytes()
    apply(model, plan(120 + number % 6, 128), groups)  # TensorFlow keeps what it compiled for each new shape
assert calls == [len(layer._inbound_nodes) for layer in model.layers]
print(megabytes() - before)
"""


def test_the_memory_of_200_students_comes_back():
    """A student's kernel has 128 x about 123 x 1, 4 or 9 numbers, 0.3 MB: 200 would be 60 MB, and their graphs as much."""
    root = pathlib.Path(__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", _CODE, str(root)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert float(run.stdout.split()[-1]) < 30
