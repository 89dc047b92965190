"""The rewards of AMC, from the metric and the cost of a pruned network."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from tfcompress.costs import CostModel
from tfcompress.training import Objective
from tfcompress.training.compiled import names_accuracy

__all__ = ["AgentReward", "RewardName", "check_error"]

RewardName = Literal["error", "flops", "params"]

_METRICS = {"flops": "macs", "params": "params"}


class AgentReward:
    """R_err = -Error, R_FLOPs = -Error log(FLOPs) or R_Param = -Error log(#Param): Section 3.3 of AMC.

    The error of an accuracy is its distance from 1; a metric for which less is better is its own error. FLOPs are
    multiply-adds, as in the paper's tables, and logarithms natural. The paper uses only accuracies: for any other
    metric for which more is better, R_err is the metric itself.

    Args:
        name: "error", "flops" or "params".
        objective: defines the metric.
        costs: costs of the model that is pruned.
    """

    def __init__(self, name: RewardName, objective: Objective, costs: CostModel) -> None:
        self._metric = _METRICS.get(name)
        self._from = 1.0 if _is_accuracy(objective) else 0.0
        self._costs = costs

    def __call__(self, measured: float, kept: np.ndarray) -> float:
        """Returns the reward of a pruned network.

        Args:
            measured: its metric, negative if less is better.
            kept: int64 `[groups]`, the channels that each group keeps.
        """
        error = self._from - measured
        return -error * (math.log(max(self.cost(kept), 1)) if self._metric else 1.0)

    def cost(self, kept: np.ndarray) -> int:
        """Returns the cost whose logarithm the reward takes; 0 if it takes none."""
        return int(self._costs.count(self._metric, kept)) if self._metric else 0


def check_error(name: RewardName, objective: Objective) -> None:
    """Refuses a metric that is not an error, if the reward multiplies by the error.

    Raises:
        ValueError: more of the metric is better, and it is not an accuracy.
    """
    if name in _METRICS and objective.sign > 0 and not _is_accuracy(objective):
        raise ValueError(
            f"Expected an accuracy, or a metric for which less is better, for reward={name!r}, which multiplies its "
            f"error by a logarithm. Received: {objective.metric_name!r}. Give a budget and reward='error'."
        )


def _is_accuracy(objective: Objective) -> bool:
    """Whether the metric is a share of correct answers, so that 1 is perfect."""
    return objective.sign > 0 and objective.score is None and names_accuracy(str(objective.metric_name))
