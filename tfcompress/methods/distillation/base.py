"""The common part of LIT and its baselines: the student and its initial weights, the teacher, and the losses."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

import keras

from tfcompress import expect
from tfcompress.channels import Control
from tfcompress.costs import Cost, CostModel
from tfcompress.costs.budget import Budget
from tfcompress.methods import phases
from tfcompress.methods.base import Candidate, Search
from tfcompress.methods.distillation.students import Blocks, StudentChoice
from tfcompress.methods.trained import SGD_OF_PAPERS, TrainedMethod
from tfcompress.plan import Plan, Trail
from tfcompress.rewrite import apply
from tfcompress.streams import Stream
from tfcompress.task import Task
from tfcompress.training import PhasePlan, Training
from tfcompress.training.initial import check_drawable, draw_anew, learned_layers
from tfcompress.training.teaching import SoftTargets, Teaching, logits_of
from tfcompress.training.thawing import inner_layers, thawed, words_for

__all__ = ["FRESH_RATE", "PAPER", "PAPER_TARGETS", "Distilling", "Start"]

Start = Literal["teacher", "fresh"]

FRESH_RATE = 0.1
"""The learning rate of weights that do not come from the teacher, and of hints."""

_RATE_OF_BLOCKS = 0.01 / 32  # for each image of a batch

PAPER: Mapping[str, Any] = {
    "start": "fresh",
    "recalibrate_student": 0,
    "batch_size": 32,
    "learning_rate": 0.1,
    "schedule": "step",
    "decay": 0.1,
    **SGD_OF_PAPERS,
    "mixed_precision": None,
}
"""Settings shared by the trainings of the paper (appendix A)."""

PAPER_TARGETS: Mapping[str, Any] = {"alpha": 0.95, "tau": 6.0, "soft": "cross_entropy", "scale_by_tau": True}
"""L_KD of the paper; for VDCNN alpha differs."""


@dataclasses.dataclass(frozen=True)
class Distilling(TrainedMethod):
    """Settings of a method whose student learns from a teacher; `as_published` has those of Koratana et al. (2018).

    The student is the model with fewer blocks in each section, removed as evenly over the sections as the budget
    allows; the first block of a section stays. `blocks` sets the numbers, `student` gives a model of your own.

    Attributes:
        learning_rate: initial learning rate. `None`: 0.1 for fresh weights, and for a given student; for a student with
            the teacher's blocks, 0.01 with batches of 32, and proportional to their size, see
            docs/methods/distillation.md.
        alpha: weight of the labels in the distillation loss L_KD, Equation (2); that of the soft targets is 1 - alpha.
        tau: temperature of soft targets.
        soft: form of the soft loss: `"cross_entropy"`, or `"logits"` for the squared error of logits, summed over
            classes; `"mean_logits"` for its mean.
        scale_by_tau: whether the soft term is multiplied by tau^2, as in the paper of Hinton, Vinyals and Dean (2014).
        start: initial weights of a student that is made from the teacher: those of the teacher's remaining blocks, in a
            sequence those of the student before, or fresh weights, as in the paper.
        recalibrate_student: number of batches of 128 training images from which BatchNormalization statistics are
            computed anew along the student's own path: after it has lost blocks, before it is trained, and between two
            phases; 0 for never.
        student: a model to train instead of one that is made from the teacher, or a sequence of models, each learning
            from the one before. It keeps its own weights, except the parts that LIT copies.
        blocks: number of blocks that stay in each section, such as `(3, 3, 3)`; `None` for as many as the budget
            allows. A sequence of such tuples makes a sequence of students, each learning from the one before.
        sections: which sections may lose blocks, counted from 1; the others are copied. `None` for all.
        cardinality: number of groups that each grouped convolution in a section keeps, if it has more; `None` for all.
        teach: teaching to use instead of L_KD when the whole student is trained: `"kd"`, or a `Teaching` with another
            teacher, or with hints.
    """

    epochs: int = 30
    batch_size: int = 32
    learning_rate: float | None = None
    schedule: Literal["step", "cosine"] = "cosine"
    milestones: tuple[int, ...] = (100, 175)
    reference_epochs: int = 250
    alpha: float = 0.5
    tau: float = 4.0
    soft: Literal["cross_entropy", "logits", "mean_logits"] = "cross_entropy"
    scale_by_tau: bool = True
    start: Start = "teacher"
    recalibrate_student: int = 8
    student: keras.Model | tuple[keras.Model, ...] | None = None
    blocks: Blocks | tuple[Blocks, ...] | None = None
    sections: tuple[int, ...] | None = None
    cardinality: int | None = None

    stores_search = False
    kind: ClassVar[str] = "layers"
    controlled_by: ClassVar[tuple[str, ...] | None] = ()
    fast: ClassVar[Mapping[str, Any]] = {"epochs": 5}

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in dataclasses.asdict(self.soft_targets).items():  # checked, and plain
            object.__setattr__(self, name, value)
        expect.settings(self, expect.one_of, "start", options=("teacher", "fresh"))
        expect.settings(self, expect.whole, "recalibrate_student")
        if self.soft != "cross_entropy":
            expect.unused(self, ["tau", "scale_by_tau"], f"with soft={self.soft!r}, which has no temperature")
        for field in dataclasses.fields(choice := self.choice):  # checked, and plain
            object.__setattr__(self, field.name, getattr(choice, field.name))

    @property
    def begins_with_teacher(self) -> bool:
        """Whether the student consists of blocks of the teacher, or of the student before."""
        return self.student is None and self.start == "teacher"

    @property
    def training(self) -> Training:
        """The settings of a phase, with the learning rate that fits the student's initial weights."""
        training = super().training
        if self.learning_rate is not None:
            return training
        return dataclasses.replace(
            training, learning_rate=self.rate_of_blocks if self.begins_with_teacher else FRESH_RATE
        )

    @property
    def rate_of_blocks(self) -> float:
        """The learning rate of weights that were trained before; it grows with the batch size."""
        return min(_RATE_OF_BLOCKS * self.batch_size, FRESH_RATE)

    @property
    def soft_targets(self) -> SoftTargets:
        """The settings of L_KD."""
        return SoftTargets(self.alpha, self.tau, self.soft, self.scale_by_tau)

    @property
    def lesson(self) -> SoftTargets | Teaching:
        """The lesson of phases that train the whole student: L_KD, or the setting `teach`."""
        return self.teaching or self.soft_targets

    @property
    def choice(self) -> StudentChoice:
        """The choice of the student, or sequence of students, to train."""
        return StudentChoice(self.student, self.blocks, self.sections, self.cardinality)

    # What is made.

    @property
    def advice(self) -> str:  # type: ignore[override]
        """Advice for a budget below the cheapest student."""
        return self.choice.advice

    def budget(self, given: Budget) -> Budget:
        """Returns the budget; none is needed if the student is given by settings or as a model."""
        if not given.planned and self.choice.is_told:
            return Budget(given, flops=1.0)
        return super().budget(given)

    def least(self, costs: CostModel, control: Control) -> Cost:
        """Returns the cost of the shallowest student."""
        if control.settings():
            raise ValueError(
                f"Expected no exclude, only, ratio_limits, round_to or through_norms for method={self.name!r}, which "
                f"removes whole blocks. Received: {control.settings()}. Its own settings are blocks=, sections= and "
                "cardinality=."
            )
        return self.choice.least(costs)

    def plans_again(self) -> bool:
        """Whether the search may be repeated with a smaller budget: it trains nothing where no setting is a student."""
        return not self.choice.is_told

    def check(self, task: Task) -> None:
        """Refuses outputs that cannot be distilled, and a teaching that does not fit."""
        if self.distils_outputs:
            self._check_outputs(task)
        if self.teaching is not None:
            removed = [plan.removed for plan in self._plans(task)] if self.student is None else []
            phases.check_teaching(self.teaching, task, self.choice.given, removed)

    def check_model(self, task: Task) -> None:
        """Refuses a student that does not fit the teacher, and models without logits to distill."""
        self.choice.check_given(task)
        if self.student is None:
            self._plans(task)
            check_drawable(task.model.layers)
        if self.distils_outputs:
            for model in (task.original, *self.choice.given):
                logits_of(model)

    @property
    def distils_outputs(self) -> bool:
        """Whether the method uses L_KD."""
        return True

    def classifies(self, task: Task) -> bool:
        """Whether outputs can be distilled."""
        try:
            self._check_outputs(task)
        except ValueError:
            return False
        return True

    def _check_outputs(self, task: Task) -> None:
        advice = "Train only on the outputs of its sections: method=LIT(beta=0)."
        phases.check_outputs(task, self.choice.given, advice)

    def _plans(self, task: Task) -> list[Plan]:
        """Returns the plan of each student in the sequence, all for the task's model."""
        return self.choice.plans(task)

    @staticmethod
    def _copy(student: keras.Model) -> keras.Model:
        return apply(student, Plan())

    def search(self, task: Task) -> Search:
        """Decides the student; in a sequence, trains those before the last."""
        if self.student is not None:
            return self._search_given(task)
        plans = self._plans(task)
        if plans[-1] and (near_miss := self.choice.near_miss(task)):
            task.say(near_miss)
        trail = Trail((plans[0], *(self._after(*pair) for pair in itertools.pairwise(plans))))
        now, candidates, history = task, [], {}
        for number, plan in enumerate(trail.plans[:-1], start=1):
            student = apply(now.model, plan, now.groups)
            history.update(self._teach_number(number, student, now.model, task))
            now, cost_of_it = task.on(student), task.costs.of(plans[number - 1])
            score = phases.score_of(student, task)
            steps = Trail(trail.plans[:number])
            candidates.append(Candidate(steps, cost_of_it, score, f"student {number}", student))
        last = Candidate(trail, task.costs.of(plans[-1]), origin="blocks removed evenly over the sections")
        return Search(now.model, trail, (*candidates, last), history)

    def _search_given(self, task: Task) -> Search:
        teacher, history = task.model, {}
        for number, given in enumerate(self.choice.given[:-1], start=1):
            student = self._copy(given)
            history.update(self._teach_number(number, student, teacher, task))
            teacher = student
        notes = ("The student was given: the plan, which lists what is removed from the model, is empty.",)
        source = self._copy(self.choice.given[-1])
        return Search(source, Trail((Plan(),)), history=history, notes=notes, teacher=teacher)

    @staticmethod
    def _after(removed: Plan, plan: Plan) -> Plan:
        """Returns the part of `plan` that `removed` has not done."""
        done = set(removed.removed)
        groups = {edit.group for edit in removed.channels}
        rest = [node for node in plan.removed if node not in done]
        return Plan((*Plan.without(rest), *(edit for edit in plan.channels if edit.group not in groups)))

    def _teach_number(
        self, number: int, student: keras.Model, teacher: keras.Model, task: Task
    ) -> dict[str, list[Any]]:
        history = self.distil(student, teacher, task, f"student {number}: ")
        return {f"student {number}: {name}": values for name, values in history.items()}

    # How it is trained.

    def taught_by(self, task: Task) -> str | None:
        """Returns in words what the student learns from: labels and soft targets of L_KD, or the setting `teach`."""
        if self.teaching is not None:
            return super().taught_by(task)
        if not self.distils_outputs:
            return None
        return f"learns from labels and soft targets of the original model (alpha {self.alpha:g}, tau {self.tau:g})"

    def recover(self, student: keras.Model, task: Task) -> dict[str, list[Any]]:
        """Trains the student; it learns from the task's model."""
        return self.distil(student, task.model, task, "")

    @property
    def _prefixes(self) -> list[str]:
        """Prefixes of the names of each student's phases; the last student has none."""
        return [*(f"student {number}: " for number in range(1, self._students)), ""]

    @property
    def _students(self) -> int:
        """Number of students, each of which learns from the one before."""
        return self.choice.count

    def stages(self) -> tuple[tuple[str, int, int], ...]:
        """Returns for each phase of one student its name, its epochs, and how often a step runs the student."""
        raise NotImplementedError

    def cost_of_teacher(self) -> float:
        """Returns the share that a teacher adds to the cost of a training step."""
        return phases.cost_of_teacher(self.lesson)

    def phases(self, task: Task) -> tuple[PhasePlan, ...]:
        """Returns the stages of each student."""
        share = phases.share_of_macs(task)
        teacher = self.cost_of_teacher()
        return tuple(
            PhasePlan(prefix + name, epochs, teacher + runs * share)
            for prefix in self._prefixes
            for name, epochs, runs in self.stages()
        )

    def distil(self, student: keras.Model, teacher: keras.Model, task: Task, prefix: str) -> dict[str, list[Any]]:
        """Trains a student in place; the names of its phases begin with `prefix`."""
        raise NotImplementedError

    @contextlib.contextmanager
    def begun(
        self, student: keras.Model, teacher: keras.Model, task: Task, prefix: str = "", layers: Any = None
    ) -> Iterator[None]:
        """Gives a student that was made from the teacher its initial weights.

        They are the teacher's, or fresh ones (see `start`), for `layers` or for all. Layers with fresh weights, and the
        layers of a student that lost blocks, are trained inside the `with`, whatever their flags; the flags of a given
        student are respected.
        """
        operations = student.operations if layers is None else layers
        if self.student is not None or (self.start == "teacher" and not self._lost_blocks(student, teacher, task)):
            yield
            return
        if self.start == "fresh":
            changed = draw_anew(operations, task.rng(Stream.FRESH_WEIGHTS, zlib.crc32(prefix.encode())))
        else:
            changed = learned_layers(operations)
        every = [inner for layer in changed for inner in inner_layers(layer)]
        if frozen := [layer for layer in changed if not all(inner.trainable for inner in inner_layers(layer))]:
            task.say(words_for(frozen, *([] if self.start == "fresh" else ["of a student that lost blocks"])))
        with thawed(student, every):
            if self.start == "teacher" and layers is None:  # parts are trained on other paths than the student's own
                self.recalibrate(student, task)
            yield

    def _lost_blocks(self, student: keras.Model, teacher: keras.Model, task: Task) -> bool:
        """Whether a student was made from the teacher and is smaller than it."""
        return task.network_of(student).costs.total.counted != task.network_of(teacher).costs.total.counted

    def recalibrate(self, student: keras.Model, task: Task) -> None:
        """Computes the statistics of BatchNormalization anew along the student's own path."""
        phases.take_statistics_anew(student, task, self.recalibrate_student)

    @classmethod
    def paper_settings(cls, network: str | None = None) -> Mapping[str, Any]:
        """Returns the settings of `as_published`: of "resnet", "resnext", "vdcnn" or, if the method serves generators,
        "stargan".
        """
        return {**PAPER, **super().paper_settings(network)}

    @classmethod
    def published(cls) -> Mapping[str, Mapping[str, Any]]:
        """The settings for each network of the paper: `PAPER`, with changes for the network (appendix A)."""
        raise NotImplementedError
