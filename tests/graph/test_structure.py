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
from tfcompress.graph import ChannelGroups, LayerGraph, groups_after, restructured
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


def branches():
    """Two chains of dense layers, a to a_b and c to d, and their difference."""
    x = keras.Input((4,), name="x")
    chains = [layers.Dense(4, name=name)(x) for name in ("a", "c")]
    chains = [layers.Dense(4, name=name)(y) for name, y in zip(("a_b", "d"), chains, strict=True)]
    return keras.Model(x, layers.Dense(2, name="head")(layers.Subtract(name="less")(chains)))


def left_of(model, *edits, weights="inherited"):
    return restructured(LayerGraph.from_keras(model), edits, weights)


def test_weights_that_start_anew_are_drawn_where_the_model_is_built_and_not_before():
    model = network()
    groups = ChannelGroups.of(LayerGraph.from_keras(model))
    smaller = Plan((Reconfigure("b", {"kernel_size": 1}),), "fresh")
    layer = groups_after(groups, smaller)[0].graph.nodes["b"].operation
    assert not layer.kernel.numpy().any()
    assert type(layer.kernel_initializer) is keras.initializers.GlorotUniform
    # A part that is built of its groups alone has what was drawn for them.
    assert groups_after(groups, Plan(smaller.edits))[0].graph.nodes["b"].operation.kernel.numpy().any()
    first, again, other = (apply(model, smaller, seed=seed).get_layer("b").kernel.numpy() for seed in (1, 1, 2))
    assert first.any()
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_with_weights_of_a_file_widths_may_change_as_with_fresh_ones():
    edit = ReplaceLayers.by(("c",), layers.Conv2D(4, 3, padding="same", name="narrow"))
    with pytest.raises(ValueError, match=r"of the same width.*weights=\"fresh\""):
        left_of(network(), edit)
    for weights in ("fresh", "model.keras"):
        left = left_of(network(), edit, weights=weights)
        assert left.fresh == frozenset(left.graph.operations) == frozenset(left.graph.nodes)
        assert left.graph.nodes["head"].input_shapes == ((None, 4),)


def test_a_replacement_of_another_rank_changes_the_width():
    x = keras.Input((1, 4))
    y = layers.Reshape((6,), name="flat")(layers.Dense(6, name="a")(x))
    model = keras.Model(x, layers.Dense(2, name="head")(y))
    edit = ReplaceLayers.by(("a",), keras.Sequential([layers.Flatten(), layers.Dense(6)]))
    with pytest.raises(ValueError, match=r"of the same width.*\(None, 1, 6\), replaced by .* \(None, 6\)"):
        left_of(model, edit)
    assert left_of(model, edit, weights="fresh").graph.nodes["flat"].input_shapes == ((None, 6),)


def test_the_width_is_that_of_the_channels_axis():
    first = {"padding": "same", "data_format": "channels_first"}
    x = keras.Input((3, 8, 8))
    y = layers.Conv2D(6, 3, **first, name="a")(x)
    model = keras.Model(x, layers.GlobalAveragePooling2D(data_format="channels_first", name="pool")(y))
    left = left_of(model, ReplaceLayers.by(("a",), layers.Conv2D(6, 3, strides=2, **first, name="new")))
    assert left.graph.nodes["pool"].input_shapes == ((None, 6, 4, 4),)
    y = layers.GlobalAveragePooling2D(data_format="channels_first", name="pool")(y)
    model = keras.Model(x, layers.Dense(2, name="head")(y))
    with pytest.raises(ValueError, match="of the same width"):
        left_of(model, ReplaceLayers.by(("a",), layers.Conv2D(5, 3, **first, name="new")))


