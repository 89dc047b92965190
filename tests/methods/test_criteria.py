"""Criteria through the methods: with the task's own data and loss, on current weights, refused before any training."""

from unittest import mock

import keras
import numpy as np
import small_tasks
import tensorflow as tf
from keras import layers

import tfcompress
from tfcompress.importance import ActivationMean, Evidence, Fisher, Taylor, by_name
from tfcompress.methods import RLAL, Random, Uniform, phases
from tfcompress.methods.episodes import Episodes

DATA_DRIVEN = ("taylor", "feature_map_taylor", "fisher", "activation_mean")


def expected_order(task, name, criterion):
    """From the task's calibration images and labels by hand."""
    data = task.splits.calibration.take(1000)
    evidence = Evidence(task.groups, data, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return np.argsort(-by_name(criterion)(task.groups[name], evidence), kind="stable")


class RankingTest(tf.test.TestCase):
    def test_the_tasks_own_data_and_loss(self):
        task = small_tasks.task_for(small_tasks.residual_network(seed=3, inner=(5,)), flops=0.4)
        plans = {}
        for criterion in ("l1_norm", *DATA_DRIVEN):
            plans[criterion] = Uniform(epochs=0, criterion=criterion).search(task).plan
            for edit in plans[criterion]:
                best = expected_order(task, edit.group, criterion)[: len(edit.indices)]
                self.assertEqual(edit.indices, tuple(sorted(best.tolist())), (criterion, edit.group))
        self.assertGreater(len({plan.to_json() for plan in plans.values()}), 2)

    def test_all_names_and_instances(self):
        task = small_tasks.task_for(small_tasks.residual_network(inner=(5,)), flops=0.5)
        criteria = ["group_l1_norm", "group_l2_norm", "next_layer_l1_norm", "bn_scale", "geometric_median", "random"]
        criteria += [Taylor(joint=False, samples=8), Fisher(samples=2), ActivationMean(at="read")]
        for criterion in criteria:
            for method in (Uniform(epochs=0, criterion=criterion), Random(epochs=0, tries=2, criterion=criterion)):
                found = method.search(task)
                self.assertTrue(task.fits(task.costs.of(found.plan)))

    def test_random_scores_follow_the_tasks_seed(self):
        model = small_tasks.residual_network(width=12, inner=(10, 14))
        plans = []
        for seed in (0, 0, 1):
            task = small_tasks.task_for(model, seed=seed, flops=0.5)
            plans.append(Uniform(epochs=0, criterion="random").search(task).plan)
        self.assertEqual(plans[0], plans[1])
        self.assertNotEqual(plans[0], plans[2])

    def test_an_agents_ranks_follow_the_weights(self):
        """Epochs rank anew: after the channels of a block have been turned round, so have their ranks."""
        for criterion in DATA_DRIVEN:
            task = small_tasks.task_for(small_tasks.residual_network(inner=(5,)), flops=0.6)
            episodes = Episodes(task, by_name(criterion), None)
            one = np.array([name == "block1_conv1" for name in task.groups.groups])
            kept = np.where(one, 2, task.costs.sizes)
            (before,) = episodes.plan(kept)
            for weight in self._of_channels(task.model):
                weight.assign(weight.numpy()[..., ::-1])
            reader = task.model.get_layer("block1_conv2").kernel
            reader.assign(reader.numpy()[:, :, ::-1])
            self.assertEqual(episodes.plan(kept).edits[0], before)
            episodes.rank()
            (after,) = episodes.plan(kept)
            self.assertEqual(after.indices, tuple(sorted(4 - i for i in before.indices)))

    def _of_channels(self, model):
        return [model.get_layer("block1_conv1").kernel, *model.get_layer("bn1").weights]

    def test_through_compress(self):
        x, y = small_tasks.pictures()
        model = small_tasks.trained_block()
        method = Uniform(epochs=0, criterion=Fisher(samples=8))
        result = tfcompress.compress(model, method, (x, y), flops_budget=0.6, verbose=0)
        self.assertLessEqual(result.after.macs, 0.6 * result.before.macs)
        self.assertEqual(result.settings["criterion"]["samples"], 8)
        self.assertIn("Fisher", result.settings["criterion"]["name"])


class RefusalTest(tf.test.TestCase):
    def methods(self, criterion):
        yield Uniform(criterion=criterion)
        yield Random(criterion=criterion)
        yield RLAL(criterion=criterion)

    def refused(self, model, criterion, message):
        task = small_tasks.task_for(model, flops=0.6)
        before = [weight.numpy() for weight in task.model.weights]
        for method in self.methods(criterion):
            with (
                mock.patch.object(phases, "train_phase", side_effect=AssertionError("trained")),
                self.assertRaisesRegex(ValueError, message),
            ):
                method.search(task)
        for old, weight in zip(before, task.model.weights, strict=True):
            self.assertAllEqual(old, weight)

    def test_scores_of_another_kind_before_anything_is_trained(self):
        model = small_tasks.residual_network()
        for scores in (
            lambda group, evidence: np.full(group.size, np.nan),
            lambda group, evidence: np.ones(group.size + 1),
            lambda group, evidence: ["high"] * group.size,
            lambda group, evidence: evidence.activations(group).mean[:, None],
        ):
            self.refused(model, scores, "Expected the criterion.*'(stem|block1_conv1)'.*Received")

    def test_a_criterion_that_cannot_score_a_group(self):
        x = keras.Input((8, 8, 1))
        stem = layers.Conv2D(4, 3, padding="same", name="stem")(x)
        y = layers.Conv2D(5, 3, padding="same", name="inner")(stem)
        y = layers.Add()([stem, layers.Conv2D(4, 3, padding="same", name="back")(y)])
        model = keras.Model(x, layers.Dense(small_tasks.CLASSES)(layers.GlobalAveragePooling2D()(y)))
        self.refused(model, "bn_scale", "'(stem|inner)' to pass a BatchNormalization with a scale")

    def test_names_classes_and_settings_when_the_method_is_made(self):
        for method in (Uniform, Random, RLAL):
            with self.assertRaisesRegex(ValueError, r"one of \['activation_mean', .*Received: criterion='tylor'"):
                method(criterion="tylor")
            with self.assertRaisesRegex(ValueError, r"the class Taylor.*Taylor\(\)"):
                method(criterion=Taylor)


class SettingsTest(tf.test.TestCase):
    def test_run_folders_tell_criteria_apart(self):
        criteria = ["taylor", Taylor(), Taylor(samples=64), Fisher(), Fisher(samples=256, batch_size=32), divmod]
        settings = [repr(Uniform(criterion=criterion).settings()["criterion"]) for criterion in criteria]
        self.assertLen(set(settings), len(criteria))


if __name__ == "__main__":
    tf.test.main()
