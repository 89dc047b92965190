"""The choice of one alternative a unit within limits: exact, or at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tfcompress.costs import Cost
from tfcompress.methods.darc.units import ORIGINAL, Choice, Unit, total_of

__all__ = ["at_random", "exact_choice", "lowest"]

Values = Mapping[str, Mapping[str, float]]
"""For each unit a number for each alternative that may be chosen."""


def lowest(units: Sequence[Unit], whole: Cost, metric: str) -> int:
    """The lowest cost that any choice reaches."""
    choice = {unit.name: min(unit.alternatives, key=lambda name: unit.costs[name][metric]) for unit in units}
    return total_of(units, choice, whole, metric)


def exact_choice(units: Sequence[Unit], values: Values, whole: Cost, limits: Mapping[str, int]) -> Choice | None:
    """The choice with the greatest sum of values within the limits, a knapsack with one item a unit.

    Solved as an integer programme by `scipy.optimize.milp` (HiGHS).

    Args:
        units: the units.
        values: what each alternative is worth; only those named may be chosen.
        whole: cost of the network as it is.
        limits: `{metric: limit}` of the finished network.

    Returns:
        The choice, or `None` where no choice is within the limits.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp  # a slow import that few calls need

    items = [(unit, alternative) for unit in units for alternative in values[unit.name]]
    one_each = np.array([[float(item is unit) for item, _ in items] for unit in units])
    constraints = [LinearConstraint(one_each, 1.0, 1.0)]
    for metric, limit in limits.items():
        scale = max(1, whole[metric])
        added = np.array([unit.costs[name][metric] - unit.costs[ORIGINAL][metric] for unit, name in items], float)
        constraints.append(LinearConstraint(added[None] / scale, -np.inf, (limit - whole[metric]) / scale))
    worth = np.array([values[unit.name][name] for unit, name in items])
    solved = milp(-worth, constraints=constraints, bounds=Bounds(0, 1), integrality=np.ones(len(items)))
    if not solved.success:
        return None
    choice = {unit.name: name for (unit, name), taken in zip(items, solved.x, strict=True) if taken > 0.5}
    over = {m: total_of(units, choice, whole, m) - limit for m, limit in limits.items()}
    return choice if all(excess <= 0 for excess in over.values()) else None


def at_random(
    units: Sequence[Unit], whole: Cost, limits: Mapping[str, int], rng: np.random.Generator, tries: int = 200
) -> Choice:
    """The choice at random that comes nearest to the limits from below, of some tries.

    A try goes through the units in random order, and puts a replacement drawn at random in the place of each, until the
    limits hold; where all were replaced and they do not hold, the cheapest replacement goes into one after the other.
    """

    def excess(choice: Choice) -> float:
        return max(
            ((total_of(units, choice, whole, m) - limit) / max(1, whole[m]) for m, limit in limits.items()), default=0.0
        )

    best, nearest = None, -np.inf
    for _ in range(tries):
        choice = {unit.name: ORIGINAL for unit in units}
        for index in rng.permutation(len(units)):
            if excess(choice) <= 0:
                break
            unit = units[index]
            choice[unit.name] = str(rng.choice(list(unit.replacements)))
        over = excess(choice)
        if over <= 0 and over > nearest:
            best, nearest = choice, over
    if best is None:
        best = exact_choice(units, {u.name: dict.fromkeys(u.alternatives, 0.0) for u in units}, whole, limits)
        assert best is not None  # the budget was checked against the lowest cost
    return best
