"""Prices of channels, and widths narrowed by the least worth per price.

The greedy relaxation of a knapsack (Shen et al. 2022, HALP): the price of some channels is what a plan without them
saves at the widths that all groups have at that moment, so it falls as the layers around them narrow.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from tfcompress.channels.widths import Widths
from tfcompress.costs import CostModel
from tfcompress.graph import ChannelGroup

__all__ = ["POWER", "widths_by_price", "worth_of_shares"]

POWER = 0.3
"""The power of shares that methods take if nothing else is said."""

_Int = npt.NDArray[np.int64]
_Float = npt.NDArray[np.float64]
_AHEAD = 32  # narrower widths that are looked at: kernels compute no more channels than these at once
_STEPS = 64  # in which a wide group goes down at most, so that planning takes seconds


def worth_of_shares(group: ChannelGroup, scores: npt.NDArray[np.floating], power: float) -> _Float:
    """Returns the worth of each width of a group: the share of its scores that stays, to a power, times its layers.

    Norms of layers of different sizes cannot be compared, and what half a layer is worth does not depend on how wide
    it is. With a power below 1 the last channels of a layer are worth more than the first.

    Args:
        group: the group; its layers are those that write or read it.
        scores: descending float64 `[size]`.
        power: above 0 and at most 1.

    Returns:
        float64 `[size + 1]`.
    """
    above = scores - min(0.0, float(scores.min()))
    sums = np.concatenate([[0.0], np.cumsum(above if above.any() else np.ones(group.size))])
    layers = len({*group.producers, *group.readers})
    worth: _Float = layers * (sums / sums[-1]) ** power
    return worth


def widths_by_price(
    costs: CostModel, widths: Widths, worths: Sequence[_Float], limits: Mapping[str, int], kept: _Int
) -> _Int:
    """Returns widths within limits, after narrowing one group at a time where the least worth is lost per price.

    A step goes to one of the next narrower allowed widths of a group: the one that loses the least worth for what it
    saves, which may be several channels on, as a kernel that computes tiles of channels takes no less until a whole
    tile is gone. Of several limits that are exceeded, what a step saves counts as a share of what is still to be saved.

    Args:
        costs: costs of the network.
        widths: allowed widths.
        worths: for each group the worth of each width, float64 `[size + 1]`.
        limits: `{metric: limit}`.
        kept: int64 `[groups]`, the widths to begin with.

    Returns:
        int64 `[groups]`; the least widths if nothing narrower is left before the limits hold.
    """
    kept, metrics = kept.copy(), list(limits)
    allowed = [widths.some(group, int(size) + 1) for group, size in enumerate(widths.sizes)]
    together = _priced_together(costs, metrics)
    narrower = np.zeros((len(kept), _AHEAD), np.int64)
    lost = np.full(narrower.shape, np.inf)
    saved = np.zeros((len(metrics), *narrower.shape))
    stale: Sequence[int] = range(len(kept))  # groups whose prices are to be worked out anew
    while True:
        now = {metric: int(costs.count(metric, kept)) for metric in metrics}
        over = np.array([max(0, now[metric] - limits[metric]) for metric in metrics])
        if not over.any():
            return kept
        for group in stale:
            below = allowed[group][allowed[group] <= kept[group] - max(1, widths.sizes[group] // _STEPS)]
            below = below if len(below) else allowed[group][allowed[group] < kept[group]][:1]
            below = below[::-1][:_AHEAD]
            narrower[group, : len(below)], lost[group] = below, np.inf
            lost[group, : len(below)] = worths[group][kept[group]] - worths[group][below]
            rows = np.repeat(kept[None], len(below), axis=0)
            rows[:, group] = below
            for place, metric in enumerate(metrics):
                saved[place, group] = 0
                saved[place, group, : len(below)] = now[metric] - costs.count(metric, rows)
        if np.isinf(lost).all():
            return kept
        shares = np.divide(1, over, out=np.zeros(len(over)), where=over > 0)
        price = np.tensordot(shares, saved, 1)
        per_price = np.divide(lost, price, out=np.full(lost.shape, np.inf), where=price > 0)
        # Where nothing saves anything alone, the least worth goes first, until something does.
        chosen = int(np.lexsort((lost.ravel(), per_price.ravel()))[0])
        group = chosen // _AHEAD
        kept[group] = narrower.ravel()[chosen]
        stale = together[group]


def _priced_together(costs: CostModel, metrics: Sequence[str]) -> list[list[int]]:
    """Returns for each group those whose prices depend on its width, itself among them."""
    together = [{group} for group in range(len(costs.sizes))]
    for metric in metrics:
        for part in costs.parts(metric):
            for group, neighbour in itertools.permutations(part.groups, 2):
                together[group].add(neighbour)
    return [sorted(groups) for groups in together]
