"""One run of greedy pruning, against plain NumPy and plain Keras."""

import dataclasses
from unittest import mock

import numpy as np
import small_tasks
import tensorflow as tf
from perceptrons import gradients, perceptron

from tfcompress import Budget, Control, cost
from tfcompress.methods import TaylorPruning, phases
from tfcompress.methods.taylor import pruning
from tfcompress.rewrite import replay

STILL = {"runs": 1, "updates": 0, "epochs": 0}


def task_of(model=None, accuracy=0.9, control=None, seed=0, **budget):
    task = small_tasks.task_for(model or perceptron(), accuracy=accuracy, seed=seed, **budget)
    return task if control is None else dataclasses.replace(task, control=Control(**control))


def scores_by_hand(arrays, x, y):
    """Of each hidden layer [units]: means over samples of |dL/dz z|, over their l2 norm."""
    activations, slopes, _ = gradients(arrays, x, y)
    scores = [np.abs(g * z).mean(axis=0) for g, z in zip(slopes, activations, strict=True)]
    return [score / np.linalg.norm(score) for score in scores]


class GreedyTest(tf.test.TestCase):
    def test_the_least_filter_of_all_goes_until_the_budget_is_held(self):
        """The order in which filters go is that of NumPy's own forward and backward passes, and of its removals."""
        task = task_of(params=0.4)
        limit = task.limits["params"]
        x, y = task.splits.calibration.take(256)
        arrays = [weight.numpy().astype("float64") for weight in task.model.weights]
        kept, gone = [list(range(6)), list(range(5))], []
        while sum(array.size for array in arrays) > limit:
            scores = scores_by_hand(arrays, x, y)
            layer = int(np.argmin([score.min() if len(score) > 1 else np.inf for score in scores]))
            unit = int(np.argmin(scores[layer]))
            gone.append((layer, kept[layer].pop(unit)))
            for place, axis in ((2 * layer, 1), (2 * layer + 1, 0), (2 * layer + 2, 0)):
                arrays[place] = np.delete(arrays[place], unit, axis=axis)
        self.assertEqual({layer for layer, _ in gone}, {0, 1})
        search = TaylorPruning(**STILL).search(task)
        (plan,) = search.trail
        self.assertEqual({edit.group: list(edit.indices) for edit in plan}, {"first": kept[0], "second": kept[1]})
        self.assertEqual(search.history["removed"], list(range(1, len(gone) + 1)))
        for weight, array in zip(search.student.weights, arrays, strict=True):
            self.assertAllClose(weight, array, rtol=1e-6)
        for weight, array in zip(replay(task.model, search.trail).weights, arrays, strict=True):
            self.assertAllClose(weight, array, rtol=1e-6)
        self.assertEqual(search.candidates[0].cost, cost(search.student))

    def test_several_filters_in_a_step_and_no_more_than_the_budget_asks_for(self):
        """Scores are the positions from 1 to n, over their norm: 9.54, 7.42, 5.48 and 3.74 for n of 6, 5, 4 and 3.

        Lowest of 6 and 5 units are 1 / 9.54, 1 / 7.42, 2 / 9.54, 2 / 7.42 and 3 / 9.54, which leave 3 and 3 units. In
        steps of two: 1 / 9.54 and 1 / 7.42; of 5 and 4 units 1 / 7.42 and 1 / 5.48; of 4 and 3 units 1 / 5.48.
        """

        def rising(group, evidence):
            return np.arange(1, group.size + 1)

        task = task_of()
        task = dataclasses.replace(task, budget=Budget({"params": task.costs.of_kept([3, 3]).params}))
        for filters, removed in ((2, [2, 4, 5]), (4, [4, 5]), (0.4, [4, 5]), (100, [5])):  # 0.4 of 11 units are 4
            search = TaylorPruning(criterion=rising, filters=filters, **STILL).search(task)
            self.assertEqual(search.history["removed"], removed)
            kept = {edit.group: edit.indices for edit in search.plan}
            self.assertEqual(kept, {"first": (3, 4, 5), "second": (2, 3, 4)})

    def test_multiples_of_channels_go_as_blocks(self):
        """Both of two filters go where their mean is the lowest: 3 and 5 before 1 and 9, in a group of equal norm."""
        numbers = {"first": [1, 9, 20, 20], "second": [3, 5, 20, 20]}

        def told(group, evidence):
            return np.array(numbers[group.name][-group.size :], float)

        norms = {name: np.linalg.norm(values) for name, values in numbers.items()}
        self.assertLess((3 + 5) / norms["second"], (1 + 9) / norms["first"])
        task = task_of(perceptron(4, 4), control={"round_to": 2}, params=0.99)
        search = TaylorPruning(criterion=told, **STILL).search(task)
        self.assertEqual({edit.group: edit.indices for edit in search.plan}, {"second": (2, 3)})
        self.assertEqual(search.history["removed"], [2])

    def test_what_is_left_out_stays_and_what_has_to_go_goes_before_any_rule(self):
        """At least two of five; 0.9 may not fall, and does at once."""
        control = {"exclude": "first", "ratio_limits": {"second": (0.4, 1)}}
        with mock.patch.object(pruning, "measured", side_effect=[0.5, 0.9]):
            search = TaylorPruning(**STILL).search(task_of(control=control))
        (edit,) = search.plan
        self.assertEqual((edit.group, len(edit.indices)), ("second", 3))
        self.assertEqual(search.history["removed"], [3])

    def test_nothing_goes_where_the_budget_is_held_already(self):
        task = task_of(params=1.0)
        search = TaylorPruning(**STILL).search(task)
        self.assertEmpty(search.plan)
        self.assertEqual(search.history["step"], [])

    def test_scores_over_their_norm(self):
        self.assertAllClose(pruning.normalised([3, 4]), [0.6, 0.8])
        self.assertAllEqual(pruning.normalised([0, 0]), [0, 0])
        self.assertAllEqual(pruning.normalised([np.inf, 1]), [np.inf, 1])


