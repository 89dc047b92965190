"""Lookups: tables over widths as parts of a cost, against values by hand."""

import numpy as np
import tensorflow as tf

from tfcompress.costs.lookups import Lookup, Lookups


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
