"""Hint training (FitNets): the student's first half learns from one hint, then the whole student from soft targets."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import keras

from tfcompress import expect
from tfcompress.methods import phases
from tfcompress.methods.distillation.base import FRESH_RATE, PAPER_TARGETS
from tfcompress.methods.distillation.lessons import train_on_outputs
from tfcompress.methods.distillation.sectioned import Sectioned
from tfcompress.methods.registry import register_method
from tfcompress.task import Task
from tfcompress.training import loss_function
from tfcompress.training.teaching import Distillation, Hints, SplitModel, computing_in, frozen, regressor

__all__ = ["Hint"]


@register_method("hint")
@dataclasses.dataclass(frozen=True)
class Hint(Sectioned):
    """Trains the student up to one section on the teacher's output there, then the whole student with L_KD.

    Romero et al. (2015), "FitNets: Hints for thin deep nets": the student reads its own outputs, and if it is narrower
    than the teacher, a 1x1 convolution, trained with it and then removed, brings its output to the teacher's width. The
    paper's hint is in the middle of both networks, and its student has fresh initial weights (`start="fresh"`).

    Attributes:
        hint_epochs: epochs of the first stage.
        hint_learning_rate: initial learning rate of the first stage. `None`: `learning_rate` if that is given, else
            0.1, because at 0.01 students learn little but the mean of the teacher's output.
        epochs: epochs of the second stage.
        hint: the section whose output is compared, counted from 1; `None` for the middle one.
    """

    hint_epochs: int = 10
    hint_learning_rate: float | None = None
    epochs: int = 20
    milestones: tuple[int, ...] = (60, 100, 125)
    reference_epochs: int = 175
    hint: int | None = None

    channels_may_differ = True
    when: ClassVar[str] = "a shallower student that also learns from one layer in the middle; a baseline for lit"
    fast: ClassVar[Mapping[str, Any]] = {"hint_epochs": 2, "epochs": 4}

    def __post_init__(self) -> None:
        super().__post_init__()
        expect.settings(self, expect.whole, "hint_epochs")
        expect.settings(self, expect.number, "hint_learning_rate", above=0, or_none=True)
        expect.settings(self, expect.whole, "hint", least=1, or_none=True)
        if self.teach is not None:
            expect.unused(self, ["alpha", "tau", "soft", "scale_by_tau"], "with teach=, which has its own")

    def stages(self) -> tuple[tuple[str, int, int], ...]:
        """Returns the hint stage, then the stage for the whole student."""
        return (("hint training", self.hint_epochs, 1), ("distillation", self.epochs, 1))

    def check_model(self, task: Task) -> None:
        """Refuses a hint of an unknown section."""
        super().check_model(task)
        sections = len(self.split_teacher(task).boundaries) - 1
        if self.hint is not None and self.hint > sections:
            raise ValueError(f"Expected `hint` between 1 and {sections}, the number of sections. Received: {self.hint}")

    def distil(self, student: keras.Model, teacher: keras.Model, task: Task, prefix: str) -> dict[str, list[Any]]:
        """Trains the two stages."""
        with self.begun(student, teacher, task, prefix):
            split, split_teacher = self.split(student, teacher, task)
            history = self._train_to_hint(split, split_teacher, task, f"{prefix}hint training")
            self.recalibrate(student, task)
            phase = f"{prefix}distillation"
            later = train_on_outputs(student, teacher, task, self.training, phase, self.lesson, keep=self.keep)
        return {**{f"hint {name}": values for name, values in history.items()}, **later}

    def _train_to_hint(self, student: SplitModel, teacher: SplitModel, task: Task, phase: str) -> dict[str, list[Any]]:
        number = (len(teacher.boundaries)) // 2 if self.hint is None else self.hint
        wider = regressor(student.shape(number), teacher.shape(number), task.seed)
        how: dict[str, Any] = {"teacher_input": False, "regressors": (wider,), "relative": self.relative}
        hints = Hints(student, teacher, (number,), self.loss, **how)
        rate = self.hint_learning_rate or self.learning_rate or FRESH_RATE
        training = dataclasses.replace(self.training, epochs=self.hint_epochs, learning_rate=rate)
        with frozen(hints.unreached()), computing_in(self.mixed_precision, (student.model, teacher.model)):
            loss = loss_function(student.model, task.objective)
            model = Distillation(student.model, teacher.model, hints=hints, beta=0.0, validation_loss=loss)
            return phases.train_phase(model, task, training, phase)

    @classmethod
    def published(cls) -> Mapping[str, Mapping[str, Any]]:
        """The paper gives no settings for hint training: those of LIT are used, in the order of the two stages."""
        hints = {**PAPER_TARGETS, "hint_learning_rate": None, "hint": None, "loss": "l2", "relative": False}
        return {
            "resnet": {
                **hints,
                "hint_epochs": 75,
                "epochs": 175,
                "reference_epochs": 175,
                "milestones": (60, 100, 125),
            },
            "resnext": {
                **hints,
                "hint_epochs": 125,
                "epochs": 200,
                "reference_epochs": 200,
                "milestones": (100, 145, 175),
            },
            "vdcnn": {
                **hints,
                "batch_size": 128,
                "hint_epochs": 10,
                "epochs": 15,
                "reference_epochs": 15,
                "learning_rate": 0.01,
                "milestones": (3, 6, 9, 12),
                "decay": 0.5,
                "alpha": 0.98,
            },
        }
