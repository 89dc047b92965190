"""The policies of N2N's two stages for a network, or random draws instead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from tfcompress.agents.reinforce import ReinforceSettings, RemovalLearner, ShrinkageLearner
from tfcompress.methods.n2n.random_draws import RandomDraws
from tfcompress.methods.n2n.rules import Rules
from tfcompress.methods.n2n.sequence import names_of_features
from tfcompress.methods.n2n.space import Removable, Shrinkable
from tfcompress.streams import Stream
from tfcompress.task import Task

__all__ = ["Player", "Policies"]

_REMOVAL, _SHRINKAGE = 1, 2  # streams of random students

Player: TypeAlias = "tuple[RemovalLearner | ShrinkageLearner | None, Callable[[], Sequence[Any]]]"
"""The learning policy, `None` for random draws, and the function that draws the students of an update."""


@dataclass(frozen=True)
class Policies:
    """The way students are drawn.

    Attributes:
        rules: what policies read and do.
        rollouts: number of students of an update.
        removal_rate: Adam's learning rate of the removal policy.
        shrinkage_rate: that of the shrinkage policy; `None` for the one of `rules`.
        baseline_decay: decay of the moving average of rewards.
        actor_critic: whether a value network replaces the moving average.
        random: whether each action is as likely as any other, and nothing is learned.
    """

    rules: Rules
    rollouts: int
    removal_rate: float
    shrinkage_rate: float | None
    baseline_decay: float
    actor_critic: bool
    random: bool

    def removal(self, task: Task, removable: Removable) -> Player:
        """Returns the player of the removal stage."""
        steps = len(removable.sequence.nodes)
        if self.random:
            draws = RandomDraws(steps, (False, True), task.rng(Stream.STUDENTS, _REMOVAL))
            return None, lambda: draws.rollouts(self.rollouts)
        learner, rows = self._removal_learner(steps, task.seed), removable.sequence.read(self.rules)
        return learner, lambda: learner.rollouts(rows, self.rollouts, removable.allowed)

    def shrinkage(self, task: Task, shrinkable: Shrinkable) -> Player:
        """Returns the player of the shrinkage stage."""
        steps = len(shrinkable.variables)
        if self.random:
            draws = RandomDraws(steps, self.rules.shares, task.rng(Stream.STUDENTS, _SHRINKAGE))
            return None, lambda: draws.rollouts(self.rollouts)
        learner, rows = self._shrinkage_learner(steps, task.seed), shrinkable.numbers
        return learner, lambda: learner.rollouts(rows, self.rollouts)

    def check(self, folder: str, removes: bool, shrinks: bool) -> None:
        """Refuses saved policies that a stage cannot start from; this does not depend on the model.

        Args:
            folder: the folder of both policies.
            removes, shrinks: the stages to play.

        Raises:
            ValueError: the policies do not exist, or are of another kind.
        """
        if removes:
            self._removal_learner(1, 0).load(f"{folder}/removal")
        if shrinks:
            self._shrinkage_learner(1, 0).load(f"{folder}/shrinkage")

    def _removal_learner(self, steps: int, seed: int) -> RemovalLearner:
        settings = self._settings(self.rules.units[0], self.removal_rate)
        return RemovalLearner(names_of_features(self.rules), steps, settings, seed=seed)

    def _shrinkage_learner(self, steps: int, seed: int) -> ShrinkageLearner:
        return ShrinkageLearner(
            names_of_features(self.rules),
            steps,
            self._settings(self.rules.units[1], self.shrinkage_rate or self.rules.shrinkage_rate),
            shares=self.rules.shares,
            previous_action=self.rules.previous_action,
            seed=seed,
        )

    def _settings(self, units: int, rate: float) -> ReinforceSettings:
        return ReinforceSettings(
            units=units, learning_rate=rate, baseline_decay=self.baseline_decay, actor_critic=self.actor_critic
        )
