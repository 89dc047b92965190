import functools
import io
import json
import os
import random

import keras
import numpy as np
import tensorflow as tf

from tfcompress.agents import ReinforceSettings, RemovalLearner, Rollout, ShrinkageLearner

FEATURES = ("kind", "place")
SHARES = (0.25, 0.5, 0.75, 1.0)
LENGTHS = {RemovalLearner: 18, ShrinkageLearner: 12}
SEEDS = (0, 1, 2)


def make_learner(kind, seed=0, length=None, settings=None, **more):
    more = ({"shares": SHARES} if kind is ShrinkageLearner else {}) | more
    return kind(FEATURES, length or LENGTHS[kind], settings, seed=seed, **more)


@functools.cache
def learner_and_its_start(kind):
    learner = make_learner(kind)
    return learner, learner.state_dict()


def reset_learner(kind, seed=0):
    """A learner as good as new. Most tests share one of a kind: to compile it takes longer than all they do with it."""
    learner, start = learner_and_its_start(kind)
    learner.load_state_dict(make_learner(kind, seed).state_dict() if seed else start)
    return learner


def change(learner, **parts):
    """Puts other arrays in the place of a part of the state; a part is a list of arrays."""
    names = {name: sorted(key for key in learner.state_dict() if key.startswith(name + "/")) for name in parts}
    changed = {key: value for name in parts for key, value in zip(names[name], parts[name], strict=True)}
    learner.load_state_dict(learner.state_dict() | changed)


def part(learner, name):
    return [value for key, value in sorted(learner.state_dict().items()) if key.startswith(name + "/")]


def draw_large_weights(learner, seed=3):
    """Weights that make a policy that is far from uniform."""
    rng = np.random.default_rng(seed)
    change(learner, actor=[rng.normal(0, 0.4, value.shape) for value in part(learner, "actor")])


def random_sequence(steps, seed=0):
    return np.random.default_rng(seed).normal(size=[steps, 2])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(x, kernel, recurrent_kernel, bias):
    """The outputs `[steps, units]` of an LSTM by hand, for one sequence `[steps, inputs]`."""
    h = c = np.zeros(len(recurrent_kernel))
    outputs = []
    for step in x:
        i, f, g, o = np.split(step @ kernel + h @ recurrent_kernel + bias, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return np.array(outputs)


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def removal_log_probabilities(learner, sequence):
    """Log-probabilities `[steps, 2]` of keeping and removing, by hand."""
    weights, x = part(learner, "actor"), sequence
    for layer in range(2):
        forward, backward = (weights[start : start + 3] for start in (3 * layer, 6 + 3 * layer))
        x = np.concatenate([lstm(x, *forward), lstm(x[::-1], *backward)[::-1]], axis=1)
    return log_softmax(x @ weights[12] + weights[13])


def shrinkage_log_probabilities(learner, inputs):
    """Log-probabilities `[steps, shares]` by hand, of inputs in which the actions before are."""
    weights = part(learner, "actor")
    hidden = lstm(lstm(inputs, *weights[:3]), *weights[3:6])
    return log_softmax(hidden @ weights[6] + weights[7])


def rollout_with(learner, sequence, classes, allowed=None):
    classes = np.array(classes, "int32")
    allowed = np.ones(len(classes), bool) if allowed is None else np.array(allowed)
    return Rollout(sequence, allowed, classes, learner._actions(classes))


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


@functools.cache
def small_learners(kind):
    """Two compiled learners with one seed and a value network."""
    settings = ReinforceSettings(units=3, layers=1, learning_rate=0.1, actor_critic=True)
    pair = [make_learner(kind, seed=1, settings=settings, length=4) for _ in range(2)]
    return *pair, pair[0].state_dict()


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


class StateTest(tf.test.TestCase):
    def future(self, learner):
        """Three updates: actions drawn, losses, and the state after."""
        drawn = []
        for update in range(3):
            rollouts = learner.rollouts(random_sequence(4, seed=update), 3)
            drawn += [rollout.classes.tolist() for rollout in rollouts]
            drawn += sorted(learner.update(rollouts, [np.sum(rollout.classes) for rollout in rollouts]).items())
        return drawn, learner.state_dict()

    def assert_same(self, future, expected):
        self.assertEqual(future[0], expected[0])
        self.assertEqual(set(future[1]), set(expected[1]))
        for name, value in future[1].items():
            self.assertAllEqual(value, expected[1][name], msg=name)

    def test_one_seed_one_search_and_an_interrupted_one_continues(self):
        for kind in (RemovalLearner, ShrinkageLearner):
            with self.subTest(kind=kind.kind):
                first, second, start = small_learners(kind)
                first.load_state_dict(start)
                expected = self.future(first)
                self.assert_same(self.future(second), expected)
                # Interrupted here; a file, and a learner of another seed that has done something else since.
                file = io.BytesIO()
                np.savez(file, **first.state_dict())
                file.seek(0)
                second.load_state_dict(make_learner(kind, 2, 4, first.settings).state_dict())
                self.assertNotEqual(self.future(second)[0], expected[0])
                second.load_state_dict(dict(np.load(file, allow_pickle=False)))
                self.assertEqual((second.baseline, second.updates_made), (first.baseline, 3))
                self.assert_same(self.future(second), self.future(first))

    def test_rollouts_are_numbered(self):
        learner = reset_learner(RemovalLearner)
        sequence = random_sequence(16)
        together = [rollout.classes for rollout in learner.rollouts(sequence, 5)]
        learner = reset_learner(RemovalLearner)
        apart = [rollout.classes for count in (3, 2) for rollout in learner.rollouts(sequence, count)]
        self.assertAllEqual(together, apart)
        self.assertLen({tuple(classes) for classes in together}, 5)

    def test_a_state_is_a_copy_and_that_of_another_learner_is_refused(self):
        learner = reset_learner(ShrinkageLearner)
        state = learner.state_dict()
        before = {name: value.copy() for name, value in state.items()}
        learner.update(learner.rollouts(random_sequence(3), 2), [1, 0])
        for name in state:
            self.assertAllEqual(state[name], before[name])
        for broken, name in (
            (state | {"actor/00": np.zeros([1, 1])}, "actor/00"),
            ({key: value for key, value in state.items() if key != "counters"}, "counters"),
            (learner_and_its_start(RemovalLearner)[1], "actor/00"),
        ):
            with self.assertRaisesRegex(ValueError, f"shrinkage.*{name}.*Received"):
                learner.load_state_dict(broken)

    def test_no_global_random_state_is_read_or_changed(self):
        def draws(with_learners):
            keras.utils.set_random_seed(7)
            if with_learners:
                for kind in (RemovalLearner, ShrinkageLearner):
                    make_learner(kind, settings=ReinforceSettings(units=2, layers=1, actor_critic=True), length=3)
                    learner = reset_learner(kind)
                    learner.update(learner.rollouts(random_sequence(3), 2), [1, 0])
            uniform = (tf.random.uniform([]), keras.random.uniform([]))
            return [random.random(), np.random.random(), *(float(value) for value in uniform)]

        self.assertEqual(draws(with_learners=True), draws(with_learners=False))


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
