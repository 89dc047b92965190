"""The exact choice of alternatives against trying all, and random choices within limits."""

import itertools

import numpy as np
import tensorflow as tf

from tfcompress.methods.darc.choice import at_random, exact_choice
from tfcompress.methods.darc.units import ORIGINAL, CostTable

NAMES = (ORIGINAL, "a", "b")


def table_of(rng, count=5):
    """Units whose originals cost 100 to 199, and whose replacements cost 10 to 98, of a network that costs 1,000."""
    parts = {}
    for number in range(count):
        columns = np.vstack([rng.integers(100, 200, (1, 2)), rng.integers(10, 99, (2, 2))])
        parts[f"u{number}"] = {
            name: {"macs": float(m), "params": float(p)} for name, (m, p) in zip(NAMES, columns, strict=True)
        }
    return CostTable({"macs": 1000, "params": 1000}, parts)


def all_choices(table):
    for names in itertools.product(NAMES, repeat=len(table.parts)):
        yield dict(zip(table.parts, names, strict=True))


class ChoiceTest(tf.test.TestCase):
    def test_the_exact_choice_is_the_best_of_all(self):
        for seed in range(5):
            rng = np.random.default_rng(seed)
            table = table_of(rng)
            values = {unit: dict(zip(NAMES, rng.random(3), strict=True)) for unit in table.parts}
            for limits in ({"macs": 700}, {"macs": 600, "params": 650}):

                def worth(choice, values=values):
                    return sum(values[unit][name] for unit, name in choice.items())

                within = [
                    choice
                    for choice in all_choices(table)
                    if all(table.total(choice, m) <= limit for m, limit in limits.items())
                ]
                chosen = exact_choice(table, values, limits)
                self.assertIn(chosen, within)
                self.assertAlmostEqual(worth(chosen), max(map(worth, within)))

    def test_totals_and_shares_by_hand(self):
        parts = {
            "u": {ORIGINAL: {"macs": 60, "params": 10}, "a": {"macs": 6, "params": 4}},
            "v": {ORIGINAL: {"macs": 40, "params": 30}, "a": {"macs": 30, "params": 3}},
        }
        table = CostTable({"macs": 110, "params": 50}, parts)
        self.assertEqual(table.total({"u": "a", "v": ORIGINAL}, "macs"), 110 - 54)
        self.assertEqual(table.total({"u": "a", "v": "a"}, "params"), 50 - 6 - 27)
        self.assertEqual(table.lowest("macs"), 110 - 54 - 10)
        self.assertTrue(table.fits({"u": "a", "v": "a"}, {"macs": 46, "params": 17}))
        self.assertFalse(table.fits({"u": "a", "v": "a"}, {"macs": 46, "params": 16}))
        self.assertAllClose(table.shares(["macs"])["v"], {ORIGINAL: 0.4, "a": 0.3})
        self.assertAllClose(table.shares(["macs", "params"])["u"], {ORIGINAL: 0.425, "a": (0.06 + 0.1) / 2})

    def test_only_named_alternatives_are_taken(self):
        table = table_of(np.random.default_rng(0), 2)
        values = {"u0": {ORIGINAL: 0.0}, "u1": {"a": 0.0, "b": 1.0}}
        self.assertEqual(exact_choice(table, values, {}), {"u0": ORIGINAL, "u1": "b"})

    def test_no_choice_within_the_limits(self):
        table = table_of(np.random.default_rng(0))
        values = {unit: dict.fromkeys(NAMES, 0.0) for unit in table.parts}
        least = table.lowest("macs")
        self.assertEqual(least, min(table.total(choice, "macs") for choice in all_choices(table)))
        self.assertIsNone(exact_choice(table, values, {"macs": least - 1}))
        self.assertIsNotNone(exact_choice(table, values, {"macs": least}))

    def test_random_choices_are_within_the_limits_and_near_them(self):
        table = table_of(np.random.default_rng(1))
        for seed in range(5):
            choice = at_random(table, {"macs": 700}, np.random.default_rng(seed))
            self.assertLessEqual(table.total(choice, "macs"), 700)
            self.assertGreater(table.total(choice, "macs"), 600)
        again = [at_random(table, {"macs": 700}, np.random.default_rng(3)) for _ in range(2)]
        self.assertEqual(*again)
        self.assertIsNone(at_random(table, {"macs": 1}, np.random.default_rng(0)))


if __name__ == "__main__":
    tf.test.main()
