"""The method LIT: its settings, and its two phases."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import keras

from tfcompress import expect
from tfcompress.methods import phases
from tfcompress.methods.distillation.base import PAPER_TARGETS
from tfcompress.methods.distillation.generative import Generative
from tfcompress.methods.distillation.lessons import train_on_outputs
from tfcompress.methods.distillation.sectioned import Sectioned
from tfcompress.methods.distillation.splitting import check_copy, copy_part
from tfcompress.methods.distillation.tuning import Tuning, one_after_the_other
from tfcompress.methods.registry import register_method
from tfcompress.task import Task
from tfcompress.training import Training, loss_function
from tfcompress.training.teaching import (
    Distillation,
    Hints,
    OutputLoss,
    OutputsLoss,
    SoftTargets,
    SplitModel,
    Teaching,
    cached_batches,
    check_cache,
    computing_in,
    frozen,
)

__all__ = ["LIT"]


def _trial(name: str, value: float) -> str:
    return f"tuning {name}={value:g}"


@register_method("lit")
@dataclasses.dataclass(frozen=True)
class LIT(Sectioned, Generative):
    """Trains each section of a shallower student on the teacher's outputs, then the whole student on soft targets.

    Koratana, Kang, Bailis and Zaharia (2018), "LIT: Block-wise Intermediate Representation Training for Model
    Compression". The loss of the first phase is Equation (1), `beta * L_KD + (1 - beta) * L_I`; that of the second is
    L_KD. The student starts with the teacher's remaining blocks. Stem and classifier are the teacher's, and frozen in
    the first phase; in the second everything is trained. `LIT.as_published("resnet")` has the paper's settings
    (appendix A), in which sections start with fresh weights. The rows of Table 3 are settings: `hints=(2,)` compares
    one section, `teacher_input=False` lets the student read its own outputs, and `method="kd"` is KD.

    With `beta=0` sections learn from inputs alone, without labels or probabilities, which suits generators; the second
    phase of a generator trains against the `discriminator`, or, without one, on the teacher's output. The discriminator
    is trained too, as in StarGAN; with `adversarial=AdversarialSettings(steps=0)` it does not change.

    Attributes:
        epochs: epochs of the first phase; a sixth of all. Decided: sections that start with the teacher's blocks have
            little to learn alone (docs/results/defaults.md).
        finetune_epochs: epochs of the second phase.
        finetune_learning_rate: initial learning rate of the second phase; `None` for that of trained blocks, which is
            0.01 with batches of 32 and grows with them.
        finetune_milestones: milestones of the second phase, for a phase of `finetune_reference_epochs`.
        finetune_reference_epochs: length of the phase that its milestones are given for.
        beta: weight of the distillation loss L_KD; the loss of sections, L_I, has weight 1 - beta.
        hints: the sections to compare, counted from 1; `None` for all.
        teacher_input: whether the student's section i reads the teacher's output of section i - 1.
        copy: parts whose weights are copied from the teacher to a student with fresh weights, or to a given student:
            "stem", "section1", ..., "head". Sections that `sections` leaves whole are copied too.
        freeze: parts that are not trained in the first phase; `None` for those of `copy`, and whole sections.
        cache_gb: limit, in 10^9 bytes, of a cache on disk of the teacher's outputs for each sample, computed once while
            sections train; for data that are not augmented. `None` to compute them in each step.
        tune: whether to set tau, then alpha, then beta by the metric on the validation split first, as in section 3 of
            the paper; each value takes a training.
        tuning: the values to try.
    """

    epochs: int = 5
    milestones: tuple[int, ...] = (60, 100, 125)
    reference_epochs: int = 175
    finetune_epochs: int = 25
    finetune_learning_rate: float | None = None
    finetune_milestones: tuple[int, ...] = (35, 55)
    finetune_reference_epochs: int = 75
    beta: float = 0.75
    hints: tuple[int, ...] | None = None
    teacher_input: bool = True
    copy: tuple[str, ...] = ("stem", "head")
    freeze: tuple[str, ...] | None = None
    cache_gb: float | None = None
    tune: bool = False
    tuning: Tuning = dataclasses.field(default_factory=Tuning)

    when: ClassVar[str] = (
        "networks of repeated blocks (ResNets, VDCNNs) that should become shallower, for lower latency; generators"
    )
    fast: ClassVar[Mapping[str, Any]] = {"epochs": 1, "finetune_epochs": 5}

    def __post_init__(self) -> None:
        super().__post_init__()
        expect.settings(self, expect.whole, "finetune_epochs")
        expect.settings(self, expect.whole, "finetune_reference_epochs", least=1)
        epochs = {"check": expect.whole, "what": "epochs such as (35, 55)"}
        expect.settings(self, expect.each, "finetune_milestones", **epochs)
        expect.settings(self, expect.number, "finetune_learning_rate", above=0, or_none=True)
        expect.settings(self, expect.number, "beta", at_least=0, below=1, advice="With 1 it is method='kd'.")
        expect.settings(self, expect.number, "cache_gb", above=0, or_none=True)
        expect.settings(self, expect.flag, "teacher_input", "tune")
        expect.settings(self, expect.instance, "tuning", kinds=Tuning, what="Tuning(...)")
        sections = {"check": expect.whole, "what": "at least one section, counted from 1, each once"}
        expect.settings(self, expect.each, "hints", empty=False, unique=True, or_none=True, **sections)
        parts = {"check": expect.text, "what": "names of parts such as ('stem', 'head')"}
        expect.settings(self, expect.each, "copy", **parts)
        expect.settings(self, expect.each, "freeze", or_none=True, **parts)
        if self.begins_with_teacher and self.freeze is not None:
            expect.unused(self, ["copy"], "with freeze= if all parts start with the teacher's weights, see start=")
        if self.teach is not None and not self.beta:
            soft = ["alpha", "tau", "soft", "scale_by_tau"]
            expect.unused(self, soft, "with beta=0 and teach=, which has its own")
        if not self.tune:
            expect.unused(self, ["tuning"], "without tune=True")
        elif not self.beta:
            expect.refuse("tune", "False if beta is 0, because tau and alpha have no effect then", self.tune)
        elif self.soft != "cross_entropy":
            expect.refuse("tune", f"False with soft={self.soft!r}, which has no temperature", self.tune)

    @property
    def finetuning(self) -> Training:
        """The settings of the second phase."""
        return dataclasses.replace(
            self.training,
            epochs=self.finetune_epochs,
            learning_rate=self.finetune_learning_rate or self.rate_of_blocks,
            milestones=self.finetune_milestones,
            reference_epochs=self.finetune_reference_epochs,
        )

    @property
    def distils_outputs(self) -> bool:
        """Whether the first phase uses L_KD."""
        return self.beta > 0

    def stages(self) -> tuple[tuple[str, int, int], ...]:
        """Returns the stage for sections, then that for the whole student."""
        runs = 2 if self.teacher_input and self.beta else 1
        tried = self.tuning.trainings if self.tune else ()
        return (
            *((_trial(name, value), self.tuning.epochs, runs if name == "beta" else 1) for name, value in tried),
            ("training of sections", self.epochs, runs),
            ("fine-tuning", self.finetune_epochs, 1),
        )

    def check_model(self, task: Task) -> None:
        """Refuses unknown sections and parts, and a discriminator that does not fit."""
        super().check_model(task)
        self.check_generator(task, generates=not self.beta)
        teacher = self.split_teacher(task)
        self._check_numbers(teacher)
        self._hints(teacher, teacher, self.held(teacher))
        if self.cache_gb is not None and self.shuffled(task):
            raise ValueError(f"Expected cache_gb=None with shuffled inputs. Received: cache_gb={self.cache_gb}")

    def check(self, task: Task) -> None:
        """Refuses a cache that does not fit, and tuning without a metric."""
        super().check(task)
        if self.cache_gb is not None:
            teacher = self.split_teacher(task)
            with computing_in(self.mixed_precision, (teacher.model,)):
                model = self._distillation(teacher, teacher, task, self.held(teacher))
                check_cache(model, task.splits.train, self.cache_gb)
        if self.tune and task.objective.metric_name is None:
            raise ValueError("Expected a metric to tune by. Received: tune=True for a model without one. Compile it.")

    def _check_numbers(self, teacher: SplitModel) -> None:
        sections = len(teacher.boundaries) - 1
        outside = [number for number in self.hints or () if not 1 <= number <= sections]
        if outside:
            raise ValueError(f"Expected `hints` between 1 and {sections}, the number of sections. Received: {outside}")
        for name in ("copy", "freeze"):
            unknown = sorted(set(getattr(self, name) or ()) - set(teacher.names))
            if unknown:
                raise ValueError(f"Expected `{name}` among the parts {teacher.names}. Received: {unknown}")

    def copied(self, student: SplitModel) -> tuple[str, ...]:
        """Returns the parts that are copied from the teacher."""
        if self.sections is None:
            return self.copy
        whole = [f"section{i}" for i in range(1, len(student.boundaries)) if i not in self.sections]
        return tuple(dict.fromkeys((*self.copy, *whole)))

    def held(self, student: SplitModel) -> tuple[str, ...]:
        """Returns the parts that are not trained in the first phase."""
        return self.copied(student) if self.freeze is None else self.freeze

    def check_pair(self, teacher: SplitModel, student: SplitModel) -> SplitModel:
        """Refuses a student whose parts cannot be copied."""
        for part in self.copied(student):
            check_copy(part, teacher, student)
        return student

    def distil(self, student: keras.Model, teacher: keras.Model, task: Task, prefix: str) -> dict[str, list[Any]]:
        """Trains the two phases, after the trainings for tuning."""
        if self.tune:
            tuned, scores = self._tuned(student, teacher, task, prefix)
            return {**scores, **tuned.distil(student, teacher, task, prefix)}
        with self._begin(student, teacher, task, prefix) as (split, split_teacher):
            history = self.train_sections(split, split_teacher, task, f"{prefix}training of sections")
            self.recalibrate(student, task)
            later = self.fine_tune(student, teacher, task, f"{prefix}fine-tuning")
        return {**history, **{f"fine-tuning {name}": values for name, values in later.items()}}

    @contextlib.contextmanager
    def _begin(
        self, student: keras.Model, teacher: keras.Model, task: Task, prefix: str
    ) -> Iterator[tuple[SplitModel, SplitModel]]:
        """Splits student and teacher, and gives the student its initial weights; fresh layers are trained."""
        split, split_teacher = self.split(student, teacher, task)
        copied = self.copied(split)
        others = [layer for part in split.names if part not in copied for layer in split.layers[part]]
        with self.begun(student, teacher, task, prefix, others):
            for part in () if self.begins_with_teacher else copied:
                copy_part(part, split_teacher, split)
            yield split, split_teacher

    def _tuned(
        self, student: keras.Model, teacher: keras.Model, task: Task, prefix: str
    ) -> tuple[LIT, dict[str, list[float]]]:
        """Returns this method with the settings that did best, and the scores of all."""

        untuned: dict[str, Any] = {"tune": False, "tuning": Tuning()}

        def score(name: str, settings: Mapping[str, Any]) -> float:
            tried = dataclasses.replace(self, **untuned, epochs=self.tuning.epochs, **settings)
            trial = self._copy(student)
            phase = prefix + _trial(name, settings[name])
            if name == "beta":
                with tried._begin(trial, teacher, task, prefix) as parts:
                    tried.train_sections(*parts, task, phase)
                    tried.recalibrate(trial, task)
            else:
                with self.begun(trial, teacher, task, prefix):
                    train_on_outputs(trial, teacher, task, tried.training, phase, tried.soft_targets)
            metric = phases.score_of(trial, task)
            assert metric is not None
            return metric if task.objective.higher_is_better else -metric

        best, scores = one_after_the_other(self.tuning, score, task.progress.note)
        history = {f"tuning of {name}": values for name, values in scores.items()}
        history |= {f"tuned {name}": [value] for name, value in best.items()}
        return dataclasses.replace(self, **untuned, **best), history

    def train_sections(self, student: SplitModel, teacher: SplitModel, task: Task, phase: str) -> dict[str, list[Any]]:
        """The first phase: Equation (1)."""
        held = self.held(student)
        with contextlib.ExitStack() as stack:
            stack.enter_context(frozen([layer for part in held for layer in student.layers[part]]))
            if not self.beta:
                stack.enter_context(frozen(self._hints(student, teacher, held).unreached()))
            stack.enter_context(computing_in(self.mixed_precision, (student.model, teacher.model)))
            model = self._distillation(student, teacher, task, held)
            data = None
            if self.cache_gb is not None:
                path = None if task.run.path is None else task.run.path / "teacher" / phase.replace(" ", "-")
                batches = cached_batches(
                    model, task.splits.train, self.batch_size, self.cache_gb, path, task.seed, task.progress.note
                )
                data = stack.enter_context(batches)
            return phases.train_phase(model, task, self.training, phase, data=data)

    def _distillation(
        self, student: SplitModel, teacher: SplitModel, task: Task, held: tuple[str, ...]
    ) -> Distillation:
        return Distillation(
            student.model,
            teacher.model,
            outputs_loss=phases.kd_loss(student.model, teacher.model, task, self.soft_targets) if self.beta else None,
            hints=self._hints(student, teacher, held),
            beta=self.beta,
            validation_loss=loss_function(student.model, task.objective),
            shuffled_inputs=self.shuffled(task),
            seed=task.seed,
            cached=self.cache_gb is not None,
        )

    def _hints(self, student: SplitModel, teacher: SplitModel, held: tuple[str, ...]) -> Hints:
        sections = self.hints or tuple(range(1, len(teacher.boundaries)))
        # What is neither trained nor fed by anything that is trained has nothing to learn from a comparison.
        if self.teacher_input:
            sections = tuple(number for number in sections if f"section{number}" not in held)
        if not sections:
            raise ValueError(
                f"Expected a section to train and compare. Received: hints={self.hints}, while {held} are not trained."
            )
        stem_is_shared = "stem" in held and (self.begins_with_teacher or "stem" in self.copied(student))
        how: dict[str, Any] = {"stem_is_shared": stem_is_shared, "relative": self.relative}
        return Hints(student, teacher, sections, self.loss, self.teacher_input, **how)

    def fine_tune(self, student: keras.Model, teacher: keras.Model, task: Task, phase: str) -> dict[str, list[Any]]:
        """Trains the second phase: the whole student with L_KD, or, without classes, on the teacher's output."""
        if self.discriminator is not None:
            return self.train_against_discriminator(student, teacher, task, self.finetuning, phase)
        lesson: SoftTargets | OutputsLoss | Teaching = self.lesson
        if self.teaching is None and not self.classifies(task):
            lesson = OutputLoss(self.loss)
        feeding: dict[str, Any] = {"shuffled_inputs": self.shuffled(task), "keep": self.keep}
        return train_on_outputs(student, teacher, task, self.finetuning, phase, lesson, **feeding)

    @classmethod
    def published(cls) -> Mapping[str, Mapping[str, Any]]:
        """Appendix A."""
        parts = {"teacher_input": True, "hints": None, "copy": ("stem", "head"), "freeze": None}
        common = {**PAPER_TARGETS, **parts, "loss": "l2", "relative": False, "finetune_learning_rate": 0.01}
        resnext = {
            **common,
            "epochs": 200,
            "reference_epochs": 200,
            "milestones": (100, 145, 175),
            "finetune_epochs": 125,
            "finetune_reference_epochs": 125,
            "finetune_milestones": (65, 95, 110),
        }
        return {
            "resnet": {
                **common,
                "epochs": 175,
                "reference_epochs": 175,
                "milestones": (60, 100, 125),
                "finetune_epochs": 75,
                "finetune_reference_epochs": 75,
                "finetune_milestones": (35, 55),
                "beta": 0.75,
            },
            "resnext": {**resnext, "beta": 0.5},
            "resnext with a lower cardinality": {**resnext, "beta": 0.25, "cardinality": 16},
            "vdcnn": {
                **common,
                "batch_size": 128,
                "epochs": 15,
                "reference_epochs": 15,
                "learning_rate": 0.01,
                "milestones": (3, 6, 9, 12),
                "decay": 0.5,
                "finetune_epochs": 10,
                "finetune_reference_epochs": 10,
                "finetune_learning_rate": 0.000625,
                "finetune_milestones": (4, 8),
                "beta": 0.02,
                "alpha": 0.98,
            },
            "stargan": {
                **parts,
                "loss": "l2",
                "relative": False,
                "batch_size": 16,
                "epochs": 16,
                "reference_epochs": 16,
                "learning_rate": 1e-4,
                "milestones": (8,),
                "finetune_epochs": 10,
                "finetune_reference_epochs": 10,
                "finetune_learning_rate": 5e-5,
                "finetune_milestones": (5,),
                "beta": 0.0,
                # The text says SGD with weight decay; the released code, with which 1e-4 makes sense, has plain Adam.
                "optimizer": "adam",
                "weight_decay": 0.0,
            },
        }
