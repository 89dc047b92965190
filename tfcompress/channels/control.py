"""Control of a method by its user: excluded layers, limits of pruning ratios, channel counts in multiples."""

from __future__ import annotations

import difflib
import fnmatch
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tfcompress import expect
from tfcompress.graph import ChannelGroup, ChannelGroups

__all__ = ["Control", "Pattern", "Widths"]

Pattern = str | type
"""A layer's name, a pattern with `*`, `?` or `[...]` (as in `fnmatch`), or a class of layers."""

_Int = npt.NDArray[np.int64]
_AUTO = "auto"


@dataclass(frozen=True)
class Control:
    """Which parts may be pruned, and by how much. A ratio is the share of channels that is removed.

    A pattern matches layers, and applies to the channels that these layers write; the channels that a layer reads
    belong to the layers that write them. Channels that several layers share (a residual stream) are excluded if one of
    the layers is excluded, and `only` includes them if all of the layers are named.

    Attributes:
        exclude: layers whose channels are all kept.
        only: the layers that may be pruned; `None` for all.
        ratio_limits: `{pattern: (least, greatest)}`, shares in [0, 1] of the channels to remove; a single number is the
            greatest. One channel stays in any case. If several patterns match a group, all of them apply.
        round_to: channel counts are multiples of this, if the group is large enough and its limits allow it; a group
            that is not pruned keeps its size. "auto": those that pay in latency, once they are measured (`paying`).
        through_norms: whether channels that enter a layer's statistic (LayerNormalization, the key width of attention)
            may be removed.
        paying: with `round_to="auto"` the widths that pay, ascending, by the name of their group; `compress` measures
            them.

    Raises:
        TypeError, ValueError: an invalid setting.
    """

    exclude: tuple[Pattern, ...] = ()
    only: tuple[Pattern, ...] | None = None
    ratio_limits: Mapping[Pattern, tuple[float, float]] = field(default_factory=dict)
    round_to: int | str = 1
    through_norms: bool = False
    paying: Mapping[str, tuple[int, ...]] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "exclude", _patterns("exclude", self.exclude))
        if self.only is not None:
            object.__setattr__(self, "only", _patterns("only", self.only))
            if not self.only:
                raise ValueError("Expected `only` to name layers, or to be None for all. Received: only=()")
        if self.ratio_limits is None:
            object.__setattr__(self, "ratio_limits", {})
        what = "a dictionary {pattern: (least, greatest)}, such as {'conv2_*': (0.1, 0.5)}"
        expect.instance("ratio_limits", self.ratio_limits, Mapping, what)
        limits = {pattern: _limits(pattern, value) for pattern, value in self.ratio_limits.items()}
        _patterns("ratio_limits", tuple(limits))
        object.__setattr__(self, "ratio_limits", limits)
        if self.is_auto:
            object.__setattr__(self, "round_to", _AUTO)
        else:
            expect.settings(self, expect.whole, "round_to", least=1, advice="Or round_to='auto'.")
        expect.settings(self, expect.flag, "through_norms")

    @property
    def is_auto(self) -> bool:
        """Whether widths are chosen that pay in latency."""
        return isinstance(self.round_to, str) and self.round_to == _AUTO

    @classmethod
    def of(
        cls,
        exclude: Pattern | Iterable[Pattern] = (),
        only: Pattern | Iterable[Pattern] | None = None,
        ratio_limits: Mapping[Pattern, float | tuple[float, float]] | None = None,
        round_to: int | str = 1,
        through_norms: bool = False,
    ) -> Control:
        """Returns the control, from short forms too: a single pattern, a single number for limits."""
        out: Any = exclude
        names: Any = only
        limits: Any = ratio_limits
        return cls(out, names, limits, round_to, through_norms)

    def settings(self) -> dict[str, Any]:
        """Returns the settings as plain data, without those left at their defaults."""
        values: dict[str, Any] = {
            "exclude": [_name(pattern) for pattern in self.exclude],
            "only": None if self.only is None else [_name(pattern) for pattern in self.only],
            "ratio_limits": {_name(pattern): list(limits) for pattern, limits in self.ratio_limits.items()},
            "round_to": self.round_to if self.round_to != 1 else None,
            "through_norms": self.through_norms or None,
        }
        return {name: value for name, value in values.items() if value}

    def part(self, names: Iterable[str]) -> Control:
        """Returns the control with these of its settings alone, the others at their defaults."""
        return Control(**{name: getattr(self, name) for name in names})

    def left_in(self, groups: ChannelGroups) -> Control:
        """Returns the control without those patterns of `exclude`, `only` and `ratio_limits` that match no layer.

        For a model that lost layers since the patterns were checked. If nothing of `only` is left, it stays as it is.
        """
        matches = _Matches(groups)

        def left(argument: str, pattern: Pattern) -> bool:
            try:
                return bool(matches(argument, pattern))
            except ValueError:
                return False

        only = None if self.only is None else tuple(p for p in self.only if left("only", p)) or self.only
        exclude = tuple(pattern for pattern in self.exclude if left("exclude", pattern))
        limits = {pattern: pair for pattern, pair in self.ratio_limits.items() if left("ratio_limits", pattern)}
        return Control(exclude, only, limits, self.round_to, self.through_norms)

    def layers(self, groups: ChannelGroups) -> set[str]:
        """Returns the layers in `only` and not in `exclude`, for methods that change layers rather than channels.

        Raises:
            ValueError: a pattern matches no layer.
        """
        matches = _Matches(groups)
        names = set(groups.layers)
        if self.only is not None:
            names = set().union(*(matches("only", pattern) for pattern in self.only))
        return names.difference(*(matches("exclude", pattern) for pattern in self.exclude))

    def widths(self, groups: ChannelGroups) -> Widths:
        """Returns the widths that each group may have.

        Raises:
            ValueError: a pattern matches no layer, or the limits of a group contradict one another; the message names
                them.
        """
        matches = _Matches(groups)
        limits = [
            _Limit(pattern, matches("ratio_limits", pattern), *values) for pattern, values in self.ratio_limits.items()
        ]
        excluded = [(pattern, matches("exclude", pattern)) for pattern in self.exclude]
        only = None if self.only is None else set().union(*(matches("only", pattern) for pattern in self.only))
        rows = []
        for group in groups:
            out = next((f"exclude={_name(p)!r}" for p, layers in excluded if _holds(group) & layers), None)
            if out is None and only is not None and not set(group.producers) <= only:
                out = "only"
            rows.append(_bounds(group, [limit for limit in limits if _holds(group) & limit.layers], out))
        least, greatest = (np.array([row[i] for row in rows], np.int64) for i in (0, 1))
        multiple = 1 if isinstance(self.round_to, str) else self.round_to
        step = np.array([_step(groups, group, multiple) for group in groups], np.int64)
        widths = Widths.between(np.array([group.size for group in groups], np.int64), least, greatest, step)
        return widths.among([self.paying.get(group.name) for group in groups]) if self.paying else widths


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


