"""`ChannelPruner`: the common part of methods that cut channels of a model and train what is left."""

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
"""Settings that the trainings of channel pruners' papers have in common: labels alone, and the last epoch's weights."""


@dataclasses.dataclass(frozen=True)
class ChannelPruner(TrainedMethod):
    """A method whose student is the model with fewer channels: how that is recovered is the same for all of them.

    Attributes:
        teach: `"auto"`: soft targets from the original model, if that comes trained and classifies, as they make up
            for more of what was cut than labels alone; `"kd"` for soft targets in any case, or a `Teaching` with
            another teacher, temperature or hints; `None` for labels alone.
        recalibrate_student: BatchNormalization statistics of what is left are taken anew from so many batches of 128
            training samples before it is trained; 0 to begin with those that the whole model has.
    """

    teach: Teach | Teaching | None = "auto"
    recalibrate_student: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        expect.settings(self, expect.whole, "recalibrate_student")

    @property
    def teaching(self) -> Teaching | None:
        """The teaching that was asked for; `None` where that depends on the task, or for labels alone."""
        return None if self._is_auto else Teaching.of("teach", self.teach, "'auto', 'kd', Teaching(...) or None")

    @property
    def _is_auto(self) -> bool:
        return isinstance(self.teach, str) and self.teach == "auto"

    def teaching_for(self, task: Task) -> Teaching | None:
        """The teaching of a task's students: with `"auto"` by the original model, where it has something to teach."""
        if not self._is_auto:
            return self.teaching
        return Teaching() if task.is_trained and phases.can_teach(task) else None

    def finetuning_phase(self, task: Task, epochs: int) -> PhasePlan:
        """The training of what is left, for the estimate of time."""
        cost = max(phases.share_of_macs(task), 0.1) + phases.cost_of_teacher(self.teaching_for(task))
        return PhasePlan("fine-tuning", epochs, cost)

    def train_cut(
        self, student: keras.Model, task: Task, training: Training, phase: str, anew: bool = True, **options: Any
    ) -> dict[str, list[Any]]:
        """Trains a model of which channels were cut, in place; returns the history.

        Args:
            student: what is left.
            task: the task.
            training: how.
            phase: its name.
            anew: whether statistics are taken anew; not where the model was trained since it was cut.
            options: further arguments of `phases.train_phase`.
        """
        teaching = self.teaching_for(task)
        if teaching is not None and self._is_auto:
            task.say(
                f"The original model teaches what is left of it: soft targets with alpha {teaching.alpha:g} and tau "
                f"{teaching.tau:g} (teach=None for labels alone)."
            )
        if anew:
            phases.take_statistics_anew(student, task, self.recalibrate_student)
        return phases.train_student(student, task, training, phase, teaching=teaching, **options)

    def recover(self, student: keras.Model, task: Task) -> dict[str, list[Any]]:
        """Fine-tunes the student."""
        return self.train_cut(student, task, self.training, "fine-tuning", keep=self.keep)
