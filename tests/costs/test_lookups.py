"""Lookups: tables over widths as parts of a cost, against values by hand."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tfcompress.costs.lookups import Lookup, Lookups
from tfcompress.network import Network
from tfcompress.plan import Plan, RemoveLayers


def table():
    """Rows are what is read (the first group and 2 more), columns what is written (twice the third group)."""
    rows = np.array([[2, 1, 0, 0], [0, 0, 0, 2]])
    knots = np.array([3, 5]), np.array([2, 4, 8])
    return Lookup("conv", "conv", rows, knots, np.array([[10, 20, 40], [30, 60, 120]]))


class TestLookups(tf.test.TestCase):
    def test_by_hand(self):
        lookups = Lookups([table(), Lookup("pad", "pad", np.zeros((0, 4), np.int64), (), np.array(7))], 3)
        products = lookups.products([[1, 9, 1], [3, 1, 2], [2, 1, 3], [3, 1, 4]])
        # Widths (3, 2), (5, 4), (4, 6) between four knots, and (5, 8).
        self.assertAllEqual(products, [[10, 7], [60, 7], [(20 + 40 + 60 + 120) / 4, 7], [120, 7]])
        self.assertAllEqual(lookups.products([3, 1, 2]), [60, 7])

    def test_widths_beyond_the_table_cost_what_its_end_costs_and_none_costs_nothing(self):
        self.assertAllEqual(Lookups([table()], 3).products([[9, 1, 9], [1, 1, 0]]), [[120], [0]])

    def test_groups_and_their_own_widths(self):
        self.assertEqual(table().groups, (0, 2))
        self.assertAllEqual(table().of([[1, 1], [2, 3]]), [10, 60])

    def test_no_lookups(self):
        self.assertEqual(Lookups([], 2).products(np.ones((4, 2), np.int64)).shape, (4, 0))


class GrowingTest(tf.test.TestCase):
    """A column that grows by a thousandth for each byte of all weights."""

    def setUp(self):
        super().setUp()
        x = inputs = keras.Input((3,))
        x = layers.Dense(4, use_bias=False, name="first")(x)
        x = layers.Dense(4, use_bias=False, name="second")(x)
        self.network = Network(keras.Model(inputs, layers.Dense(2, use_bias=False, name="last")(x)))
        costs = self.network.costs
        knots, values = (np.array([1, 4]),), np.array([100, 400])
        rows = {node.name: np.zeros((1, 3), np.int64) for node in self.network.graph.nodes.values()}
        rows["first"][0, 1], rows["second"][0, 2] = 1, 1
        self.lookups = [Lookup(name, name, rows[name], knots, values) for name in ("first", "second")]
        costs.look_up("latency_ns", Lookups(self.lookups, 2, per_byte=1e-3))
        self.costs = costs

    def by_hand(self, first, second):
        size = 4 * (3 * first + first * second + 2 * second)
        return round(100 * first * (1 + size / 1000)) + round(100 * second * (1 + size / 1000))

    def test_by_hand(self):
        for kept in ([4, 4], [2, 3], [1, 4]):
            self.assertEqual(int(self.costs.count("latency_ns", kept)), self.by_hand(*kept))
            self.assertEqual(self.costs.of_kept(kept)["latency_ns"], self.by_hand(*kept))
        self.assertAllEqual(self.costs.count("latency_ns", [[2, 3], [1, 4]]), [self.by_hand(2, 3), self.by_hand(1, 4)])

    def test_parts_are_the_tangent(self):
        def summed(kept, near):
            parts = self.costs.parts("latency_ns", near)
            return sum(int(part.of(np.array([kept])[:, list(part.groups)])[0]) for part in parts)

        for kept in ([4, 4], [2, 3]):
            self.assertAllClose(summed(kept, kept), self.by_hand(*kept), atol=4)
        # Off the point of contact a product of two sums differs from its tangent by the product of both differences.
        alone = 100 * (3 + 4) - 100 * (2 + 3)
        size = 4 * (3 * 3 + 3 * 4 + 2 * 4) - 4 * (3 * 2 + 2 * 3 + 2 * 3)
        self.assertAllClose(self.by_hand(3, 4) - summed([3, 4], [2, 3]), alone * size / 1000, atol=4)

    def test_a_removed_layer_takes_its_bytes_along(self):
        plan = Plan((RemoveLayers(("second",)),))
        left = round(400 * (1 + 4 * (3 * 4 + 4 * 2) / 1000))
        self.assertEqual(self.costs.of(plan)["latency_ns"], left)
        self.assertEqual(self.costs.after(plan).total["latency_ns"], left)
        self.assertEqual(self.costs.after(plan).lookups("latency_ns").per_byte, 1e-3)


if __name__ == "__main__":
    tf.test.main()
