"""Limits that measurements do not hold: what is refused at once, and what is not trained in vain."""

import dataclasses
import functools
from unittest import mock

import pytest
import small_tasks
import tensorflow as tf
from converted_once import converted_once

import tfcompress
from tfcompress.costs import Latency, LatencyTable, metrics
from tfcompress.costs.file_size import FILE
from tfcompress.methods import DARC, Replaced
from tfcompress.methods.darc.latency import check_by_measuring

SHORT = {"batch_size": 32, "epochs": 1, "blocks": 1, "block_epochs": 1, "imitation_epochs": 0}


def milliseconds(model):
    """A latency that is no measurement: a microsecond for a thousand multiply-adds."""
    return 1e-6 * (1 + tfcompress.cost(model).macs)


def by_macs(model, *, batch=1, threads=1):
    return Latency(milliseconds(model), 0.0, 1, batch, threads, True)


class LatencyLimitsTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        for module in ("tfcompress.costs.latency", "tfcompress.methods.darc.latency"):
            self.enterContext(mock.patch(f"{module}.measure_latency", by_macs))
        table = functools.partial(LatencyTable, measure=by_macs)
        self.enterContext(mock.patch("tfcompress.methods.darc.latency.LatencyTable", table))
        self.model = small_tasks.trained_network()
        self.whole = milliseconds(self.model)

    def test_the_cheapest_choice_is_measured_as_a_whole_before_any_pass_over_data(self):
        """Of every whole student it is said that it takes as long as the original."""
        measuring = self.enterContext(mock.patch("tfcompress.methods.darc.latency.latency_of", return_value=self.whole))
        passing = self.enterContext(mock.patch("tfcompress.workflow.metrics_of"))
        with self.assertRaisesRegex(ValueError, r"the cheapest choice measures .* 1\.0000 of the original.*0\.7"):
            tfcompress.compress(self.model, DARC(**SHORT), small_tasks.pictures(40), latency_budget=0.7, verbose=0)
        passing.assert_not_called()
        self.assertEqual(measuring.call_count, 2)  # once of the model as it is, and of the cheapest choice

    def test_it_is_not_measured_again_in_a_run_that_has_begun(self):
        method, task = DARC(**SHORT), small_tasks.task_for(self.model, latency=0.7)
        units = method.units(task.costs, task.control)
        table = method.table(task, units)
        measuring = self.enterContext(
            mock.patch("tfcompress.methods.darc.latency.latency_of", side_effect=lambda *_: 1.05 * 0.7 * self.whole)
        )
        check_by_measuring(table, units, task, 1, 1)  # by a twentieth too slow: that is not far
        self.assertEqual(measuring.call_count, 1)
        measuring.side_effect = lambda *_: 1.2 * 0.7 * self.whole
        with self.assertRaisesRegex(ValueError, "a latency that can be reached"):
            check_by_measuring(table, units, task, 1, 1)
        with mock.patch.object(type(task.run), "recall", return_value={"accuracy": None}):
            check_by_measuring(table, units, task, 1, 1)

    def test_a_choice_that_measures_too_much_is_not_trained(self):
        """Measured are, one after the other, longer than the original, and then what they take."""
        answers = iter([1.2, 1.2])
        seen = []

        def measured(model, *_):
            seen.append(next(answers, None) or milliseconds(model) / self.whole)
            return seen[-1] * self.whole

        self.enterContext(mock.patch("tfcompress.methods.darc.method.latency_of", measured))
        result = tfcompress.compress(
            self.model, DARC(**SHORT, strength=0), small_tasks.pictures(96), latency_budget=0.9, verbose=0
        )
        search = result.history["search"]
        self.assertEqual(seen[:2], [1.2, 1.2])
        self.assertLen(seen, 3)
        self.assertAllClose(search["choices left out: latency_ms measured"], [1.2 * self.whole] * 2)
        self.assertAllClose(search["snapshots: latency_ms measured"], [seen[2] * self.whole])
        self.assertLen(result.candidates, 1)
        self.assertEqual(
            [name for name in search if name.endswith(": loss") and "fine-tuning" in name],
            ["fine-tuning of snapshot 1: loss"],
        )
        self.assertLess(
            search["choices left out: latency_ms by the table"][1],
            search["choices left out: latency_ms by the table"][0],
        )
        self.assertIn("it is left out", " ".join(result.notes))

    def test_replaced_plans_again_before_it_trains_and_refuses_what_no_choice_holds(self):
        for answers, ends in (([1.2, 1.2], "found"), ([1.2] * 9, "refused")):
            given, seen = iter(answers), []

            def measured(model, *_, given=given, seen=seen):
                seen.append(next(given, None) or milliseconds(model) / self.whole)
                return seen[-1] * self.whole

            training = self.enterContext(mock.patch("tfcompress.methods.phases.train_student", return_value={}))
            self.enterContext(mock.patch("tfcompress.methods.darc.baselines.latency_of", measured))
            run = functools.partial(
                tfcompress.compress,
                self.model,
                Replaced(epochs=1, imitation_epochs=0),
                small_tasks.pictures(40),
                latency_budget=0.9,
                verbose=0,
            )
            if ends == "found":
                result = run()
                self.assertLen(seen, 3)
                self.assertLessEqual(seen[-1], 0.95 * 0.9)
                self.assertIn("a choice is left out", " ".join(result.notes))
            else:
                with self.assertRaisesRegex(ValueError, "which no combination met. Give a larger share"):
                    run()
                training.assert_not_called()

    def test_a_file_above_its_limit_is_planned_again(self):
        self.check_larger_files(Replaced(epochs=0, imitation_epochs=0))

    @pytest.mark.slow  # the way of the test above, for the last choice
    def test_a_file_of_darc_above_its_limit_is_planned_again(self):
        self.check_larger_files(DARC(**SHORT | {"epochs": 0}, strength=0))

    def check_larger_files(self, method):
        """Each file that is measured has 2,000 bytes more than it has."""
        known = metrics._METRICS[FILE]
        larger = dataclasses.replace(known, measure=lambda student: known.measure(student) + 2000.0)
        self.enterContext(converted_once())
        self.enterContext(mock.patch.dict(metrics._METRICS, {FILE: larger}))
        result = tfcompress.compress(self.model, method, small_tasks.pictures(40), size_budget=0.9, verbose=0)
        self.assertLessEqual(result.after[FILE], 0.9 * result.before[FILE])
        self.assertIn("bytes above the limit", " ".join(result.notes))
