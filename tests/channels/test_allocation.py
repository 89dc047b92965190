"""Widths within limits: compared with every combination of widths there is."""

import itertools

import keras
import numpy as np
import small_tasks
import tensorflow as tf
from keras import layers

from tfcompress.channels import Control
from tfcompress.channels.allocation import allocated, choices_of
from tfcompress.costs import CostModel
from tfcompress.costs.lookups import Lookup, Lookups
from tfcompress.costs.parts import CostPart
from tfcompress.network import Network


def values_of(choices, sizes, rng):
    """The value of each width: sums of the greatest of random scores."""
    scores = [np.sort(rng.random(size) ** 2)[::-1] for size in sizes]
    return [np.concatenate([[0.0], np.cumsum(s)])[c] for s, c in zip(scores, choices, strict=True)]


def best_of_all(costs, choices, values, limits):
    """The greatest value of all combinations of widths within the limits, one by one."""
    kept = np.array(list(itertools.product(*choices)))
    worth = sum(v[np.searchsorted(c, kept[:, g])] for g, (c, v) in enumerate(zip(choices, values, strict=True)))
    for metric, limit in limits.items():
        worth = np.where(costs.count(metric, kept) <= limit, worth, -np.inf)
    return worth.max()


def concatenation():
    """Two branches that are concatenated and read together; their joint stream is added to a third convolution."""
    inputs = keras.Input((6, 6, 2))
    a = layers.Conv2D(4, 3, padding="same", name="a")(inputs)
    b = layers.Conv2D(5, 1, name="b")(inputs)
    c = layers.Conv2D(6, 3, padding="same", name="c")(layers.Concatenate()([a, b]))
    d = layers.DepthwiseConv2D(3, name="d")(c)
    return keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(d)))