TRAINING = {"batch_size": 32, "momentum": 0.0, "weight_decay": 0.0, "teach": None}


class UpdatesTest(tf.test.TestCase):
    def search(self, task, **settings):
        """The search, and for each step the weights that its updates began with."""
        begun, train = [], phases.train_student

        def recorded(student, *args, **kwargs):
            begun.append([weight.numpy() for weight in student.weights])
            return train(student, *args, **kwargs)

        method = TaylorPruning(**{"runs": 1, "epochs": 0, "update_rate": 0.05, **TRAINING, **settings})
        with mock.patch.object(phases, "train_student", recorded):
            return method.search(task), begun

    def test_as_many_updates_as_asked_for_on_data_of_their_own(self):
        """Five updates of 86 samples in three batches: a pass and two batches of the next, the second step after them.

        By hand: w - 0.05 dL/dw for each batch, in the order of the epochs 1,000,002 and 1,000,003 in the second step.
        """
        task = task_of(params=0.7)
        search, begun = self.search(task, updates=5, filters=3)
        self.assertLen(begun, 2)
        batches = task.splits.train.batches(32, training=True)
        self.assertLen(batches, 3)
        arrays = [array.astype("float64") for array in begun[1]]
        for number in range(5):
            batches.epoch = 10**6 + 2 + number // 3
            slopes = gradients(arrays, *batches[number % 3])[2]
            arrays = [w - 0.05 * g for w, g in zip(arrays, slopes, strict=True)]
        for array, weight in zip(arrays, search.student.weights, strict=True):
            self.assertAllClose(array, weight, rtol=1e-4, atol=1e-6)

    def test_whole_epochs_and_none(self):
        task = task_of(params=0.9)
        made = []
        for updates in (None, 1, 0):
            search, begun = self.search(task, updates=updates)
            (loss, *_), moved = search.history["loss"], 0.0
            if begun:
                moved = sum(np.abs(w - b).sum() for w, b in zip(search.student.weights, begun[-1], strict=True))
            made.append((loss is not None, float(moved)))
        self.assertEqual([trained for trained, _ in made], [True, True, False])
        self.assertGreater(made[0][1], made[1][1])
        self.assertGreater(made[1][1], 0)

    def test_runs_see_other_batches_and_a_seed_gives_them_again(self):
        task = task_of(params=0.9)
        settings = {"runs": 2, "updates": 1, "epochs": 0, **TRAINING}
        first, again = (TaylorPruning(**settings).search(task) for _ in range(2))
        self.assertEqual(first.history, again.history)
        losses = dict(zip(first.history["run"], first.history["loss"], strict=True))
        self.assertEqual(set(losses), {1, 2})
        self.assertNotEqual(losses[1], losses[2])
        for one, other in zip(first.student.weights, again.student.weights, strict=True):
            self.assertAllEqual(one, other)

    def test_the_model_stays_as_it_is_and_frozen_layers_that_were_cut_are_trained(self):
        model = perceptron()
        model.get_layer("second").trainable = False
        task = task_of(model, control={"exclude": "second"}, params=0.9)
        before = [weight.numpy() for weight in task.model.weights]
        search, begun = self.search(task, updates=1)
        for old, weight in zip(before, task.model.weights, strict=True):
            self.assertAllEqual(old, weight)
        kernels = search.student.get_layer("second").kernel.numpy(), begun[-1][2]
        self.assertEqual(kernels[0].shape, kernels[1].shape)
        self.assertNotAllClose(*kernels)
        self.assertFalse(search.student.get_layer("second").trainable)

    def test_the_original_teaches_where_it_is_asked_to(self):
        search, _ = self.search(task_of(params=0.9), updates=1, teach="kd")
        plain, _ = self.search(task_of(params=0.9), updates=1)
        self.assertNotEqual(search.history["loss"], plain.history["loss"])


if __name__ == "__main__":
    tf.test.main()
