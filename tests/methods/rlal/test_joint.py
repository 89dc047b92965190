"""The agent between the epochs of the weights (Algorithm 1), with scripted episodes."""

import math
import types

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tfcompress import Budget, Plan
from tfcompress.costs import CostModel
from tfcompress.graph import ChannelGroups, LayerGraph
from tfcompress.methods.episodes import Episode
from tfcompress.methods.rlal.joint import AgentEpochs, Timetable
from tfcompress.task import Task


def costs_of_two_layers():
    """Groups "one" (4 channels) and "two" (3): 2 * one + one * two + 5 * two MACs, 8 + 12 + 15 = 35 in all."""
    inputs = keras.Input((2,))
    x = layers.Dense(4, "relu", name="one")(inputs)
    x = layers.Dense(3, "relu", name="two")(x)
    return CostModel(ChannelGroups.of(LayerGraph.from_keras(keras.Model(inputs, layers.Dense(5, name="end")(x)))))


class ScriptedEpisodes:
    """Plays what `script[epoch]` says: `(widths, reward)` each; measures widths again as `again[epoch][widths]` says."""

    def __init__(self, script, again=None):
        self.script, self.again = {e: iter(played) for e, played in script.items()}, again or {}
        self.epoch, self.ranked, self.again_measured, self.first, self.risen = None, 0, [], 0, 0.0

    def rank(self):
        self.ranked += 1

    def play(self, act):
        kept, reward = next(self.script[self.epoch])
        states = np.full((2, 9), reward, "float32")
        wanted = [act(state) for state in states]
        # The environment bounds what the agent wants.
        assert wanted == [0.9, 0.9]
        return Episode(states, np.array([0.25, reward], "float32"), np.array(kept), reward)

    def reward(self, kept):
        self.again_measured.append((self.epoch, tuple(kept.tolist())))
        return self.again[self.epoch][tuple(kept.tolist())]

    def measured(self, plan):
        """A tenth of the channels that the plan keeps, more by `risen`."""
        return sum(len(edit.indices) for edit in plan) / 10 + self.risen

    def whole(self):
        return 0.9

    def plan(self, kept):
        """The channels from `first` on, which stands for a ranking that can change."""
        return Plan.keeping(
            {
                name: tuple(sorted((np.arange(n) + self.first) % size))
                for (name, size), n in zip((("one", 4), ("two", 3)), np.asarray(kept).tolist(), strict=True)
            }
        )


class RecordingAgent:
    def __init__(self, episodes):
        self.episodes, self.calls, self.remembered, self.learned_from = episodes, [], [], []

    def start_epoch(self, epoch):
        self.episodes.epoch = epoch
        self.calls.append(("start", epoch))

    def act(self, state):
        return 0.9

    def remember(self, states, actions, reward, epoch):
        self.calls.append(("remember", epoch))
        self.remembered.append((states, actions, reward, epoch))

    def learn_from(self, episodes):
        self.learned_from.append(episodes)
        self.calls.append(("learn", self.episodes.epoch))
        return {"critic_loss": 7.0}


class RecordingAlignment:
    def __init__(self):
        self.plans, self.followed = [], None

    def set_plan(self, plan):
        self.plans.append(plan)
        self.followed = plan

    def removed_norm(self):
        return 7.5


class AgentEpochsTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.costs = costs_of_two_layers()

    def joint(self, script, again=None, timetable=None, episodes_per_epoch=2, rescore_best=True):
        timetable = timetable or Timetable(1, 2, 3)
        self.episodes = ScriptedEpisodes(script, again)
        self.agent, self.alignment = RecordingAgent(self.episodes), RecordingAlignment()
        network = types.SimpleNamespace(model=None, costs=self.costs)
        task = Task(model=None, splits=None, objective=None, budget=Budget({"macs": 30}), networks=[network])
        return AgentEpochs(task, self.episodes, self.agent, self.alignment, timetable, episodes_per_epoch, rescore_best)

    def run_epochs(self, joint, epochs):
        """The logs of each epoch."""
        found = []
        for epoch in epochs:
            logs = {"loss": 1.0}
            joint.on_epoch_begin(epoch, {})
            joint.on_epoch_end(epoch, logs)
            found.append(logs)
        return found

    def test_costs(self):
        self.assertEqual(self.costs.total.macs, 35)
        self.assertEqual(int(self.costs.count("macs", [2, 1])), 2 * 2 + 2 * 1 + 5 * 1)

    def test_rewards_that_the_agent_cannot_learn_from_are_not_taken_for_a_bad_batch(self):
        joint = self.joint({1: [((2, 1), -1e24), ((3, 1), -2e24)]}, timetable=Timetable(1, 1, 2))
        self.agent.learn_from = lambda episodes: tf.debugging.check_numerics(np.inf, "Critic loss is inf or nan.")
        with self.assertRaisesRegex(ValueError, r"Received: rewards from -2e\+24 to -1e\+24, for which its losses"):
            self.run_epochs(joint, [1])

    def test_acts_and_learns_by_the_timetable(self):
        played = {1: [((2, 1), 0.5), ((3, 1), 0.4)], 2: [((1, 2), 0.3), ((2, 2), 0.6)]}
        joint = self.joint(played, {2: {(2, 1): 0.5}})
        logs = self.run_epochs(joint, range(5))
        one, two = [("start", 1), *2 * [("remember", 1)]], [("start", 2), *2 * [("remember", 2)], ("learn", 2)]
        self.assertEqual(self.agent.calls, one + two)
        self.assertEqual(self.episodes.ranked, 2)
        self.assertEqual(logs[0], {"loss": 1.0})
        # Of the plan that the weights follow: 2 + 1 and 2 + 2 channels, and the norm of what it removes.
        both = {"loss": 1, "removed_norm": 7.5}
        first, second = both | {"reward_followed": 0.3}, both | {"reward_followed": 0.4}
        self.assertAllClose(logs[1], first | {"reward": 0.45, "reward_max": 0.5, "reward_best": 0.5, "flops": 11 / 35})
        self.assertAllClose(
            logs[2],
            second | {"critic_loss": 7, "reward": 0.45, "reward_max": 0.6, "reward_best": 0.6, "flops": 18 / 35},
        )
        for later in logs[3:]:  # the agent has stopped; its best plan stays
            self.assertAllClose(later, second | {"reward_best": 0.6, "flops": 18 / 35})
        self.assertEqual(self.agent.learned_from, [2])

    def test_remembers_the_actions_that_were_carried_out_with_their_epoch(self):
        joint = self.joint({1: [((2, 1), 0.5), ((3, 1), 0.4)]})
        self.run_epochs(joint, [1])
        for (states, actions, reward, epoch), expected in zip(self.agent.remembered, (0.5, 0.4), strict=True):
            self.assertAllClose(states, np.full((2, 9), expected))
            self.assertAllClose(actions, [0.25, expected])  # and not the 0.9 that the agent wanted
            self.assertEqual((reward, epoch), (expected, 1))

    def test_the_best_plan_is_the_one_of_the_highest_reward_and_the_alignment_follows_it(self):
        played = {1: [((2, 1), 0.5), ((3, 1), 0.7), ((4, 1), 0.6)], 2: [((1, 1), 0.65)] * 3, 3: [((2, 3), 0.8)] * 3}
        again = {2: {(3, 1): 0.7}, 3: {(3, 1): 0.7}}
        joint = self.joint(played, again, Timetable(1, 2, 4), episodes_per_epoch=3)
        best = []
        for epoch in range(1, 4):
            self.run_epochs(joint, [epoch])
            best.append(joint.plan)
        expected = [self.episodes.plan(kept) for kept in ((3, 1), (3, 1), (2, 3))]
        self.assertEqual(best, expected)
        self.assertEqual(self.alignment.plans, expected)
        self.assertEqual(joint.reward, 0.8)

    def test_at_equal_rewards_the_first_stays(self):
        joint = self.joint({1: [((2, 1), 0.5), ((3, 1), 0.5)]})
        self.run_epochs(joint, [1])
        self.assertEqual(joint.plan, self.episodes.plan((2, 1)))

    def test_the_incumbent_is_measured_again_once_an_epoch(self):
        """Its 0.9 was earned with other weights: with those of epoch 2 it is worth 0.2, and 0.3 is better."""
        played = {1: [((2, 1), 0.9), ((3, 1), 0.8)], 2: [((1, 1), 0.3), ((1, 2), 0.1)]}
        joint = self.joint(played, {2: {(2, 1): 0.2}})
        logs = self.run_epochs(joint, range(5))
        self.assertEqual(self.episodes.again_measured, [(2, (2, 1))])
        self.assertEqual(joint.plan, self.episodes.plan((1, 1)))
        self.assertEqual([entry.get("reward_best") for entry in logs], [None, 0.9, 0.3, 0.3, 0.3])

    def test_an_incumbent_that_became_better_stays(self):
        played = {1: [((2, 1), 0.3), ((3, 1), 0.2)], 2: [((1, 1), 0.4), ((1, 2), 0.1)]}
        joint = self.joint(played, {2: {(2, 1): 0.5}})
        logs = self.run_epochs(joint, range(3))
        self.assertEqual(joint.plan, self.episodes.plan((2, 1)))
        self.assertEqual(logs[2]["reward_best"], 0.5)

    def test_to_the_letter_rewards_of_different_epochs_are_compared(self):
        played = {1: [((2, 1), 0.9), ((3, 1), 0.8)], 2: [((1, 1), 0.3), ((1, 2), 0.1)]}
        joint = self.joint(played, rescore_best=False)
        logs = self.run_epochs(joint, range(5))
        self.assertEqual(self.episodes.again_measured, [])
        self.assertEqual(joint.plan, self.episodes.plan((2, 1)))
        self.assertEqual(logs[-1]["reward_best"], 0.9)

    def test_the_incumbents_channels_follow_the_ranking(self):
        joint = self.joint({1: [((2, 1), 0.9)], 2: [((1, 1), 0.3)]}, {2: {(2, 1): 0.9}}, episodes_per_epoch=1)
        self.run_epochs(joint, [1])
        self.assertEqual(joint.plan, Plan.keeping({"one": (0, 1), "two": (0,)}))
        self.episodes.first = 1
        self.run_epochs(joint, [2])
        self.assertEqual(joint.plan, Plan.keeping({"one": (1, 2), "two": (1,)}))
        self.assertEqual(self.alignment.plans[-1], joint.plan)
        self.episodes.first = 2
        self.run_epochs(joint, [3])  # the agent has stopped: what the weights align with stays
        self.assertEqual(joint.plan, Plan.keeping({"one": (1, 2), "two": (1,)}))
        self.assertLen(self.alignment.plans, 2)

    def said(self, rises):
        """What is said of epochs after the agent's last, epoch 2, in which the followed plan's metric rises so."""
        played = {1: [((2, 1), 0.5), ((3, 1), 0.4)], 2: [((1, 2), 0.3), ((2, 2), 0.6)]}
        joint = self.joint(played, {2: {(2, 1): 0.5}})
        logs = []
        for epoch, risen in enumerate((0, -0.2, *rises)):
            self.episodes.risen = risen
            logs += self.run_epochs(joint, [epoch])
        return joint.says({"reward_followed": [entry.get("reward_followed") for entry in logs]})

    def test_it_is_said_whether_the_followed_plan_comes_nearer_to_the_whole_model(self):
        self.assertRegex(
            self.said([0.0, 0.1, 0.3]),
            r"the weights align: .* from 0\.4000 to 0\.7000 in 2 epochs; the whole model has 0\.9000\.$",
        )
        self.assertRegex(self.said([0.1, 0.0]), r"do not align: .* from 0\.5000 to 0\.4000 .* Raise alignment=\.$")
        self.assertIn("do not align", self.said([0.2, 0.2]))
        # As good as the whole model is as far as it can come.
        self.assertIn("the weights align", self.said([0.6, 0.5]))

    def test_without_epochs_of_alignment_that_is_said(self):
        self.assertIn("no epochs in which the weights align", self.said([0.0]))

    def test_candidates_are_the_best_others_without_repetition(self):
        rewards = {(1, 1): 0.1, (1, 2): 0.2, (1, 3): 0.3, (2, 1): 0.4, (2, 2): 0.5, (2, 3): 0.6, (3, 1): 0.7}
        played = {1: [*rewards.items(), ((2, 3), 0.6)]}
        joint = self.joint(played, episodes_per_epoch=8)
        self.run_epochs(joint, [1])
        found = joint.candidates()
        self.assertEqual(found[0].trail.last, joint.plan)
        self.assertEqual([candidate.score for candidate in found], sorted(rewards.values())[-len(found) :][::-1])
        self.assertGreaterEqual(len(found), 5)
        for candidate in found:
            kept = tuple(len(edit.indices) for edit in candidate.trail.last)
            self.assertEqual(rewards[kept], candidate.score)
            self.assertEqual(candidate.cost.macs, 2 * kept[0] + kept[0] * kept[1] + 5 * kept[1])

    def test_state_goes_into_a_checkpoint_and_back(self):
        played = {1: [((2, 1), 0.5), ((3, 1), 0.4)], 2: [((1, 2), 0.3), ((2, 2), 0.6)]}
        again = {2: {(2, 1): 0.45}}
        whole = self.joint(played, again)
        self.run_epochs(whole, [0, 1])
        state = whole.state_dict()
        for array in state.values():
            self.assertIsInstance(array, np.ndarray)
            self.assertNotEqual(array.dtype, object)
        rest = self.run_epochs(whole, [2, 3])
        resumed = self.joint(played, again)
        resumed.load_state_dict(state)
        self.assertEqual(self.alignment.plans, [self.episodes.plan((2, 1))])  # as the weights were aligned
        self.assertEqual(self.run_epochs(resumed, [2, 3]), rest)
        self.assertEqual(resumed.plan, whole.plan)
        self.assertEqual(resumed.candidates(), whole.candidates())
        for name, array in whole.state_dict().items():
            self.assertAllEqual(array, resumed.state_dict()[name])

    def test_a_plan_in_a_checkpoint_follows_the_names_of_layers(self):
        """They are called otherwise in the process that goes on, where Keras made their names."""
        joint = self.joint({1: [((2, 1), 0.5), ((3, 1), 0.4)]})
        self.run_epochs(joint, [0, 1])
        names = [edit.group for edit in joint.plan]
        joint._task.run.plan_to_json = lambda plan: plan.renamed(names, ["x", "y"]).to_json()
        joint._task.run.plan_from_json = lambda text: Plan.from_json(text).renamed(["x", "y"], ["p", "q"])
        joint.load_state_dict(joint.state_dict())
        self.assertEqual([edit.group for edit in joint.plan], ["p", "q"])
        self.assertEqual([edit.group for edit in self.alignment.plans[-1]], ["p", "q"])

    def test_state_before_the_first_episode(self):
        state = self.joint({}).state_dict()
        resumed = self.joint({1: [((2, 1), 0.0), ((3, 1), 0.0)]})
        resumed.load_state_dict(state)
        self.assertEqual(self.alignment.plans, [])
        self.assertEqual(resumed.reward, -math.inf)
        self.run_epochs(resumed, [1])  # a reward of 0 is better than none
        self.assertEqual(resumed.plan, self.episodes.plan((2, 1)))
