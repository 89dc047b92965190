"""The layers that N2N may remove and the variables that it may shrink, on networks small enough to say them by hand."""

import dataclasses
import gc
import weakref
from unittest import mock

import keras
import numpy as np
import pytest
import small_tasks
from drawn_students import branched, chain
from keras import layers

from tfcompress import zoo
from tfcompress.agents import ReinforceSettings, RemovalLearner
from tfcompress.costs import CostModel, cost
from tfcompress.graph.structure import groups_after
from tfcompress.methods.n2n import scoring
from tfcompress.methods.n2n.rules import RELEASED, TEXT, Rules
from tfcompress.methods.n2n.scoring import Scoring
from tfcompress.methods.n2n.sequence import FEATURES, LayerSequence, names_of_features
from tfcompress.methods.n2n.shapes import runs_after
from tfcompress.methods.n2n.space import Removable, Shrinkable, Space, structure_error
from tfcompress.methods.n2n.students import Students
from tfcompress.network import Network
from tfcompress.plan import KeepChannels, Plan, Reconfigure, RemoveLayers, Trail
from tfcompress.rewrite import apply
from tfcompress.training import Training


def test_a_layer_is_seven_numbers():
    sequence = LayerSequence.of(Network(chain()).groups)
    rows = dict(zip(sequence.nodes, sequence.numbers.tolist(), strict=True))
    by_name = {name: dict(zip(FEATURES, row, strict=True)) for name, row in rows.items()}
    assert by_name["strided"] == {
        "type": 1, "kernel": 3, "stride": 2, "padding": 1, "outputs": 6, "skip_start": 0, "skip_end": 0,
    }  # fmt: skip
    assert by_name["wide"]["kernel"] == 5
    assert by_name["wide"]["padding"] == 2
    assert by_name["relu"]["outputs"] == 6  # as wide as what it reads
    assert by_name["head"]["outputs"] == 3


def test_a_policy_reads_how_layers_differ():
    def row(kernel, outputs):
        return [1, kernel, 0, 0, outputs, 0, 0]

    sequence = LayerSequence(("a", "b", "c", "d"), np.array([row(3, 3), row(5, 15), row(3, 3), row(5, 15)], "float32"))
    numbers = sequence.read(TEXT)  # kernels 4 +- 1, logarithms of outputs 3 +- 1, and the rest does not differ
    np.testing.assert_allclose(numbers[:, FEATURES.index("kernel")], [-1, 1, -1, 1])
    np.testing.assert_allclose(numbers[:, FEATURES.index("outputs")], [-1, 1, -1, 1], atol=1e-6)
    assert not numbers[:, [FEATURES.index(name) for name in ("type", "stride", "padding", "skip_start")]].any()
    np.testing.assert_array_equal(sequence.read(RELEASED), sequence.numbers)


def test_skip_connections_are_told_by_their_start_and_end():
    sequence = LayerSequence.of(Network(small_tasks.residual_network()).groups)
    rows = dict(zip(sequence.nodes, sequence.numbers[:, -2:].tolist(), strict=True))
    # conv1, bn, relu, conv2, add: five layers of the first block.
    assert [rows[name] for name in ("block1_conv1", "bn1", "block1_conv2")] == [[1, 4], [2, 3], [4, 1]]
    assert rows["stem"] == [0, 0]


@pytest.mark.parametrize(
    ("build", "allowed"),
    [
        (chain, {"relu", "wide", "pool"}),  # the first, the strided and the last stay, and the head needs a vector
        (branched, {"a", "b", "depthwise"}),
        (small_tasks.residual_network, {"stem_bn", "bn1", "bn2", "block1_conv1", "block2_conv1", "relus", "pool"}),
    ],
)
def test_removable_layers(build, allowed):
    removable = Removable.of(Network(build()).groups)
    names = {name for name, may in zip(removable.sequence.nodes, removable.allowed, strict=True) if may}
    kinds = {"re_lu": "relus", "average_pooling2d": "pool"}
    assert {kinds.get(name.rstrip("_0123456789"), name) for name in names} == allowed


def test_shrinkable_variables():
    shrinkable = Shrinkable.of(Network(chain()).groups)
    assert [(v.node, v.what, v.size) for v in shrinkable.variables] == [
        ("first", "kernel_size", 3),
        ("first", "padding", 1),
        ("first", "outputs", 4),
        ("strided", "outputs", 6),
        ("wide", "kernel_size", 5),
        ("wide", "outputs", 8),  # without padding its map would be empty before the pooling
    ]
    plan = shrinkable.plan([0.3, 0.5, 0.5, 1.0, 0.4, 0.1])
    assert set(plan) == {
        Reconfigure("first", {"kernel_size": 1}),  # 0.9 rounds to 1
        KeepChannels(shrinkable.variables[2].groups[0].name, (0, 1)),
        Reconfigure("wide", {"kernel_size": 2}),
        KeepChannels(shrinkable.variables[5].groups[0].name, (0,)),  # 0.8 rounds to 1
    }
    assert plan.weights == "fresh"
    assert Reconfigure("first", {"padding": "valid"}) in set(shrinkable.plan([1, 0.4, 1, 1, 1, 1]))
    at_least_3 = dataclasses.replace(shrinkable, rules=Rules(widths_from=3))
    assert len(at_least_3.plan([0.01] * 6).channels[0].indices) == 3


