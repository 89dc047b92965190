"""Rewards: the metric of a task's model with only some of its channels, on validation samples."""

from __future__ import annotations

import math
import sys
from typing import Any, Protocol

import keras

from tfcompress.data import Splits
from tfcompress.evaluation.measuring import meter
from tfcompress.graph import ChannelGroups
from tfcompress.plan import Plan
from tfcompress.rewrite.subnetwork import Subnetwork
from tfcompress.training.objectives import Objective

__all__ = ["Reward", "calibration_batches"]

_LARGEST = 2**26  # numbers in one activation of a batch: 256 MiB of float32


class Rewarded(Protocol):
    """The parts of a task that a reward reads; see `tfcompress.task.Task`."""

    @property
    def model(self) -> keras.Model:
        """The model that plans are measured on."""

    @property
    def groups(self) -> ChannelGroups:
        """Its channel groups."""

    @property
    def splits(self) -> Splits:
        """Its data."""

    @property
    def objective(self) -> Objective:
        """Loss and metric."""


class Reward:
    """Measures plans on the current weights of a task's model, on the validation split.

    The model runs as its own sub-network: no model is built, and all plans go through one trace.

    A reward is the objective's metric as reported, negated if less is better.

    Args:
        task: the task.
        prunable: names of the groups that plans will name; `None` for all.
        images: number of validation samples to measure on; `None` for all.
        recalibrate_batches: number of batches of 128 training samples from which the BatchNormalization statistics of
            the sub-network are computed anew before each measurement; 0 for the statistics of the whole model.

    Attributes:
        samples: number of validation samples.
    """

    def __init__(
        self, task: Rewarded, prunable: tuple[str, ...] | None, images: int | None, recalibrate_batches: int = 0
    ) -> None:
        self._subnetwork = Subnetwork(task.model, task.groups, prunable)
        validation, count = task.splits.validation, images or sys.maxsize
        x, y = validation.take(count)
        weights = validation.take_weights(count) if task.splits.weighing else None
        self._x, self._y = map(_on_device, (x, y if weights is None else (y, weights)))
        self.samples = len(keras.tree.flatten(self._x)[0])
        self._batches = calibration_batches(task.splits, recalibrate_batches if self._subnetwork.statistics else 0)
        self._metric = meter(task.model, task.objective, weights is not None)
        self._sign = task.objective.sign
        self._batch_size = max(1, min(250, _LARGEST // _largest_activation(task)))

    @property
    def traces(self) -> int:
        """Number of times that the sub-network was traced."""
        return self._subnetwork.traces

    def __call__(self, plan: Plan) -> float:
        """Returns the metric of a plan's sub-network, negated if less is better."""
        statistics = self._subnetwork.recalibrate(plan, self._batches) if self._batches else None
        return self._measured(plan, statistics)

    def whole(self) -> float:
        """Returns the metric of the whole model, with its own statistics."""
        return self._measured(Plan(), None)

    def _measured(self, plan: Plan, statistics: Any) -> float:
        mean = self._subnetwork.mean(plan, self._x, self._y, self._metric, self._batch_size, statistics)
        return self._sign * mean


def _largest_activation(task: Rewarded) -> int:
    """Returns the size of the largest activation of one sample, in numbers."""
    shapes = [shape for node in task.groups.graph.nodes.values() for shape in node.output_shapes]
    return max(math.prod(size or 1 for size in shape[1:]) for shape in shapes)


def _on_device(structure: Any) -> Any:
    return keras.tree.map_structure(keras.ops.convert_to_tensor, structure)


def calibration_batches(splits: Splits, count: int) -> list[Any]:
    """Returns `count` batches of 128 calibration inputs; fewer if the split is smaller."""
    if not count:
        return []
    x = splits.calibration.take(128 * count)[0]
    samples = len(keras.tree.flatten(x)[0])
    starts = range(0, samples, 128)
    return [keras.tree.map_structure(lambda array, at=at: array[at : at + 128], x) for at in starts]
