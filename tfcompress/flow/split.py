"""The split of a budget over the stages of a flow: how far each stage has to come.

Of a budget of share b for a metric that n stages can lower, stage i ends at b ** (i / n) of the original: each stage
takes off the same factor, as every method is given the model as it finds it. The last stage holds the whole budget.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from tfcompress import expect
from tfcompress.costs import Budget, Cost
from tfcompress.costs.file_size import FILE, INT8_FILE
from tfcompress.costs.latency import LATENCY
from tfcompress.methods import Method
from tfcompress.methods.order import is_of_weights, lowers

__all__ = [
    "Shares",
    "check_split",
    "counted",
    "file_shares",
    "given_split",
    "limits_of",
    "measured_limits_of",
    "stages_for",
    "words_for_split",
]

Shares = tuple[float | None, ...]
"""For each stage the share of the original that it has to reach; `None` where the split decides."""

_SHARES = (
    "shares of the original between 0 and 1, one for each stage or for the first ones, or {name of a stage: share}"
)


def given_split(split: Any, methods: Sequence[Method]) -> Shares:
    """Returns the shares of a call for each stage.

    Args:
        split: `None`; `{stage: share}` with stages by the name of their method, or by their number, from 1; or shares
            in the order of the stages, `None` among them for stages that are left to the split.
        methods: the methods of the stages.

    Raises:
        TypeError, ValueError: anything else, a split of one stage, or shares that rise.
    """
    if split is None:
        return (None,) * len(methods)
    if len(methods) == 1:
        expect.refuse("split", "None for a single method", split, "Its budget is the whole one.")
    names = [method.name for method in methods]
    if isinstance(split, Mapping):
        shares: list[float | None] = [None] * len(names)
        for stage, share in split.items():
            shares[_place(stage, names, split)] = _share(share)
    else:
        given = expect.each("split", split, check=_entry, what=_SHARES)
        if len(given) > len(names):
            expect.refuse("split", f"{_SHARES}; at most {len(names)}", split)
        shares = [*given, *[None] * (len(names) - len(given))]
    said = [share for share in shares if share is not None]
    if said != sorted(said, reverse=True):
        expect.refuse("split", "shares that do not rise from stage to stage", split, "Each is of the original.")
    return tuple(shares)


def _place(stage: Any, names: Sequence[str], split: Any) -> int:
    """Returns the place of a stage, from 0, by its name or number."""
    if isinstance(stage, int) and not isinstance(stage, bool) and 1 <= stage <= len(names):
        return stage - 1
    if isinstance(stage, str) and names.count(stage) == 1:
        return names.index(stage)
    several = " by number, where a method comes twice" if isinstance(stage, str) and stage in names else ""
    expect.refuse("split", f"shares for stages of {list(names)}{several}, from 1", split)


def _share(value: Any) -> float:
    share: float = expect.number("split", value, above=0, at_most=1)
    return share


def _entry(name: str, value: Any) -> float | None:
    del name
    return None if value is None else _share(value)


def stages_for(metric: str, methods: Sequence[Method]) -> list[int]:
    """Returns the places of the stages that can lower a metric, from 0."""
    return [place for place, method in enumerate(methods) if lowers(method, metric)]


def check_split(shares: Shares, methods: Sequence[Method], budget: Budget, total: Cost) -> None:
    """Refuses metrics that no stage can lower, and shares that no stage could be held to.

    Args:
        shares: the shares that were given.
        methods: the methods.
        budget: the whole budget.
        total: cost of the original.

    Raises:
        ValueError: the message names the metric or the stage.
    """
    able = {metric: stages_for(metric, methods) for metric in budget}
    for metric, places in able.items():
        if not places:
            raise ValueError(
                f"Expected a stage that can lower {metric!r}. Received: {budget.said(metric)} for "
                f"method={[method.name for method in methods]}. Add a stage such as 'uniform' in front, or leave this "
                "limit out."
            )
    whole = counted(budget).limits(total)
    for place, share in enumerate(shares):
        if share is None:
            continue
        held = [metric for metric in whole if place in able[metric][:-1]]
        if not held:
            raise ValueError(
                f"Expected `split` for stages with a later one that can lower the same metric. Received: {share:g} for "
                f"stage {place + 1}, {methods[place].name!r}, which holds the whole budget or lowers none of "
                f"{list(whole)}. Leave it out."
            )
        if all(share * total[metric] < whole[metric] for metric in held):
            said = " and ".join(map(budget.said, held))
            raise ValueError(
                f"Expected `split` between the whole budget and 1. Received: {share:g} for stage {place + 1}, "
                f"{methods[place].name!r}, which is below {said}. Give a larger share, or leave the later stages out."
            )


def file_shares(shares: Shares, methods: Sequence[Method], size: int, limit: int) -> list[dict[str, int]]:
    """Returns for each stage `{"int8_bytes": limit}`, if it can lower the file that the last stage will leave.

    Args:
        shares: the shares that were given.
        methods: the methods.
        size: bytes of that file, of the original.
        limit: its limit.
    """
    places = stages_for(INT8_FILE, methods)
    held: list[dict[str, int]] = [{} for _ in methods]
    reached = _reached([shares[place] for place in places], min(1.0, limit / size)) if places else []
    for place, share in zip(places, reached, strict=True):
        held[place][INT8_FILE] = min(size, max(math.floor(share * size), limit))
    return held


def counted(budget: Budget) -> Budget:
    """Returns the limits of metrics that are counted on a plan and not measured."""
    return budget.part(metric for metric in budget.planned if metric not in budget.measured)


def limits_of(shares: Shares, methods: Sequence[Method], budget: Budget, total: Cost) -> list[dict[str, int]]:
    """Returns for each stage `{metric: limit}` of the counted metrics that it can lower, in the units of `Cost`.

    Args:
        shares: the shares that were given.
        methods: the methods.
        budget: the whole budget.
        total: cost of the original.
    """
    limits: list[dict[str, int]] = [{} for _ in methods]
    for metric, whole in counted(budget).limits(total).items():
        places = stages_for(metric, methods)
        reached = _reached([shares[place] for place in places], whole / total[metric] if total[metric] else 1.0)
        for place, share in zip(places[:-1], reached[:-1], strict=True):
            limits[place][metric] = max(math.floor(share * total[metric]), whole)
        limits[places[-1]][metric] = whole
    return limits


def measured_limits_of(
    place: int, shares: Shares, methods: Sequence[Method], budget: Budget, before: Mapping[str, float]
) -> dict[str, float]:
    """Returns `{metric: limit}` of the measured metrics that a stage is held to.

    What is planned as well as measured is split like what is counted. What is only measured is held by the last stage
    that can lower it. A method that changes weights alone plans for nothing: its file is checked at the end.

    Args:
        place: the place of the stage, from 0.
        shares: the shares that were given.
        methods: the methods.
        budget: the whole budget.
        before: measurements of the original.
    """
    held: dict[str, float] = {}
    if is_of_weights(methods[place]):
        return held
    for metric, whole in budget.measured_limits(before).items():
        places = stages_for(metric, methods)
        if metric in budget.planned and place in places and before[metric]:
            reached = _reached([shares[each] for each in places], min(1.0, whole / before[metric]))
            held[metric] = max(reached[places.index(place)] * before[metric], whole)
        elif places[-1] == place:
            held[metric] = whole
    return held


def _reached(given: Sequence[float | None], whole: float) -> list[float]:
    """Returns the share after each stage: those that are given, the whole at the end, equal factors between them."""
    anchors = [(-1, 1.0), *((i, s) for i, s in enumerate(given[:-1]) if s is not None), (len(given) - 1, whole)]
    reached = []
    for (first, above), (last, below) in itertools.pairwise(anchors):
        steps = last - first
        reached += [above * (below / above) ** (step / steps) for step in range(1, steps + 1)]
    return reached


def words_for_split(
    limits: Sequence[Mapping[str, int]],
    methods: Sequence[Method],
    total: Cost,
    measured: Sequence[Mapping[str, float]] = (),
    before: Mapping[str, float] = MappingProxyType({}),
) -> str:
    """Returns the stages with what each has to reach: "lit to 70.7% of the MACs, then uniform to 50.0%".

    Args:
        limits: for each stage the limits of counted metrics.
        methods: the methods.
        total: cost of the original.
        measured: for each stage the limits of measured metrics.
        before: measurements of the original.
    """
    titles = {"macs": "MACs", "params": "parameters", INT8_FILE: "int8 file", FILE: "file", LATENCY: "latency"}
    said = []
    for place, method in enumerate(methods):
        parts = [
            f"{limit / total[metric]:.1%} of the {titles.get(metric, metric)}"
            for metric, limit in limits[place].items()
            if total[metric]
        ]
        parts += [
            f"{limit / before[metric]:.1%} of the {titles.get(metric, metric)}"
            for metric, limit in (measured[place] if measured else {}).items()
            if before.get(metric)
        ]
        said.append(f"{method.name} to {' and '.join(parts)}" if parts else method.name)
    return ", then ".join(said)
