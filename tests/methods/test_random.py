"""Random search: its best try really is the best, and every try is within the budget."""

from unittest import mock

import numpy as np
import small_tasks
import tensorflow as tf

from tfcompress.importance import l1_norm
from tfcompress.methods import RLAL, Random
from tfcompress.methods.episodes import Episodes
from tfcompress.rewrite import apply


class RandomTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = small_tasks.residual_network()
        x, _y = cls.arrays = small_tasks.pictures(400)
        # Answers of the random network differ, and so do rewards.
        cls.model.get_layer("head").bias.assign_sub(np.mean(cls.model(x, training=False), axis=0))
        cls.task, cls.found, cls.played = cls.search(seed=0)

    @classmethod
    def search(cls, seed, tries=12, **settings):
        """The task, what was found, and all episodes that were played."""
        task = small_tasks.task_for(cls.model, cls.arrays, seed=seed, flops=0.6)
        played, play = [], Episodes.play

        def recorded(episodes, act):
            played.append(play(episodes, act))
            return played[-1]

        with mock.patch.object(Episodes, "play", recorded):
            method = Random(epochs=0, tries=tries, recalibrate_batches=0, criterion="l1_norm", **settings)
            return task, method.search(task), played

    def test_as_many_tries_as_asked_for_all_within_the_budget(self):
        self.assertLen(self.played, 12)
        for episode in self.played:
            self.assertTrue(self.task.fits(self.task.costs.of_kept(episode.kept)))
        self.assertGreater(len({tuple(episode.kept.tolist()) for episode in self.played}), 3)
        self.assertEqual(self.found.history["reward"], [episode.reward for episode in self.played])

    def test_the_best_of_them_by_cutting_the_network_for_each(self):
        x, y = self.task.splits.validation.take(10**6)
        episodes = Episodes(self.task, l1_norm, None)
        accuracies = []
        for episode in self.played:
            cut = apply(self.task.model, episodes.plan(episode.kept))
            accuracies.append(np.mean(np.argmax(cut(x, training=False), axis=-1) == y))
        self.assertAllClose([episode.reward for episode in self.played], accuracies, rtol=1e-6)
        best = int(np.argmax(accuracies))
        self.assertGreater(accuracies[best], min(accuracies))
        self.assertEqual(self.found.plan, episodes.plan(self.played[best].kept))
        (candidate,) = self.found.candidates
        self.assertAllClose(candidate.score, accuracies[best])
        self.assertEqual(candidate.cost, self.task.costs.of(self.found.plan))

    def test_a_seed_gives_the_same_tries_and_another_one_others(self):
        _, _again, played = self.search(seed=0, tries=4)
        rates = [episode.actions.tolist() for episode in self.played[:4]]
        self.assertEqual([episode.actions.tolist() for episode in played], rates)
        _, _, others = self.search(seed=1, tries=4)
        self.assertNotEqual([episode.actions.tolist() for episode in others], rates)

    def test_no_global_random_state_is_read_or_changed(self):
        np.random.seed(3)
        expected = np.random.get_state()[1].copy()
        _, _, played = self.search(seed=0, tries=2)
        self.assertAllEqual(np.random.get_state()[1], expected)
        self.assertEqual(played[0].actions.tolist(), self.played[0].actions.tolist())

    def test_the_model_that_is_searched_is_not_changed(self):
        for old, new in zip(self.model.weights, self.found.source.weights, strict=True):
            self.assertAllEqual(old, new)

    def test_as_many_tries_as_rlal_measures_plans_of_a_trained_model(self):
        task = small_tasks.task_for(self.model, self.arrays, flops=0.6)
        rlal = RLAL(epochs=9, joint=False).for_data(task)
        self.assertEqual(Random(epochs=9).for_data(task).tries, rlal.episodes + rlal.local_search)

    def test_settings_refused(self):
        for name, value in (("tries", 0), ("tries", 1.5), ("reward_images", 0), ("criterion", "best"), ("epochs", -1)):
            with self.assertRaisesRegex(ValueError, f"Expected `{name}`.*Received: {name}={value!r}"):
                Random(**{name: value})
