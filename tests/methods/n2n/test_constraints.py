"""Limits of a search: several at once, one of one's own, and what is refused before any pass over data."""

import dataclasses
from unittest import mock

import keras
import numpy as np
import pytest
import small_tasks
from keras import layers

import tfcompress
from tfcompress import workflow
from tfcompress.costs import Cost, Term, cost, register_metric, unregister_metric
from tfcompress.methods import N2N
from tfcompress.methods.n2n import stages
from tfcompress.methods.n2n.constraints import least, small_students
from tfcompress.methods.n2n.rules import TEXT
from tfcompress.methods.n2n.students import Scored
from tfcompress.network import Network
from tfcompress.plan import Plan, Trail
from tfcompress.rewrite import replay

SHORT = {"updates": 2, "rollouts": 2, "score_epochs": 1, "epochs": 1, "batch_size": 32}


def narrowing():
    """A layer that makes two channels of eight, before a dense layer.

    stem     4x4 positions, 1x1 kernel, 2 -> 8:     16 * 16 =   256 MACs,  16 parameters
    narrow   the same, 3x3, 8 -> 2:               16 * 144 = 2,304 MACs, 144 parameters
    head     32 numbers -> 3:                                    96 MACs,  96 parameters
    Without narrow the head reads 128 numbers: 256 + 384 = 640 MACs, 16 + 384 = 400 parameters.
    """
    x = inputs = keras.Input((4, 4, 2), name="image")
    x = layers.Conv2D(8, 1, use_bias=False, name="stem")(x)
    x = layers.Conv2D(2, 3, padding="same", use_bias=False, name="narrow")(x)
    x = layers.Flatten(name="flatten")(layers.ReLU(name="relu")(x))
    model = keras.Model(inputs, layers.Dense(3, use_bias=False, activation="softmax", name="head")(x), name="narrowing")
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def compress(model, stage, **limits):
    data = (np.zeros((16, *model.input_shape[1:]), "float32"), np.arange(16) % 3)
    return tfcompress.compress(model, N2N(**SHORT, stage=stage), data, verbose=0, **limits)


@pytest.fixture(name="no_data")
def a_workflow_without_data():
    with mock.patch.object(workflow, "given_splits", side_effect=AssertionError("the data was read")):
        yield


@pytest.fixture(name="depth")
def a_registered_measure():
    register_metric("depth", measure=lambda model: len(model.layers), unit="layers")
    yield
    unregister_metric("depth")


def test_the_least_of_each_metric_is_known_of_one_student_or_another():
    costs = Network(narrowing()).costs
    assert costs.total == Cost(2656, 256, 1024)
    students = small_students(costs, TEXT, removes=True, shrinks=False)
    assert [student.cost for student in students] == [Cost(640, 400, 1600), Cost(2656, 256, 1024)]
    assert least(students) == Cost(640, 256, 1024)
    # One output of stem and of narrow, and kernels of 1x1: 16 * 2 + 16 + 16 * 3 = 96 MACs, 2 + 1 + 48 parameters.
    assert small_students(costs, TEXT, removes=False, shrinks=True)[0].cost == Cost(96, 51, 204)


def test_limits_that_contradict_each_other_are_refused_together(no_data):
    with pytest.raises(
        ValueError,
        match=r"limits that one student can meet. Received: flops_budget=0.5 and params_budget=1.0. Of .*"
        r"least macs has 1,280 FLOPs and 400 parameters; the one with the least params has 5,312 FLOPs and 256",
    ):
        compress(narrowing(), "removal", flops_budget=0.5, params_budget=1.0)
    for limits in ({"flops_budget": 0.5}, {"params_budget": 1.0}):  # each alone can be held
        with pytest.raises(AssertionError, match="the data was read"):
            compress(narrowing(), "removal", **limits)


