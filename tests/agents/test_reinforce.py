"""REINFORCE learns: its gradient, its baseline, what it finds on toys; and calls that it refuses."""

import numpy as np
import tensorflow as tf
from learners import (
    FEATURES,
    change,
    draw_large_weights,
    make_learner,
    part,
    random_sequence,
    reset_learner,
    rollout_with,
    small_learners,
)

from tfcompress.agents import RemovalLearner, ShrinkageLearner

SEEDS = (0, 1, 2)


class UpdateTest(tf.test.TestCase):
    def test_the_gradient_is_that_of_equation_2_and_reaches_every_weight(self):
        # b = 0.3 from earlier updates; rollouts of two sequences, one of them as long as any may be.
        rewards = np.array([1.0, -0.5, 0.2, 0.7])
        for kind in (RemovalLearner, ShrinkageLearner):
            learner = reset_learner(kind)
            draw_large_weights(learner)
            change(learner, baseline=[np.array(0.03), np.array(0.1)])
            flags = {"allowed": np.array([True, False, True, True, True])} if kind is RemovalLearner else {}
            rollouts = learner.rollouts(random_sequence(5), 2, **flags)
            rollouts += learner.rollouts(random_sequence(learner.length, seed=1), 2)
            start = learner.state_dict()
            weights = part(learner, "actor")

            def objective(learner=learner, rollouts=rollouts):
                scores = learner.log_probabilities(rollouts).astype("float64").sum(axis=1)
                return np.mean((rewards - 0.3) * scores)

            policy_loss = -objective()
            self.assertAllClose(learner.update(rollouts, rewards)["policy_loss"], policy_loss, rtol=1e-5)
            slots = part(learner, "optimizer")[1 : 1 + len(weights)]  # Adam's first moments: a tenth of the gradient
            for index, slot in enumerate(slots):
                with self.subTest(kind=kind.kind, weight=index):
                    gradient = -10.0 * slot
                    self.assertEqual(gradient.shape, weights[index].shape)
                    self.assertTrue(np.isfinite(gradient).all())
                    self.assertTrue((gradient != 0).all())
                    # Along its own direction the objective rises as steeply as the gradient is long.
                    length = np.linalg.norm(gradient)
                    ends = []
                    for sign in (-1, 1):
                        moved = weights[index] + sign * 0.01 * gradient / length
                        learner.load_state_dict(start | {f"actor/{index:02d}": moved})
                        ends.append(objective())
                    self.assertAllClose((ends[1] - ends[0]) / 0.02, length, rtol=0.02)

    def test_rewarded_actions_become_more_probable_and_punished_ones_less(self):
        for kind in (RemovalLearner, ShrinkageLearner):
            learner = reset_learner(kind)
            sequence = random_sequence(8)
            rollouts = [rollout_with(learner, sequence, classes) for classes in ([0] * 8, [1] * 8)]
            before = learner.log_probabilities(rollouts).sum(axis=1)
            # Each has its own reward, or nothing would move in the first case.
            for rewards, signs in (([1, -1], [1, -1]), ([-1, 1], [-1, 1]), ([0.01], [1]), ([-0.01], [-1])):
                with self.subTest(kind=kind.kind, rewards=rewards):
                    learner = reset_learner(kind)
                    count = len(rewards)
                    learner.update(rollouts[:count], rewards)
                    rises = learner.log_probabilities(rollouts).sum(axis=1)[:count] - before[:count]
                    self.assertTrue((rises * signs > 1e-3).all())

    def test_the_baseline_is_the_moving_average_of_earlier_rewards(self):
        learner = reset_learner(ShrinkageLearner)
        rollouts = learner.rollouts(random_sequence(3), 2)
        self.assertEqual(learner.baseline, 0)
        # Means 0.5, 0.1 and 1 with weights 0.95^2, 0.95 and 1, over the sum of the weights.
        averages = [0.5, (0.95 * 0.5 + 0.1) / 1.95, (0.9025 * 0.5 + 0.95 * 0.1 + 1) / 2.8525]
        subtracted = [0, *averages[:2]]
        for rewards, b, average in zip(([1, 0], [0, 0.2], [1.5, 0.5]), subtracted, averages, strict=True):
            scores = learner.log_probabilities(rollouts).sum(axis=1)
            losses = learner.update(rollouts, rewards)
            self.assertAllClose(losses["baseline"], b)
            self.assertAllClose(losses["policy_loss"], -np.mean((np.array(rewards) - b) * scores), rtol=1e-5)
            self.assertAllClose(learner.baseline, average)
        self.assertEqual(learner.updates_made, 3)

    def test_a_value_network_stands_in_the_baselines_place(self):
        for kind in (RemovalLearner, ShrinkageLearner):
            learner, _, start = small_learners(kind)
            learner.load_state_dict(start)
            # With one step, value_loss is 0.2 (R - V)^2, and V, near 0, is below R = 1.
            rollouts = [learner.rollouts(random_sequence(1), 1)[0]]
            score = learner.log_probabilities(rollouts).sum()
            losses = learner.update(rollouts, [1.0])
            error = np.sqrt(losses["value_loss"] / 0.2)
            self.assertBetween(error, 0.5, 1.5)
            self.assertAllClose(losses["policy_loss"], -error * score, rtol=1e-4)
            # The last weight of the value network is its bias: it learns from the squared error alone.
            weights = len(part(learner, "actor")) + len(part(learner, "value"))
            self.assertAllClose(10 * part(learner, "optimizer")[weights], [-0.2 * 2 * error], rtol=1e-4)
            rollouts = learner.rollouts(random_sequence(3), 2)
            learner.update(rollouts, [1.0, 1.0])
            before = part(learner, "value")
            values = [learner.update(rollouts, [1.0, 1.0])["value_loss"] for _ in range(30)]
            self.assertLess(values[-1], 0.5 * values[0])
            for old, new in zip(before, part(learner, "value"), strict=True):
                self.assertTrue((old != new).all())