def test_kernels_with_unequal_sides_and_shared_layers():
    x = inputs = keras.Input((8, 8, 2), name="image")
    x = layers.Conv2D(4, (1, 7), padding="same", name="first")(x)
    shared = layers.Conv2D(4, 3, padding="same", name="shared")
    x = layers.GlobalAveragePooling2D(name="mean")(shared(shared(x)))
    network = Network(keras.Model(inputs, layers.Dense(3, name="head")(x)))
    shrinkable = Space.of(network.costs).shrinkable
    kernels = [variable.node for variable in shrinkable.variables if variable.what == "kernel_size"]
    assert kernels == ["first", "shared"]  # a shared layer has one kernel
    plan = shrinkable.plan([0.5 if variable.what == "kernel_size" else 1.0 for variable in shrinkable.variables])
    assert set(plan) == {Reconfigure("first", {"kernel_size": (1, 4)}), Reconfigure("shared", {"kernel_size": 2})}
    assert check(network, plan)
    assert not Space.of(network.costs).removable.allowed.any()  # its calls go together, or none does


def test_a_network_is_looked_at_once_and_goes_with_what_is_known_of_it():
    network = Network(chain())
    assert Space.of(network.costs).removable is Space.of(network.costs).removable
    assert Space.of(network.costs, Rules(widths_from=2)) is not Space.of(network.costs)
    gone = weakref.ref(network.costs)
    del network
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("build", [chain, branched, small_tasks.residual_network, lambda: zoo.squeezenet((32, 32, 3))])
def test_shapes_say_what_trying_says(build):
    graph, answers = Network(build()).graph, []
    for node in graph.nodes.values():
        config = node.operation.get_config()
        edits = [] if node.is_input else [RemoveLayers((node.name,))]
        if "kernel_size" in config:
            edits.append(Reconfigure(node.name, {"padding": "valid"}))
            edits.append(Reconfigure(node.name, {"kernel_size": 2}))
        for edit in edits:
            answers.append(runs_after(graph, edit))
            assert answers[-1] in (None, structure_error(graph, [edit]) is None), edit
    assert answers.count(None) < len(answers) / 4
    assert {True, False} <= set(answers)


def check(network, plan):
    """A plan that fits builds, runs, and costs what was predicted; returns whether it fits."""
    if structure_error(network.graph, plan.structural) is not None:
        return False
    groups, _ = groups_after(network.groups, plan)
    student = apply(network.model, plan, network.groups)
    assert cost(student) == CostModel(groups).of(Plan(plan.channels))
    assert np.isfinite(student(np.ones((1, *network.model.input_shape[1:]), "float32"))).all()
    return True


@pytest.mark.parametrize("build", [chain, branched, small_tasks.residual_network, lambda: zoo.conv4((8, 8, 1))])
def test_the_smallest_plans_fit(build):
    network = Network(build())
    space = Space.of(network.costs)
    assert check(network, space.removable.smallest())
    assert check(network, space.removable.smallest(keeping_widths=True))
    assert check(network, space.shrinkable.uniform(0.1))


def test_plans_that_would_break_shapes_are_refused_before_anything_is_built():
    """Either of two 5x5 kernels may read its 6x6 map without a border, which leaves 2x2; not both."""
    x = inputs = keras.Input((6, 6, 1), name="image")
    for name in ("first", "second"):
        x = layers.Conv2D(4, 5, padding="same", name=name)(x)
    model = keras.Model(inputs, layers.Dense(3, name="head")(layers.Flatten(name="flatten")(x)))
    task = small_tasks.task_without_data(model)
    shrinkable = Space.of(task.costs).shrinkable
    paddings = [number for number, variable in enumerate(shrinkable.variables) if variable.what == "padding"]
    assert [shrinkable.variables[number].node for number in paddings] == ["first", "second"]
    students = Students(Scoring(task, Training(epochs=1), False), (1, 50_000))
    with mock.patch.object(scoring, "apply", side_effect=AssertionError("it was built")):
        for valid, fits in ((paddings[:1], True), (paddings[1:], True), (paddings, False)):
            shares = [0.25 if variable.what == "outputs" else 1.0 for variable in shrinkable.variables]
            for number in valid:
                shares[number] = 0.2
            plan = shrinkable.plan(shares)
            trail = Trail((plan,))
            if fits:
                with pytest.raises(AssertionError, match="it was built"):
                    students.score(task.network, plan, trail, strict=True)
                continue
            score = students.score(task.network, plan, trail, strict=True)
            assert score.why.startswith("shapes do not fit: ")
            assert score.reward(task.costs.total, 1.0) == -1
            assert students.score(task.network, plan, trail, strict=True) == score


def test_policies_of_a_teacher_of_20_layers_serve_one_of_34(tmp_path):
    sequences = [
        LayerSequence.of(Network(build()).groups) for build in (zoo.resnet20, lambda: zoo.resnet34((32, 32, 3), 10))
    ]
    lengths = [len(sequence.nodes) for sequence in sequences]
    assert lengths[0] < lengths[1]
    shallow, deep = (
        RemovalLearner(names_of_features(TEXT), length, ReinforceSettings(units=4), seed=seed)
        for seed, length in enumerate(lengths)
    )
    rows = [sequence.read(TEXT) for sequence in sequences]
    rollouts = shallow.rollouts(rows[0], 1)
    before = deep.log_probabilities(rollouts)
    shallow.save(str(tmp_path))
    deep.load(str(tmp_path))
    np.testing.assert_allclose(
        deep.log_probabilities(rollouts)[:, : lengths[0]], shallow.log_probabilities(rollouts), atol=1e-6
    )
    assert not np.allclose(before, deep.log_probabilities(rollouts))
    assert deep.rollouts(rows[1], 1)[0].actions.shape == (lengths[1],)
