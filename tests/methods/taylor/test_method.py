"""When runs of Taylor pruning end, which of them wins, and what the method refuses."""

import dataclasses
from unittest import mock

import keras
import numpy as np
import small_tasks
import tensorflow as tf
from perceptrons import perceptron

import tfcompress
from tfcompress import Budget, Control, Objective
from tfcompress.methods import TaylorPruning
from tfcompress.methods.taylor import pruning
from tfcompress.network import Network
from tfcompress.rewrite import apply

STILL = {"runs": 1, "updates": 0, "epochs": 0}


def task_for(accuracy=0.9, **budget):
    return small_tasks.task_for(perceptron(), accuracy=accuracy, **budget)


class RulesTest(tf.test.TestCase):
    """Metrics are told, one for each step."""

    def search(self, metrics, task=None, **settings):
        with mock.patch.object(pruning, "measured", side_effect=metrics):
            return TaylorPruning(**{**STILL, **settings}).search(task or task_for())

    def test_a_run_ends_before_the_accuracy_falls_more_than_a_hundredth(self):
        """0.9 as it was given: 0.891 holds, 0.889 does not."""
        search = self.search([0.95, 0.891, 0.889])
        self.assertEqual(search.history["removed"], [1, 2, 3])
        self.assertEqual(search.history["metric"], [0.95, 0.891, 0.889])
        self.assertEqual(search.candidates[0].cost.params, search.history["params"][1])
        self.assertEqual(search.candidates[0].score, 0.891)
        self.assertRegex(search.notes[0], "accuracy would fall to 0.8890, below 0.8900; .*accuracy 0.8910")

    def test_an_accuracy_that_is_given(self):
        search = self.search([0.7, 0.6, 0.5, 0.49], stop_accuracy=0.5)
        self.assertEqual(search.candidates[0].score, 0.5)
        self.assertEqual(search.candidates[0].cost.params, search.history["params"][2])

    def test_what_is_no_number_ends_a_run(self):
        self.assertEqual(self.search([0.9, np.nan]).candidates[0].score, 0.9)

    def test_the_first_step_may_be_too_much(self):
        search = self.search([0.1, 0.9])
        self.assertEmpty(search.plan)
        self.assertEqual(search.candidates[0].score, 0.9)

    def test_a_run_ends_with_fewer_parameters_than_were_given(self):
        """Not with as many."""
        whole = self.search([1.0] * 100, stop_accuracy=0.0).history["params"]
        for limit, expected in ((whole[3], whole[4]), (whole[3] + 1, whole[3])):
            search = self.search([1.0] * 100, stop_params=limit)
            self.assertEqual(search.candidates[0].cost.params, expected)
            self.assertIn(f"fewer than {limit:,} parameters", search.notes[0])

    def test_nothing_more_may_go(self):
        task = dataclasses.replace(task_for(), control=Control(ratio_limits={"*": 0.5}))
        search = self.search([1.0] * 100, task, filters=50)
        self.assertEqual([len(edit.indices) for edit in search.plan], [3, 3])  # of 6 and 5
        self.assertIn("nothing more may be removed", search.notes[0])

    def test_within_a_budget_no_metric_is_asked_on_the_way(self):
        search = self.search([0.1], task_for(params=0.5))
        self.assertEqual(set(search.history["metric"]), {None})
        self.assertIn("the budget is met", search.notes[0])


