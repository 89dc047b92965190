"""Widths narrowed by the least worth per price, worked out by hand."""

import numpy as np
import tensorflow as tf
from perceptrons import perceptron

from tfcompress.channels import Control
from tfcompress.channels.prices import widths_by_price
from tfcompress.costs import CostModel
from tfcompress.costs.lookups import Lookup
from tfcompress.graph import ChannelGroups, LayerGraph

ROWS = np.array([[0, 1, 0], [0, 0, 1]])
LINEAR = np.array([0.0, 1, 2, 3])


def of_both(table):
    """A lookup over the widths 1 to 3 of both groups."""
    return Lookup("first", "first", ROWS, (np.arange(1, 4), np.arange(1, 4)), np.array(table))


def of_group(index, ns):
    """A lookup over the widths from 1 on of one group."""
    return Lookup("first", "first", ROWS[index : index + 1], (np.arange(1, len(ns) + 1),), np.array(ns))


class TestWidthsByPrice(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.groups = ChannelGroups.of(LayerGraph.from_keras(perceptron(3, 3)))
        cls.wide = ChannelGroups.of(LayerGraph.from_keras(perceptron(40, 3)))

    def widths(self, worths, limits, groups=None, **columns):
        groups = groups or self.groups
        costs = CostModel(groups)
        for metric, lookups in columns.items():
            costs.look_up(metric, lookups)
        widths = Control().widths(groups)
        return widths_by_price(costs, widths, [np.array(each) for each in worths], limits, widths.greatest).tolist()

    def test_prices_are_those_at_the_present_widths(self):
        """A product of both widths, 9, of which 5 may be left.

        At first each channel saves 3. The first group's last channel loses 1, a third for each nanosecond; the second
        group's 1.2, which is 0.4. At widths (2, 3) the first group's next channel still saves 3 and loses 1.5, a half;
        the second group's saves 2 now, 0.6 for each. By the prices of the whole network it would be 0.4, and cheaper.
        """
        product = of_both(np.outer([1, 2, 3], [1, 2, 3]))
        worths = [0, 5, 6.5, 7.5], [0, 5, 6.2, 7.4]
        self.assertEqual(self.widths(worths, {"ns": 5}, ns=[product]), [1, 3])
        self.assertEqual(self.widths(worths, {"ns": 6}, ns=[product]), [2, 3])
        self.assertEqual(self.widths(worths, {"ns": 9}, ns=[product]), [3, 3])

    def test_what_a_step_saves_in_two_columns_counts_by_what_is_still_to_be_saved(self):
        """The first group saves 10 of x, the second 10 of y; 10 of x and 20 of y are too many."""
        worths = LINEAR, LINEAR
        columns = {"x": [of_group(0, [10, 20, 30])], "y": [of_group(1, [10, 20, 30])]}
        self.assertEqual(self.widths(worths, {"x": 20, "y": 10}, **columns), [2, 1])
        self.assertEqual(self.widths(worths, {"x": 30, "y": 25}, **columns), [3, 2])

    def test_where_only_two_groups_together_save_the_least_worth_goes_first(self):
        higher = of_both([[10, 20, 30], [20, 20, 30], [30, 30, 30]])
        self.assertEqual(self.widths([LINEAR, 1.2 * LINEAR], {"ns": 20}, ns=[higher]), [2, 2])

    def test_a_whole_tile_goes_at_once(self):
        """40 channels in tiles of 16, the last of 8: 39 save nothing, 33 cost more, 32 save a tile."""
        ns = 100 * np.ceil(np.arange(1, 41) / 16).astype(int) + 5 * (np.arange(1, 41) == 33)
        worths = np.arange(41.0), 100 * LINEAR
        of_rest = of_group(1, [0, 10, 20])
        groups = self.wide
        self.assertEqual(self.widths(worths, {"ns": 319}, groups, ns=[of_group(0, ns), of_rest]), [32, 3])
        self.assertEqual(self.widths(worths, {"ns": 219}, groups, ns=[of_group(0, ns), of_rest]), [16, 3])

    def test_limits_below_what_is_left_leave_the_least_widths(self):
        self.assertEqual(self.widths([LINEAR, LINEAR], {"ns": 0}, ns=[of_group(0, [10, 20, 30])]), [1, 1])
