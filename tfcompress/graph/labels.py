"""Channel labels: the source channel at each position of a tensor's channel axis.

Every channel that a layer produces gets its own number. Handlers pass the numbers through the graph, and say which
numbers must be kept or removed together (a residual sum), and which cannot be removed, and why.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Ids", "LabelBook", "Labels"]

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Labels:
    """The channel labels of one tensor.

    Attributes:
        ids: int64 `[channels]`, the label of each position along the channel axis.
        axis: the channel axis, counted from 0 (the batch axis).
    """

    ids: Ids
    axis: int

    def __len__(self) -> int:
        return len(self.ids)


class LabelBook:
    """Creates labels, and records which are tied together and which are fixed (union-find)."""

    def __init__(self) -> None:
        self._parent: list[int] = []
        self.fixed_reasons: dict[int, tuple[str, str]] = {}
        self.inner_names: dict[int, str] = {}

    def new(self, count: int, name: str | None = None) -> Ids:
        """Returns `count` new labels; a name says what they are inside a layer, such as heads."""
        start = len(self._parent)
        self._parent.extend(range(start, start + count))
        if name is not None:
            self.inner_names.update(dict.fromkeys(range(start, start + count), name))
        return np.arange(start, start + count, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._parent)

    def _root(self, label: int) -> int:
        parent = self._parent
        while parent[label] != label:
            parent[label] = parent[parent[label]]
            label = parent[label]
        return label

    def tie(self, first: Ids, second: Ids) -> None:
        """Ties `first[i]` and `second[i]` together for every i."""
        if first is second or np.array_equal(first, second):
            return
        for a, b in zip(first.tolist(), second.tolist(), strict=True):
            root_a, root_b = self._root(a), self._root(b)
            if root_a != root_b:
                # The older label stays the root, so that groups are numbered in the order of the graph.
                low, high = min(root_a, root_b), max(root_a, root_b)
                self._parent[high] = low

    def representatives(self, labels: Ids) -> Ids:
        """Returns the present representative of each of `labels`."""
        unique, inverse = np.unique(labels, return_inverse=True)
        roots = np.array([self._root(label) for label in unique.tolist()], dtype=np.int64)
        result: Ids = roots[inverse].reshape(labels.shape)
        return result

    def tie_all(self, labels: Ids) -> None:
        """Ties all of `labels` to one another."""
        self.tie(labels[1:], np.broadcast_to(labels[:1], labels[1:].shape))

    def fix(self, labels: Ids, node: str, reason: str) -> None:
        """Fixes `labels`, so that they cannot be removed; the first reason for a label is kept."""
        for label in labels.tolist():
            self.fixed_reasons.setdefault(label, (node, reason))

    def roots(self) -> Ids:
        """int64 `[labels]`: the representative of every label."""
        parent = np.asarray(self._parent, dtype=np.int64)
        while True:
            above = parent[parent]
            if np.array_equal(above, parent):
                return parent
            parent = above
