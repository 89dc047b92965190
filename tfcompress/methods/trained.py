"""`TrainedMethod`: a method that holds a `Training` and, where its students are taught, a `Teaching`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

import keras

from tfcompress.methods import phases
from tfcompress.methods.base import Method
from tfcompress.task import Task
from tfcompress.training import Training, TrainingFields
from tfcompress.training.optimizers import compiled_optimizer
from tfcompress.training.teaching import Teach, Teaching

__all__ = ["SGD_OF_PAPERS", "TrainedMethod"]

SGD_OF_PAPERS: Mapping[str, Any] = {
    "optimizer": "sgd",
    "momentum": 0.9,
    "nesterov": False,
    "weight_decay": 1e-4,
    "keep": "last",
}
"""Settings that trainings of many papers have in common: their SGD, and the last epoch's weights."""


@dataclasses.dataclass(frozen=True)
class TrainedMethod(TrainingFields, Method):
    """A method that trains what it leaves: how, and by whom it is taught, are values that it holds.

    It has no training of its own to inherit: `phases.train_student(student, task, self.training, ...)` trains.

    Attributes:
        teach: `"kd"` for soft targets from the original model in every phase that trains the student, or a `Teaching`
            with another teacher, temperature or hints; `None` for labels alone.
    """

    teach: Teach | Teaching | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.teaching  # noqa: B018 (it is checked there)

    @property
    def training(self) -> Training:
        """How a phase trains."""
        return Training.of(self)

    @property
    def teaching(self) -> Teaching | None:
        """The teaching of the student beside its labels; `None` for labels alone."""
        return Teaching.of("teach", self.teach)

    def for_model(self, model: keras.Model) -> Self:
        """The method with the model's optimizer in the place of `"compiled"`."""
        if self.optimizer != "compiled":
            return self
        return dataclasses.replace(self, optimizer=compiled_optimizer(model))

    def trains_with(self, task: Task) -> str | None:
        """The optimizer and its initial learning rate."""
        return self.training.words(task.is_trained)

    def taught_by(self, task: Task) -> str | None:
        """Labels, and what a teacher gives."""
        teaching = self.teaching_for(task)
        if teaching is None:
            return "labels alone teach"
        lessons = [*(["soft targets"] if teaching.has_soft_targets else []), *(["hints"] if teaching.hints else [])]
        teacher = "the original model" if teaching.teacher is None else f"model {teaching.teacher.name!r}"
        return f"labels teach, and {' and '.join(lessons)} of {teacher}"

    def teaching_for(self, task: Task) -> Teaching | None:
        """The teaching of a task's students; the same for every task, where the method does not choose."""
        return self.teaching

    def check(self, task: Task) -> None:
        """Refuses a teaching that does not fit the task."""
        if self.teaching is not None:
            phases.check_teaching(self.teaching, task)