def test_a_measured_limit_is_held_against_the_smallest_student(no_data, depth):
    """Six layers, of which narrow and relu may go: four are left. The smallest of the others is two."""
    match = r"together: at most 3 layers. Received: budget\['depth'\]=0.5.*known students measure 4 layers; 5 layers"
    with pytest.raises(ValueError, match=match):
        compress(narrowing(), "removal", budget={"depth": 0.5})
    with pytest.raises(AssertionError, match="the data was read"):
        compress(narrowing(), "removal", budget={"depth": 0.7})
    with pytest.raises(
        ValueError, match=r"known students measure 5 layers. "
    ):  # the one with 4 has too many parameters
        compress(narrowing(), "removal", budget={"depth": 0.7}, params_budget=1.0)


def activations(node):
    (labels,) = node.outputs
    sizes = enumerate(node.node.output_shapes[0])
    return [Term(int(np.prod([size for axis, size in sizes if axis not in (0, labels.axis)])), (labels.ids,))]


def test_the_smallest_student_is_taken_where_no_scored_one_is_within():
    """It is degenerate and earns -1, and yet it is what the budget leaves."""
    model = narrowing()
    task = dataclasses.replace(small_tasks.task_without_data(model, {"params": 0.9}), accuracy=0.9)
    stage = stages.Stages(task, mock.Mock(model_of=lambda *args: model), 1, "strict", TEXT)
    trails = [Trail((Plan(weights="fresh"),)), Trail((Plan(weights="fresh"), Plan(weights="fresh")))]
    scored = [
        Scored(trails[0], "", Cost(2656, 250, 1000), accuracy=0.9, within=False),
        Scored(trails[1], "a feature map of 9 numbers before head, too small to train", Cost(96, 51, 204)),
    ]
    stage._best = [(name, score, task.network) for name, score in zip("ab", scored, strict=True)]
    assert stage.search().trail == trails[1]


@pytest.mark.slow
def test_several_limits_at_once_two_of_ones_own_relaxed_in_both_stages(depth):
    """The paper's `A x <= b`: what breaks one of four limits earns epsilon (R + 1) - 1, in the first stage too."""
    model = small_tasks.trained_network()
    limits = {"macs": 0.9, "params": 0.9, "activations": 0.65, "depth": len(model.layers) - 8}
    epsilons = {"relaxed": lambda update, updates: (1.0, 0.25)[update]}
    register_metric("activations", activations)
    try:
        with mock.patch.object(stages, "RELAXATIONS", epsilons):
            method = N2N(**SHORT, constraint="relaxed")
            result = tfcompress.compress(model, method, small_tasks.pictures(64), budget=limits, verbose=0)
        before, accuracy = cost(model), result.before.validation_accuracy
        history = {name.removeprefix("students: "): values for name, values in result.history["search"].items()}
        broken = set()
        for stage, update, trail, reached, reward in zip(
            *(history[name] for name in ("stage", "update", "trail", "accuracy", "reward")), strict=True
        ):
            if reached is None:
                continue
            student = replay(model, Trail.from_json(trail))
            numbers = {name: cost(student)[name] / before[name] for name in limits if name != "depth"}
            numbers["depth"] = len(student.layers)
            above = tuple(name for name, limit in limits.items() if numbers[name] > limit)
            compression = 1 - numbers["params"]
            value = compression * (2 - compression) * reached / accuracy
            assert reward == pytest.approx((1.0, 0.25)[update - 1] * (value + 1) - 1 if above else value)
            broken.add((stage, update, above))
        assert any(above == ("depth",) for _, _, above in broken)  # the limit that is measured, alone
        assert any("activations" in above and update == 2 for _, update, above in broken)
        assert any(stage == "removal" and above for stage, _, above in broken)
        assert any(not above for _, _, above in broken)
        after = cost(result.model)
        assert all(after[name] <= limits[name] * before[name] for name in limits if name != "depth")
        assert len(result.model.layers) <= limits["depth"]
    finally:
        unregister_metric("activations")
