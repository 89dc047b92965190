"""Widths to measure, and latencies between them."""

import numpy as np
import tensorflow as tf

from tfcompress.operators.grids import between, read_widths, written_widths


class TestGrids(tf.test.TestCase):
    def test_ends_are_measured_and_tiles_too(self):
        self.assertAllEqual(written_widths(1, 40, alone=False), [1, 15, 16, 17, 31, 32, 33, 40])
        self.assertAllEqual(written_widths(3, 5, alone=False), [3, 5])
        self.assertAllEqual(read_widths(1, 64), [1, 4, 16, 32, 64])
        self.assertAllEqual(read_widths(1, 2), [1, 2])
        many = written_widths(1, 960, alone=False)
        self.assertLess(len(many), 60)
        self.assertEqual(many[-1], 960)

    def test_a_staircase_is_found_again_between_measured_periods(self):
        for tile in (8, 16, 32):
            knots = written_widths(1, 640, alone=True)
            widths, values = between(knots, np.ceil(knots / tile) * 3.0)
            self.assertAllEqual(widths, np.arange(1, 641))
            exact = np.ceil(widths / tile) * 3.0
            self.assertAllClose(values[widths % tile == 0], exact[widths % tile == 0])
            self.assertLess(np.abs(values / exact - 1)[widths > 64].max(), 0.1)

    def test_a_line_is_found_again(self):
        knots = written_widths(1, 300, alone=False)
        widths, values = between(knots, np.stack([2.0 * knots, 5.0 + knots]))
        self.assertAllClose(values, np.stack([2.0 * widths, 5.0 + widths]))

    def test_a_single_width(self):
        widths, values = between(np.array([7]), np.array([3.0]))
        self.assertAllEqual(widths, [7])
        self.assertAllEqual(values, [3.0])
