"""What a criterion may look at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import keras
import numpy as np
import numpy.typing as npt

from tfcompress.graph import ChannelGroup, ChannelGroups

__all__ = ["Criterion", "Evidence", "ranking"]

Scores = npt.NDArray[np.float32]


class Evidence:
    """The weights of a model, seen channel by channel.

    Args:
        groups: the channel groups of the model; its weights are read when they are asked for.
    """

    def __init__(self, groups: ChannelGroups) -> None:
        self.groups = groups
        self._axes = groups.weight_axes()

    def written(self, group: ChannelGroup) -> Iterator[Scores]:
        """For each kernel that writes the group: float32 `[size, values]`, the values that write each position."""
        position = np.full(len(self.groups.roots), -1, dtype=np.int64)
        position[group.roots] = np.arange(group.size)
        for layer in group.producers:
            for weight in self._axes[layer]:
                for axis, ids in weight.writes.items():
                    if len(weight.variable.shape) > 1:  # a bias says nothing of a filter's size
                        owner = position[self.groups.roots[ids]]
                        yield _by_position(weight.variable, axis, owner, group.size)


def _by_position(variable: keras.Variable, axis: int, owner: npt.NDArray[np.int64], size: int) -> Scores:
    values = np.moveaxis(keras.ops.convert_to_numpy(variable), axis, 0).astype("float32")
    values = values.reshape(len(owner), -1)
    order = np.argsort(owner, kind="stable")
    order = order[np.searchsorted(owner[order], 0) :]  # -1: channels of other groups
    return values[order].reshape(size, -1)


class Criterion(Protocol):
    """Scores the channels of a group: the higher, the more it matters."""

    def __call__(self, group: ChannelGroup, evidence: Evidence) -> Scores:
        """float32 `[size]`: one number a channel."""


def ranking(group: ChannelGroup, evidence: Evidence, criterion: Criterion) -> npt.NDArray[np.int64]:
    """int64 `[size]`: positions of the group, the most important first; equal scores in their own order.

    Raises:
        ValueError: the criterion gave another shape than one number a channel, no numbers, or NaN.
    """
    scores = np.asarray(criterion(group, evidence))
    if scores.shape != (group.size,) or scores.dtype.kind not in "biuf":
        raise ValueError(
            f"Expected the criterion to give one number for each of the {group.size} channels of {group.name!r}. "
            f"Received: an array of shape {scores.shape} and dtype {scores.dtype}"
        )
    if np.isnan(scores).any():
        raise ValueError(f"Expected the criterion's scores of {group.name!r} to be numbers. Received: NaN")
    return np.argsort(-scores, kind="stable")
