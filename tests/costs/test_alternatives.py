"""Alternatives: the cost of a part and of what may stand in its place is the difference of the whole models' costs."""

import keras
import numpy as np
import pytest
import small_tasks
import topologies
from keras import layers
from random_graphs.edits import structural_edits

from tfcompress.costs import CostModel, Term, alternatives, cost, register_metric, unregister_metric
from tfcompress.edits import nodes_of
from tfcompress.graph import ChannelGroups, LayerGraph, part_of
from tfcompress.plan import Plan, Reconfigure, RemoveLayers, ReplaceLayers
from tfcompress.rewrite import apply

METRICS = ("macs", "params", "bytes", "outputs")


@pytest.fixture(name="outputs", autouse=True)
def a_metric_that_registered_itself():
    """Numbers that a node hands on, of one sample."""

    def outputs(node):
        return [Term(int(np.prod([size or 1 for size in shape[1:]]))) for shape in node.node.output_shapes]

    register_metric("outputs", outputs)
    yield
    unregister_metric("outputs")


def costs_of(model):
    return CostModel(ChannelGroups.of(LayerGraph.from_keras(model)))


def separable(width):
    return keras.Sequential([layers.DepthwiseConv2D(3, padding="same"), layers.Conv2D(width, 1)])


def network():
    """A convolution of 3 x 3 from 4 to 6 channels, with a stride, between others."""
    inputs = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(4, 3, padding="same", name="stem")(inputs)
    x = layers.Conv2D(6, 3, 2, padding="same", name="middle", activation="relu")(x)
    x = layers.Conv2D(6, 3, padding="same", name="last")(x)
    return keras.Model(inputs, layers.Dense(2, name="head")(layers.GlobalAveragePooling2D(name="pool")(x)))


def test_by_hand():
    """In 4 x 4 places: 9 x 4 x 6, 4 x 6, and 9 x 4 + 4 x 6 multiply-adds; with biases 6, 6, and 4 + 6 parameters."""
    edits = {
        "pointwise": ReplaceLayers.by(("middle",), layers.Conv2D(6, 1, 2)),
        "separable": ReplaceLayers.by(
            ("middle",), keras.Sequential([layers.DepthwiseConv2D(3, 2, "same"), layers.Conv2D(6, 1)])
        ),
        "small": Reconfigure("middle", {"kernel_size": 1}),
    }
    table = alternatives(costs_of(network()), ["middle"], edits)
    assert list(table) == ["middle", "pointwise", "separable", "small"]
    macs = {name: entry.cost.macs for name, entry in table.items()}
    assert macs == {"middle": 16 * 216, "pointwise": 16 * 24, "separable": 16 * (36 + 24), "small": 16 * 24}
    params = {name: entry.cost.params for name, entry in table.items()}
    assert params == {"middle": 216 + 6, "pointwise": 24 + 6, "separable": 36 + 4 + 24 + 6, "small": 24 + 6}
    assert {name: entry.cost.bytes for name, entry in table.items()} == {name: 4 * n for name, n in params.items()}
    # Each layer hands on its output: 16 places of 6 channels, and of 4 between the two.
    assert {name: entry.cost["outputs"] for name, entry in table.items()} == {
        "middle": 96, "pointwise": 96, "separable": 64 + 96, "small": 96,
    }  # fmt: skip


def test_removed_layers_cost_nothing_and_regions_are_replaced_whole():
    model = small_tasks.residual_network()
    costs = costs_of(model)
    activation = costs.groups.graph.nodes["block1_conv2"].inputs[0].node
    block = ["block1_conv1", "bn1", activation, "block1_conv2"]
    edits = {"none": RemoveLayers(tuple(block)), "separable": ReplaceLayers.by(tuple(block), separable(6))}
    table = alternatives(costs, block, edits)
    assert [table["none"].cost[metric] for metric in METRICS] == [0, 0, 0, 0]
    assert table["separable"].cost.macs == 16 * (9 * 6 + 6 * 6)
    assert table["block1_conv1"].cost.macs == 16 * 9 * 2 * 6 * 5


@pytest.mark.parametrize("name", sorted(topologies.TOPOLOGIES)[::17])
def test_equal_to_the_difference_of_whole_models(name):
    model = topologies.build(name).model
    costs, rng = costs_of(model), np.random.default_rng(0)
    compared = 0
    for number in rng.integers(1, 300, 8).tolist():
        for edit in structural_edits(model, [number], "inherited"):
            nodes = nodes_of(edit)
            try:
                table = alternatives(costs, nodes, {"other": edit})
            except ValueError as error:
                assert "share" in str(error) or "shapes of the model's outputs" in str(error)
                continue
            whole = CostModel(ChannelGroups.of(LayerGraph.from_keras(apply(model, Plan((edit,))))))
            own, other = (entry.cost for entry in table.values())
            for metric in METRICS:
                assert whole.total[metric] - costs.total[metric] == other[metric] - own[metric], (edit, metric)
            compared += 1
    assert compared or "tied" in name or not costs.groups.groups


