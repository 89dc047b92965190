"""Allocates widths exactly: the most valuable widths within limits of costs, as an integer program.

A variable of 0 or 1 says whether a group has a certain width. A part of a cost that depends on one group is linear in
these. For a part that depends on several, either the variable of a width of one group is multiplied with the width of
another (where the part is a product, as multiply-adds are), or each combination of widths has a variable; both are
exact when the variables of the groups are whole. `scipy.optimize.milp` (HiGHS) solves it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tfcompress.channels.control import Widths
from tfcompress.costs import CostModel
from tfcompress.costs.parts import CostPart
from tfcompress.process import quiet_output

__all__ = ["Allocation", "allocated", "choices_of"]

_Int = npt.NDArray[np.int64]
_Float = npt.NDArray[np.float64]
_COMBINATIONS = 40_000  # of widths, that one part may have
_ROUNDS = 6
_ROUNDING = 1e-6  # by which HiGHS may miss a constraint


@dataclass(frozen=True, eq=False)
class Allocation:
    """Widths within limits.

    Attributes:
        kept: int64 `[groups]`, positions that each group keeps.
        gap: by how much, as a share of its value, another allocation over the same choices may be better; 0 if none is.
        estimated: number of parts whose cost was taken as a sum over their groups, because they have too many.
    """

    kept: _Int
    gap: float
    estimated: int = 0


def choices_of(widths: Widths, levels: int) -> list[_Int]:
    """Returns the widths of each group to choose from: all allowed ones, or `levels` of them, evenly spaced, with the
    least and the greatest.
    """
    return [widths.some(group, levels) for group in range(len(widths.sizes))]


def allocated(
    costs: CostModel,
    choices: Sequence[_Int],
    values: Sequence[_Float],
    limits: Mapping[str, int],
    fits: Callable[[_Int], bool],
    near: _Int | None = None,
    gap: float = 0.0,
    seconds: float = 60.0,
) -> Allocation | None:
    """Returns the widths with the greatest sum of values within all limits.

    Args:
        costs: costs of the network.
        choices: for each group the widths to choose from, ascending int64 `[choices]`.
        values: for each group the value of each of them, float64 `[choices]`.
        limits: `{metric: limit}`.
        fits: whether widths int64 `[groups]` are within the limits.
        near: widths int64 `[groups]` that are about as large as what is looked for; see `CostModel.parts`.
        gap: share of the value that may be given up for a faster answer.
        seconds: time limit; the best allocation until then is returned.

    Returns:
        `None` if no allocation was found in time.
    """
    program = _Program(choices)
    for metric in limits:
        program.add_cost(metric, costs.parts(metric, near), float(costs.total[metric] or 1))
    room = {metric: float(limit) for metric, limit in limits.items()}
    for _ in range(_ROUNDS):
        solved = program.solve(values, room, gap, seconds)
        if solved is None:
            return None
        kept, left = solved
        if fits(kept):
            return Allocation(kept, left, program.estimated)
        # The solver's rounding, a tangent, or the estimate of parts with many groups: as much less is asked for.
        for metric, limit in limits.items():
            over = int(costs.count(metric, kept)) - limit
            if over > 0:
                room[metric] -= max(1.1 * over, _ROUNDING * costs.total[metric])
    return None


class _Program:
    """The variables and constraints of an integer program over widths."""

    def __init__(self, choices: Sequence[_Int]) -> None:
        self.choices = choices
        self.estimated = 0
        self._first = np.cumsum([0, *map(len, choices)]).tolist()
        self._upper = [1.0] * self._first[-1]
        self._rows: list[tuple[list[int], list[float], float, float]] = []
        self._costs: dict[str, dict[int, float]] = {}
        self._constants: dict[str, float] = {}
        self._scales: dict[str, float] = {}
        self._products: dict[tuple[int, int], list[tuple[_Float, list[int]]]] = {}
        self._joint: dict[tuple[int, ...], list[int]] = {}
        for group in range(len(choices)):
            variables = self._of(group)
            self._rows.append((variables, [1.0] * len(variables), 1.0, 1.0))

    def _of(self, group: int) -> list[int]:
        """Returns the variables of a group's widths."""
        return list(range(self._first[group], self._first[group + 1]))

    def add_cost(self, metric: str, parts: Sequence[CostPart], scale: float) -> None:
        """Adds a metric, as shares of `scale`."""
        self._scales[metric], self._constants[metric] = scale, 0.0
        self._costs[metric] = {}
        # Parts of other nodes with the same groups come together, and groups without a choice are constants.
        joined: dict[tuple[int, ...], _Float] = {}
        many: dict[tuple[int, ...], list[CostPart]] = {}
        for part in parts:
            free = tuple(group for group in part.groups if len(self.choices[group]) > 1)
            if math.prod(len(self.choices[group]) for group in free) > _COMBINATIONS:
                many.setdefault(free, []).append(part)
                continue
            joined[free] = joined.get(free, 0.0) + self._table(part, free) / scale
        for groups, table in joined.items():
            self._add_table(metric, groups, table)
        for groups, of_groups in many.items():
            self.estimated += len(of_groups)
            for part in of_groups:
                self._add_estimate(metric, part, groups)

    def _table(self, part: CostPart, free: tuple[int, ...]) -> _Float:
        """Returns a part's cost for all combinations of widths of its free groups, float64 with an axis for each."""
        options = [self.choices[group] if group in free else self.choices[group][:1] for group in part.groups]
        count = math.prod(map(len, options))
        grid = np.array(list(itertools.product(*options)), np.int64).reshape(count, len(part.groups))
        shape = [len(self.choices[group]) for group in free]
        return np.asarray(part.of(grid), np.float64).reshape(shape)

    def _add(self, metric: str, variables: Sequence[int], numbers: npt.ArrayLike) -> None:
        row = self._costs[metric]
        for variable, number in zip(variables, np.ravel(numbers).tolist(), strict=True):
            row[variable] = row.get(variable, 0.0) + number

    def _add_table(self, metric: str, groups: tuple[int, ...], table: _Float) -> None:
        if not groups:
            self._constants[metric] += float(table)
        elif len(groups) == 1:
            self._add(metric, self._of(groups[0]), table)
        elif len(groups) == 2 and (factors := _as_product(table)) is not None:
            self._add_product(metric, (groups[0], groups[1]), *factors)
        else:
            self._add(metric, self._combinations(groups), table)

    def _add_product(self, metric: str, groups: tuple[int, int], left: _Float, right: _Float) -> None:
        """Adds a cost that is a product of a number for each of two groups.

        Of the group with fewer widths each variable x is multiplied with the other group's number u: z = x * u is bound
        by z <= u_max * x and z >= u_min * x, and the sum of all z is u.
        """
        swapped = len(right) < len(left)
        (narrow, wide), (first, second) = ((groups, (left, right)), (groups[::-1], (right, left)))[swapped]
        size = float(np.abs(second).max())
        second = second / size
        known = self._products.setdefault((narrow, wide), [])
        variables = next((each for numbers, each in known if np.allclose(numbers, second, rtol=1e-12, atol=0)), [])
        if not variables:
            variables = self._new(len(first), 1.0)
            self._rows.append(([*variables, *self._of(wide)], [1.0] * len(variables) + (-second).tolist(), 0.0, 0.0))
            for z, x in zip(variables, self._of(narrow), strict=True):
                self._rows.append(([z, x], [1.0, -float(second.max())], -np.inf, 0.0))
                self._rows.append(([z, x], [1.0, -float(second.min())], 0.0, np.inf))
            known.append((second, variables))
        self._add(metric, variables, first * size)

    def _combinations(self, groups: tuple[int, ...]) -> list[int]:
        """Returns a variable for each combination of widths; over the others, they sum up to that of each width."""
        if groups not in self._joint:
            shape = [len(self.choices[group]) for group in groups]
            variables = self._new(math.prod(shape), 1.0)
            self._joint[groups] = variables
            index = np.array(variables).reshape(shape)
            for axis, group in enumerate(groups):
                for level, x in enumerate(self._of(group)):
                    members = np.take(index, level, axis).ravel().tolist()
                    self._rows.append(([*members, x], [1.0] * len(members) + [-1.0], 0.0, 0.0))
        return self._joint[groups]

    def _add_estimate(self, metric: str, part: CostPart, free: tuple[int, ...]) -> None:
        """Adds a part of many groups as the sum of what narrowing each alone would save."""
        whole = np.array([self.choices[group][-1] for group in part.groups], np.int64)
        most = float(part.of(whole[None])[0])
        self._constants[metric] += most / self._scales[metric]
        for place, group in enumerate(part.groups):
            if group in free:
                widths = np.repeat(whole[None], len(self.choices[group]), axis=0)
                widths[:, place] = self.choices[group]
                self._add(metric, self._of(group), (part.of(widths) - most) / self._scales[metric])

    def _new(self, count: int, upper: float) -> list[int]:
        first = len(self._upper)
        self._upper += [upper] * count
        return list(range(first, first + count))

    def solve(
        self, values: Sequence[_Float], limits: Mapping[str, float], gap: float, seconds: float
    ) -> tuple[_Int, float] | None:
        """Returns widths int64 `[groups]` and the gap that is left; `None` if none were found."""
        from scipy import sparse  # a slow import that few calls need
        from scipy.optimize import Bounds, LinearConstraint, milp

        rows = list(self._rows)
        for metric, limit in limits.items():
            room = limit / self._scales[metric] - self._constants[metric]
            row = self._costs[metric]
            rows.append((list(row), list(row.values()), -np.inf, room))
        count, whole = len(self._upper), self._first[-1]
        numbers = [number for _, row, _, _ in rows for number in row]
        columns = [column for row, _, _, _ in rows for column in row]
        lines = np.repeat(np.arange(len(rows)), [len(row) for row, _, _, _ in rows])
        matrix = sparse.csr_matrix((numbers, (lines, columns)), shape=(len(rows), count))
        worth = np.zeros(count)
        worth[:whole] = np.concatenate([np.zeros(0), *values])
        size = float(np.abs(worth).max()) or 1.0
        kinds = np.zeros(count)
        kinds[:whole] = 1
        with quiet_output():  # HiGHS reports some of its steps
            solved = milp(
                -worth / size,
                constraints=LinearConstraint(matrix, [row[2] for row in rows], [row[3] for row in rows]),
                bounds=Bounds(0, np.array(self._upper)),
                integrality=kinds,
                options={"time_limit": seconds, "mip_rel_gap": gap},
            )
        if solved.x is None:
            return None
        chosen = [int(np.argmax(solved.x[first:last])) for first, last in itertools.pairwise(self._first)]
        kept = np.array([widths[index] for widths, index in zip(self.choices, chosen, strict=True)], np.int64)
        return kept, 0.0 if solved.status == 0 and not solved.mip_gap else float(solved.mip_gap or 0.0)


def _as_product(table: _Float) -> tuple[_Float, _Float] | None:
    """Returns two vectors whose outer product is the table; `None` if it has none, or is not positive."""
    if table.min() < 0 or not table[-1, -1] > 0:
        return None
    left, right = table[:, -1] / table[-1, -1], table[-1]
    return (left, right) if np.allclose(np.outer(left, right), table, rtol=1e-12, atol=0) else None