def test_nodes_keep_their_order_and_new_ones_stand_where_the_last_of_theirs_stood():
    x = keras.Input((4,), name="x")
    a, middle, c = (layers.Dense(4, name=name)(x) for name in ("a", "middle", "c"))
    total = layers.Add(name="total")([layers.Dense(4, name="b")(a), middle, layers.Dense(4, name="d")(c)])
    model = keras.Model(x, layers.Dense(2, name="head")(total))
    order = ["x", "a", "b", "middle", "c", "d", "total", "head"]
    assert list(LayerGraph.from_keras(model).nodes) == order
    assert list(left_of(model, Reconfigure("head", {"activation": "relu"})).graph.nodes) == order
    end = keras.Input((4,))
    both = keras.Model(end, [layers.Dense(4, name="p")(end), layers.Dense(4, name="q")(end)])
    left = left_of(model, ReplaceLayers.by(("a", "c"), both))
    assert list(left.graph.nodes) == ["x", "middle", "a_p", "b", "a_q", "d", "total", "head"]


def test_new_names_are_nobody_elses():
    edits = (
        ReplaceLayers.by(("a",), layers.Dense(4, name="b_n")),
        ReplaceLayers.by(("a_b",), layers.Dense(4, name="n")),
    )
    assert list(left_of(branches(), *edits).graph.nodes) == ["x", "a_b_n", "a_b_n_2", "c", "d", "less", "head"]
    left = left_of(branches(), ReplaceLayers.by(("a",), layers.Dense(4, name="b")))
    assert list(left.graph.nodes) == ["x", "a_b_2", "a_b", "c", "d", "less", "head"]


def test_tensors_that_come_in_keep_their_order():
    left, right = keras.Input((4,)), keras.Input((4,))
    small = keras.Model([left, right], layers.Subtract(name="minus")([left, right]))
    for replacement, name in ((small, "less_minus"), (layers.Concatenate(name="both"), "less_both")):
        weights = "inherited" if replacement is small else "fresh"
        node = left_of(branches(), ReplaceLayers.by(("less",), replacement), weights=weights).graph.nodes[name]
        assert [ref.node for ref in node.inputs] == ["a_b", "d"]
        assert [ref.node for ref in keras.tree.flatten(node.args)] == ["a_b", "d"]
        assert len(node.args) == 1  # one list


def test_an_input_that_nothing_reads_stays():
    x, unread = keras.Input((4,), name="x"), keras.Input((3,), name="unread")
    model = keras.Model([x, unread], layers.Dense(2, name="head")(layers.Dense(4, name="a")(x)))
    left = left_of(model, RemoveLayers(("a",)))
    assert sorted(left.graph.nodes) == ["head", "unread", "x"]
    assert len(left.graph.input_refs) == 2


def test_a_region_that_reads_what_it_gives():
    """a goes out to b, which the region reads again: with all of it in one place there is no order."""
    x = keras.Input((4,), name="x")
    a = layers.Dense(4, name="a")(x)
    c = layers.Add(name="c")([layers.Dense(4, name="b")(a), x])
    model = keras.Model(x, [layers.Dense(2, name="one")(a), layers.Dense(2, name="two")(c)])
    ends = [keras.Input((4,)), keras.Input((4,))]
    small = keras.Model(ends, [layers.Add(name="p")(ends), layers.Multiply(name="q")(ends)])
    with pytest.raises(ValueError, match=r"one region.*read its own output, through .*'b'"):
        left_of(model, ReplaceLayers.by(("a", "c"), small))


def test_what_is_read_inside_and_outside_of_a_region_goes_out_of_it():
    x = keras.Input((4,), name="x")
    a = layers.Dense(4, name="a")(x)
    b = layers.Dense(4, name="b")(a)
    model = keras.Model(x, [layers.Dense(2, name="one")(a), layers.Dense(2, name="two")(b)])
    with pytest.raises(
        ValueError, match=r"as many inputs and outputs.*1 and 1 for a region that reads \['x'\] and gives \['a', 'b'\]"
    ):
        left_of(model, ReplaceLayers.by(("a", "b"), layers.Dense(4)))


