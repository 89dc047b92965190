"""What N2N's search costs beside the training of its students, and a student beside a copy of its teacher."""

import keras
import measuring
import numpy as np
import pytest

from tfcompress import data, zoo
from tfcompress.agents.reinforce import ReinforceSettings, RemovalLearner, ShrinkageLearner
from tfcompress.costs import Budget
from tfcompress.methods import phases
from tfcompress.methods.n2n.rules import TEXT
from tfcompress.methods.n2n.sequence import names_of_features
from tfcompress.methods.n2n.space import Space
from tfcompress.network import Network
from tfcompress.rewrite import apply
from tfcompress.task import Task
from tfcompress.training import Training, infer
from tfcompress.training.teaching import Teaching

ROLLOUTS, IMAGES, BATCH = 5, 5_000, 64
PAIRS = 15


def teacher():
    """ResNet-34 for images of 32x32."""
    return zoo.resnet34((32, 32, 3), 10)


def learner_of(stage, space):
    """A policy, and what draws its rollouts."""
    if stage == "removal":
        removable = space.removable
        rows = removable.sequence.read(TEXT)
        removal = RemovalLearner(names_of_features(TEXT), len(rows), ReinforceSettings(units=TEXT.units[0]))
        return removal, lambda: removal.rollouts(rows, ROLLOUTS, removable.allowed), removable.plan
    rows = space.shrinkable.numbers
    settings = ReinforceSettings(units=TEXT.units[1], learning_rate=TEXT.shrinkage_rate)
    shrinking = ShrinkageLearner(names_of_features(TEXT), len(rows), settings, shares=TEXT.shares)
    return shrinking, lambda: shrinking.rollouts(rows, ROLLOUTS), space.shrinkable.plan


class Steps:
    """Steps of training one student on its teacher's logits, as students are scored."""

    def __init__(self, network, plan):
        rng = np.random.default_rng(0)
        x, y = rng.random((2 * BATCH, 32, 32, 3), dtype="float32"), rng.integers(0, 10, 2 * BATCH)
        splits = data.splits((x, y), input_shape=network.model.input_shape, classes=10)
        task = Task(network.model, splits, infer(network.model, y), Budget())
        student = apply(network.model, plan, network.groups, seed=0)
        self._model = phases.taught(student, task, Teaching(alpha=0.0, soft="logits"))
        self._model.compile(Training(optimizer="adam").new_optimizer(5e-4))
        self._batch = x[:BATCH], y[:BATCH]
        self()  # is traced

    def __call__(self):
        self._model.train_on_batch(*self._batch)


@pytest.mark.parametrize("stage", ["removal", "shrinkage"])
def test_an_update(table, stage):
    """Five rollouts and an update against an epoch of 5,000 images of each of the five students, step by step."""
    network = Network(teacher())
    learner, draw, plan_of = learner_of(stage, Space.of(network.costs))
    plans = [plan_of(rollout.actions.tolist()) for rollout in draw()]
    steps = [Steps(network, plan) for plan in plans[:2]]  # all five would take as long again
    rng = np.random.default_rng(0)

    def update():
        learner.update(draw(), rng.random(ROLLOUTS))

    def train():
        for step in steps:
            step()

    pairs = measuring.interleaved(lambda: measuring.timed(update), lambda: measuring.timed(train), 3)
    factor = ROLLOUTS / len(steps) * -(-IMAGES // BATCH)
    pairs = [(ours, reference * factor) for ours, reference in pairs]
    note = (
        f"ResNet-34 at 32x32; {len(steps)} of the students, batches of {BATCH}, times {factor:.0f}; without building "
        "and tracing them"
    )
    table.add(measuring.ratio_row(f"{stage}: 5 rollouts and an update / an epoch of 5 students", pairs, 0.05, note))
    traces = max(learner.traces["sample"], learner.traces["update"])
    row = (f"{stage}: traces in {len(pairs) + 2} updates", str(traces), "1", f"{traces:.2f}", "-", 1.0, "")
    table.add(measuring.Row(*row))
    assert traces == 1


@pytest.mark.parametrize("stage", ["removal", "shrinkage"])
def test_a_student(table, stage):
    """From a plan to a built student against Keras' copy of the teacher."""
    network = Network(teacher())
    space, rng = Space.of(network.costs), np.random.default_rng(0)

    def built():
        if stage == "removal":
            plan = space.removable.plan((rng.random(len(space.removable.allowed)) < 0.5).tolist())
        else:
            plan = space.shrinkable.plan(rng.choice(TEXT.shares, len(space.shrinkable.variables)).tolist())
        return measuring.timed(lambda: apply(network.model, plan, network.groups, seed=0))

    def copied():
        return measuring.timed(lambda: keras.models.clone_model(network.model))

    note = "random plans; ResNet-34 at 32x32"
    pairs = measuring.interleaved(built, copied, PAIRS)
    table.add(measuring.ratio_row(f"{stage}: from a plan to a student / clone_model", pairs, 1.0, note))
