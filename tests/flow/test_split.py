"""How a budget is split over the stages of a flow."""

from unittest import mock

import flow_methods
import tensorflow as tf

from tfcompress.costs import Budget, Cost
from tfcompress.flow.split import check_split, file_shares, given_split, limits_of, measured_limits_of, words_for_split
from tfcompress.methods import LIT, Random, Uniform

TOTAL = Cost(10_000, 1_000, 4_000)
TWO = (LIT(), Uniform())
THREE = (LIT(), Uniform(), Random())
WITH_LAST = (LIT(), Uniform(), flow_methods.Rounds())


def limits(methods, split=None, **budget):
    return limits_of(given_split(split, methods), methods, Budget(**budget), TOTAL)


class SplitTest(tf.test.TestCase):
    def test_equal_factors(self):
        """0.25 ** (1/2) = 0.5; 0.125 ** (1/3) = 0.5, ** (2/3) = 0.25."""
        self.assertEqual(limits(TWO, flops=0.25), [{"macs": 5_000}, {"macs": 2_500}])
        # 0.125 ** (1/3) is a little less than a half in floats.
        first, second, last = (each["macs"] for each in limits(THREE, flops=0.125))
        self.assertAllClose([first, second], [5_000, 2_500], atol=1)
        self.assertEqual(last, 1_250)

    def test_each_metric_by_itself(self):
        split = limits(TWO, flops=0.25, params=0.81)
        self.assertEqual(split, [{"macs": 5_000, "params": 900}, {"macs": 2_500, "params": 810}])

    def test_absolute_limits(self):
        """2,500 MACs of 10,000 are a quarter."""
        self.assertEqual(limits(TWO, flops=5_000), [{"macs": 5_000}, {"macs": 2_500}])
        self.assertEqual(limits(TWO, flops=40_000), [{"macs": 10_000}, {"macs": 10_000}])

    def test_stages_that_cannot_lower_a_metric_are_left_out(self):
        self.assertEqual(limits(WITH_LAST, flops=0.25), [{"macs": 5_000}, {"macs": 2_500}, {}])

    def test_the_last_one_holds_the_whole_to_the_digit(self):
        """In floats 0.29 * 100 is below 29."""
        held = limits_of((None, None), TWO, Budget({"macs": 0.29}), Cost(100, 100, 400))
        self.assertEqual(held[-1], {"macs": 29})
        self.assertEqual(held[0], {"macs": 53})  # 0.29 ** 0.5 = 0.5385

    def test_given_shares(self):
        for split in ({"lit": 0.8}, {1: 0.8}, (0.8,), [0.8, None]):
            self.assertEqual(limits(TWO, split, flops=0.25), [{"macs": 8_000}, {"macs": 2_500}], split)

    def test_equal_factors_between_given_shares(self):
        """0.64 and 0.25: sqrt(0.64) = 0.8 before, sqrt(0.64 * 0.25) = 0.4 between."""
        self.assertEqual([each["macs"] for each in limits(THREE, {"lit": 0.64}, flops=0.25)], [6_400, 4_000, 2_500])
        self.assertEqual([each["macs"] for each in limits(THREE, (None, 0.64), flops=0.25)], [8_000, 6_400, 2_500])

    def test_no_stage_is_held_below_the_whole(self):
        """0.5 of both is below the limit of parameters, which stay at that."""
        self.assertEqual(limits(TWO, (0.5,), flops=0.25, params=0.9)[0], {"macs": 5_000, "params": 900})

    def test_the_file_of_the_last_stage(self):
        """0.25 of 8,000 bytes in two stages that lower it; where it is small enough, nothing has to go."""
        name = "int8_bytes"
        held = file_shares((None,) * 3, WITH_LAST, 8_000, 2_000)
        self.assertEqual(held, [{name: 4_000}, {name: 2_000}, {}])
        self.assertEqual(file_shares((0.8, None, None), WITH_LAST, 8_000, 2_000)[0], {name: 6_400})
        self.assertEqual(file_shares((None,) * 3, WITH_LAST, 8_000, 9_000), [{name: 8_000}, {name: 8_000}, {}])
        self.assertEqual(file_shares((None,), WITH_LAST[2:], 8_000, 2_000), [{}])

    def test_words_for_measured_limits(self):
        """1 ms of 4 and 30 bytes of 40 are a quarter and three quarters."""
        measured = [{"latency_ms": 2.0}, {"latency_ms": 1.0, "file_bytes": 30.0}]
        words = words_for_split(limits(TWO, flops=0.25), TWO, TOTAL, measured, {"latency_ms": 4.0, "file_bytes": 40.0})
        self.assertEqual(
            words,
            "lit to 50.0% of the MACs and 50.0% of the latency, "
            "then uniform to 25.0% of the MACs and 25.0% of the latency and 75.0% of the file",
        )

    def test_words(self):
        words = words_for_split(limits(WITH_LAST, flops=0.25, params=0.81), WITH_LAST, TOTAL)
        self.assertEqual(
            words,
            "lit to 50.0% of the MACs and 90.0% of the parameters, "
            "then uniform to 25.0% of the MACs and 81.0% of the parameters, then rounds",
        )


