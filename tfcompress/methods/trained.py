"""`TrainedMethod`: a method that holds a `Training` and, if its students are taught, a `Teaching`."""

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

__all__ = ["SGD_OF_PAPERS", "AutoTaught", "TrainedMethod"]

SGD_OF_PAPERS: Mapping[str, Any] = {
    "optimizer": "sgd",
    "momentum": 0.9,
    "nesterov": False,
    "weight_decay": 1e-4,
    "keep": "last",
}
"""Settings shared by the trainings of many papers: their SGD, and the weights of the last epoch."""


@dataclasses.dataclass(frozen=True)
class TrainedMethod(TrainingFields, Method):
    """A method that trains its student; it holds the settings of the training and of the teaching.

    It inherits no training code: `phases.train_student(student, task, self.training, ...)` trains.

    Attributes:
        teach: teaching of the student: `"kd"` for soft targets from the original model in every phase that trains the
            student, or a `Teaching` with another teacher, temperature or hints; `None` for labels alone.
    """

    teach: Teach | Teaching | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.teaching  # noqa: B018 (it is checked there)

    @property
    def training(self) -> Training:
        """The settings of a training phase."""
        return Training.of(self)

    @property
    def teaching(self) -> Teaching | None:
        """The teaching of the student in addition to its labels; `None` for labels alone."""
        return Teaching.of("teach", self.teach)

    def for_model(self, model: keras.Model) -> Self:
        """Returns the method with the model's optimizer instead of `"compiled"`."""
        if self.optimizer != "compiled":
            return self
        return dataclasses.replace(self, optimizer=compiled_optimizer(model))

    def trains_with(self, task: Task) -> str | None:
        """Returns the optimizer and its initial learning rate in words."""
        return self.training.words(task.is_trained)

    def taught_by(self, task: Task) -> str | None:
        """Returns in words what the student learns from: labels, and outputs of a teacher."""
        teaching = self.teaching_for(task)
        if teaching is None:
            return "learns from labels only"
        lessons = [*(["soft targets"] if teaching.has_soft_targets else []), *(["hints"] if teaching.hints else [])]
        teacher = "the original model" if teaching.teacher is None else f"model {teaching.teacher.name!r}"
        return f"learns from labels and {' and '.join(lessons)} of {teacher}"

    def teaching_for(self, task: Task) -> Teaching | None:
        """Returns the teaching of a task's students; the same for every task, unless the method chooses."""
        return self.teaching

    def check(self, task: Task) -> None:
        """Refuses a teaching that does not fit the task."""
        if self.teaching is not None:
            phases.check_teaching(self.teaching, task)


@dataclasses.dataclass(frozen=True)
class AutoTaught(TrainedMethod):
    """A method whose student learns from the original model, unless its settings say otherwise.

    Attributes:
        teach: teaching of the student: `"auto"`: soft targets from the original model, if it is a trained classifier,
            because they restore more accuracy than labels alone; `"kd"` for soft targets in any case; a `Teaching` with
            another teacher, temperature or hints; `None` for labels alone.
    """

    teach: Teach | Teaching | None = "auto"

    @property
    def teaching(self) -> Teaching | None:
        """The teaching that was asked for; `None` for labels alone, or if the task decides."""
        return None if self.is_auto else Teaching.of("teach", self.teach, "'auto', 'kd', Teaching(...) or None")

    @property
    def is_auto(self) -> bool:
        """Whether the task decides about the teaching."""
        return isinstance(self.teach, str) and self.teach == "auto"

    def teaching_for(self, task: Task) -> Teaching | None:
        """Returns the teaching of a task's students; with `"auto"`, by the original model if it can teach."""
        if not self.is_auto:
            return self.teaching
        return Teaching() if task.is_trained and phases.can_teach(task) else None

    def said_teaching_for(self, task: Task) -> Teaching | None:
        """Returns the same, and adds a note to the task where the task decided."""
        teaching = self.teaching_for(task)
        if teaching is not None and self.is_auto:
            task.say(
                f"The original model teaches the student: soft targets with alpha {teaching.alpha:g} and tau "
                f"{teaching.tau:g} (teach=None for labels alone)."
            )
        return teaching
