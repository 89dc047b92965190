"""`as_released`: the points in which the authors' code departs from the paper's text, each by hand."""

from unittest import mock

import keras
import numpy as np
import pytest
import small_tasks
from keras import layers

import tfcompress
from tfcompress.costs import cost
from tfcompress.methods import N2N
from tfcompress.methods.n2n import method as n2n_method
from tfcompress.methods.n2n import policies
from tfcompress.methods.n2n.constraints import numbers_read
from tfcompress.methods.n2n.reward import RELAXATIONS
from tfcompress.methods.n2n.rules import RELEASED, TEXT
from tfcompress.methods.n2n.scoring import Scoring
from tfcompress.methods.n2n.sequence import LayerSequence
from tfcompress.methods.n2n.space import Space
from tfcompress.methods.n2n.students import Students
from tfcompress.network import Network
from tfcompress.plan import KeepChannels, Plan, Trail
from tfcompress.training import Training


def network():
    """A block with a convolution on its shortcut, two poolings and two dense layers."""
    x = inputs = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(16, 3, padding="same", name="stem")(x)
    shortcut = layers.Conv2D(20, 1, name="shortcut")(x)
    y = layers.ReLU(name="relu")(layers.Conv2D(30, 3, padding="same", name="conv1")(x))
    y = layers.Conv2D(20, 3, padding="same", name="conv2")(y)
    x = layers.Add(name="sum")([y, shortcut])
    x = layers.AveragePooling2D(2, name="mean")(layers.MaxPooling2D(2, name="max")(x))
    x = layers.Dense(40, name="hidden")(layers.Flatten(name="flatten")(x))
    x = layers.Dropout(0.1, name="dropout")(x)
    return Network(keras.Model(inputs, layers.Dense(4, name="head")(x), name="net"))


def allowed(space):
    names, may = space.removable.sequence.nodes, space.removable.allowed
    return {name for name, flag in zip(names, may, strict=True) if flag}


def test_shortcuts_are_not_in_the_sequence_and_numbers_are_read_as_they_are():
    groups = network().groups
    text, released = LayerSequence.of(groups, TEXT), LayerSequence.of(groups, RELEASED)
    assert set(text.nodes) - set(released.nodes) == {"shortcut", "sum"}
    rows = dict(zip(released.nodes, released.read(RELEASED).tolist(), strict=True))
    assert rows["stem"] == [1, 3, 1, 1, 16, 0, 0]
    assert [rows[name][-2:] for name in ("conv1", "relu", "conv2")] == [[1, 2], [2, 1], [3, 0]]
    np.testing.assert_allclose(text.read(TEXT).mean(axis=0), 0, atol=1e-6)


def test_linear_pooling_and_strided_layers_stay():
    costs = network().costs
    assert allowed(Space.of(costs, TEXT)) == {"conv1", "relu", "max", "mean", "hidden", "dropout"}
    assert allowed(Space.of(costs, RELEASED)) == {"conv1", "relu", "dropout"}


def test_the_width_of_a_block_follows_its_last_layer_and_none_falls_below_10():
    spaces = {rules: Space.of(network().costs, rules).shrinkable for rules in (TEXT, RELEASED)}
    places = {rules: [v.node for v in space.variables if v.what == "outputs"] for rules, space in spaces.items()}
    assert places == {TEXT: ["conv1"], RELEASED: ["conv2"]}
    for rules, width in ((TEXT, 8), (RELEASED, 10)):  # 0.25 * 30 = 7.5
        shrinkable = spaces[rules]
        (variable,) = (v for v in shrinkable.variables if v.what == "outputs")
        assert (variable.size, variable.groups[0].producers) == (30, ("conv1",))
        plan = shrinkable.plan([0.25 if v is variable else 1.0 for v in shrinkable.variables])
        assert [len(edit.indices) for edit in plan.channels] == [width]


def test_epsilon_is_over_after_15_updates():
    released = RELAXATIONS[RELEASED.relaxation]
    assert [released(update, 100) for update in (0, 3, 9, 15, 40)] == pytest.approx([1, 0.8**4, 0.4**4, 0, 0])


