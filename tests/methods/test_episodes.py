"""Episodes: plans of the most important channels, and rewards that are those of the network really cut."""

import types
import unittest.mock

import keras
import numpy as np
import pytest
import small_tasks
import tensorflow as tf

from tfcompress.importance import Evidence, l1_norm
from tfcompress.methods import RLAL, Random
from tfcompress.methods.episodes import Episodes
from tfcompress.rewrite import apply


def accuracy(model, x, y):
    return float(np.mean(np.argmax(model(x, training=False), axis=-1) == y))


class EpisodesTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        model = small_tasks.residual_network()
        rng = np.random.default_rng(5)
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):  # so that statistics matter
                layer.set_weights([rng.uniform(0.5, 2, w.shape) for w in layer.get_weights()])
        x, y = small_tasks.pictures(400)
        bias = model.get_layer("head").bias
        bias.assign_sub(np.mean(model(x, training=False), axis=0))  # or else all answers are the same
        cls.task = small_tasks.task_for(model, (x, y), flops=0.6)
        cls.x, cls.y = cls.task.splits.validation.take(40)
        cls.episodes = Episodes(cls.task, l1_norm, None)
        cls.names = list(cls.task.groups.groups)

    def kept(self, **widths):
        return np.array([widths.get(name, group.size) for name, group in self.task.groups.groups.items()])

    def test_an_episode(self):
        seen = []

        def act(state):
            seen.append(state)
            return 0.7

        episode = self.episodes.play(act)
        self.assertEqual((episode.states.shape, episode.states.dtype), ((2, 9), np.float32))
        self.assertAllEqual(episode.states, seen)
        inner = [self.names.index(name) for name in ("block1_conv1", "block2_conv1")]
        self.assertAllClose(episode.actions, 1 - episode.kept[inner] / np.array([5, 7]))
        self.assertTrue(self.task.fits(self.task.costs.of_kept(episode.kept)))
        self.assertEqual(episode.reward, self.episodes.reward(episode.kept))

    def test_the_reward_is_the_accuracy_of_the_network_really_cut(self):
        self.assertLen(self.x, 40)
        rewards = []
        for widths in ((5, 7), (2, 3), (1, 1), (4, 2), (5, 1)):
            kept = self.kept(block1_conv1=widths[0], block2_conv1=widths[1])
            cut = apply(self.task.model, self.episodes.plan(kept))
            rewards.append(self.episodes.reward(kept))
            self.assertAllClose(rewards[-1], accuracy(cut, self.x, self.y), rtol=1e-6)
        self.assertGreater(len(set(rewards)), 1)
        self.assertEqual(self.episodes.traces, 1)

    def test_a_reward_that_is_no_number(self):
        words = "accuracy to be a finite number .* Received: nan with"
        broken = unittest.mock.patch.object(self.episodes, "_reward", lambda plan: float("nan"))
        with broken, self.assertRaisesRegex(ValueError, words):
            self.episodes.play(lambda state: 0.7)

    def test_the_plan_keeps_the_channels_that_rank_highest(self):
        plan = self.episodes.plan(self.kept(block1_conv1=2))
        (edit,) = plan  # whole groups are not spoken of
        self.assertEqual(edit.group, "block1_conv1")
        norms = np.abs(self.task.model.get_layer("block1_conv1").kernel.numpy()).sum(axis=(0, 1, 2))
        self.assertEqual(edit.indices, tuple(sorted(np.argsort(-norms)[:2].tolist())))

    def test_ranks_follow_the_weights_when_asked_to(self):
        task = small_tasks.task_for(small_tasks.residual_network(), flops=0.6)
        episodes = Episodes(task, l1_norm, None)
        episodes.rank()
        kernel = task.model.get_layer("block1_conv1").kernel
        one = np.array([name == "block1_conv1" for name in task.groups.groups])
        for strongest in (3, 1):
            kernel.assign(kernel.numpy() * np.where(np.arange(5) == strongest, 1000.0, 0.001))
            episodes.rank()
            (edit,) = episodes.plan(np.where(one, 1, task.costs.sizes))
            self.assertEqual(edit.indices, (strongest,))
            kernel.assign(np.ones(kernel.shape))

    def test_a_part_of_the_images(self):
        """Rewards on 8 images come in eighths; on all 40 in fortieths."""
        episodes = Episodes(self.task, l1_norm, 8)
        cut = apply(self.task.model, self.episodes.plan(self.kept(block1_conv1=2, block2_conv1=3)))
        reward = episodes.reward(self.kept(block1_conv1=2, block2_conv1=3))
        self.assertAllClose(reward, accuracy(cut, self.x[:8], self.y[:8]), rtol=1e-6)
        self.assertLen(self.task.splits.validation.take(10**9)[0], 40)

    def test_recalibrated_batch_normalization(self):
        """As if the cut network had seen the batch in training with momentum 0."""
        calibration = self.task.splits.calibration.take(128)[0]
        before = [weight.numpy() for weight in self.task.model.weights]
        recalibrating = Episodes(self.task, l1_norm, None, recalibrate_batches=1)
        plain, found = [], []
        for widths in ((5, 7), (4, 2), (3, 6)):
            kept = self.kept(block1_conv1=widths[0], block2_conv1=widths[1])
            cut = apply(self.task.model, self.episodes.plan(kept))
            plain.append(accuracy(cut, self.x, self.y))
            for layer in cut.layers:
                if isinstance(layer, keras.layers.BatchNormalization):
                    layer.momentum = 0.0
            cut(calibration, training=True)
            found.append(recalibrating.reward(kept))
            self.assertAllClose(found[-1], accuracy(cut, self.x, self.y), rtol=1e-6)
        self.assertNotEqual(found, plain)
        for old, weight in zip(before, self.task.model.weights, strict=True):
            self.assertAllEqual(old, weight)

    def test_a_criterion_of_the_users(self):
        def last_first(group, evidence):
            self.assertIsInstance(evidence, Evidence)
            return np.arange(group.size)

        episodes = Episodes(self.task, last_first, 8)
        (edit,) = episodes.plan(self.kept(block2_conv1=3))
        self.assertEqual(edit.indices, (4, 5, 6))

    def test_a_criterion_that_does_not_work_is_refused_before_anything_is_trained(self):
        for bad in (lambda group, evidence: np.full(group.size, np.nan), lambda group, evidence: np.ones(3)):
            with self.assertRaisesRegex(ValueError, "Expected the criterion.*Received"):
                Episodes(self.task, bad, 8)

    def test_a_budget_that_blocks_cannot_reach_is_refused(self):
        task = small_tasks.task_for(small_tasks.residual_network(), flops=0.1)
        with self.assertRaisesRegex(ValueError, "at least 0[.].*pruning inside blocks can reach"):
            Episodes(task, l1_norm, 8)


