"""Widths that pay in latency, and bounds with listed widths."""

import numpy as np
import tensorflow as tf
from perceptrons import perceptron

from tfcompress.channels import Control
from tfcompress.channels.paying import paying_widths
from tfcompress.costs.lookups import Lookup, Lookups
from tfcompress.graph import ChannelGroups, LayerGraph


class TestPaying(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.groups = ChannelGroups.of(LayerGraph.from_keras(perceptron(40, 9)))
        self.assertEqual([group.size for group in self.groups], [40, 9])

    def paying(self, ns):
        """The widths of the first group that pay, if its latency alone counts."""
        widths = np.arange(1, 41)
        row = np.array([[0, 1, 0]])
        return paying_widths(self.groups, Lookups([Lookup("a", "a", row, (widths,), ns(widths))], 2))

    def test_the_upper_ends_of_a_staircase(self):
        paying = self.paying(lambda widths: 160 * np.ceil(widths / 16))
        names = list(self.groups.groups)
        self.assertEqual(paying[names[0]], (16, 32, 40))
        self.assertEqual(paying[names[1]], (9,))  # nothing that it saves

    def test_all_of_a_line(self):
        self.assertEqual(self.paying(lambda widths: 10 * widths + 100)["first"], tuple(range(1, 41)))

    def test_a_width_that_a_wider_one_undercuts_does_not_pay(self):
        paying = self.paying(lambda widths: 10 * widths + 100 + 15 * (widths == 24))["first"]
        self.assertEqual(paying, tuple(width for width in range(1, 41) if width != 24))

    def test_bounds_with_listed_widths(self):
        control = Control(round_to="auto", paying={"first": (8, 16, 32, 40)}, ratio_limits={"first": (0.1, 0.7)})
        widths = control.widths(self.groups)
        self.assertAllEqual(widths.least, [16, 1])  # of 12 or more
        self.assertAllEqual(widths.greatest, [32, 9])  # of 36 or fewer
        self.assertAllEqual(widths.free, [True, True])
        self.assertAllEqual(widths.floor([[31, 4], [40, 12], [1, 0]]), [[16, 4], [32, 9], [16, 1]])
        self.assertAllEqual(widths.rounded([[23, 4], [25, 4]]), [[16, 4], [32, 4]])
        self.assertAllEqual(widths.floor([31, 32], [0]), [16, 32])
        grown = widths.grown(widths.least, lambda group, ws: ws, lambda kept: kept.sum() <= 36)
        self.assertAllEqual(grown, [16, 9])
        whole = widths.only(np.array([False, True]))
        self.assertAllEqual(whole.least, [32, 1])

    def test_auto_is_a_setting(self):
        self.assertEqual(Control(round_to="auto").settings(), {"round_to": "auto"})
        for wrong in ("often", 0, 1.5, None):
            with self.assertRaisesRegex(ValueError, "Expected `round_to` to be a whole number, 1 or more"):
                Control(round_to=wrong)
