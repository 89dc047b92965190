"""`Lookup`: a part of a node's cost that is read from a table over widths, where no product describes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tfcompress.graph import ChannelGroups
from tfcompress.graph.channel_groups import NodeAnalysis
from tfcompress.graph.labels import Ids

__all__ = ["Lookup", "Lookups", "carried"]

_Int = npt.NDArray[np.int64]
_Float = npt.NDArray[np.float64]


class Widened(Protocol):
    """Protocol: what `carried` reads of a `CostModel`."""

    groups: ChannelGroups
    sizes: _Int

    def width_of(self, ids: Ids) -> _Int:
        """Returns the width of labels, see `CostModel.width_of`."""


@dataclass(frozen=True, eq=False)
class Lookup:
    """A part of one node's cost: a table over at most two widths, linear between its knots.

    A width is a constant plus multiples of what groups keep. Unlike a `Term`, a table may fall where a width grows: a
    kernel that computes 32 channels at once takes longer for 31.

    Attributes:
        node: name of the node.
        layer: name of its layer.
        rows: int64 `[axes, 1 + groups]`: a width is the product of a row with `[1, kept...]`.
        knots: for each axis ascending widths.
        values: whole numbers of 0 or more `[knots of each axis]`.
    """

    node: str
    layer: str
    rows: _Int
    knots: tuple[_Int, ...]
    values: _Int

    @cached_property
    def groups(self) -> tuple[int, ...]:
        """Indices of the channel groups that its widths depend on, ascending."""
        return tuple(np.flatnonzero(self.rows[:, 1:].any(axis=0)).tolist())

    def of(self, widths: npt.ArrayLike) -> _Int:
        """Returns the cost int64 `[n]` for what its groups keep `[n, len(groups)]`."""
        kept = np.asarray(widths, np.int64)
        own = Lookup(self.node, self.layer, self.rows[:, [0, *(1 + index for index in self.groups)]], *self._table)
        costs: _Int = Lookups([own], len(self.groups)).products(kept)[..., 0]
        return costs

    @property
    def _table(self) -> tuple[tuple[_Int, ...], _Int]:
        return self.knots, self.values


class Lookups:
    """Lookups that are evaluated together.

    Args:
        lookups: the lookups.
        groups: number of channel groups.
        per_byte: share by which all costs grow with each byte of the network's weights: the more weights, the fewer of
            them, and of the tensors between them, stay in a core's cache from one operator or invocation to the next.

    Attributes:
        layers, nodes: of each lookup.
        lookups, per_byte: as given.
    """

    def __init__(self, lookups: Sequence[Lookup], groups: int, per_byte: float = 0.0) -> None:
        self.lookups = tuple(lookups)
        self.per_byte = per_byte
        self.nodes = [each.node for each in lookups]
        self.layers = [each.layer for each in lookups]
        count = len(lookups)
        self._rows = np.zeros((2, count, 1 + groups), np.int64)
        self._most = np.ones((2, count), np.int64)
        starts, strides, offsets = (np.zeros(count, np.int64) for _ in range(3))
        tables, below, share = [np.zeros(0)], [np.zeros(0, np.int64)], [np.zeros(0)]
        at = place = 0
        for index, each in enumerate(lookups):
            rows, knots, values = _with_two_axes(each)
            self._rows[:, index] = rows
            dense, last = _dense(knots[1], values), int(knots[0][-1])
            low = np.clip(np.searchsorted(knots[0], np.arange(last + 1), "right") - 1, 0, max(len(knots[0]) - 2, 0))
            if len(knots[0]) > 1:
                gaps = knots[0][low + 1] - knots[0][low]
                part = np.clip((np.arange(last + 1) - knots[0][low]) / gaps, 0, 1)
            else:
                dense, part = np.concatenate([dense, dense]), np.zeros(last + 1)
            starts[index], strides[index], offsets[index] = at, dense.shape[1], place
            self._most[:, index] = last, dense.shape[1] - 1
            tables.append(dense.ravel())
            below.append(low)
            share.append(part)
            at, place = at + dense.size, place + last + 1
        self._starts, self._strides, self._offsets = starts, strides, offsets
        self._table: _Float = np.concatenate(tables)
        self._below: _Int = np.concatenate(below)
        self._share: _Float = np.concatenate(share)

    def growth(self, size: npt.ArrayLike) -> Any:
        """Returns the factor of all costs for the bytes of the network's weights `[...]`."""
        return 1 + self.per_byte * np.asarray(size)

    def products(self, kept: npt.ArrayLike) -> _Int:
        """Returns the costs int64 `[..., lookups]` for what groups keep `[..., groups]`, without their growth."""
        kept = np.asarray(kept, np.int64)
        if not self.lookups:
            return np.zeros((*kept.shape[:-1], 0), np.int64)
        first, second = (
            np.clip(rows[:, 0] + kept @ rows[:, 1:].T, 0, most)
            for rows, most in zip(self._rows, self._most, strict=True)
        )
        position = self._offsets + first
        low = self._starts + self._below[position] * self._strides + second
        share = self._share[position]
        mixed = self._table[low] * (1 - share) + self._table[low + self._strides] * share
        costs: _Int = np.rint(mixed).astype(np.int64)
        return costs


