"""The exact choice of alternatives against trying all, and random choices within limits."""

import itertools
import types

import numpy as np
import tensorflow as tf

from tfcompress.costs import Cost
from tfcompress.methods.darc.choice import at_random, exact_choice, lowest
from tfcompress.methods.darc.units import ORIGINAL, total_of

NAMES = (ORIGINAL, "a", "b")
WHOLE = Cost(1000, 1000, 4000)


def units(rng, count=5):
    """Units whose original costs 100 to 200, and whose replacements cost 10 to 99."""
    made = []
    for number in range(count):
        numbers = [(rng.integers(100, 200), rng.integers(100, 200)), *rng.integers(10, 99, (2, 2))]
        costs = {name: Cost(int(m), int(p), 4 * int(p)) for name, (m, p) in zip(NAMES, numbers, strict=True)}
        replacements = dict.fromkeys(NAMES[1:])
        made.append(
            types.SimpleNamespace(name=f"u{number}", costs=costs, alternatives=NAMES, replacements=replacements)
        )
    return made


def all_choices(made):
    for names in itertools.product(NAMES, repeat=len(made)):
        yield {unit.name: name for unit, name in zip(made, names, strict=True)}


class ChoiceTest(tf.test.TestCase):
    def test_the_exact_choice_is_the_best_of_all(self):
        for seed in range(5):
            rng = np.random.default_rng(seed)
            made = units(rng)
            values = {unit.name: dict(zip(NAMES, rng.random(3), strict=True)) for unit in made}
            for limits in ({"macs": 700}, {"macs": 600, "params": 650}):

                def worth(choice, values=values):
                    return sum(values[unit][name] for unit, name in choice.items())

                within = [
                    choice
                    for choice in all_choices(made)
                    if all(total_of(made, choice, WHOLE, m) <= limit for m, limit in limits.items())
                ]
                chosen = exact_choice(made, values, WHOLE, limits)
                self.assertIn(chosen, within)
                self.assertAlmostEqual(worth(chosen), max(map(worth, within)))

    def test_only_named_alternatives_are_taken(self):
        made = units(np.random.default_rng(0), 2)
        values = {"u0": {ORIGINAL: 0.0}, "u1": {"a": 0.0, "b": 1.0}}
        self.assertEqual(exact_choice(made, values, WHOLE, {}), {"u0": ORIGINAL, "u1": "b"})

    def test_no_choice_within_the_limits(self):
        made = units(np.random.default_rng(0))
        values = {unit.name: dict.fromkeys(NAMES, 0.0) for unit in made}
        least = lowest(made, WHOLE, "macs")
        self.assertEqual(least, min(total_of(made, choice, WHOLE, "macs") for choice in all_choices(made)))
        self.assertIsNone(exact_choice(made, values, WHOLE, {"macs": least - 1}))
        self.assertIsNotNone(exact_choice(made, values, WHOLE, {"macs": least}))

    def test_random_choices_are_within_the_limits_and_near_them(self):
        made = units(np.random.default_rng(1))
        for seed in range(5):
            choice = at_random(made, WHOLE, {"macs": 700}, np.random.default_rng(seed))
            self.assertLessEqual(total_of(made, choice, WHOLE, "macs"), 700)
            self.assertGreater(total_of(made, choice, WHOLE, "macs"), 600)
        again = [at_random(made, WHOLE, {"macs": 700}, np.random.default_rng(3)) for _ in range(2)]
        self.assertEqual(*again)


if __name__ == "__main__":
    tf.test.main()