class AllocationTest(tf.test.TestCase):
    def assertBest(self, costs, limits, control=None, levels=64, seed=0):
        widths = (control or Control()).widths(costs.groups)
        choices = choices_of(widths, levels)
        values = values_of(choices, costs.sizes, np.random.default_rng(seed))

        def fits(kept):
            return all(int(costs.count(metric, kept)) <= limit for metric, limit in limits.items())

        solved = allocated(costs, choices, values, limits, fits)
        self.assertTrue(fits(solved.kept))
        worth = sum(v[list(c).index(k)] for c, v, k in zip(choices, values, solved.kept.tolist(), strict=True))
        self.assertAllClose(worth, best_of_all(costs, choices, values, limits), rtol=1e-9, atol=0)
        self.assertEqual(solved.gap, 0)
        return solved

    def test_the_best_of_all_widths_in_a_residual_network(self):
        """A stream of 6 channels that three convolutions write and three layers read, and two blocks in it."""
        costs = Network(small_tasks.residual_network()).costs
        total = costs.total
        for seed, share in enumerate((0.15, 0.3, 0.5, 0.8)):
            self.assertBest(costs, {"macs": int(share * total.macs)}, seed=seed)
        alone = self.assertBest(costs, {"macs": total.macs // 2})
        further = {"macs": total.macs // 2, "bytes": int(costs.count("bytes", alone.kept)) - 1}
        self.assertNotAllEqual(self.assertBest(costs, further).kept, alone.kept)
        self.assertBest(costs, {**further, "params": int(0.4 * total.params)})

    def test_the_best_of_all_widths_with_a_concatenation(self):
        costs = Network(concatenation()).costs
        for seed, share in enumerate((0.3, 0.5, 0.7)):
            self.assertBest(costs, {"macs": int(share * costs.total.macs)}, seed=seed)
        self.assertBest(costs, {"macs": costs.total.macs // 2, "params": costs.total.params // 2})

    def test_the_widths_that_control_allows(self):
        costs = Network(small_tasks.residual_network(inner=(8, 12))).costs
        control = Control(round_to=4, exclude=("stem",), ratio_limits={"block2_conv1": 0.5})
        solved = self.assertBest(costs, {"macs": int(0.7 * costs.total.macs)}, control)
        self.assertEqual(solved.kept[0], 6)
        self.assertContainsSubset(solved.kept[1:].tolist(), {4, 8, 12})
        coarse = self.assertBest(costs, {"macs": costs.total.macs // 2}, levels=3)
        self.assertContainsSubset(coarse.kept.tolist(), {1, 3, 4, 6, 8, 12})  # with those in the middle: 3, 4, 6

    def test_costs_that_are_no_products(self):
        """A cost with plateaus, and one that depends on three groups at once, as a table of latencies may."""
        costs = Network(small_tasks.residual_network(inner=(4, 5), width=4)).costs

        def plateaus(widths):
            return 10 * (-(-widths[:, 0] // 4)) * widths[:, 1] + 3 * (widths[:, 1] % 2)

        def of_three(widths):
            return np.maximum(widths.sum(axis=1), 9) * 5

        parts = [
            CostPart("x", (0, 1), plateaus),
            CostPart("y", (0, 1, 2), of_three),
            CostPart("z", (), lambda widths: np.full(len(widths), 7)),
        ]

        class Tabled(CostModel):
            def parts(self, metric, near=None):
                return parts if metric == "macs" else super().parts(metric, near)

            def count(self, metric, kept):
                wide = np.asarray(kept, np.int64).reshape(-1, 3)
                if metric != "macs":
                    return super().count(metric, kept)
                return sum(part.of(wide[:, list(part.groups)]) for part in parts).reshape(np.shape(kept)[:-1])

        tabled = Tabled(costs.groups)
        for limit in (90, 120, 160):
            self.assertBest(tabled, {"macs": limit})
        self.assertBest(tabled, {"macs": 120, "params": costs.total.params // 2})

    def test_a_cost_that_grows_with_the_bytes_of_all_weights(self):
        """It is no sum of parts of few groups: its tangent near the limit is, and the limit holds all the same."""
        costs = Network(small_tasks.residual_network(inner=(4, 5), width=4)).costs
        row = np.zeros((1, 1 + len(costs.sizes)), np.int64)
        lookups = []
        for group, size in enumerate(costs.sizes.tolist()):
            of_group = row.copy()
            of_group[0, 1 + group] = 1
            node = next(iter(costs.groups.analysis))
            knots = np.arange(1, size + 1)
            lookups.append(Lookup(node, node, of_group, (knots,), 100 * (1 + group) * knots))
        costs.look_up("latency_ns", Lookups(lookups, len(costs.sizes), per_byte=1 / costs.total.bytes))
        choices = choices_of(Control().widths(costs.groups), 64)
        for share in (0.3, 0.5):
            limits = {"latency_ns": int(share * costs.total["latency_ns"])}
            values = values_of(choices, costs.sizes, np.random.default_rng(1))

            def fits(kept, limits=limits):
                return int(costs.count("latency_ns", kept)) <= limits["latency_ns"]

            near = Control().widths(costs.groups).even(fits)
            solved = allocated(costs, choices, values, limits, fits, near)
            self.assertTrue(fits(solved.kept))
            worth = sum(v[list(c).index(k)] for c, v, k in zip(choices, values, solved.kept.tolist(), strict=True))
            self.assertGreater(worth, 0.97 * best_of_all(costs, choices, values, limits))

    def test_no_answer_in_no_time_and_the_gap_that_is_left(self):
        costs = Network(small_tasks.residual_network(inner=(8, 12))).costs
        choices = choices_of(Control().widths(costs.groups), 64)
        values = values_of(choices, costs.sizes, np.random.default_rng(3))
        limits = {"macs": costs.total.macs // 2}
        self.assertIsNone(allocated(costs, choices, values, limits, lambda kept: False))
        loose = allocated(costs, choices, values, limits, lambda kept: True, gap=0.5)
        self.assertBetween(loose.gap, 0, 0.5)


class PartsTest(tf.test.TestCase):
    def test_parts_sum_up_to_the_count_of_any_widths(self):
        rng = np.random.default_rng(0)
        for model in (small_tasks.residual_network(), concatenation()):
            costs = Network(model).costs
            kept = rng.integers(1, costs.sizes + 1, (20, len(costs.sizes)))
            for metric in ("macs", "params", "bytes"):
                parts = costs.parts(metric)
                total = sum(part.of(kept[:, list(part.groups)]) for part in parts)
                self.assertAllEqual(total, costs.count(metric, kept))
                self.assertLen({(part.node, part.groups) for part in parts}, len(parts))

    def test_a_convolution_on_a_concatenation_has_a_part_for_each_group_that_it_reads(self):
        """c reads 4 + 5 channels and writes 6 at 36 places with 3x3 kernels; d multiplies 6 channels at 16 places."""
        costs = Network(concatenation()).costs
        parts = {(part.node, part.groups): part for part in costs.parts("macs")}
        names = list(costs.groups.groups)
        a, b, c = (names.index(name) for name in "abc")
        self.assertAllEqual(parts["c", (a, c)].of(np.array([[4, 6], [1, 2]])), [36 * 9 * 24, 36 * 9 * 2])
        self.assertAllEqual(parts["c", (b, c)].of(np.array([[5, 6]])), [36 * 9 * 30])
        self.assertAllEqual(parts["d", (c,)].of(np.array([[6], [1]])), [16 * 9 * 6, 16 * 9])
        self.assertNotIn(("c", (a, b, c)), parts)