class BestTest(tf.test.TestCase):
    """Runs are told: what they leave of the groups (6 and 5 channels), and their metric."""

    def search(self, ends, task):
        def play(run):
            left, metric = ends[run._number - 1]
            kept = {group.name: np.arange(n) for group, n in zip(task.groups, left, strict=True)}
            student = apply(task.model, run.plan(kept), task.groups)
            return pruning.Pruned(Network(student), kept, metric)

        with mock.patch.object(pruning.GreedyRun, "play", play):
            return TaylorPruning(runs=len(ends), epochs=0).search(task)

    def test_within_a_budget_the_best_metric_wins(self):
        ends = [((1, 1), np.nan), ((4, 3), 0.8), ((2, 2), 0.8), ((3, 3), 0.7)]
        search = self.search(ends, task_for(params=0.9))
        self.assertEqual([len(edit.indices) for edit in search.plan], [4, 3])
        self.assertEqual([c.origin for c in search.candidates], ["run 1", "run 2", "run 3", "run 4"])
        self.assertIs(search.student, search.candidates[1].model)

    def test_within_a_budget_the_lower_one_where_less_is_better(self):
        task = task_for(params=0.9)
        error = Objective("mse", keras.metrics.MeanSquaredError, higher_is_better=False)
        task = dataclasses.replace(task, objective=error)
        search = self.search([((3, 3), 0.7), ((4, 3), 0.2)], task)
        self.assertIs(search.student, search.candidates[1].model)

    def test_without_a_budget_the_greatest_reward_wins(self):
        """R = C (2 - C) A / 0.9, with C = 1 - params / all.

        Of 6 and 5 units 65 * 6 + 7 * 5 + 6 * 4 = 449 parameters; of 5 and 5 65 * 5 + 6 * 5 + 6 * 4 = 379, C = 0.156; of 2
        and 2 65 * 2 + 3 * 2 + 3 * 4 = 148, C = 0.670; of 1 and 1 75, C = 0.833.
        """
        self.assertEqual(task_for().costs.total.params, 65 * 6 + 7 * 5 + 6 * 4)
        ends = [((5, 5), 0.9), ((2, 2), 0.8), ((1, 1), 0.1)]  # rewards 0.28, 0.79 and 0.11
        search = self.search(ends, task_for())
        self.assertIs(search.student, search.candidates[1].model)
        search = self.search([*ends[:1], ((2, 2), 0.2), *ends[2:]], task_for())  # 0.28, 0.20 and 0.11
        self.assertIs(search.student, search.candidates[0].model)

    def test_runs_that_removed_nothing(self):
        search = self.search([((6, 5), 0.9), ((6, 5), 0.9)], task_for())
        self.assertEmpty(search.plan)


class RefusalTest(tf.test.TestCase):
    def test_settings_out_of_range(self):
        for settings in (
            {"runs": 0},
            {"filters": 0},
            {"filters": 1.5},
            {"updates": -1},
            {"update_rate": 0.0},
            {"stop_accuracy": "high"},
            {"stop_params": 0},
        ):
            with self.assertRaisesRegex(ValueError, f"Expected `{next(iter(settings))}`.*Received"):
                TaylorPruning(**settings)
        with self.assertRaisesRegex(ValueError, "Expected `criterion`"):
            TaylorPruning(criterion="tailor")

    def test_rules_beside_a_budget(self):
        for settings in ({"stop_accuracy": 0.9}, {"stop_params": 1000}):
            with self.assertRaisesRegex(ValueError, "Expected no `stop_.*beside a budget.*Leave it out"):
                TaylorPruning(**settings).budget(Budget(params=0.5))
            self.assertEqual(TaylorPruning(**settings).budget(Budget()), Budget())

    def test_no_budget_and_a_metric_of_which_less_is_better(self):
        error = Objective("mse", keras.metrics.MeanSquaredError, higher_is_better=False)
        for objective in (error, Objective("mse", None)):
            task = dataclasses.replace(task_for(), objective=objective)
            with self.assertRaisesRegex(ValueError, "Expected a budget, or a metric for which higher is better"):
                TaylorPruning().check(task)
            TaylorPruning().check(dataclasses.replace(task, budget=Budget(params=0.5)))

    def test_no_budget_and_a_model_that_knows_nothing(self):
        with self.assertRaisesRegex(ValueError, "above 0.*Received: accuracy 0.*Train the model first"):
            TaylorPruning(**STILL).search(task_for(accuracy=0.0))

    def test_nothing_to_prune(self):
        with self.assertRaisesRegex(ValueError, "Expected a model with prunable channels"):
            tfcompress.compress(small_tasks.trained_block(), "taylor", small_tasks.pictures(), exclude="*", verbose=0)


class CompressTest(tf.test.TestCase):
    def test_two_budgets_and_candidates_with_their_weights(self):
        model, data = small_tasks.trained_block(), small_tasks.pictures(64, seed=2)
        method = TaylorPruning(runs=2, filters=6, updates=1, epochs=1, batch_size=32)
        result = tfcompress.compress(model, method, data, flops_budget=0.7, params_budget=0.7, verbose=0)
        self.assertLessEqual(result.after.macs, 0.7 * result.before.macs)
        self.assertLessEqual(result.after.params, 0.7 * result.before.params)
        self.assertLen(result.candidates, 2)
        for candidate in result.candidates:
            self.assertEqual(candidate.cost, tfcompress.cost(candidate.model))
        best = max(result.candidates, key=lambda candidate: candidate.score)
        self.assertEqual(result.trail.last.edits, best.trail.last.edits)
        self.assertLen(result.history["recover"]["loss"], 1)


if __name__ == "__main__":
    tf.test.main()
