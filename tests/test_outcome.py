"""The finished student, measured: a latency above its limit is measured again before it is missed."""

import types
from unittest import mock

import small_tasks
import tensorflow as tf

from tfcompress import outcome
from tfcompress.costs import Budget


class TestMeasuredWithin(tf.test.TestCase):
    def measured(self, *milliseconds):
        task = small_tasks.task_without_data(small_tasks.three_convolutions())
        budget = Budget(latency=0.5).with_latency_planned(lambda model: 0.0)
        task = types.SimpleNamespace(network_of=task.network_of, budget=budget, say=self.said.append)
        before = types.SimpleNamespace(measurements={"latency_ms": 2.0})
        answers = [{"latency_ms": each} for each in milliseconds]
        with mock.patch.object(outcome, "measurements_of", side_effect=answers) as measuring:
            number = outcome._measured_within(task, small_tasks.three_convolutions(), before, {})["latency_ms"]
        return number, measuring.call_count

    def setUp(self):
        super().setUp()
        self.said = []

    def test_what_is_within_is_measured_once(self):
        self.assertEqual(self.measured(0.99), (0.99, 1))
        self.assertEqual(self.said, [])

    def test_what_is_above_is_the_median_of_five_and_said(self):
        self.assertEqual(self.measured(1.05, 0.98, 1.02, 0.97, 0.99), (0.99, 5))
        (line,) = self.said
        self.assertIn("first measured 1.05 ms, 5.0% above 1 (latency_budget=0.5)", line)
        self.assertIn("0.99 ms, the median of 5", line)
