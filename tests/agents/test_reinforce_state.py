"""One seed of REINFORCE is one search, which goes on from a state."""

import io
import random

import keras
import numpy as np
import tensorflow as tf
from learners import learner_and_its_start, make_learner, random_sequence, reset_learner, small_learners

from tfcompress.agents import ReinforceSettings, RemovalLearner, ShrinkageLearner


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


if __name__ == "__main__":
    tf.test.main()