@dataclass(frozen=True)
class _Limit:
    pattern: Pattern
    layers: set[str]
    least: float
    greatest: float

    def __str__(self) -> str:
        return f"ratio_limits[{_name(self.pattern)!r}]=({self.least:g}, {self.greatest:g})"


def _bounds(group: ChannelGroup, limits: list[_Limit], out: str | None) -> tuple[int, int]:
    """Returns the least and the greatest width of a group."""
    least_ratio = max(limits, key=lambda limit: limit.least, default=None)
    greatest_ratio = min(limits, key=lambda limit: limit.greatest, default=None)
    if out is not None and least_ratio is not None and least_ratio.least > 0:
        raise ValueError(
            f"Expected settings that agree on the channels of {group.producers}. Received: {least_ratio}, which "
            f"prunes them, and {out}, which leaves them whole. Remove the layers from one of the two."
        )
    if least_ratio is not None and greatest_ratio is not None and least_ratio.least > greatest_ratio.greatest:
        raise ValueError(
            f"Expected limits that agree on the channels of {group.producers}. Received: {least_ratio} and "
            f"{greatest_ratio}, which leave no ratio between them."
        )
    if out is not None:
        return group.size, group.size
    most = math.floor(group.size * (1 - (least_ratio.least if least_ratio else 0)) + 1e-9)
    few = math.ceil(group.size * (1 - (greatest_ratio.greatest if greatest_ratio else 1)) - 1e-9)
    most = max(1, most)
    return min(max(1, few), most), most