def removal_toy():
    """Every second of 16 layers should go; the reward is the share of right decisions."""
    kinds = np.arange(16) % 2
    sequence = np.stack([6 * kinds - 3, np.arange(16) / 16], axis=1)
    return sequence, lambda classes: np.mean(classes == kinds)


def shrinkage_toy():
    """Layers of one kind should keep a half and all others everything; the reward is the share of right decisions."""
    kinds = np.arange(10) % 2
    sequence = np.stack([6 * kinds - 3, np.arange(10) / 10], axis=1)
    best = np.where(kinds == 1, 3, 1)
    return sequence, lambda classes: np.mean(classes == best)


class LearningTest(tf.test.TestCase):
    def test_finds_the_best_plan_within_200_updates_and_random_search_does_not(self):
        for kind, toy, choices in ((RemovalLearner, removal_toy, 2), (ShrinkageLearner, shrinkage_toy, 4)):
            for seed in SEEDS:
                with self.subTest(kind=kind.kind, seed=seed):
                    learner = reset_learner(kind, seed)
                    sequence, reward = toy()
                    rewards, updates = [0.0], 0
                    while max(rewards) < 1 and updates < 200:
                        rollouts = learner.rollouts(sequence)
                        rewards = [reward(rollout.classes) for rollout in rollouts]
                        learner.update(rollouts, rewards)
                        updates += 1
                    self.assertEqual(max(rewards), 1)
                    rng = np.random.default_rng(seed)
                    samples = rng.integers(0, choices, [1000, len(sequence)])
                    self.assertLess(max(reward(classes) for classes in samples), 1)
            self.assertEqual({learner.traces[name] for name in ("sample", "update")}, {1})

    def test_nothing_is_traced_twice(self):
        for kind in (RemovalLearner, ShrinkageLearner):
            learner = reset_learner(kind)
            for update in range(3):
                rollouts = learner.rollouts(random_sequence(4 + update), 2 + update)
                learner.log_probabilities(rollouts)
                learner.update(rollouts[update:], np.zeros(2))
                learner.likeliest(random_sequence(3))
            self.assertEqual(learner.traces, {"sample": 1, "scores": 1, "update": 1})


class BadInputTest(tf.test.TestCase):
    def test_making(self):
        for make, words in (
            (lambda: make_learner(ShrinkageLearner, shares=(0.5,)), r"two shares.*Received: shares=\(0.5,\)"),
            (lambda: make_learner(ShrinkageLearner, shares=(0.0, 1.0)), "above 0.*Received"),
            (lambda: make_learner(ShrinkageLearner, previous_action="added"), "Received: previous_action='added'"),
            (lambda: RemovalLearner((), 3), r"features=\(\)"),
            (lambda: RemovalLearner(FEATURES, 0), "length=0"),
        ):
            with self.assertRaisesRegex(ValueError, words):
                make()

    def test_calls(self):
        removal, shrinkage = reset_learner(RemovalLearner), reset_learner(ShrinkageLearner)
        sequence = random_sequence(3)
        rollouts = removal.rollouts(sequence, 2)
        nan = float("nan")
        for call, words in (
            (lambda: removal.rollouts(sequence, 0), "count=0"),
            (lambda: removal.rollouts(random_sequence(19)), r"\[18, 2\].*shape=\(19, 2\)"),
            (lambda: removal.rollouts(np.zeros([3, 5])), r"shape=\(3, 5\)"),
            (lambda: removal.rollouts(np.zeros([0, 2])), r"shape=\(0, 2\)"),
            (lambda: removal.rollouts(np.full([3, 2], nan)), "finite"),
            (lambda: removal.rollouts(sequence, 2, [True]), r"allowed of shape \(3,\).*shape=\(1,\)"),
            (lambda: removal.update([], []), "0 rollouts"),
            (lambda: removal.update(rollouts, [1.0]), "2 rollouts"),
            (lambda: removal.update(rollouts, [1.0, nan]), "nan"),
            (lambda: removal.update([rollout_with(removal, sequence, [0, 3, 1])], [1.0]), r"classes=\[0 3 1\]"),
            (lambda: shrinkage.update([rollout_with(shrinkage, sequence, [0, 1])], [1.0]), r"classes=\[0 1\]|shape"),
            (
                lambda: removal.update([rollout_with(removal, sequence, [0, 1, 1], [True, True, False])], [1.0]),
                r"no choice.*classes=\[0 1 1\]",
            ),
        ):
            with self.assertRaisesRegex(ValueError, f"(?s)Expected.*{words}"):
                call()


if __name__ == "__main__":
    tf.test.main()
