"""What LIT and its baselines share: the student, the teacher, and the schedule of Koratana et al. (2018)."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal, Self

import keras

from tfcompress import expect
from tfcompress.channels import Control
from tfcompress.costs import Cost, CostModel, cost
from tfcompress.costs.budget import Budget, as_budget
from tfcompress.evaluation import Evaluator
from tfcompress.graph import Sections, find_sections
from tfcompress.methods.base import Candidate, Search
from tfcompress.methods.distillation.students import even_blocks, shallow_plan
from tfcompress.methods.sgd import Keep, SGDMethod
from tfcompress.plan import Plan, Trail
from tfcompress.rewrite import apply
from tfcompress.streams import Stream
from tfcompress.task import Task
from tfcompress.training import Cosine, PhasePlan, Schedule, StepDecay, loss_function, scaled
from tfcompress.training.compiled import names_accuracy
from tfcompress.training.initial import check_drawable, draw_anew, learned_variables
from tfcompress.training.objectives import last_activation
from tfcompress.training.teaching import Distillation, KDLoss, OutputsLoss, SoftTargets, computing_in, logits_of
from tfcompress.training.thawing import inner_layers, thawed, words_for

__all__ = ["Distilling"]

Blocks = tuple[int, ...]
Precision = Literal["mixed_float16", "mixed_bfloat16"]


def _students(name: str, value: Any) -> keras.Model | tuple[keras.Model, ...] | None:
    """Checks `student`."""
    what = "a built keras.Model, or a tuple of them"
    if value is None or isinstance(value, keras.Model):
        return value
    one = partial(expect.instance, kinds=keras.Model, what=what)
    models: tuple[keras.Model, ...] = expect.each(name, value, one, what, empty=False, or_none=True)
    return models


def _blocks(name: str, value: Any) -> tuple[Any, ...] | None:
    """Checks `blocks`: a tuple of whole numbers, or a tuple of such tuples."""
    what = "numbers of blocks, 1 or more for each section, or a sequence of such"
    nested = isinstance(value, (tuple, list)) and any(isinstance(entry, (tuple, list)) for entry in value)
    one = partial(expect.each, check=expect.whole, what=what, least=1, empty=False)
    blocks: tuple[Any, ...] | None = expect.each(name, value, one, what) if nested else one(name, value, or_none=True)
    return blocks


@dataclasses.dataclass(frozen=True)
class Distilling(SGDMethod):
    """Settings of a method whose student learns from a teacher; defaults are LIT's for CIFAR-10 (appendix A.1).

    The student is the model with fewer blocks in each section, as even over sections as the budget allows; the first
    block of a section stays. `blocks` says how many, `student` brings a model of one's own.

    Attributes:
        learning_rate: the first one.
        decay: what the learning rate is multiplied with at a milestone.
        alpha: weight of the labels in L_KD, Equation (2); 1 - alpha is that of the teacher's soft targets.
        tau: temperature of soft targets.
        soft: `"cross_entropy"`, or `"logits"` for the squared error of logits.
        scale_by_tau: whether the soft term is multiplied by tau^2, as in Hinton et al. (2014).
        student: a model to train in place of one that is made from the teacher, its weights being where it begins (but
            for what LIT copies); or a sequence of them, each learning from the one before.
        blocks: how many blocks stay in each section, such as `(3, 3, 3)`; `None` for what the budget allows. A sequence
            of such tuples makes a sequence of students, each learning from the one before.
        sections: which sections may lose blocks, counted from 1; the others are copied. `None` for all.
        cardinality: groups that stay of each grouped convolution in a section, where it has more; `None` for all.
        optimizer: `"sgd"` with momentum, or `"adam"` with betas (0.5, 0.999), which generators need from scratch.
        mixed_precision: a dtype policy to compute in while training; `None` for float32. Weights stay float32.
    """

    epochs: int = 250
    batch_size: int = 32
    learning_rate: float | None = 0.1
    milestones: tuple[int, ...] = (100, 175)
    reference_epochs: int = 250
    decay: float = 0.1
    alpha: float = 0.95
    tau: float = 6.0
    soft: Literal["cross_entropy", "logits"] = "cross_entropy"
    scale_by_tau: bool = True
    student: keras.Model | tuple[keras.Model, ...] | None = None
    blocks: tuple[int, ...] | tuple[tuple[int, ...], ...] | None = None
    sections: tuple[int, ...] | None = None
    cardinality: int | None = None
    optimizer: Literal["sgd", "adam"] = "sgd"
    mixed_precision: Precision | None = None

    stores_search = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in dataclasses.asdict(self.soft_targets).items():  # checked, and plain
            object.__setattr__(self, name, value)
        expect.settings(self, expect.number, "learning_rate", "decay", above=0)
        expect.settings(self, expect.whole, "cardinality", least=1, or_none=True)
        expect.settings(self, expect.one_of, "optimizer", options=("sgd", "adam"))
        policies = (None, "mixed_float16", "mixed_bfloat16")
        expect.settings(self, expect.one_of, "mixed_precision", options=policies)
        sections = "numbers of sections, counted from 1"
        each_section = {"check": expect.whole, "what": sections, "least": 1, "empty": False, "or_none": True}
        expect.settings(self, expect.each, "sections", **each_section)
        expect.settings(self, _students, "student")
        if self.optimizer == "adam":
            expect.unused(self, ["momentum"], "with optimizer='adam', whose betas are (0.5, 0.999)")
        if self.soft == "logits":
            expect.unused(self, ["tau", "scale_by_tau"], "with soft='logits', which has no temperature")
        given = [name for name in ("student", "blocks") if getattr(self, name) is not None]
        if len(given) == 2 or (self.student is not None and (self.sections or self.cardinality)):
            raise ValueError(
                "Expected `student` alone, or settings of a student that is made (blocks, sections, cardinality). "
                f"Received: both, in {type(self).__name__}(student=..., ...)."
            )
        expect.settings(self, _blocks, "blocks")
        falling = all(
            len(one) == len(next_) and all(a >= b for a, b in zip(one, next_, strict=True))
            for one, next_ in itertools.pairwise(self._blocks_given)
        )
        if not falling:
            expect.refuse("blocks", "a sequence in which no section gains blocks", self.blocks)

    @property
    def soft_targets(self) -> SoftTargets:
        """L_KD."""
        return SoftTargets(self.alpha, self.tau, self.soft, self.scale_by_tau)

    @property
    def _students_given(self) -> tuple[keras.Model, ...]:
        if self.student is None:
            return ()
        return self.student if isinstance(self.student, tuple) else (self.student,)

    @property
    def _blocks_given(self) -> tuple[Blocks, ...]:
        if self.blocks is None:
            return ()
        nested = isinstance(self.blocks[0], (tuple, list))
        return tuple(tuple(b) for b in self.blocks) if nested else (tuple(self.blocks),)  # type: ignore[arg-type]

    def schedule_for(self, task: Task, epochs: int) -> Schedule:
        """The learning rate by epoch of a phase of `epochs`."""
        return self.phase_schedule(self.milestones, self.reference_epochs, epochs, self.first_learning_rate(task))

    def phase_schedule(self, milestones: Sequence[int], of: int, epochs: int, first: float) -> Schedule:
        """A cosine, or milestones of a phase of `of` epochs, scaled to one of `epochs`."""
        if self.schedule == "cosine":
            return Cosine(first)
        return StepDecay(first, scaled(milestones, of=of, to=max(epochs, 1)), self.decay)

    def new_optimizer(self, learning_rate: float) -> keras.optimizers.Optimizer:
        """The optimizer of one phase."""
        if self.optimizer == "adam":
            return keras.optimizers.Adam(learning_rate, beta_1=0.5, beta_2=0.999)
        return super().new_optimizer(learning_rate)

    # What is made.

    @property
    def advice(self) -> str:  # type: ignore[override]
        """What to say of a budget below the cheapest student."""
        if self.student is not None or self.blocks is not None:
            return f"That is what {'student' if self.blocks is None else f'blocks={self.blocks}'} costs."
        return (
            "That is the shallowest student, with one block in each section that may lose any; "
            "print(tfcompress.graph.find_sections(tfcompress.graph.LayerGraph.from_keras(model))) shows them."
        )

    def budget(self, flops: float | int | None, params: float | int | None) -> Budget:
        """The budget; a student that is given in words or as a model needs none."""
        if flops is None and params is None and (self.student is not None or self.blocks is not None):
            return Budget(flops=1.0)
        return super().budget(flops, params)

    def least(self, costs: CostModel, control: Control) -> Cost:
        """The cost of the shallowest student."""
        if control.settings():
            raise ValueError(
                f"Expected no exclude, only, ratio_limits, round_to or through_norms for method={self.name!r}, which "
                f"removes whole blocks. Received: {control.settings()}. Its own settings are blocks=, sections= and "
                "cardinality=."
            )
        if self.student is not None:
            return cost(self._students_given[-1])
        sections = find_sections(costs.groups.graph)
        blocks = (1,) * len(sections) if self.blocks is None else self._blocks_given[-1]
        return self._plan(sections, costs, self._with_free(sections, blocks))[1]

    def _free(self, sections: Sections) -> tuple[bool, ...]:
        if self.sections is None:
            return (True,) * len(sections)
        strange = [number for number in self.sections if not 1 <= number <= len(sections)]
        if strange:
            raise ValueError(
                f"Expected `sections` between 1 and {len(sections)}, as in\n{sections}\nReceived: {strange}"
            )
        return tuple(i in self.sections for i in range(1, len(sections) + 1))

    def _with_free(self, sections: Sections, blocks: Blocks) -> Blocks:
        if len(blocks) != len(sections):
            raise ValueError(f"Expected `blocks` for {len(sections)} sections, as in\n{sections}\nReceived: {blocks}")
        triples = list(zip(blocks, sections.blocks, self._free(sections), strict=True))
        if self.blocks is not None and any(count != whole for count, whole, may in triples if not may):
            raise ValueError(
                f"Expected `blocks` that leave all blocks of sections that are not in sections={self.sections}, which "
                f"have {sections.blocks}. Received: blocks={blocks}"
            )
        return tuple(count if may else whole for count, whole, may in triples)

    def _plan(self, sections: Sections, costs: CostModel, blocks: Blocks) -> tuple[Plan, Cost]:
        plan, found = shallow_plan(sections, costs, blocks, self.cardinality, self._free(sections))
        if self.cardinality is not None and not plan.channels:
            raise ValueError(
                f"Expected grouped convolutions with more than {self.cardinality} groups in the sections. Received: "
                f"cardinality={self.cardinality} for the model {sections.graph.name!r}, which has none."
            )
        return plan, found

    def check(self, task: Task) -> None:
        """Refuses a student that does not fit the teacher or the budget, and outputs that cannot be distilled."""
        if task.splits.train.weighted:
            raise ValueError(
                f"Expected training data without sample weights for {self.name!r}, whose losses compare a student with "
                "its teacher. Received: sample weights as the third part of `data`. Leave them out, or take a method "
                "that removes channels, such as 'uniform'."
            )
        for student in self._students_given:
            _check_student(student, task.original)
        if self.student is None:
            self._plans(task)
            check_drawable(task.model.layers)
        elif not task.fits(found := cost(self._students_given[-1])):
            costs = {metric: getattr(found, metric) for metric in task.limits}
            raise ValueError(
                f"Expected a student within {as_budget(task.limits)}. Received: a student of {as_budget(costs)}."
            )
        if self.distils_outputs:
            self._check_outputs(task)

    @property
    def distils_outputs(self) -> bool:
        """Whether there is L_KD."""
        return True

    def classifies(self, task: Task) -> bool:
        """Whether outputs can be distilled."""
        try:
            self._check_outputs(task)
        except ValueError:
            return False
        return True

    def _check_outputs(self, task: Task) -> None:
        for model in (task.original, *self._students_given):
            logits_of(model)
        objective = task.objective
        has_accuracy = objective.score is None and names_accuracy(str(objective.metric_name))
        if not has_accuracy and "crossentropy" not in objective.name.replace("_", ""):
            raise ValueError(
                "Expected a classifier, to distil its outputs as probabilities. Received: a model with loss "
                f"{objective.name!r}. Train on what its sections hand on alone: method=LIT(beta=0)."
            )

    def _plans(self, task: Task) -> list[Plan]:
        """For each student of the sequence the plan that makes it of the task's model."""
        sections = find_sections(task.groups.graph)
        counts = [self._with_free(sections, blocks) for blocks in self._blocks_given]
        if not counts:
            make = partial(self._plan, sections, task.costs)
            found = even_blocks(sections, lambda blocks: task.fits(make(blocks)[1]), self._free(sections))
            if found is None:
                least = self.least(task.costs, Control())
                costs = {metric: getattr(least, metric) for metric in task.limits}
                raise ValueError(
                    "Expected a budget that the shallowest student can hold, which costs "
                    f"{as_budget(costs)} with the blocks of\n{sections}\nReceived: "
                    f"{as_budget(task.limits)}. Allow all sections to lose blocks, raise the budget, or give a "
                    "student: student=."
                )
            counts = [found]
        plans = [self._plan(sections, task.costs, blocks)[0] for blocks in counts]
        if not task.fits(last := task.costs.of(plans[-1])):
            costs = {metric: getattr(last, metric) for metric in task.limits}
            raise ValueError(
                f"Expected `blocks` within the budget of {as_budget(task.limits)}. Received: blocks={counts[-1]}, "
                f"which cost {as_budget(costs)}."
            )
        return plans

    @staticmethod
    def _copy(student: keras.Model) -> keras.Model:
        return apply(student, Plan())

    def search(self, task: Task) -> Search:
        """Decides the student; in a sequence trains those before the last."""
        if self.student is not None:
            return self._search_given(task)
        plans = self._plans(task)
        trail = Trail((plans[0], *(self._after(*pair) for pair in itertools.pairwise(plans))))
        now, candidates, history = task, [], {}
        for number, plan in enumerate(trail.plans[:-1], start=1):
            student = apply(now.model, plan, now.groups)
            history.update(self._teach_number(number, student, now.model, task))
            now, cost_of_it, score = task.on(student), task.costs.of(plans[number - 1]), self._score(student, task)
            steps = Trail(trail.plans[:number])
            candidates.append(Candidate(steps, cost_of_it, score, f"student {number}", student))
        last = Candidate(trail, task.costs.of(plans[-1]), origin="blocks removed evenly over the sections")
        return Search(now.model, trail, (*candidates, last), history)

    def _search_given(self, task: Task) -> Search:
        teacher, history = task.model, {}
        for number, given in enumerate(self._students_given[:-1], start=1):
            student = self._copy(given)
            history.update(self._teach_number(number, student, teacher, task))
            teacher = student
        notes = ("The student was given: the plan, which speaks of what is removed from the model, is empty.",)
        source = self._copy(self._students_given[-1])
        return Search(source, Trail((Plan(),)), history=history, notes=notes, teacher=teacher)

    @staticmethod
    def _after(removed: Plan, plan: Plan) -> Plan:
        """What `plan` does that `removed` has not done."""
        done = set(removed.removed)
        groups = {edit.group for edit in removed.channels}
        rest = [node for node in plan.removed if node not in done]
        return Plan((*Plan.without(rest), *(edit for edit in plan.channels if edit.group not in groups)))

    def _teach_number(
        self, number: int, student: keras.Model, teacher: keras.Model, task: Task
    ) -> dict[str, list[Any]]:
        found = self.teach(student, teacher, task, f"student {number}: ")
        return {f"student {number}: {name}": values for name, values in found.items()}

    def _score(self, student: keras.Model, task: Task) -> float | None:
        name = task.objective.metric_name
        return None if name is None else Evaluator(student, task.objective)(task.splits.validation.batches(250))[name]

    # How it is trained.

    def recover(self, student: keras.Model, task: Task) -> dict[str, list[Any]]:
        """Trains the student; it learns from the task's model."""
        return self.teach(student, task.model, task, "")

    @property
    def _prefixes(self) -> list[str]:
        """What the phases of each student begin with; the last one's with nothing."""
        return [*(f"student {number}: " for number in range(1, self._students)), ""]

    @property
    def _students(self) -> int:
        """How many there are, each learning from the one before."""
        return len(self._students_given or self._blocks_given or (None,))

    def stages(self) -> tuple[tuple[str, int, int], ...]:
        """For each phase of one student its name, its epochs, and how often a step runs the student."""
        raise NotImplementedError

    def phases(self, task: Task) -> tuple[PhasePlan, ...]:
        """The stages of each student."""
        share = task.limits.get("macs", task.costs.total.macs) / task.costs.total.macs
        # A training step costs about three forward passes; the teacher's is one.
        return tuple(
            PhasePlan(prefix + name, epochs, 1 / 3 + runs * share)
            for prefix in self._prefixes
            for name, epochs, runs in self.stages()
        )

    def teach(self, student: keras.Model, teacher: keras.Model, task: Task, prefix: str) -> dict[str, list[Any]]:
        """Trains a student in place; phases are named after `prefix`."""
        raise NotImplementedError

    @contextlib.contextmanager
    def start_anew(self, student: keras.Model, task: Task, prefix: str = "", layers: Any = None) -> Iterator[None]:
        """Fresh weights for the student, where it was made from the teacher; for `layers` if not all.

        Layers with fresh weights are trained inside the `with`, whatever their flags; those of a student that was given
        are respected.
        """
        if self.student is not None:
            yield
            return
        rng = task.rng(Stream.FRESH_WEIGHTS, zlib.crc32(prefix.encode()))
        fresh = draw_anew(student.operations if layers is None else layers, rng)
        every = [inner for layer in fresh for inner in inner_layers(layer)]
        if frozen := [layer for layer in fresh if not all(v.trainable for v in learned_variables(layer))]:
            task.say(words_for(frozen))
        with thawed(student, every):
            yield

    def kd_loss(self, student: keras.Model, teacher: keras.Model, task: Task) -> KDLoss:
        """L_KD with the task's loss on labels."""
        hard = loss_function(student, task.objective)
        assert hard is not None
        return KDLoss(student, teacher, self.soft_targets, hard, task.objective.name.startswith("binary"))

    def train_on_outputs(
        self,
        student: keras.Model,
        teacher: keras.Model,
        task: Task,
        phase: str,
        epochs: int,
        outputs_loss: OutputsLoss | None = None,
        schedule: Schedule | None = None,
        keep: Keep = "last",
        **feeding: Any,
    ) -> dict[str, list[Any]]:
        """Trains all of the student on its outputs alone: by L_KD, or another loss.

        Args:
            student, teacher: built models.
            task: the task.
            phase, epochs, schedule: of the training.
            outputs_loss: other than L_KD.
            keep: the weights of which epoch stay.
            **feeding: `shuffled_inputs` and `critic` of `Distillation`.
        """
        with computing_in(self.mixed_precision, (student, teacher)):
            model = Distillation(
                student,
                teacher,
                outputs_loss=outputs_loss or self.kd_loss(student, teacher, task),
                validation_loss=loss_function(student, task.objective),
                seed=task.seed,
                **feeding,
            )
            critic = feeding.get("critic")
            stateful = None if critic is None else {"critic": critic}
            options = {"schedule": schedule, "stateful": stateful, "keep": keep}
            return self.train_distillation(model, task, phase, epochs, **options)

    def train_distillation(
        self, model: keras.Model, task: Task, phase: str, epochs: int, **options: Any
    ) -> dict[str, list[Any]]:
        """One phase of training with a model that brings its own loss."""
        objective = dataclasses.replace(task.objective, loss=None, loss_weights=None)
        return self.train(model, task, phase, epochs, objective=objective, **options)

    @classmethod
    def as_published(cls, network: str, **changes: Any) -> Self:
        """The method with the paper's settings for one of its networks, and the last epoch's weights as in the paper.

        Args:
            network: "resnet", "resnext", "vdcnn" or, where the method serves generators, "stargan".
            **changes: settings that are to be others.

        Raises:
            ValueError: a network that the paper did not train so.
        """
        published: Mapping[str, Mapping[str, Any]] = cls.published()
        network = expect.one_of("network", network, sorted(published))
        return cls(**{"keep": "last", **published[network], **changes})

    @classmethod
    def published(cls) -> Mapping[str, Mapping[str, Any]]:
        """For each network of the paper the settings that are not defaults (appendix A)."""
        raise NotImplementedError


def _check_student(student: keras.Model, teacher: keras.Model) -> None:
    shapes = [(model.input_shape, model.output_shape) for model in (student, teacher)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"Expected a student that reads and gives what the teacher does, {shapes[1]}. Received: student "
            f"{student.name!r} with {shapes[0]}. Build it for the same inputs and classes."
        )
    if len(teacher.outputs) == 1 and last_activation(student) != last_activation(teacher):
        raise ValueError(
            f"Expected a student that ends as its teacher does, with {last_activation(teacher)!r}, as one loss has to "
            f"serve both. Received: student {student.name!r}, which ends with {last_activation(student)!r}. Give both "
            "logits, or both probabilities."
        )