def test_dense_layers_read_10_to_50_000_numbers():
    """hidden reads 2x2 places of 20 channels, head 40 units; nothing is trained."""
    costs = network().costs
    assert numbers_read(costs, Plan()) == {"hidden": 80, "head": 40}
    task = small_tasks.task_without_data(network().model)
    hidden = KeepChannels("hidden", tuple(range(9)))
    assert numbers_read(costs, Plan((hidden,))) == {"hidden": 80, "head": 9}
    plan = Plan((hidden,), "fresh")
    reasons = {}
    for rules in (TEXT, RELEASED):
        students = Students(Scoring(task, Training(epochs=1), False), rules.reads)
        score = students.degenerate(task.network, plan, Trail((plan,)))
        reasons[rules] = score and score.why
    assert reasons == {TEXT: None, RELEASED: "a feature map of 9 numbers before head, too small to train"}
    wide = small_tasks.task_without_data(network().model)
    students = Students(Scoring(wide, Training(epochs=1), False), (1, 79))
    assert students.degenerate(wide.network, plan, Trail((plan,))).why.startswith("a feature map of 80 numbers before")


class Stop(Exception):
    """Ends a search."""


def made_by(stage, **settings):
    """What a search makes its scoring, students, stages and first policy of: their arguments."""
    learner = "RemovalLearner" if stage == "removal" else "ShrinkageLearner"
    names = ("Scoring", "Students", "Stages")
    with (
        mock.patch.multiple(n2n_method, **dict.fromkeys(names, mock.DEFAULT)) as made,
        mock.patch.object(policies, learner, side_effect=Stop) as made_learner,
    ):
        model, data = small_tasks.trained_network(), small_tasks.pictures(40)
        with pytest.raises(Stop):
            tfcompress.compress(model, N2N(stage=stage, **settings), data, verbose=0)
    return [*(made[name].call_args for name in names), made_learner.call_args]


def test_settings_of_the_search():
    scoring, students, stages, policy = made_by("shrinkage", as_released=True)
    _, training, _, soft = scoring.args
    assert (training.batch_size, training.weight_decay, training.learning_rate) == (200, 5e-4, 5e-4)
    assert (soft, students.args[1]) == ("mean_logits", (10, 50_000))
    assert stages.args[3] == "relaxed"
    features, _, settings = policy.args
    assert features[0] == "type as it is"  # a policy that reads standardised numbers is another
    assert (settings.units, settings.learning_rate) == (30, 0.1)
    assert policy.kwargs["previous_action"] == "multiplied"
    assert policy.kwargs["shares"] == (0.25, *[0.5] * 5, 0.6, 0.7, 0.8, 0.9, 1.0)

    scoring, students, stages, policy = made_by("shrinkage", score_on="labels", batch_size=16)
    _, training, _, soft = scoring.args
    assert (training.batch_size, training.weight_decay, soft, students.args[1]) == (16, 0, None, (1, 50_000))
    assert stages.args[3] == "strict"
    assert (policy.args[2].units, policy.args[2].learning_rate) == (50, 0.01)
    assert policy.kwargs["previous_action"] == "appended"
    # What the user says holds in any case.
    *_, stages, policy = made_by("shrinkage", as_released=True, shrinkage_rate=0.02, constraint="strict")
    assert (stages.args[3], policy.args[2].learning_rate) == ("strict", 0.02)
    *_, policy = made_by("removal", as_released=True)
    assert (policy.args[2].units, policy.args[2].learning_rate) == (30, 0.003)


def test_a_search_as_released_on_labels():
    model = small_tasks.residual_network(inner=(14, 16), activation="softmax")
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    method = N2N(as_released=True, score_on="labels", updates=1, rollouts=2, score_epochs=1, epochs=1, batch_size=32)
    result = tfcompress.compress(model, method, small_tasks.pictures(48), params_budget=0.9, verbose=0)
    assert cost(result.model).params <= 0.9 * cost(model).params
    assert len(result.history["search"]["students: reward"]) == 4
    widths = [layer.filters for layer in result.model.layers if layer.name in ("block1_conv1", "block2_conv1")]
    assert all(width >= 10 for width in widths)
