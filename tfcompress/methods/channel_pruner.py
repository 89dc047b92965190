"""`ChannelPruner`: the common part of methods that remove channels of a model and train the rest."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tfcompress import expect
from tfcompress.graph import ChannelGroup
from tfcompress.importance import Criterion
from tfcompress.methods import phases
from tfcompress.methods.trained import SGD_OF_PAPERS, AutoTaught
from tfcompress.task import Task
from tfcompress.training import PhasePlan, Training

__all__ = ["PAPERS", "ChannelPruner", "finite_scores"]

PAPERS: Mapping[str, Any] = {
    **SGD_OF_PAPERS,
    "teach": None,
    "recalibrate_student": 0,
}
"""Settings shared by the trainings in channel pruners' papers: only labels, and the weights of the last epoch."""


@dataclasses.dataclass(frozen=True)
class ChannelPruner(AutoTaught):
    """A method whose student is the model with fewer channels; all such methods recover it in the same way.

    Attributes:
        recalibrate_student: number of batches of 128 training samples from which the BatchNormalization statistics of
            the student are computed anew before training; 0 to start from those of the whole model.
    """

    recalibrate_student: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        expect.settings(self, expect.whole, "recalibrate_student")

    def finetuning_phase(self, task: Task, epochs: int) -> PhasePlan:
        """Returns the training of the student, for the estimate of time."""
        cost = max(phases.share_of_macs(task), 0.1) + phases.cost_of_teacher(self.teaching_for(task))
        return PhasePlan("fine-tuning", epochs, cost)

    def train_cut(
        self, student: keras.Model, task: Task, training: Training, phase: str, anew: bool = True, **options: Any
    ) -> dict[str, list[Any]]:
        """Trains a model that has lost channels, in place; returns the history.

        Args:
            student: the pruned model.
            task: the task.
            training: the settings of the training.
            phase: name of the phase.
            anew: whether statistics are computed anew; False if the model was trained since it was pruned.
            options: further arguments of `phases.train_phase`.
        """
        teaching = self.said_teaching_for(task)
        if anew:
            phases.take_statistics_anew(student, task, self.recalibrate_student)
        return phases.train_student(student, task, training, phase, teaching=teaching, **options)

    def recover(self, student: keras.Model, task: Task) -> dict[str, list[Any]]:
        """Fine-tunes the student."""
        return self.train_cut(student, task, self.training, "fine-tuning", keep=self.keep)


def finite_scores(group: ChannelGroup, scores: np.ndarray, criterion: str | Criterion) -> np.ndarray:
    """Returns scores as float64 `[size]`, for sums.

    Raises:
        ValueError: one of them is infinite.
    """
    if not np.isfinite(scores).all():
        finite = f"finite scores of {group.name!r}"
        expect.refuse("criterion", finite, criterion, "It gave infinite ones: choose another.")
    return np.asarray(scores, np.float64)
