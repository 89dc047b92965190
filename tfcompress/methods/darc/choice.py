"""Chooses one alternative per unit within limits: exactly, or at random."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tfcompress.methods.darc.units import ORIGINAL, Choice, CostTable

__all__ = ["at_random", "exact_choice"]

Values = Mapping[str, Mapping[str, float]]
"""A value of each alternative that may be chosen, for each unit."""


def exact_choice(table: CostTable, values: Values, limits: Mapping[str, float]) -> Choice | None:
    """Returns the choice with the greatest sum of values within the limits: a knapsack with one item per unit.

    Solved as an integer program by `scipy.optimize.milp` (HiGHS).

    Args:
        table: costs of the network with any choice.
        values: the value of each alternative; only the named ones may be chosen.
        limits: `{metric: limit}` of the finished network.

    Returns:
        The choice, or `None` if no choice is within the limits.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp  # a slow import that few calls need

    items = [(unit, name) for unit, worths in values.items() for name in worths]
    one_each = np.array([[float(unit == each) for unit, _ in items] for each in values])
    constraints = [LinearConstraint(one_each, 1.0, 1.0)]
    for metric, limit in limits.items():
        scale = table.whole[metric] or 1
        added = [table.parts[unit][name][metric] - table.parts[unit][ORIGINAL][metric] for unit, name in items]
        room = (limit - table.whole[metric]) / scale
        constraints.append(LinearConstraint(np.array(added, float)[None] / scale, -np.inf, room))
    worth = np.array([values[unit][name] for unit, name in items])
    solved = milp(-worth, constraints=constraints, bounds=Bounds(0, 1), integrality=np.ones(len(items)))
    if not solved.success:
        return None
    choice = {unit: name for (unit, name), taken in zip(items, solved.x, strict=True) if taken > 0.5}
    return choice if table.fits(choice, limits) else None


def at_random(
    table: CostTable, limits: Mapping[str, float], rng: np.random.Generator, tries: int = 200
) -> Choice | None:
    """Returns the random choice closest to the limits, among some tries that meet them; `None` if none does.

    A try goes through the units in random order, and replaces each by a randomly drawn alternative, until the limits
    are met.
    """

    def excess(choice: Choice) -> float:
        shares = [(table.total(choice, m) - limit) / (table.whole[m] or 1) for m, limit in limits.items()]
        return max(shares, default=0.0)

    units = list(table.parts)
    best, nearest = None, -np.inf
    for _ in range(tries):
        choice = dict.fromkeys(units, ORIGINAL)
        for index in rng.permutation(len(units)):
            if excess(choice) <= 0:
                break
            names = [name for name in table.parts[units[index]] if name != ORIGINAL]
            choice[units[index]] = names[rng.integers(len(names))]
        over = excess(choice)
        if over <= 0 and over > nearest:
            best, nearest = choice, over
    return best
