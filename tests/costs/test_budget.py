"""Budgets: shares and absolute numbers, and everything that is no budget."""

import math

import numpy as np
import tensorflow as tf

from tfcompress import Budget, Cost
from tfcompress.costs.budget import as_budget
from tfcompress.methods import Uniform

TOTAL = Cost(macs=1000, params=400, bytes=1600)
SMALLEST = Cost(macs=123, params=57, bytes=300)


def limits(budget, total, least):
    """The limits of a budget that can be reached."""
    budget.check_reachable(total, least)
    return budget.limits(total)


class LimitsTest(tf.test.TestCase):
    def limits(self, **budget):
        return limits(Budget(**budget), TOTAL, SMALLEST)

    def test_a_share_of_the_flops_is_the_same_share_of_the_macs(self):
        self.assertEqual(self.limits(flops=0.5), {"macs": 500})

    def test_an_absolute_number_of_flops_is_two_for_each_mac(self):
        self.assertEqual(self.limits(flops=700), {"macs": 350})
        self.assertEqual(self.limits(flops=np.int64(701)), {"macs": 350})  # 351 MACs would be 702 FLOPs

    def test_parameters_are_counted_as_they_are(self):
        self.assertEqual(self.limits(params=0.25), {"params": 100})
        self.assertEqual(self.limits(params=250), {"params": 250})

    def test_a_part_keeps_its_words(self):
        budget = Budget({"bytes": 0.5}, flops=1_000, params=0.7)
        part = budget.part(["macs", "bytes", "latency_ms"])
        self.assertEqual(dict(part), {"bytes": 0.5, "macs": 500})
        self.assertEqual(part.said("macs"), "flops_budget=1000")
        self.assertEqual(dict(budget.part([])), {})

    def test_both_budgets(self):
        self.assertEqual(self.limits(flops=0.7, params=0.3), {"macs": 700, "params": 120})
        self.assertEqual(self.limits(flops=1200, params=0.3), {"macs": 600, "params": 120})

    def test_a_share_is_rounded_down(self):
        self.assertEqual(self.limits(flops=np.float32(0.3337)), {"macs": 333})

    def test_a_share_that_a_float_cannot_hold_is_meant_as_it_is_written(self):
        # In floats 0.29 * 100 is 28.999999999999996.
        self.assertEqual(limits(Budget(flops=0.29), Cost(100, 100, 400), Cost(29, 1, 4)), {"macs": 29})

    def test_one_as_a_float_is_the_whole_model(self):
        for one in (1.0, np.float64(1)):
            self.assertEqual(self.limits(flops=one, params=one), {"macs": 1000, "params": 400})

    def test_more_than_the_model_costs_is_what_it_costs(self):
        self.assertEqual(self.limits(flops=10**9, params=401), {"macs": 1000, "params": 400})

    def test_what_can_just_be_reached_is_accepted(self):
        self.assertEqual(self.limits(flops=246, params=57), {"macs": 123, "params": 57})

    def test_below_what_can_be_reached_the_message_gives_the_smallest_share(self):
        for value in (0.1229, 245, 2):  # 2: as whoever means per cent might write
            with self.assertRaisesRegex(
                ValueError, r"(?s)flops_budget.*at least 0\.1230 .*246 of 2,000 FLOPs.*Received: flops"
            ):
                self.limits(flops=value)
        # 57 / 400 = 0.1425
        with self.assertRaisesRegex(
            ValueError, r"params_budget.*at least 0\.1425 .*57 of 400 param.*Received: params_budget=0\.1"
        ):
            self.limits(flops=0.5, params=0.1)

    def test_the_share_in_the_message_can_be_reached(self):
        rng = np.random.default_rng(0)
        for _ in range(300):
            whole = int(rng.integers(10, 10**6))
            least = int(rng.integers(2, whole))
            with self.assertRaises(ValueError) as caught:
                limits(Budget(flops=0.5 / whole), Cost(whole, 1, 4), Cost(least, 1, 4))
            shown = float(str(caught.exception).split("at least ")[1].split()[0])
            limit = limits(Budget(flops=shown), Cost(whole, 1, 4), Cost(least, 1, 4))["macs"]
            self.assertBetween(limit, least, math.ceil(least + 1e-4 * whole))


class WordsTest(tf.test.TestCase):
    def test_numbers_in_the_units_of_budgets(self):
        self.assertEqual(as_budget({"macs": 667, "params": 250}), "1,334 FLOPs and 250 parameters")
        self.assertEqual(as_budget({"bytes": 1000}), "1,000 bytes")

    def test_a_limit_is_told_as_it_was_given(self):
        budget = Budget({"bytes": 700}, flops=0.5)
        for same in (budget, Budget(budget)):
            self.assertEqual((same.said("macs"), same.said("bytes")), ("flops_budget=0.5", "budget['bytes']=700"))

    def test_equal_budgets_are_one(self):
        self.assertLen({Budget({"macs": 350, "params": 0.5}), Budget(params=0.5, flops=700)}, 1)


class RefusedTest(tf.test.TestCase):
    def test_no_budget_at_all(self):
        self.assertEqual(limits(Budget(), TOTAL, SMALLEST), {})  # it is methods that need one
        with self.assertRaisesRegex(ValueError, "Received neither .*flops_budget=0.5"):
            Uniform().budget(Budget())

    def test_zero_negative_and_nan(self):
        for value in (0, 0.0, -0.5, -3, float("nan"), np.float32("nan"), -math.inf):
            for name in ("flops", "params"):
                with self.assertRaisesRegex(
                    ValueError, f"Expected `{name}_budget` to be above 0. Received: {name}_budget="
                ):
                    Budget(**{name: value})

    def test_one_as_an_int_may_mean_both(self):
        for one in (1, np.int32(1)):
            for name, unit in (("flops", "FLOPs"), ("params", "parameters")):
                with self.assertRaisesRegex(ValueError, f"1.0 for all.*number of {unit} above 1.*{name}_budget=1.0"):
                    Budget(**{name: one})

    def test_above_one_where_a_share_is_meant(self):
        for value in (1.5, 50.0, math.inf, np.float32(1.01)):
            with self.assertRaisesRegex(
                ValueError, "a share of the original, .*or an absolute number as an int.*Received"
            ):
                Budget(params=value)

    def test_what_is_no_number(self):
        for value in ("0.5", True, [0.5], 0.5j):
            with self.assertRaisesRegex(TypeError, "Expected `flops_budget` to be a number. Received: flops_budget="):
                Budget(flops=value)

    def test_a_good_budget_does_not_excuse_a_bad_one(self):
        with self.assertRaisesRegex(ValueError, "params_budget"):
            Budget(flops=0.5, params=-1)
