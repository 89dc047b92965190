"""Episodes of channel pruning: they turn rates into a plan within the budget and its reward, for RLAL, AMC, Random."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tfcompress.channels import pruning_units
from tfcompress.channels.environment import PruningEnvironment
from tfcompress.data import is_of_tensorflow
from tfcompress.evaluation import Reward
from tfcompress.importance import Criterion, ranking
from tfcompress.plan import Plan
from tfcompress.task import Task

__all__ = ["Episode", "Episodes", "check_budget", "cost_of_rewards", "learned", "plans_for"]

_MOST_PLANS, _LEAST_PLANS = 200, 20


@dataclass(frozen=True, eq=False)
class Episode:
    """One pass over all pruning units.

    Attributes:
        states: float32 `[units, numbers of a state]`.
        actions: float32 `[units]`, the rates that were applied.
        kept: int64 `[groups]`, the channels that each group keeps.
        reward: the metric of the pruned network.
    """

    states: np.ndarray
    actions: np.ndarray
    kept: np.ndarray
    reward: float


def check_budget(task: Task) -> PruningEnvironment:
    """Returns the environment of a task.

    Raises:
        ValueError: nothing can be pruned, or pruning inside blocks cannot reach the budget.
    """
    return PruningEnvironment(task.costs, pruning_units(task.groups), task.budget, task.widths)


def plans_for(task: Task, epochs: int, reward_images: int | None, recalibrate_batches: int) -> int:
    """Returns the number of plans that a search with fixed weights tries, if nobody says how many.

    That is 200, or, where the recovery is short, as many as read no more images than the recovery trains on, but at
    least 20. An image of a reward costs about a quarter of one of the recovery, which goes forwards, backwards and
    through the teacher: so the search takes at most about a quarter as long.

    Args:
        task: the task.
        epochs: epochs of the recovery; without any, only the search counts.
        reward_images, recalibrate_batches: as in `cost_of_rewards`.
    """
    trained = (task.splits.train.num_samples or 0) * epochs
    images = _images_of_reward(task, reward_images, recalibrate_batches)
    return min(_MOST_PLANS, max(_LEAST_PLANS, trained // images)) if trained and images else _MOST_PLANS


def _images_of_reward(task: Task, reward_images: int | None, recalibrate_batches: int) -> int:
    """Returns the number of images that one reward reads; 0 if it is not known."""
    known = task.splits.validation.num_samples or reward_images or 0
    return min(reward_images or known, known) + 128 * recalibrate_batches


def cost_of_rewards(
    task: Task, count: float, share: float, reward_images: int | None, recalibrate_batches: int
) -> float:
    """Returns the cost of rewards in epochs of training the whole model, for the estimate of time.

    A training step costs about three forward passes, and a reward is measured on the pruned network, on its images and
    those for BatchNormalization statistics.

    Args:
        task: the task.
        count: number of rewards.
        share: the pruned network's share of the multiply-adds.
        reward_images: number of validation samples for one reward; `None` for all.
        recalibrate_batches: number of batches of 128 training images for the statistics.
    """
    images = count * _images_of_reward(task, reward_images, recalibrate_batches)
    return images * share / 3 / (task.splits.train.num_samples or images or 1)


def learned(learn: Callable[[], dict[str, float]], rewards: Sequence[float]) -> dict[str, float]:
    """Runs an agent's updates and returns their losses.

    Args:
        learn: makes the updates.
        rewards: rewards of the last episodes.

    Raises:
        ValueError: a loss is infinite for these rewards.
    """
    try:
        return learn()
    except Exception as error:
        if not is_of_tensorflow(error):
            raise
        raise ValueError(
            "Expected rewards that an agent can learn from, not far above 1. Received: rewards from "
            f"{min(rewards):.4g} to {max(rewards):.4g}, for which its losses became infinite. "
            "Scale the labels, or give an objective= of smaller numbers."
        ) from None


class Episodes:
    """Plays episodes on the current weights of a task's model.

    Rewards are measured on the validation split with the model as its own sub-network: no model is built.

    Args:
        task: the task.
        criterion: ranks the channels of a group.
        reward_images: number of validation samples for one reward; `None` for all.
        recalibrate_batches: number of batches of 128 training samples from which the BatchNormalization statistics of
            the sub-network are computed anew before each reward; 0 for the statistics of the whole model.
        environment: turns rates into widths; RLAL's by default.
        fixed_weights: whether the weights never change, so that equal plans are measured once.
    """

    def __init__(
        self,
        task: Task,
        criterion: Criterion,
        reward_images: int | None,
        recalibrate_batches: int = 0,
        environment: PruningEnvironment | None = None,
        fixed_weights: bool = False,
    ) -> None:
        self.environment = check_budget(task) if environment is None else environment
        self._task = task
        self._criterion = criterion
        self._evidence = task.evidence()
        self._prunable = tuple(group.name for unit in self.environment.units for group in unit.groups)
        self._reward = Reward(task, self._prunable, reward_images, recalibrate_batches)
        self._order: dict[str, np.ndarray] = {}
        self._known: dict[bytes, float] | None = {} if fixed_weights else None
        self.rank()  # a criterion that does not work says so before anything is trained

    @property
    def traces(self) -> int:
        """Number of times that the sub-network was traced."""
        return self._reward.traces

    def rank(self) -> None:
        """Ranks all channels by the present weights; call it again when the weights have changed."""
        self._task.progress.doing("ranking channels")
        self._evidence.weights_changed()
        groups = self._task.groups
        self._order = {name: ranking(groups[name], self._evidence, self._criterion) for name in self._prunable}

    def plan(self, kept: np.ndarray) -> Plan:
        """Returns the plan that keeps the most important channels: `kept[i]` of group i."""
        widths = zip(self._task.groups.groups, np.asarray(kept).tolist(), strict=True)
        return Plan.keeping_first(self._order, {name: width for name, width in widths if name in self._order})

    def reward(self, kept: np.ndarray) -> float:
        """Returns the metric of the sub-network with these widths, on the validation samples.

        Raises:
            ValueError: the metric is NaN or infinite, so that plans cannot be compared.
        """
        widths = np.asarray(kept, np.int64).tobytes()
        if self._known is not None and widths in self._known:
            return self._known[widths]
        value = self.measured(self.plan(kept))
        if not np.isfinite(value):
            metric = self._task.objective.metric_name or "loss"
            raise ValueError(
                f"Expected the metric {metric} to be a finite number for every plan that is tried. "
                f"Received: {value} with {int(kept.sum())} channels kept. Scale the labels, give an objective= that is "
                "finite whatever the outputs are, or choose method='uniform', which measures no plans."
            )
        if self._known is not None:
            self._known[widths] = value
        return value

    def measured(self, plan: Plan) -> float:
        """Returns the metric of a plan's sub-network, for any ranking of channels, on the validation samples."""
        return self._reward(plan)

    def whole(self) -> float:
        """Returns the metric of the unpruned model on the same samples."""
        return self._reward.whole()

    def play(self, act: Callable[[np.ndarray], float]) -> Episode:
        """Plays one episode of a policy, which maps states to rates in [0, 1]."""
        states, actions = [], []
        state = self.environment.reset()
        while not self.environment.done:
            states.append(state)
            state, action = self.environment.step(act(state))
            actions.append(action)
        kept = self.environment.kept
        return Episode(np.stack(states), np.array(actions, np.float32), kept, self.reward(kept))