def _step(groups: ChannelGroups, group: ChannelGroup, round_to: int) -> int:
    """Returns the positions of a group that make a multiple of channels in the layers that write it."""
    if round_to == 1:
        return 1
    item = groups.layers[group.producers[0]] if group.producers else None
    written = [ids for weight in item.weights for ids in weight.writes.values()] if item else []
    owner = groups.group_of_labels()
    index = list(groups.groups).index(group.name)
    channels = max((int((owner[ids] == index).sum()) for ids in written), default=group.size)
    each = max(1, channels // group.size)
    return round_to // math.gcd(round_to, each)


def _holds(group: ChannelGroup) -> set[str]:
    return {*group.producers, *group.carriers}


class _Matches:
    """Finds the layers that a pattern matches."""

    def __init__(self, groups: ChannelGroups) -> None:
        self._operations = {name: item.node.operation for name, item in groups.layers.items()}

    def __call__(self, argument: str, pattern: Pattern) -> set[str]:
        if isinstance(pattern, type):
            names = {name for name, operation in self._operations.items() if isinstance(operation, pattern)}
        else:
            names = {name for name in self._operations if name == pattern or fnmatch.fnmatchcase(name, pattern)}
        if not names:
            kinds = sorted({type(operation).__name__ for operation in self._operations.values()})
            known = kinds if isinstance(pattern, type) else list(self._operations)
            close = difflib.get_close_matches(_name(pattern), known, n=3, cutoff=0.4) or known[:3]
            raise ValueError(
                f"Expected `{argument}` to match a layer of the model. Received: {expect.received(_name(pattern))}, "
                f"which matches none of {len(self._operations)}. Close to it: {', '.join(close)}. "
                "tfcompress.inspect(model) lists them all."
            )
        return names


def _patterns(argument: str, value: Any) -> tuple[Pattern, ...]:
    given = (value,) if isinstance(value, (str, type)) else value
    # A set has no order of its own, and needs none: all of its patterns hold.
    given = tuple(given) if isinstance(given, (Set, Iterator)) else given
    what = "names or patterns of layers such as 'conv2_*', or classes such as keras.layers.Dense"
    patterns: tuple[Pattern, ...] = expect.each(argument, given, _pattern, what)
    return patterns


def _pattern(argument: str, value: Any) -> Pattern:
    if isinstance(value, str) and not value:
        expect.refuse(argument, "no empty name", value, wrong_type=True)
    return value if isinstance(value, type) else expect.text(argument, value)


def _limits(pattern: Any, value: Any) -> tuple[float, float]:
    share: dict[str, Any] = {"at_least": 0, "at_most": 1}
    try:
        pair = value if isinstance(value, Iterable) else (0.0, value)
        least, greatest = expect.each("ratio_limits", pair, expect.number, "two numbers", length=2, **share)
        if least > greatest:
            raise ValueError
    except ValueError as error:
        raise type(error)(
            "Expected each of `ratio_limits` to be (least, greatest), shares of the channels to remove with "
            f"0 <= least <= greatest <= 1, or only the greatest. Received: {expect.received(pattern)}: "
            f"{expect.received(value)}"
        ) from None
    return least, greatest


def _name(pattern: Any) -> str:
    return pattern.__name__ if isinstance(pattern, type) else str(pattern)
