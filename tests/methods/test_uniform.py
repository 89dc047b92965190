"""Uniform pruning: the largest ratio for all groups that fits, found by trying all, and what is left, step by step."""

import dataclasses
from unittest import mock

import keras
import numpy as np
import small_tasks
import tensorflow as tf
from keras import layers
from perceptrons import perceptron

from tfcompress import Budget, Control, cost
from tfcompress.costs.lookups import Lookup
from tfcompress.methods import Uniform, phases
from tfcompress.rewrite import apply, replay

RATIOS = np.arange(1, 61) / 60  # widths of 5, 6 and 10 channels change at multiples of 1/30


def widths_at(sizes, ratio):
    return np.maximum(1, np.floor(sizes * ratio + 1e-9)).astype(int)


class UniformTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = small_tasks.residual_network(width=6, inner=(5, 10))
        cls.task = small_tasks.task_for(cls.model, flops=1.0)

    def search(self, method=None, **budget):
        costs = self.task.costs
        task = dataclasses.replace(self.task, budget=Budget(**budget))
        task.__dict__.update(groups=self.task.groups, costs=costs)  # which are worked out once
        return task, (method or Uniform(epochs=0)).search(task)

    def largest_fit(self, task):
        """Widths at the largest ratio within the limits: the last of all that fit."""
        fitting = [r for r in RATIOS if task.fits(task.costs.of_kept(widths_at(task.costs.sizes, r)))]
        return widths_at(task.costs.sizes, fitting[-1]) if fitting else np.ones_like(task.costs.sizes)

    def grown(self, task, kept, step=1):
        """The rest of the budget, one step at a time, always on the group of the smallest share of those that fit."""
        sizes = task.costs.sizes
        while True:
            for group in sorted(range(len(kept)), key=lambda group: (kept[group] / sizes[group], group)):
                wider = kept.copy()
                wider[group] = min((kept[group] // step + 1) * step, sizes[group])
                if kept[group] < sizes[group] and task.fits(task.costs.of_kept(wider)):
                    kept = wider
                    break
            else:
                return kept

    def test_the_largest_ratio_that_fits_and_what_it_leaves(self):
        budgets = [{"flops": share} for share in (0.1, 0.25, 0.37, 0.5, 0.66, 0.8, 0.95, 1.0)]
        budgets += [{"params": 0.4}, {"params": 700}, {"flops": 0.5, "params": 0.4}, {"flops": 0.4, "params": 0.9}]
        grew = False
        for budget in budgets:
            task, found = self.search(**budget)
            kept = task.costs.kept(found.plan)
            even = self.largest_fit(task)
            self.assertAllEqual(kept, self.grown(task, even), str(budget))
            grew = grew or bool(np.any(kept > even))
        self.assertTrue(grew)
        finished = cost(apply(found.source, found.plan))  # of the last one
        self.assertTrue(task.fits(finished))
        self.assertEqual(found.candidates[0].cost, finished)

    def test_no_single_step_is_left_whatever_the_widths_allow(self):
        """With multiples of 4, and half of the parameters too; the same from the ranking of all channels."""
        costs = self.task.costs
        for scope in ("local", "global"):
            for control in (Control(round_to=4), Control(ratio_limits={"block2_conv1": 0.5})):
                budget = Budget({"macs": costs.total.macs // 2, "params": costs.total.params * 6 // 10})
                task = dataclasses.replace(self.task, budget=budget, control=control)
                task.__dict__.update(groups=self.task.groups, costs=costs)
                kept = costs.kept(Uniform(epochs=0, scope=scope).search(task).plan)
                widths = task.widths
                self.assertAllEqual(widths.floor(kept), kept)
                self.assertTrue(task.fits_kept(kept))
                for group in np.flatnonzero(kept < widths.greatest):
                    wider = kept.copy()
                    wider[group] = min(
                        (kept[group] // widths.step[group] + 1) * widths.step[group], widths.greatest[group]
                    )
                    self.assertFalse(task.fits_kept(wider), f"{scope}, {control}")

    def test_each_of_two_budgets_can_be_the_tighter_one(self):
        _, flops = self.search(flops=0.3)
        _, both = self.search(flops=0.3, params=1.0)
        self.assertEqual(both.plan, flops.plan)
        _, params = self.search(params=0.3)
        _, both = self.search(flops=1.0, params=0.3)
        self.assertEqual(both.plan, params.plan)

    def test_the_same_ratio_in_every_group_the_stream_between_blocks_too(self):
        task, found = self.search(flops=0.3)
        kept = dict(zip(task.groups.groups, task.costs.kept(found.plan).tolist(), strict=True))
        self.assertCountEqual(kept, ["stem", "block1_conv1", "block2_conv1"])
        sizes = {"stem": 6, "block1_conv1": 5, "block2_conv1": 10}
        low = max((kept[name] - 1) / sizes[name] for name in sizes)
        high = min((kept[name] + 1) / sizes[name] for name in sizes)
        self.assertLess(low, high)  # some ratio in [low, high) gives all three, or one channel less

    def test_the_budget_that_can_just_be_reached_leaves_one_channel_of_each_group(self):
        task, found = self.search(flops=2 * self.task.costs.smallest.macs)
        self.assertAllEqual(task.costs.kept(found.plan), [1, 1, 1])
        self.assertEqual(task.costs.of(found.plan).macs, task.costs.smallest.macs)

    def test_a_budget_of_one_removes_nothing(self):
        _, found = self.search(flops=1.0)
        self.assertEmpty(found.plan)

    def test_what_stays_has_the_largest_norm_over_all_layers_that_write_it(self):
        _task, found = self.search(Uniform(epochs=0, criterion="l1_norm"), flops=0.3)
        kernels = {name: self.model.get_layer(name).kernel.numpy() for name in ("stem", "block1_conv2", "block2_conv2")}
        norm = sum(np.abs(kernel).sum(axis=(0, 1, 2)) for kernel in kernels.values())
        edit = next(edit for edit in found.plan if edit.group == "stem")
        count = len(edit.indices)
        self.assertBetween(count, 1, 5)
        self.assertEqual(edit.indices, tuple(sorted(np.argsort(-norm)[:count].tolist())))

    def test_a_criterion_of_the_users(self):
        _, found = self.search(Uniform(epochs=0, criterion=lambda group, evidence: -np.arange(group.size)), flops=0.4)
        for edit in found.plan:
            self.assertEqual(edit.indices, tuple(range(len(edit.indices))))

    def test_zero_epochs_train_nothing(self):
        """The student has the source's weights where channels stay, and keeps them."""
        task, found = self.search(flops=0.4)
        student = apply(found.source, found.plan)
        before = [weight.numpy() for weight in student.weights]
        self.assertEqual(Uniform(epochs=0, recalibrate_student=0).recover(student, task), {})
        for old, new in zip(before, student.weights, strict=True):
            self.assertAllEqual(old, new)
        kept = {edit.group: list(edit.indices) for edit in found.plan}
        source = self.model.get_layer("block1_conv1").kernel.numpy()
        cut = source[:, :, kept["stem"]][..., kept["block1_conv1"]]
        self.assertAllEqual(student.get_layer("block1_conv1").kernel, cut)
        source = self.model.get_layer("stem_bn").moving_variance.numpy()
        self.assertAllEqual(student.get_layer("stem_bn").moving_variance, source[kept["stem"]])

    def test_a_ranking_of_all_channels(self):
        """Scores 1 to n in each group, over their mean (n + 1) / 2: thresholds cut the groups at the same share.

        Groups of 6, 5 and 10 channels: scores above a threshold of 1 are those from 4, 4 and 6 on: 3, 2 and 5 stay.
        """
        macs = self.task.costs.of_kept([3, 2, 5]).macs
        task = dataclasses.replace(self.task, budget=Budget({"macs": macs}))

        def rising(group, evidence):
            return np.arange(1, group.size + 1)

        found = Uniform(epochs=0, scope="global", criterion=rising).search(task)
        kept = {edit.group: edit.indices for edit in found.plan}
        self.assertEqual(kept["stem"], (3, 4, 5))
        self.assertEqual(kept["block1_conv1"], (3, 4))
        self.assertEqual(kept["block2_conv1"], (5, 6, 7, 8, 9))

    def test_a_ranking_of_all_channels_takes_more_from_worthless_groups(self):
        def flat_but_for_one(group, evidence):
            low = np.where(np.arange(group.size) % 2, 0.01, 1.0)
            return low if group.name == "block2_conv1" else np.ones(group.size)

        budget = 2 * self.task.costs.of_kept([6, 5, 5]).macs
        _, found = self.search(Uniform(epochs=0, scope="global", criterion=flat_but_for_one), flops=budget)
        self.assertEqual([(edit.group, edit.indices) for edit in found.plan], [("block2_conv1", (0, 2, 4, 6, 8))])

    def test_a_planned_latency_is_the_price_of_a_ranking_of_all_channels(self):
        """Scores 4, 3, 2, 1 in the first group and 5, 4, 3, 3 in the second, each with two layers at it.

        The last channel of the first group is worth 2 (1 - 0.9^0.3) = 0.0622, that of the second 2 (1 - 0.8^0.3) =
        0.1295: 2.08 times as much. So where both cost 10 ns, the first group's goes first; where the second group's
        costs 30, it goes first, at 0.0043 for each nanosecond against 0.0062; at 20, with 0.0065, it stays.
        """
        scores = {"first": [1, 4, 3, 2], "second": [3, 5, 3, 4]}
        method = Uniform(epochs=0, scope="global", criterion=lambda group, evidence: np.array(scores[group.name]))
        for ns, kept, rest in ((10, (1, 2, 3), None), (30, None, (0, 1, 3)), (20, (1, 2, 3), None)):
            task = small_tasks.task_for(perceptron(4, 4), latency=0.99)
            knots = (np.arange(1, 5),)
            rows = np.array([[0, 1, 0]]), np.array([[0, 0, 1]])
            prices = (10, ns)
            task.costs.look_up(
                "latency_ns",
                [Lookup("head", "head", row, knots, each * knots[0]) for row, each in zip(rows, prices, strict=True)],
            )
            task.whole.costs.look_up("latency_ns", task.costs.lookups("latency_ns"))
            task = dataclasses.replace(task, budget=task.budget.with_latency_planned(None))
            search = method.search(task)
            plan = {edit.group: edit.indices for edit in search.plan}
            self.assertEqual((plan.get("first"), plan.get("second")), (kept, rest), ns)
            self.assertEqual(search.candidates[0].origin, "the least worth per price removed")
        infinite = Uniform(epochs=0, scope="global", criterion=lambda group, evidence: np.full(group.size, np.inf))
        with self.assertRaisesRegex(ValueError, "Expected `criterion` to be finite scores of 'first'"):
            infinite.search(task)

    def test_steps_reach_the_budget_by_equal_parts(self):
        task = small_tasks.task_for(small_tasks.trained_network(), flops=0.4)
        # Norms would change as channels that they read go.
        later_ones = {"epochs": 0, "recalibrate_student": 0, "criterion": lambda group, evidence: np.arange(group.size)}
        shares, method = [], Uniform(steps=3, **later_ones)
        before = [weight.numpy() for weight in task.model.weights]
        with mock.patch.object(phases, "train_phase", lambda model, *a, **k: shares.append(cost(model).macs) or {}):
            found = method.search(task)
        total = task.costs.total.macs
        for macs, share in zip(shares, (0.8, 0.6), strict=True):
            self.assertBetween(macs / total, share - 0.1, share)
        self.assertLen(found.trail, 3)
        self.assertEqual(found.candidates[0].cost, cost(replay(task.model, found.trail)))
        self.assertTrue(task.fits(found.candidates[0].cost))
        for old, weight in zip(before, task.model.weights, strict=True):
            self.assertAllEqual(old, weight)
        # These steps choose what one step would have chosen, and cutting thrice is cutting once.
        at_once = apply(task.model, Uniform(**later_ones).search(task).plan)
        in_steps = apply(found.source, found.plan)
        for one, other in zip(at_once.weights, in_steps.weights, strict=True):
            self.assertAllEqual(one, other)
        for one, other in zip(replay(task.model, found.trail).weights, in_steps.weights, strict=True):
            self.assertAllEqual(one, other)

    def test_steps_train_between_and_rank_anew(self):
        task = small_tasks.task_for(small_tasks.trained_network(), flops=0.4)
        found = Uniform(epochs=0, steps=2, step_epochs=2, batch_size=32).search(task)
        self.assertLen(found.history["loss"], 2)
        kernel = found.source.get_layer("block1_conv1").kernel.numpy()
        kept = {edit.group: list(edit.indices) for edit in found.trail.plans[0]}
        untrained = task.model.get_layer("block1_conv1").kernel.numpy()
        untrained = untrained[:, :, kept.get("stem", slice(None))][..., kept.get("block1_conv1", slice(None))]
        self.assertEqual(kernel.shape, untrained.shape)
        self.assertNotAllClose(kernel, untrained)

    def test_settings_out_of_range(self):
        for settings in ({"scope": "everywhere"}, {"steps": 0}, {"step_epochs": -1}):
            with self.assertRaisesRegex(ValueError, f"Expected `{next(iter(settings))}`"):
                Uniform(**settings)

    def test_nothing_to_prune(self):
        inputs = keras.Input((8, 8, 1))
        model = keras.Model(inputs, layers.Dense(small_tasks.CLASSES)(layers.Flatten()(inputs)))
        task = small_tasks.task_for(model, flops=1.0)
        self.assertEmpty(Uniform(epochs=0).search(task).plan)
