"""The knapsack of channels: values by hand, the best widths of all, and what the notes say."""

import dataclasses
import itertools
from unittest import mock

import numpy as np
import small_tasks
import tensorflow as tf

from tfcompress import Budget, Control, cost
from tfcompress.importance import scores_of
from tfcompress.methods import Knapsack, knapsack
from tfcompress.rewrite import apply


def by_place(group, evidence):
    """The last channel counts most: 1, 2, 3, ..."""
    return np.arange(1, group.size + 1)


class KnapsackTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = small_tasks.residual_network(width=6, inner=(5, 10))
        cls.task = small_tasks.task_for(cls.model, flops=1.0)

    def search(self, method=None, control=None, **budget):
        task = dataclasses.replace(self.task, budget=Budget(**budget), control=control or Control(), said=[])
        task.__dict__.update(groups=self.task.groups, costs=self.task.costs)  # which are worked out once
        return task, (method or Knapsack(epochs=0, gap=0.0)).search(task)

    def value(self, kept, power):
        """Shares of scores 1 to n that the greatest k keep, to a power, times the layers at a group.

        The stream is written by stem, block1_conv2 and block2_conv2 and read by two first convolutions and the head;
        each inner group has one writer and one reader. The sum of the greatest k of 1 to n is k (2n - k + 1) / 2.
        """
        layers = {"stem": 6, "block1_conv1": 2, "block2_conv1": 2}
        names = self.task.groups.groups
        return sum(
            layers[name] * (k * (2 * n - k + 1) / (n * (n + 1))) ** power
            for name, k, n in zip(names, kept, self.task.costs.sizes.tolist(), strict=True)
        )

    def test_the_best_of_all_widths_by_values_worked_out_by_hand(self):
        costs = self.task.costs
        every = list(itertools.product(*(range(1, n + 1) for n in costs.sizes)))
        for power, budget in itertools.product(
            (1.0, 0.3), ({"flops": 0.5}, {"params": 0.3}, {"flops": 0.4, "params": 0.35})
        ):
            task, search = self.search(Knapsack(epochs=0, gap=0.0, power=power, criterion=by_place), **budget)
            kept = costs.kept(search.plan).tolist()
            best = max(self.value(widths, power) for widths in every if task.fits_kept(widths))
            self.assertAllClose(self.value(kept, power), best, rtol=1e-6, atol=0)
            self.assertTrue(task.fits(cost(apply(search.source, search.plan))))
            self.assertEqual(search.candidates[0].cost, costs.of(search.plan))
            for edit in search.plan.channels:
                size = self.task.groups[edit.group].size
                self.assertEqual(edit.indices, tuple(range(size - len(edit.indices), size)))
        self.assertEqual(search.notes, ())

    def test_sums_of_the_criterion_itself(self):
        """Scores of 100 in one inner group and of 1 elsewhere: that group stays whole as long as anything can go."""

        def lopsided(group, evidence):
            return np.full(group.size, 100.0 if group.name == "block2_conv1" else 1.0)

        _, search = self.search(Knapsack(epochs=0, gap=0.0, scale="none", criterion=lopsided), flops=0.5)
        self.assertNotIn("block2_conv1", {edit.group for edit in search.plan.channels})

    def test_scores_below_zero_and_scores_that_are_all_alike(self):
        for criterion in (lambda group, evidence: -np.arange(group.size), lambda group, evidence: np.zeros(group.size)):
            task, search = self.search(Knapsack(epochs=0, criterion=criterion), flops=0.5)
            self.assertTrue(task.fits(search.candidates[0].cost))
            for edit in search.plan.channels:
                self.assertEqual(edit.indices, tuple(range(len(edit.indices))))

    def test_what_may_not_be_pruned_stays_and_widths_are_multiples(self):
        control = Control(round_to=4, exclude=("stem",))
        task, search = self.search(control=control, flops=0.7)
        kept = task.costs.kept(search.plan)
        self.assertEqual(kept[0], 6)
        self.assertAllEqual(task.widths.floor(kept), kept)

    def test_the_rest_of_the_budget_is_spent_where_few_widths_are_tried(self):
        task, search = self.search(Knapsack(epochs=0, levels=2), flops=0.5)
        kept = task.costs.kept(search.plan)
        self.assertIn("Of 3 channel groups 2 widths each were tried (levels=2).", search.notes)
        for group in np.flatnonzero(kept < task.costs.sizes):
            wider = kept.copy()
            wider[group] += 1
            self.assertFalse(task.fits_kept(wider))

    def test_a_solver_without_an_answer_and_one_without_time(self):
        with mock.patch.object(knapsack, "allocated", return_value=None):
            task, search = self.search(Knapsack(epochs=0, solver_seconds=7), flops=0.5)
        self.assertIn("found no widths in 7 s", search.notes[0])
        self.assertAllEqual(task.costs.kept(search.plan), task.widths.even(task.fits_kept))
        _, search = self.search(Knapsack(epochs=0, gap=0.5), flops=0.5)
        if search.notes:
            self.assertRegex(search.notes[0], r"Other widths may be better by \d+\.\d+% of the value at most\.$")
        real = knapsack.allocated

        def late(*args, **options):
            return dataclasses.replace(real(*args, **options), gap=0.25, estimated=2)

        with mock.patch.object(knapsack, "allocated", late):
            _, search = self.search(Knapsack(epochs=0, solver_seconds=7), flops=0.5)
        self.assertIn("25.000% of the value at most. The solver's time was up (solver_seconds=7).", search.notes[0])
        self.assertIn("costs of 2 parts of many groups were estimated", search.notes[1])

    def test_one_seed_gives_one_plan_and_zero_epochs_train_nothing(self):
        task, search = self.search(flops=0.5)
        self.assertEqual(search.trail, self.search(flops=0.5)[1].trail)
        student = apply(search.source, search.plan)
        before = [weight.numpy() for weight in student.weights]
        self.assertEqual(Knapsack(epochs=0, recalibrate_student=0).recover(student, task), {})
        for old, new in zip(before, student.weights, strict=True):
            self.assertAllEqual(old, new)

    def test_refusals(self):
        for settings, message in (
            ({"scale": "mean"}, r"`scale` to be one of"),
            ({"power": 0}, r"`power` to be a number above 0 and at most 1"),
            ({"power": 1.5}, "`power`.*at most 1"),
            ({"scale": "none", "power": 0.5}, "power.*with scale='none'"),
            ({"levels": 1}, "`levels` to be .*2 or more"),
            ({"gap": 1.0}, "`gap`"),
            ({"solver_seconds": 0}, "`solver_seconds` to be .*above 0"),
            ({"criterion": "l3"}, "`criterion`"),
        ):
            with self.assertRaisesRegex(ValueError, message):
                Knapsack(**settings)
        with self.assertRaisesRegex(ValueError, "finite scores of 'stem'.*infinite ones"):
            self.search(Knapsack(criterion=lambda group, evidence: np.full(group.size, np.inf)), flops=0.5)

    def test_scores_are_those_of_the_criterion(self):
        _, search = self.search(Knapsack(epochs=0, criterion="l1_norm"), flops=0.5)
        edit = next(edit for edit in search.plan.channels if edit.group == "block2_conv1")
        scores = scores_of(self.task.groups["block2_conv1"], self.task.evidence(), by_l1)
        self.assertEqual(edit.indices, tuple(sorted(np.argsort(-scores)[: len(edit.indices)].tolist())))


def by_l1(group, evidence):
    return sum(np.abs(np.asarray(kernel)).sum(axis=1) for kernel in evidence.written(group))
