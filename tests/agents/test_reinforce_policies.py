"""The policies of REINFORCE give the probabilities that NumPy works out, and serve other sequences from a file."""

import json
import os

import numpy as np
import tensorflow as tf
from learners import (
    SHARES,
    draw_large_weights,
    make_learner,
    part,
    random_sequence,
    removal_log_probabilities,
    reset_learner,
    rollout_with,
    shrinkage_log_probabilities,
)

from tfcompress.agents import ReinforceSettings, RemovalLearner, ShrinkageLearner


class PolicyTest(tf.test.TestCase):
    def test_a_removal_trajectory_has_the_probability_that_numpy_works_out(self):
        learner = reset_learner(RemovalLearner)
        draw_large_weights(learner)
        sequence, allowed = random_sequence(6), np.array([True, True, False, True, True, False])
        by_hand = removal_log_probabilities(learner, sequence)
        self.assertGreater(np.ptp(by_hand), 0.5)
        rollouts = learner.rollouts(sequence, 4, allowed)
        scores = learner.log_probabilities(rollouts)
        self.assertEqual(scores.shape, (4, 18))
        for rollout, score in zip(rollouts, scores, strict=True):
            self.assertAllEqual(rollout.actions, rollout.classes == 1)
            expected = np.where(allowed, by_hand[np.arange(6), rollout.classes], 0)
            self.assertAllClose(score[:6], expected, atol=1e-6)
            self.assertAllClose(score.sum(), expected.sum(), atol=1e-5)
            self.assertAllEqual(score[6:], np.zeros(12))  # padding: exactly 0
            self.assertAllEqual(score[[2, 5]], [0, 0])  # must stay: exactly 0
            self.assertFalse(rollout.actions[[2, 5]].any())

    def test_a_shrinkage_step_reads_the_action_before(self):
        sequence = random_sequence(6)
        small = ReinforceSettings(units=4, learning_rate=0.01)
        multiplying = make_learner(ShrinkageLearner, settings=small, length=8, previous_action="multiplied")
        for learner in (reset_learner(ShrinkageLearner), multiplying):
            draw_large_weights(learner)
            rollouts = learner.rollouts(sequence, 4)
            self.assertGreater(len({tuple(rollout.classes) for rollout in rollouts}), 1)
            for rollout, score in zip(rollouts, learner.log_probabilities(rollouts), strict=True):
                self.assertAllEqual(rollout.actions, np.array(SHARES, "float32")[rollout.classes])
                if learner is multiplying:
                    inputs = sequence * np.concatenate([[1], rollout.actions[:-1]])[:, None]
                else:
                    inputs = np.concatenate([sequence, np.concatenate([[0], rollout.actions[:-1]])[:, None]], axis=1)
                by_hand = shrinkage_log_probabilities(learner, inputs)
                self.assertAllClose(score[:6], by_hand[np.arange(6), rollout.classes], atol=1e-6)
                self.assertAllEqual(score[6:], np.zeros(learner.length - 6))

    def test_rollouts_come_as_often_as_their_probability_says(self):
        sequence = random_sequence(2)
        for kind, choices in ((RemovalLearner, 2), (ShrinkageLearner, 4)):
            with self.subTest(kind=kind.kind):
                learner = reset_learner(kind)
                draw_large_weights(learner)
                pairs = [(first, second) for first in range(choices) for second in range(choices)]
                scores = learner.log_probabilities([rollout_with(learner, sequence, pair) for pair in pairs])
                probabilities = np.exp(scores.sum(axis=1))
                self.assertAllClose(probabilities.sum(), 1)
                drawn = [tuple(rollout.classes) for rollout in learner.rollouts(sequence, 3000)]
                # The standard deviation of a share of 3000 is at most 0.0091.
                self.assertAllClose([drawn.count(pair) / 3000 for pair in pairs], probabilities, atol=0.03)

    def test_the_likeliest_rollout_draws_nothing(self):
        sequence, allowed = random_sequence(6), np.array([False] + [True] * 5)
        removal, shrinkage = reset_learner(RemovalLearner), reset_learner(ShrinkageLearner)
        for learner in (removal, shrinkage):
            draw_large_weights(learner)
        counters = shrinkage.state_dict()["counters"]
        by_hand = removal_log_probabilities(removal, sequence).argmax(axis=1)
        self.assertAllEqual(removal.likeliest(sequence, allowed).classes, np.where(allowed, by_hand, 0))
        rollout = shrinkage.likeliest(sequence)
        inputs = np.concatenate([sequence, np.concatenate([[0], rollout.actions[:-1]])[:, None]], axis=1)
        self.assertAllEqual(rollout.classes, shrinkage_log_probabilities(shrinkage, inputs).argmax(axis=1))
        self.assertAllEqual(shrinkage.state_dict()["counters"], counters)