def test_an_alternative_is_built_by_itself():
    """To be measured: with the inputs, weights and outputs that the part has in its place."""
    model = network()
    costs = costs_of(model)
    edit = ReplaceLayers.by(("middle",), layers.Conv2D(6, 1, 2))
    for name, entry in alternatives(costs, ["middle"], {"pointwise": edit}).items():
        part = apply(model, Plan(), entry.groups)
        assert (part.input_shape, part.output_shape) == ((None, 8, 8, 4), (None, 4, 4, 6))
        assert cost(part).macs == entry.cost.macs
        if name == "middle":
            whole = keras.Model(model.input, [model.get_layer(n).output for n in ("stem", "middle")])
            before, after = whole(small_tasks.pictures(2)[0].repeat(3, -1))
            np.testing.assert_allclose(part(before), after, atol=1e-6)


class Either(layers.Layer):
    """A mixture of two convolutions."""

    def build(self, shape):
        self.first, self.second = layers.Conv2D(4, 3, padding="same"), layers.Conv2D(4, 1)
        self.first.build(shape)
        self.second.build(shape)

    def call(self, x):
        return 0.5 * self.first(x) + 0.5 * self.second(x)

    def compute_output_shape(self, shape):
        return (*shape[:-1], 4)

    def parts(self):
        return {"first": self.first, "second": self.second}

    def alone(self, part):
        return []


def test_parts_of_a_mixture():
    inputs = keras.Input((4, 4, 3))
    model = keras.Model(inputs, layers.Flatten()(Either(name="either")(inputs)))
    edits = {part: ReplaceLayers.by_part("either", part) for part in ("first", "second")}
    table = alternatives(costs_of(model), ["either"], edits)
    assert [table[part].cost.macs for part in edits] == [16 * 9 * 12, 16 * 12]
    assert [table[part].cost.params for part in edits] == [9 * 12 + 4, 12 + 4]
    assert table["either"].cost.params == 10 * 12 + 8


def test_what_is_no_alternative_is_refused():
    costs = costs_of(network())
    stem = {"stem": RemoveLayers(("stem",))}
    for nodes, edits, error, message in (
        (["nowhere"], {}, KeyError, "names of nodes.*nowhere"),
        ([], {}, ValueError, "at least one"),
        (["image"], {}, ValueError, "compute something.*image"),
        (["stem"], stem, ValueError, "differ from the layer's own.*'stem'"),
        (["middle"], {"no": RemoveLayers(("stem",))}, ValueError, r"edit nodes of \['middle'\].*'no'.*\['stem'\]"),
        (["middle"], {"wide": ReplaceLayers.by(("middle",), layers.Conv2D(7, 1, 2))}, ValueError, "'wide'.*4, 4, 7"),
        (["middle"], {"big": ReplaceLayers.by(("middle",), layers.Conv2D(6, 1))}, ValueError, "'big'.*8, 8, 6"),
    ):
        with pytest.raises(error, match=message):
            alternatives(costs, nodes, edits)


def test_a_layer_that_is_called_elsewhere_is_refused():
    inputs, shared = keras.Input((4,)), layers.Dense(4, name="shared")
    costs = costs_of(keras.Model(inputs, shared(layers.ReLU(name="relu")(shared(inputs)))))
    with pytest.raises(ValueError, match=r"share no layer.*\['shared'\].*\['shared@2'\]"):
        alternatives(costs, ["shared"], {})
    assert alternatives(costs, ["shared", "relu", "shared@2"], {})["shared"].cost.params == 20


def test_a_part_reads_and_gives_what_it_does_in_its_place():
    inputs = keras.Input((6, 4))
    first, second = keras.ops.split(layers.Dense(8, name="before")(inputs), 2, axis=-1)
    added = layers.Add(name="sum")([first, second])
    model = keras.Model(inputs, [layers.ReLU(name="relu")(added), layers.Dense(3, name="other")(added)])
    graph = LayerGraph.from_keras(model)
    part = part_of(graph, ["sum", "relu"])
    assert [part.shape(ref) for ref in part.input_refs] == [(None, 6, 4)] * 2
    assert [ref.node for ref in part.output_refs] == ["sum", "relu"]
    assert list(part.nodes)[2:] == ["sum", "relu"]
    assert graph.nodes["sum"].inputs != part.nodes["sum"].inputs
