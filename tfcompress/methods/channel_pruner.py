"""`ChannelPruner`: the common part of methods that remove channels of a model and train the rest."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras

from tfcompress import expect
from tfcompress.methods import phases
from tfcompress.methods.trained import SGD_OF_PAPERS, TrainedMethod
from tfcompress.task import Task
from tfcompress.training import PhasePlan, Training
from tfcompress.training.teaching import Teach, Teaching

__all__ = ["PAPERS", "ChannelPruner"]

PAPERS: Mapping[str, Any] = {
    **SGD_OF_PAPERS,
    "teach": None,
    "recalibrate_student": 0,
}
"""Settings shared by the trainings in channel pruners' papers: only labels, and the weights of the last epoch."""


@dataclasses.dataclass(frozen=True)
class ChannelPruner(TrainedMethod):
    """A method whose student is the model with fewer channels; all such methods recover it in the same way.

    Attributes:
        teach: teaching of the student: `"auto"`: soft targets from the original model, if it is a trained classifier,
            because they restore more accuracy than labels alone; `"kd"` for soft targets in any case; a `Teaching` with
            another teacher, temperature or hints; `None` for labels alone.
        recalibrate_student: number of batches of 128 training samples from which the BatchNormalization statistics of
            the student are computed anew before training; 0 to start from those of the whole model.
    """

    teach: Teach | Teaching | None = "auto"
    recalibrate_student: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        expect.settings(self, expect.whole, "recalibrate_student")

    @property
    def teaching(self) -> Teaching | None:
        """The teaching that was asked for; `None` for labels alone, or if the task decides."""
        return None if self._is_auto else Teaching.of("teach", self.teach, "'auto', 'kd', Teaching(...) or None")

    @property
    def _is_auto(self) -> bool:
        return isinstance(self.teach, str) and self.teach == "auto"

    def teaching_for(self, task: Task) -> Teaching | None:
        """Returns the teaching of a task's students: with `"auto"`, by the original model if it can teach."""
        if not self._is_auto:
            return self.teaching
        return Teaching() if task.is_trained and phases.can_teach(task) else None

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
        teaching = self.teaching_for(task)
        if teaching is not None and self._is_auto:
            task.say(
                f"The original model teaches the student: soft targets with alpha {teaching.alpha:g} and tau "
                f"{teaching.tau:g} (teach=None for labels alone)."
            )
        if anew:
            phases.take_statistics_anew(student, task, self.recalibrate_student)
        return phases.train_student(student, task, training, phase, teaching=teaching, **options)

    def recover(self, student: keras.Model, task: Task) -> dict[str, list[Any]]:
        """Fine-tunes the student."""
        return self.train_cut(student, task, self.training, "fine-tuning", keep=self.keep)
