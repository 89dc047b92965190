"""Widths that pay: those whose latency is no more than what wider and narrower ones let one expect.

Kernels compute channels in tiles, so a width that begins a tile costs as much as one that fills it. Of each group those
widths are kept that lie on the lower convex hull of its latency, or near it, and that no wider one undercuts.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from tfcompress.costs.lookups import Lookups
from tfcompress.graph import ChannelGroups

__all__ = ["paying_widths"]

_Int = npt.NDArray[np.int64]
_NEAR = 0.05  # above the hull, as a share
_AROUND = 0.6  # of their channels, what the groups keep beside which a group's widths are compared


def paying_widths(groups: ChannelGroups, lookups: Lookups) -> Mapping[str, tuple[int, ...]]:
    """Returns the widths that pay, ascending, for each group; the whole group is always among them.

    Args:
        groups: the channel groups.
        lookups: the latency of each operator for any widths of these groups.
    """
    sizes = np.array([group.size for group in groups], np.int64)
    around = np.maximum(1, np.round(sizes * _AROUND)).astype(np.int64)
    paying = {}
    for index, group in enumerate(groups):
        kept = np.repeat(around[None], group.size, axis=0)
        kept[:, index] = np.arange(1, group.size + 1)
        depends = [place for place, each in enumerate(lookups.lookups) if index in each.groups]
        ns = lookups.products(kept)[:, depends].sum(axis=1).astype(np.float64)
        paying[group.name] = tuple(_on_hull(ns).tolist())
    return paying


def _on_hull(ns: npt.NDArray[np.float64]) -> _Int:
    """Returns the widths near the lower convex hull of latencies `[widths]`, of which the first is that of width 1."""
    widths = np.arange(1, len(ns) + 1)
    corners: list[int] = []
    for place in range(len(ns)):
        while len(corners) > 1 and _is_above(widths, ns, corners[-2], corners[-1], place):
            corners.pop()
        corners.append(place)
    hull = np.interp(widths, widths[corners], ns[corners])
    cheaper_than_wider = np.concatenate([ns[:-1] < np.minimum.accumulate(ns[:0:-1])[::-1], [True]])
    kept: _Int = widths[((ns <= (1 + _NEAR) * hull) & cheaper_than_wider) | (widths == len(ns))]
    return kept


def _is_above(widths: _Int, ns: npt.NDArray[np.float64], first: int, middle: int, last: int) -> bool:
    """Whether a point lies on or above the line between two others."""
    slope = (ns[last] - ns[first]) / (widths[last] - widths[first])
    return bool(ns[middle] >= ns[first] + slope * (widths[middle] - widths[first]))
