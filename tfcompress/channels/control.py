"""Control of a method by its user: excluded layers, limits of pruning ratios, channel counts in multiples."""

from __future__ import annotations

import difflib
import fnmatch
import math
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tfcompress import expect
from tfcompress.channels.widths import Widths
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
