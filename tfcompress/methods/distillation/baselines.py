"""Baselines of LIT's paper: a student trained from scratch, distilled, or of the teacher's own architecture."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import keras

from tfcompress import expect
from tfcompress.costs.budget import Budget
from tfcompress.methods import phases
from tfcompress.methods.distillation.base import PAPER_TARGETS, Distilling, Start
from tfcompress.methods.distillation.generative import Generative
from tfcompress.methods.distillation.lessons import train_on_outputs
from tfcompress.methods.registry import register_method
from tfcompress.plan import Plan
from tfcompress.task import Task

__all__ = ["KD", "BornAgain", "Scratch"]

_VDCNN = {"batch_size": 128, "learning_rate": 0.01, "milestones": (3, 6, 9, 12, 15)}
_FRESH = ("fresh",)


@register_method("scratch")
@dataclasses.dataclass(frozen=True)
class Scratch(Generative):
    """Trains a shallower student from fresh weights on labels only, without a teacher unless `teach` names one.

    The baseline of distillation. `alpha`, `tau` and `soft` have no effect here, and are refused. A generator is trained
    against its `discriminator`, as in StarGAN with `optimizer="adam"`.
    """

    start: Start = "fresh"
    milestones: tuple[int, ...] = (100, 150)
    reference_epochs: int = 200

    when: ClassVar[str] = "a baseline: the shallower student without the teacher"

    def __post_init__(self) -> None:
        super().__post_init__()
        expect.one_of("start", self.start, _FRESH, "KD(alpha=1) trains the teacher's remaining blocks on labels only.")
        defaults = Distilling()
        changed = [n for n in ("alpha", "tau", "soft", "scale_by_tau") if getattr(self, n) != getattr(defaults, n)]
        if changed:
            raise ValueError(f"Expected no settings of a teacher in Scratch. Received: {changed}. Use KD(...).")

    @property
    def distils_outputs(self) -> bool:
        """False: only labels are used."""
        return False

    def cost_of_teacher(self) -> float:
        """Returns the cost of the teacher of `teach`; there is no other."""
        return phases.cost_of_teacher(self.teaching)

    def taught_by(self, task: Task) -> str | None:
        """Returns that labels are used, or the teacher of `teach`."""
        return super().taught_by(task) or "learns from labels only"

    def stages(self) -> tuple[tuple[str, int, int], ...]:
        """One training."""
        return (("training from scratch", self.epochs, 1),)

    def distil(self, student: keras.Model, teacher: keras.Model, task: Task, prefix: str) -> dict[str, list[Any]]:
        """Trains on labels."""
        phase = f"{prefix}training from scratch"
        with self.begun(student, teacher, task, prefix):
            if self.discriminator is not None:
                return self.train_against_discriminator(student, teacher, task, self.training, phase, True)
            if self.teaching is not None:
                how: dict[str, Any] = {"lesson": self.teaching, "keep": self.keep}
                return train_on_outputs(student, teacher, task, self.training, phase, **how)
            return phases.train_student(student, task, self.training, phase, keep=self.keep)

    def check_model(self, task: Task) -> None:
        """Refuses a discriminator that does not fit."""
        super().check_model(task)
        self.check_generator(task, generates=self.discriminator is not None)

    @classmethod
    def published(cls) -> Mapping[str, Mapping[str, Any]]:
        """Appendix A."""
        return {
            "resnet": {"epochs": 200, "reference_epochs": 200, "milestones": (100, 150)},
            "resnext": {"epochs": 300, "reference_epochs": 300, "milestones": (150, 225)},
            "vdcnn": {**_VDCNN, "epochs": 15, "reference_epochs": 15},
        }


@register_method("kd")
@dataclasses.dataclass(frozen=True)
class KD(Distilling):
    """Knowledge distillation: a student of the teacher's remaining blocks learns from labels and soft targets.

    Hinton, Vinyals and Dean (2014), "Distilling the knowledge in a neural network"; `soft="logits"` is Ba and Caruana
    (2014), "Do deep nets really need to be deep?". `start="fresh"` uses fresh initial weights, as these papers do.
    """

    when: ClassVar[str] = "a shallower student, or one of your own, that learns from the network's answers"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.teach is not None:
            expect.unused(self, ["alpha", "tau", "soft", "scale_by_tau"], "with teach=, which has its own")

    def stages(self) -> tuple[tuple[str, int, int], ...]:
        """One training."""
        return (("distillation", self.epochs, 1),)

    def distil(self, student: keras.Model, teacher: keras.Model, task: Task, prefix: str) -> dict[str, list[Any]]:
        """Trains on labels and the teacher's outputs."""
        with self.begun(student, teacher, task, prefix):
            phase = f"{prefix}distillation"
            return train_on_outputs(student, teacher, task, self.training, phase, self.lesson, keep=self.keep)

    @classmethod
    def published(cls) -> Mapping[str, Mapping[str, Any]]:
        """Appendix A."""
        return {
            "resnet": {**PAPER_TARGETS, "epochs": 250, "reference_epochs": 250, "milestones": (100, 175)},
            "resnext": {**PAPER_TARGETS, "epochs": 300, "reference_epochs": 300, "milestones": (100, 175, 225)},
            "vdcnn": {**PAPER_TARGETS, **_VDCNN, "epochs": 18, "reference_epochs": 18, "alpha": 0.98},
        }


@register_method("born_again")
@dataclasses.dataclass(frozen=True)
class BornAgain(KD):
    """A student of the teacher's own architecture, distilled from fresh weights; several in sequence if wanted.

    Furlanello et al. (2018), "Born again neural networks". Nothing gets smaller: the budget has to be 1.0, or left out.

    Attributes:
        generations: number of students, each learning from the one before.
    """

    start: Start = "fresh"
    generations: int = 1

    when: ClassVar[str] = "more accuracy at the same size: a fresh copy of the network, taught by the network"

    def __post_init__(self) -> None:
        super().__post_init__()
        expect.one_of("start", self.start, _FRESH, "With the teacher's weights the student would be the teacher.")
        expect.settings(self, expect.whole, "generations", least=1)
        given = [n for n in ("student", "blocks", "sections", "cardinality") if getattr(self, n) is not None]
        if given:
            raise ValueError(f"Expected the teacher's architecture in BornAgain. Received: {given}. Use KD(...).")
        if self.generations > 1 and self.teaching is not None and self.teaching.teacher is not None:
            raise ValueError(
                "Expected no teacher in teach= with several generations, each of which learns from the one before. "
                f"Received: generations={self.generations} and teach=Teaching(teacher=...). Leave one of them out."
            )

    def budget(self, given: Budget) -> Budget:
        """Returns the whole model's cost, whatever the call gives."""
        if not all(value == 1 for value in given.values()):
            raise ValueError(
                "Expected flops_budget=1.0 or none for method='born_again', whose student is as large as its teacher. "
                f"Received: {', '.join(map(given.said, given))}. Use method='kd' or 'lit' for a smaller student."
            )
        return given if "macs" in given else Budget(given, flops=1.0)

    def least(self, costs: Any, control: Any) -> Any:
        """Returns the cost of the unchanged model, which needs no repeated blocks."""
        if control.settings():
            return super().least(costs, control)
        return costs.total

    def _plans(self, task: Task) -> list[Plan]:
        return [Plan()] * self.generations

    @property
    def _students(self) -> int:
        return self.generations