def carried(lookups: Lookups, before: Widened, after: Widened) -> Lookups:
    """Returns the lookups of those nodes that a graph still has after structural edits.

    A width that a node reads or writes is that of the node's labels in the new graph; any other stays as it is in the
    whole graph. A node with another kernel takes as much less as it has fewer multiply-adds.

    Args:
        lookups: the lookups of the graph before the edits.
        before, after: cost models of the two graphs.
    """
    kept = []
    for each in lookups.lookups:
        old, new = (model.groups.analysis.get(each.node) for model in (before, after))
        if old is None or new is None:
            continue
        places = [
            (model.width_of(item.outputs[0].ids), [model.width_of(labels.ids) for labels in item.call.inputs[:1]])
            for model, item in ((before, old), (after, new))
        ]
        (written, read), (now_written, now_read) = places
        share = _macs(new) / _macs(old) if _macs(old) else 1.0
        rows: list[_Int] = []
        knots: list[_Int] = []
        values: _Float = np.asarray(each.values * share, np.float64)
        for axis in reversed(range(len(each.rows))):
            row = each.rows[axis]
            if np.array_equal(row, written):
                now = now_written
            elif read and np.array_equal(row, read[0]):
                now = now_read[0]
            else:
                width = int(row @ np.concatenate([[1], before.sizes]))
                at = values.reshape(*values.shape[: axis + 1], -1).swapaxes(axis, -1)
                values = _at(each.knots[axis], at, width).reshape(*values.shape[:axis], *values.shape[axis + 1 :])
                continue
            rows.insert(0, now)
            knots.insert(0, each.knots[axis])
        table = np.array(rows, np.int64).reshape(len(rows), 1 + len(after.sizes))
        kept.append(Lookup(each.node, new.node.layer_name, table, tuple(knots), np.rint(values).astype(np.int64)))
    return Lookups(kept, len(after.sizes), lookups.per_byte)


def _at(knots: _Int, values: npt.NDArray[np.float64], width: int) -> npt.NDArray[np.float64]:
    """Returns values `[...]` at a width, of those at all knots `[..., knots]`."""
    flat = values.reshape(-1, len(knots))
    return np.array([np.interp(width, knots, row) for row in flat]).reshape(values.shape[:-1])


def _macs(item: NodeAnalysis) -> int:
    return sum(mac.factor for mac in item.macs)


def _with_two_axes(lookup: Lookup) -> tuple[_Int, list[_Int], npt.NDArray[np.float64]]:
    """Returns rows, knots and values of a lookup with leading axes of one knot."""
    missing = 2 - len(lookup.rows)
    rows = np.zeros((2, lookup.rows.shape[1]), np.int64)
    rows[:missing, 0] = 1
    rows[missing:] = lookup.rows
    knots = [*[np.ones(1, np.int64)] * missing, *lookup.knots]
    return rows, knots, np.asarray(lookup.values, np.float64).reshape([len(each) for each in knots])


def _dense(knots: _Int, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns the values `[first knots, widths]` at every width from 0, at which the cost is 0."""
    widths = np.arange(int(knots[-1]) + 1)
    table = np.stack([np.interp(widths, knots, row) for row in values])
    table[:, 0] = 0 if knots[-1] else table[:, 0]
    return table
