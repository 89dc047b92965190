"""`Widths`: how many channels each group may keep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Widths"]

_Int = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Widths:
    """The widths that each group may have: `least`, multiples of `step` above it, and `greatest`.

    Attributes:
        sizes, least, greatest, step: int64 `[groups]`.
        floors: int64 `[groups, 1 + greatest size]`, the greatest allowed width not above another, where the allowed
            ones are listed; `None` where they are multiples.
        rounds: the same for the nearest allowed width.
    """

    sizes: _Int
    least: _Int
    greatest: _Int
    step: _Int
    floors: _Int | None = None
    rounds: _Int | None = None

    @classmethod
    def between(cls, sizes: _Int, least: _Int, greatest: _Int, step: _Int) -> Widths:
        """Returns bounds moved to multiples of the step if any lie between them; an unpruned group keeps its size."""
        first, last = -(-least // step) * step, greatest // step * step
        whole = greatest == sizes
        none = last < least
        return cls(
            sizes,
            np.where(none | (first > greatest), greatest, first),
            np.where(none | whole, greatest, last),
            step,
        )

    def among(self, listed: Sequence[Sequence[int] | None]) -> Widths:
        """Returns the same with only some widths of each group: those listed that lie between its bounds.

        Args:
            listed: widths for each group; `None` for all.
        """
        wanted = np.arange(int(self.sizes.max(initial=0)) + 1)
        floors = self.floor(wanted[:, None]).T
        rounds = floors.copy()
        for group, each in enumerate(listed):
            inside = np.array([w for w in each or () if self.least[group] <= w <= self.greatest[group]], np.int64)
            if len(inside):
                floors[group] = inside[np.maximum(np.searchsorted(inside, wanted, "right") - 1, 0)]
                rounds[group] = inside[np.searchsorted((inside[1:] + inside[:-1]) / 2, wanted)]
        return Widths(self.sizes, floors[:, 0], floors[:, -1], self.step, floors, rounds)

    @property
    def free(self) -> npt.NDArray[np.bool_]:
        """bool `[groups]`: whether a group has more than one allowed width."""
        return self.least < self.greatest

    def floor(self, widths: npt.ArrayLike, groups: Any = slice(None)) -> _Int:
        """Returns the greatest allowed widths not above `widths` `[..., groups]`, or the least ones if there are none.

        Args:
            widths: whole numbers.
            groups: the groups of the last axis.
        """
        if self.floors is not None:
            return self._listed(self.floors, widths, groups)
        wanted, least, step = np.asarray(widths, np.int64), self.least[groups], self.step[groups]
        greatest = self.greatest[groups]
        floored: _Int = np.where(wanted >= greatest, greatest, np.maximum(wanted // step * step, least))
        return floored

    def rounded(self, widths: npt.ArrayLike, groups: Any = slice(None)) -> _Int:
        """Returns `floor`, but the nearest allowed widths where these are listed: there may be few, far apart."""
        return self.floor(widths, groups) if self.rounds is None else self._listed(self.rounds, widths, groups)

    def _listed(self, table: _Int, widths: npt.ArrayLike, groups: Any) -> _Int:
        places = np.clip(np.asarray(widths, np.int64), 0, table.shape[1] - 1)
        listed: _Int = table[np.arange(len(self.sizes))[groups], places]
        return np.clip(listed, self.least[groups], self.greatest[groups])

    def largest(
        self, levels: npt.NDArray[Any], kept: Callable[[Any], npt.ArrayLike], fits: Callable[[_Int], bool]
    ) -> _Int:
        """Returns the widths at the highest of `levels` that fits; the least ones if none does.

        Args:
            levels: ascending `[levels]`.
            kept: wanted widths `[groups]` at a level; none of them decreases as levels rise.
            fits: whether widths `[groups]` fit.
        """
        low, high = -1, len(levels) - 1
        while low < high:
            middle = (low + high + 1) // 2
            if fits(self.rounded(kept(levels[middle]))):
                low = middle
            else:
                high = middle - 1
        return self.rounded(kept(levels[low])) if low >= 0 else self.least.copy()

    def same_ratio(self, fits: Callable[[_Int], bool]) -> _Int:
        """Returns int64 `[groups]`: the widths at the smallest pruning ratio, equal for all groups, that fits."""
        shares = [np.arange(1, size + 1) / size for size in np.unique(self.sizes).tolist()]
        levels = np.unique(np.concatenate(shares or [np.ones(1)]))
        return self.largest(levels, lambda share: np.maximum(1, np.floor(self.sizes * share + 1e-9)), fits)

    def grown(
        self,
        kept: _Int,
        key: Callable[[int, _Int], npt.ArrayLike],
        fits: Callable[[_Int], bool],
        most: _Int | None = None,
    ) -> _Int:
        """Returns the widths after the unused budget was spent, one step of one group at a time, until no step fits.

        The step with the lowest key is tried first; of equal keys, that of the earlier group. A step that does not fit
        ends the growth of its group, because wider groups cost no less: so each step is tried once.

        Args:
            kept: int64 `[groups]`, widths that fit.
            key: maps a group and ascending widths `[steps]` to the priority of a step from each width; it must not
                decrease.
            fits: whether widths `[groups]` fit; widths that do not fit must not fit with more channels either.
            most: int64 `[groups]`, upper limits of the widths; `greatest` by default.

        Returns:
            int64 `[groups]`.
        """
        most = self.greatest if most is None else np.minimum(most, self.greatest)
        widths = [self._between(group, int(kept[group]), int(most[group])) for group in range(len(kept))]
        groups = np.repeat(np.arange(len(kept)), [len(ws) - 1 for ws in widths])
        each = [np.asarray(key(group, ws[:-1]), np.float64) for group, ws in enumerate(widths)]
        keys = np.concatenate([np.zeros(0), *each])
        order = groups[np.argsort(keys, kind="stable")]
        now = np.zeros(len(kept), np.int64)  # how many steps each group has made

        def after(steps: _Int) -> _Int:
            made = now + np.bincount(steps, minlength=len(now))
            return np.array([ws[n] for ws, n in zip(widths, made.tolist(), strict=True)], np.int64)

        while len(order):
            low, high = 0, 1  # `low` of the next steps fit together; `high` do not, or have not been tried
            while high <= len(order) and fits(after(order[:high])):
                low, high = high, min(2 * high, len(order)) if high < len(order) else high + 1
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if fits(after(order[:middle])) else (low, middle)
            now += np.bincount(order[:low], minlength=len(now))
            blocked = order[low] if low < len(order) else -1
            order = order[low:][order[low:] != blocked]
        return after(order)

    def _between(self, group: int, low: int, high: int) -> _Int:
        """Returns the allowed widths of a group from `low` to `high`, both included."""
        if self.floors is not None:
            listed = np.unique(self.floors[group])
            return np.concatenate([[low], listed[(listed > low) & (listed <= high)]]).astype(np.int64)
        step = int(self.step[group])
        multiples = np.arange((low // step + 1) * step, high, step)
        last = [high] if high > low else []
        return np.concatenate([[low], multiples, last]).astype(np.int64)

    def some(self, group: int, count: int) -> _Int:
        """Returns ascending int64: all allowed widths of a group, or `count` of them, evenly spaced, with the least and
        the greatest.
        """
        widths = self._between(group, int(self.least[group]), int(self.greatest[group]))
        if len(widths) <= count:
            return widths
        return widths[np.unique(np.round(np.linspace(0, len(widths) - 1, count)).astype(np.int64))]

    def even(self, fits: Callable[[_Int], bool], most: _Int | None = None) -> _Int:
        """Returns int64 `[groups]`: the widths at an equal ratio for all groups, with the unused budget spent by steps.

        The next step is always that of the group that keeps the smallest share.
        """
        even = self.same_ratio(fits)
        even = even if most is None else np.minimum(even, most)
        return self.grown(even, lambda group, widths: widths / self.sizes[group], fits, most)

    def only(self, free: npt.NDArray[np.bool_]) -> Widths:
        """Returns the same with choices only for groups that are `free`; the others have their greatest width."""
        return Widths(
            self.sizes, np.where(free, self.least, self.greatest), self.greatest, self.step, self.floors, self.rounds
        )
