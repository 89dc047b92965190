"""Limits of latency that measurements do not hold: what is refused at once, and what is not trained in vain."""

import functools
from unittest import mock

import small_tasks
import tensorflow as tf

import tfcompress
from tfcompress.costs import Latency, LatencyTable
from tfcompress.methods import DARC
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
