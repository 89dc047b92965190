"""`ChannelPruner`: the common part of methods that cut channels of a model and train what is left."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras

from tfcompress import expect
from tfcompress.evaluation import calibration_batches
from tfcompress.methods import phases
from tfcompress.methods.trained import TrainedMethod
from tfcompress.rewrite.statistics import reestimate_statistics
from tfcompress.task import Task
from tfcompress.training import Training
from tfcompress.training.teaching import Teach, Teaching

__all__ = ["PAPERS", "ChannelPruner"]

PAPERS: Mapping[str, Any] = {
    "optimizer": "sgd",
    "momentum": 0.9,
    "nesterov": False,
    "weight_decay": 1e-4,
    "keep": "last",
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
            batches = calibration_batches(task.splits, self.recalibrate_student)
            reestimate_statistics(task.network_of(student), batches)
        return phases.train_student(student, task, training, phase, teaching=teaching, **options)

    def recover(self, student: keras.Model, task: Task) -> dict[str, list[Any]]:
        """Fine-tunes the student."""
        return self.train_cut(student, task, self.training, "fine-tuning", keep=self.keep)