class MeasuredTest(tf.test.TestCase):
    def held(self, methods, planned=(), split=None, **budget):
        """What each stage is held to, where the original takes 8 ms."""
        limited, shares = Budget(**budget), given_split(split, methods)
        with mock.patch.object(Budget, "planned", planned):
            return [
                measured_limits_of(place, shares, methods, limited, {"latency_ms": 8.0})
                for place in range(len(methods))
            ]

    def test_what_is_only_measured_is_held_by_the_last_that_can_lower_it(self):
        self.assertEqual(self.held(TWO, latency=0.25), [{}, {"latency_ms": 2.0}])
        self.assertEqual(self.held(TWO, latency=4), [{}, {"latency_ms": 4}])

    def test_a_file_of_whole_numbers_is_checked_at_the_end(self):
        self.assertEqual(self.held(WITH_LAST, latency=0.25), [{}, {}, {}])

    def test_what_is_planned_too_is_split(self):
        """0.25 in two stages: 4 ms and 2 ms; in three, of which the last plans nothing: 0.125 to 0.5 and 0.25."""
        planned = ("latency_ms",)
        self.assertEqual(self.held(TWO, planned, latency=0.25), [{"latency_ms": 4.0}, {"latency_ms": 2.0}])
        self.assertEqual(self.held(TWO, planned, (0.75,), latency=0.25), [{"latency_ms": 6.0}, {"latency_ms": 2.0}])
        first, second, last = self.held(WITH_LAST, planned, latency=0.125)
        self.assertAllClose([first["latency_ms"], second["latency_ms"]], [4.0, 2.0])
        self.assertEqual(last, {})


class RefusedSplitTest(tf.test.TestCase):
    def assert_refused(self, methods, split, *words, error=ValueError):
        with self.assertRaises(error) as caught:
            given_split(split, methods)
        for part in ("Expected `split`", "Received: split=", *words):
            self.assertIn(part, str(caught.exception))

    def test_what_is_no_split(self):
        self.assert_refused(TWO[:1], {"lit": 0.5}, "None for a single method")
        for split in ("lit", 0.5, {"lit": "a lot"}, (0.5, "x")):
            self.assert_refused(TWO, split)
        for split in ({"lit": 0.0}, {"lit": 1.5}, (float("nan"),)):
            self.assert_refused(TWO, split)
        self.assert_refused(TWO, (0.9, 0.8, 0.7), "at most 2")
        self.assert_refused(THREE, (0.5, 0.7), "do not rise")

    def test_stages_that_are_not_there(self):
        self.assert_refused(TWO, {"rlal": 0.5}, "['lit', 'uniform']")
        self.assert_refused(TWO, {3: 0.5})
        self.assert_refused((Uniform(), Uniform()), {"uniform": 0.5}, "by number")

    def refused(self, methods, split, *words, **budget):
        with self.assertRaises(ValueError) as caught:
            check_split(given_split(split, methods), methods, Budget(**budget), TOTAL)
        for part in ("Expected ", "Received: ", *words):
            self.assertIn(part, str(caught.exception))

    def test_the_last_stage_holds_the_whole(self):
        self.refused(TWO, (0.8, 0.6), "0.6 for stage 2, 'uniform'", flops=0.5)
        self.refused(WITH_LAST, {"rounds": 0.6}, "lowers none of ['macs']", flops=0.5)

    def test_shares_below_the_budget(self):
        self.refused(TWO, (0.4,), "0.4 for stage 1, 'lit', which is below flops_budget=0.5", flops=0.5)
        check_split((0.4, None), TWO, Budget(flops=0.5, params=0.3), TOTAL)  # above one of them

    def test_a_metric_that_no_stage_can_lower(self):
        last = (flow_methods.Rounds(), flow_methods.Rounds())
        self.refused(last, None, "a stage that can lower 'macs'", "flops_budget=0.5", "['rounds', 'rounds']", flops=0.5)