def test_one_edit_for_the_settings_of_a_layer():
    x = keras.Input((8, 4), name="x")
    shared = layers.Conv1D(4, 3, padding="same", name="shared")
    model = keras.Model(x, layers.Dense(2, name="head")(shared(shared(x))))
    with pytest.raises(ValueError, match=r"one edit for each layer. Received: several for 'shared'"):
        left_of(model, Reconfigure("shared", {"kernel_size": 5}), Reconfigure("shared@2", {"kernel_size": 1}))


def test_groups_are_cut_through_norms_as_those_of_the_source():
    x = keras.Input((4, 3))
    y = layers.LayerNormalization(name="norm")(layers.Dense(6, name="stream")(layers.Dense(3, name="gone")(x)))
    graph = LayerGraph.from_keras(keras.Model(x, layers.Dense(2, name="head")(y)))
    for through_norms in (False, True):
        groups, _ = groups_after(ChannelGroups.of(graph, through_norms), Plan.without(["gone"]))
        assert ("stream" in groups.groups) == through_norms


def node_of(model, kind):
    """The one node of an operation, which Keras numbers in every process as it likes."""
    (name,) = (name for name in LayerGraph.from_keras(model).nodes if name.rstrip("0123456789").rstrip("_") == kind)
    return name


def test_masks_and_indices_stay_what_they_are():
    x = keras.Input((3, 2))
    y = layers.LSTM(3, name="memory")(layers.Masking(100.0)(x))
    model = keras.Model(x, layers.Dense(2)(y))
    differs, some = (node_of(model, kind) for kind in ("not_equal", "any"))
    for nodes, words in (
        ((differs, some), rf"'{some}' bool \(None, 3\), replaced by 'input.*' float32 \(None, 3, 2\)"),
        ((some,), rf"'{some}' bool \(None, 3\), replaced by '{differs}' bool \(None, 3, 2\)"),
    ):
        with pytest.raises(ValueError, match=words):
            restructured(LayerGraph.from_keras(model), [RemoveLayers(nodes)], "fresh")
    ordered = keras.ops.take_along_axis(x, keras.ops.argsort(x, axis=1), axis=1)
    model = keras.Model(x, layers.Dense(2)(ordered))
    order = node_of(model, "argsort")
    for edit in (RemoveLayers((order,)), ReplaceLayers.by((order,), layers.Dense(2))):
        with pytest.raises(ValueError, match=rf"masks, indices.*Received: '{order}' int32"):
            restructured(LayerGraph.from_keras(model), [edit])
    x = keras.Input((3,), dtype="int32")
    model = keras.Model(x, layers.Dense(2)(layers.Flatten()(layers.Embedding(5, 4, name="table")(x))))
    with pytest.raises(ValueError, match=r"no float tensor an integer one\. Received: 'table' float32"):
        restructured(LayerGraph.from_keras(model), [RemoveLayers(("table",))], "fresh")


def test_a_scale_of_each_channel_does_not_fit_another_width():
    x = keras.Input((2,))
    y = layers.Rescaling([0.5, 1.0, 1.5], name="rescaling")(layers.Dense(3, name="three")(x))
    model = keras.Model(x, layers.Dense(2)(y))
    with pytest.raises(ValueError, match=r"every layer fits its inputs. Received: 'rescaling'.*\(None, 2\)"):
        restructured(LayerGraph.from_keras(model), [RemoveLayers(("three",))], "fresh")


def test_a_tensor_is_not_taken_apart_into_another_number():
    x = keras.Input((3, 2))
    y, _ = keras.ops.unstack(layers.Conv1D(2, 1, strides=2, padding="same", name="half")(x), 2, axis=1)
    model = keras.Model(x, layers.Dense(2)(y))
    apart = node_of(model, "unstack")
    with pytest.raises(ValueError, match=rf"every layer fits its inputs. Received: '{apart}'.*\(None, 3, 2\)"):
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


@pytest.mark.slow
def test_the_memory_of_200_students_comes_back():
    """A student's kernel has 128 x about 123 x 1, 4 or 9 numbers, 0.3 MB: 200 would be 60 MB, and their graphs as much."""
    root = pathlib.Path(__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", _CODE, str(root)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert float(run.stdout.split()[-1]) < 30