def short_task(train=4500, validation=500):
    splits = types.SimpleNamespace(
        train=types.SimpleNamespace(num_samples=train), validation=types.SimpleNamespace(num_samples=validation)
    )
    return types.SimpleNamespace(splits=splits, is_trained=True)


@pytest.mark.parametrize(
    ("method", "plans"),
    [
        (Random(epochs=10, reward_images=500), 71),  # 45,000 images of fine-tuning, 500 and a batch of 128 of a plan
        (Random(epochs=10), 71),  # there are no more than 500 validation images
        (Random(epochs=20, reward_images=100, recalibrate_batches=0), 200),  # 900 would be as many images
        (Random(epochs=1), 20),
        (Random(epochs=0), 200),
        (Random(epochs=10, tries=300), 300),
    ],
)
def test_the_number_of_plans_follows_the_length_of_the_recovery(method, plans):
    assert method.for_data(short_task()).tries == plans
    if method.tries is None:
        settings = {name: getattr(method, name) for name in ("epochs", "reward_images", "recalibrate_batches")}
        rlal = RLAL(**settings, joint=False).for_data(short_task())
        assert (rlal.episodes + rlal.local_search, rlal.local_search) == (plans, plans // 4)


def test_the_number_of_plans_where_the_length_of_the_data_is_not_known():
    assert Random(epochs=1).for_data(short_task(train=None)).tries == 200


def test_what_was_given_stays():
    rlal = RLAL(epochs=10, episodes=90).for_data(short_task())
    assert (rlal.episodes, rlal.local_search) == (90, 17)
    assert RLAL(epochs=10, local_search=0).for_data(short_task()).local_search == 0
    assert RLAL(joint=True).for_data(short_task()) == RLAL(joint=True)