class PolicyFilesTest(tf.test.TestCase):
    def test_a_policy_serves_sequences_of_another_length(self):
        for kind in (RemovalLearner, ShrinkageLearner):
            with self.subTest(kind=kind.kind):
                path = os.path.join(self.get_temp_dir(), kind.kind)
                settings = ReinforceSettings(units=4)
                small = make_learner(kind, seed=1, settings=settings, length=20)
                draw_large_weights(small)
                small.save(path)
                deep = make_learner(kind, seed=2, settings=settings, length=34)
                start = deep.state_dict()
                deep.load(path)
                for name, value in deep.state_dict().items():  # the weights, and nothing else
                    source = small.state_dict() if name.startswith("actor/") else start
                    self.assertAllEqual(value, source[name], msg=name)
                rollouts = deep.rollouts(random_sequence(34), 2)
                self.assertEqual(rollouts[0].actions.shape, (34,))
                rollouts = deep.rollouts(random_sequence(20), 2)
                scores = small.log_probabilities(rollouts)
                self.assertAllClose(deep.log_probabilities(rollouts)[:, :20], scores, atol=1e-6)

    def test_refuses_policies_of_another_kind_and_broken_ones(self):
        folder = self.get_temp_dir()
        removal, shrinkage = reset_learner(RemovalLearner), reset_learner(ShrinkageLearner)
        paths = {
            name: os.path.join(folder, name) for name in ("removal", "names", "units", "shares", "list", "weights")
        }
        removal.save(paths["removal"])
        small = ReinforceSettings(units=3, layers=1)
        make_learner(ShrinkageLearner, settings=small).save(paths["units"])
        default = ShrinkageLearner.defaults
        ShrinkageLearner(("kind", "width"), 12, default, shares=SHARES).save(paths["names"])
        make_learner(ShrinkageLearner, shares=(0.5, 1.0)).save(paths["shares"])
        os.makedirs(paths["list"])
        with open(os.path.join(paths["list"], "policy.json"), "w") as file:
            json.dump([], file)
        shrinkage.save(paths["weights"])
        os.remove(os.path.join(paths["weights"], "weights.index"))
        before = shrinkage.state_dict()
        for path, words in {
            paths["removal"]: "kind='shrinkage'.*Received: kind='removal'",
            paths["names"]: r"features=\['kind', 'place'\].*Received: features=\['kind', 'width'\]",
            paths["units"]: "units=50.*Received: units=3",
            paths["shares"]: r"shares=\[0.25.*Received: shares=\[0.5, 1.0\]",
            paths["list"]: "saved shrinkage policy.*Received: .*list",
            paths["weights"]: "readable weights.*Save the policy again",
            os.path.join(folder, "nothing"): "saved shrinkage policy.*Received: .*nothing",
        }.items():
            with self.subTest(path=path), self.assertRaisesRegex(ValueError, f"(?s)Expected.*{words}"):
                shrinkage.load(path)
        for name, value in shrinkage.state_dict().items():
            self.assertAllEqual(value, before[name])

    def test_saving_again_replaces_a_policy(self):
        path = os.path.join(self.get_temp_dir(), "twice")
        learner = reset_learner(ShrinkageLearner)
        learner.save(path)
        draw_large_weights(learner)
        learner.save(path)
        weights = part(learner, "actor")
        learner = reset_learner(ShrinkageLearner)
        learner.load(path)
        for value, weight in zip(part(learner, "actor"), weights, strict=True):
            self.assertAllEqual(value, weight)
        files = {"policy.json", "weights.data-00000-of-00001", "weights.index"}
        self.assertEqual(set(os.listdir(path)), files)


if __name__ == "__main__":
    tf.test.main()
