"""RLAL of a model that comes trained: which of the two ways it goes, and the search on weights as they are."""

from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import small_tasks

from tfcompress.importance import l1_norm
from tfcompress.methods import RLAL
from tfcompress.methods.episodes import Episode, Episodes
from tfcompress.methods.rlal import AgentSettings
from tfcompress.methods.rlal import method as method_module
from tfcompress.methods.rlal.player import SacPlayer

FRESH, TRAINED = SimpleNamespace(is_trained=False), SimpleNamespace(is_trained=True, accuracy=0.9)
AGENT = AgentSettings(hidden=(8,), batch_size=8, updates_per_epoch=1)


def task_for(accuracy=0.9):
    return small_tasks.task_for(small_tasks.trained_network(), accuracy=accuracy, flops=0.6)


@pytest.mark.parametrize(
    ("joint", "of_fresh", "of_trained"), [(None, True, False), (True, True, True), (False, False, False)]
)
def test_weights_train_beside_the_agent_where_the_model_is_fresh_or_it_is_asked_for(joint, of_fresh, of_trained):
    method = RLAL(joint=joint)
    assert (method.is_joint(FRESH), method.is_joint(TRAINED)) == (of_fresh, of_trained)


@pytest.mark.parametrize(
    ("settings", "of_fresh", "of_trained"),
    [
        ({"epochs": 8}, 8, 8),
        ({"epochs": 8, "finetune_epochs": 3}, 3, 11),  # 8 and 3 either way
        ({"epochs": 8, "finetune_epochs": 0}, 0, 8),
        ({"epochs": 8, "finetune_epochs": 3, "joint": True}, 3, 3),
        ({"epochs": 2, "joint": False}, 2, 2),
    ],
)
def test_epochs_of_finetuning(settings, of_fresh, of_trained):
    method = RLAL(**settings)
    assert (method.epochs_of_finetuning(FRESH), method.epochs_of_finetuning(TRAINED)) == (of_fresh, of_trained)


def test_phases_are_those_of_the_way_that_is_gone():
    method = RLAL(epochs=8, finetune_epochs=2, episodes=25)
    fresh, trained = ([(p.name, p.epochs) for p in method.phases(task_for(a))] for a in (None, 0.9))
    assert fresh == [("joint training", 8), ("fine-tuning", 2)]
    assert trained == [("search", 3), ("fine-tuning", 10)]  # rounds of ten episodes


def test_beta_follows_the_length_of_the_run():
    task = task_for(accuracy=None)
    steps = task.splits.train.num_batches(16)
    kept = {"epochs": 4, "batch_size": 16, "schedule": "step", "milestones": (), "learning_rate": 0.1}
    expected = 1e-4 * 3713.6 / (0.4 * steps)
    assert RLAL(**kept).beta(task) == pytest.approx(expected, rel=1e-6)
    assert RLAL(**kept, alignment=2e-4).beta(task) == pytest.approx(2 * expected, rel=1e-6)
    assert RLAL(**kept, scale_alignment=False).beta(task) == 1e-4
    unknown = SimpleNamespace(
        is_trained=False, splits=SimpleNamespace(train=SimpleNamespace(num_batches=lambda size: None))
    )
    assert RLAL(**kept).beta(unknown) == 1e-4


@pytest.fixture(name="searched", scope="module")
def a_search_on_fixed_weights():
    task = task_for()
    before = [np.array(weight) for weight in task.model.weights]
    method = RLAL(episodes=12, local_search=6, epochs=0, joint=False, criterion="l1_norm", agent=AGENT)
    return task, before, method.search(task)


def test_weights_stay_as_they_are(searched):
    task, before, found = searched
    assert found.source is task.model
    for old, weight in zip(before, task.model.weights, strict=True):
        np.testing.assert_array_equal(old, weight)


def test_what_the_search_gives(searched):
    task, _, found = searched
    history = found.history
    assert len(history["reward"]) == 12 and 0 < len(history["local_search"]) <= 6
    best = found.candidates[0]
    assert best.score == max(history["reward"] + history["local_search"])
    assert found.plan == best.trail.last
    scores = [candidate.score for candidate in found.candidates]
    assert scores == sorted(scores, reverse=True)
    for candidate in found.candidates:
        assert task.fits(candidate.cost)
        assert candidate.cost == task.costs.of(candidate.trail.last)
    # A tenth of the episodes fills the buffer: one of 12.
    assert [loss is None for loss in history["critic_loss"]] == [True] + [False] * 11


def test_the_score_is_the_metric_of_the_plan_with_statistics_of_its_own(searched):
    task, _, found = searched
    episodes = Episodes(task, l1_norm, 1000, recalibrate_batches=1)
    assert episodes.measured(found.plan) == pytest.approx(found.candidates[0].score, abs=1e-6)


def test_it_says_which_way_it_goes_and_why(searched):
    _, _, found = searched
    assert found.notes[0].startswith("RLAL: the model is trained (validation metric 0.9000)")
    assert "searches with its weights fixed" in found.notes[0]
    assert "of 12 episodes" in found.notes[1]


def test_a_fresh_model_says_that_it_was_asked_to_stay():
    task = task_for(accuracy=None)
    found = RLAL(episodes=2, local_search=0, epochs=0, joint=False, agent=AGENT).search(task)
    assert found.notes[0].startswith("RLAL: joint=False: the agent searches")
    assert found.history["local_search"] == []


def test_what_a_local_search_finds_comes_first():
    task = task_for()

    def better(task, episodes, kept, reward, tries, rng):
        assert tries == 7
        widths = kept.copy()
        widths[list(task.groups.groups).index("block1_conv1")] = 1
        return widths, [reward - 0.5, 2.0]

    with mock.patch.object(method_module, "local_search", better):
        found = RLAL(episodes=2, local_search=7, epochs=0, joint=False, agent=AGENT).search(task)
    assert (found.candidates[0].score, found.candidates[0].origin) == (2.0, "local search")
    assert {edit.group: len(edit.indices) for edit in found.plan}["block1_conv1"] == 1
    assert len(found.candidates) > 1
    assert "2.0000 after 2 moves of channels" in found.notes[1]


class RecordingAgent:
    def __init__(self):
        self.calls = []

    def start_epoch(self, epoch):
        self.calls.append(("start", epoch))

    def act(self, state):
        return 0.5

    def remember(self, states, actions, reward, epoch):
        self.calls.append(("remember", reward, epoch))

    def learn_from(self, episodes):
        self.calls.append(("learn", episodes))
        return {"critic_loss": 1.0, "actor_loss": 2.0}

    def state_dict(self):
        return {"z": np.zeros(0)}

    def load_state_dict(self, state):
        self.calls.append(("load", sorted(state)))


def test_the_agent_fills_its_buffer_and_then_learns_after_each_episode():
    agent = RecordingAgent()
    player = SacPlayer(agent, filling=2)
    episode = Episode(np.zeros((3, 9), "float32"), np.full(3, 0.5, "float32"), np.ones(3, int), 0.7)
    losses = [player.take(episode, reward) for reward in (0.7, 0.6, 0.5)]
    assert losses == [{}, {}, {"critic_loss": 1.0, "actor_loss": 2.0}]
    remembered = [("remember", reward, 0) for reward in (0.7, 0.6, 0.5)]
    assert agent.calls == [("start", 0), *remembered, ("learn", 1)]
    assert player.episodes == 3
    resumed = SacPlayer(agent, filling=2)
    resumed.load_state_dict(player.state_dict())
    assert resumed.episodes == 3 and agent.calls[-1] == ("load", ["z"])
