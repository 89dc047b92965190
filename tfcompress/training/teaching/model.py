"""The model that Keras' `fit` trains a student with: its sections fed by the teacher, and its outputs as a whole."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import keras
from keras import ops

from tfcompress import expect
from tfcompress.training.loss import LossFunction, of_batch
from tfcompress.training.own_loss import OwnLoss
from tfcompress.training.penalized import policy_of
from tfcompress.training.teaching.losses import HINT_LOSSES, OutputsLoss, Step, hint_loss, weights_of_samples
from tfcompress.training.teaching.parts import FedSection, Points, SplitModel

__all__ = ["Critic", "Distillation", "Hints", "PointHints"]


class Critic(Protocol):
    """A network that is trained against the student."""

    def learn(self, inputs: Any, feed: Callable[[Any], Any], student: keras.Model) -> None:
        """Takes its own steps on a batch, on what the student gives for `feed(inputs)`."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class Hints:
    """The comparison of the student's sections with the teacher's: the loss L_I, Equation (3) of LIT.

    Attributes:
        student, teacher: both, split at points where they hand on the same shapes.
        sections: which sections are compared, counted from 1.
        loss: "l2", "l1" or "smooth_l1".
        teacher_input: whether the teacher's output of section i - 1 is what the student's section i reads (LIT), or
            the student's own (hint training).
        stem_is_shared: whether the student's stem gives what the teacher's gives, so that the first section can be fed.
        regressors: for each of `sections` a layer that brings the student's output to the teacher's shape, or `None`.
        relative: whether they are compared in units of what the teacher's section gives, see `hint_loss`.
    """

    student: SplitModel
    teacher: SplitModel
    sections: tuple[int, ...]
    loss: str = "l2"
    teacher_input: bool = True
    stem_is_shared: bool = True
    regressors: tuple[keras.Layer | None, ...] = ()
    relative: bool = False

    def __post_init__(self) -> None:
        expect.settings(self, expect.one_of, "loss", options=tuple(HINT_LOSSES))
        object.__setattr__(self, "regressors", tuple(self.regressors) or (None,) * len(self.sections))

    def paths(self) -> list[tuple[int | None, FedSection]]:
        """For each section the teacher's split point that feeds it (`None`: the inputs) and what is fed."""
        paths: list[tuple[int | None, FedSection]] = []
        for number in self.sections:
            from_inputs = number == 1 and not self.stem_is_shared
            paths.append((None if from_inputs else number - 1, self.student.fed(number, from_inputs)))
        return paths

    def unreached(self) -> list[Any]:
        """The student's operations that no comparison looks at.

        Where there is no other loss they are to be frozen: weight decay alone would take their weights to zero.
        """
        parts = self.student.layers
        if self.teacher_input:
            reached = {f"section{number}" for number in self.sections}
            if 1 in self.sections and not self.stem_is_shared:
                reached.add("stem")
        else:
            reached = set(self.student.names[: max(self.sections) + 1])
        kept = {id(layer) for name in reached for layer in parts[name]}
        return [layer for layers in parts.values() for layer in layers if id(layer) not in kept]


@dataclasses.dataclass(frozen=True, eq=False)
class PointHints:
    """Outputs of single layers that a student, which feeds itself, is compared in with its teacher; a form of L_I.

    Attributes:
        student, teacher: both, with as many points.
        loss: "l2", "l1" or "smooth_l1".
        regressors: for each point a layer that brings the student's output to the teacher's shape, or `None`.
        relative: whether they are compared in units of what the teacher gives there, see `hint_loss`.
    """

    student: Points
    teacher: Points
    loss: str
    regressors: tuple[keras.Layer | None, ...]
    relative: bool = False

    teacher_input = False

    @property
    def sections(self) -> tuple[int, ...]:
        """The numbers of the points."""
        return tuple(range(len(self.teacher.boundaries)))

    def paths(self) -> list[tuple[int | None, FedSection]]:
        """None: the teacher feeds nothing."""
        return []


@dataclasses.dataclass
class _Apart:
    """Models that Keras must not take for parts of the one that is trained.

    Attributes:
        taps: gives what is needed of the teacher, if anything is.
        own: gives what the student hands on by itself, and its outputs.
        paths: the student's sections, as `Hints.paths` gives them.
    """

    taps: keras.Model | None
    own: keras.Model | None = None
    paths: list[tuple[int | None, FedSection]] = dataclasses.field(default_factory=list)


class Distillation(OwnLoss):
    """Trains `student` in place: `beta * L_KD + (1 - beta) * L_I`, Equation (1) of LIT.

    In the place of L_KD stands any loss on the student's outputs. The teacher runs once a step, with `training=False`;
    none of its variables is a part of this model. With `beta=0` the student as a whole is not run in training.
    Statistics of layers in compared sections are updated on the path that the teacher feeds, those of other layers on
    the path of the whole student.

    Its output in training is a dict with what the loss needs, see `outputs_of`; otherwise that of the student.

    Args:
        student: a built model.
        teacher: a built model with the same inputs and outputs.
        outputs_loss: L_KD; `None` where `beta` is 0.
        hints: L_I; `None` where `beta` is 1.
        beta: weight of L_KD, in [0, 1].
        validation_loss: `(y, outputs, sample_weight) -> scalar`; `None` for none.
        shuffled_inputs: which inputs, counted from 0, each training step shuffles within the batch: the domains that a
            generator translates to.
        critic: what learns beside the student, before each of its steps.
        seed: of what is shuffled.
        cached: whether inputs come in training as `{"inputs": ..., "taps": ..., "outputs": ...}`, with what the teacher
            gives for them (`teacher_taps`), as `cached_batches` makes them.

    Raises:
        ValueError: a beta out of its range, or a loss that it needs and that is not given.
    """

    def __init__(
        self,
        student: keras.Model,
        teacher: keras.Model,
        *,
        outputs_loss: OutputsLoss | None = None,
        hints: Hints | PointHints | None = None,
        beta: float = 1.0,
        validation_loss: LossFunction | None = None,
        shuffled_inputs: Sequence[int] = (),
        critic: Critic | None = None,
        seed: int = 0,
        cached: bool = False,
    ) -> None:
        super().__init__(name=f"{student.name}_with_teacher", dtype=policy_of(student))
        if not 0 <= beta <= 1 or (beta > 0 and outputs_loss is None) or (beta < 1 and hints is None):
            raise ValueError(
                "Expected `beta` in [0, 1], a loss on outputs where it is above 0, and hints where it is below 1. "
                f"Received: beta={beta}, outputs_loss={outputs_loss}, hints={hints}"
            )
        self.student = student
        self.beta = float(beta)
        self.outputs_loss = outputs_loss if beta else None
        self.hints = hints if beta < 1 else None
        self.cached = cached
        self.output_names = getattr(student, "output_names", None)
        self._validation_loss = validation_loss
        self._shuffled, self.critic = tuple(shuffled_inputs), critic
        self._random = keras.random.SeedGenerator(seed) if self._shuffled else None
        self._apart = _Apart(self._taps_of_teacher(teacher))
        self.regressors = []
        if self.hints is not None:
            self.regressors = [layer for layer in self.hints.regressors if layer is not None]
            if self.hints.teacher_input:
                self._apart.paths = self.hints.paths()
            else:
                self._apart.own = self.hints.student.taps(self.hints.sections, with_outputs=bool(self.beta))
        self._means = {name: keras.metrics.Mean(name=name) for name in self._loss_names()}
        self.built = True

    @property
    def learner(self) -> keras.Model:
        """The student."""
        return self.student

    @property
    def training_metrics(self) -> list[keras.metrics.Metric]:
        """The means of the loss on outputs (L_KD) and of L_I over the steps of an epoch."""
        return list(self._means.values())

    def _loss_names(self) -> list[str]:
        return ["loss_outputs"] * (self.outputs_loss is not None) + ["loss_hints"] * (self.hints is not None)

    @property
    def _tapped(self) -> list[int]:
        """The teacher's split points that are needed."""
        if self.hints is None:
            return []
        fed = [number - 1 for number in self.hints.sections] if self.hints.teacher_input else []
        return sorted({*fed, *self.hints.sections})

    def _taps_of_teacher(self, teacher: keras.Model) -> keras.Model | None:
        with_outputs = self.outputs_loss is not None and self.outputs_loss.needs_teacher
        if self.hints is not None:
            return self.hints.teacher.taps(self._tapped, with_outputs)
        return keras.Model(teacher.input, ([], teacher.output)) if with_outputs else None

    def teacher_taps(self, inputs: Any) -> tuple[list[Any], Any]:
        """The teacher's tensors for a batch.

        Returns:
            `(tensors at the split points that are compared or fed, outputs or [])`.
        """
        if self._apart.taps is None:
            return [], []
        taps, outputs = self._apart.taps(inputs, training=False)
        return keras.tree.map_structure(ops.stop_gradient, (list(taps), outputs))

    def feed(self, inputs: Any) -> Any:
        """The inputs with those shuffled that are to be, each time in another order."""
        if not self._shuffled:
            return inputs
        flat = keras.tree.flatten(inputs)
        order = keras.random.shuffle(ops.arange(ops.shape(flat[0])[0]), seed=self._random)
        mixed = [ops.take(a, order, axis=0) if i in self._shuffled else a for i, a in enumerate(flat)]
        return keras.tree.pack_sequence_as(inputs, mixed)

    def before_step(self, inputs: Any) -> None:
        """Trains the parts beside the student, before it."""
        if self.critic is not None:
            self.critic.learn(inputs, self.feed, self.student)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """The student's outputs; in training everything that the loss needs."""
        if not training:
            return self.student(inputs, training=False)
        if self.cached:
            taps, teacher_outputs, inputs = inputs["taps"], inputs["outputs"], inputs["inputs"]
        else:
            inputs = self.feed(inputs)
            taps, teacher_outputs = self.teacher_taps(inputs)
        tensors: dict[str, Any] = {
            "fed": inputs,
            "teacher": teacher_outputs,
            "outputs": None,
            "hints": [],
            "targets": [],
        }
        at = dict(zip(self._tapped, taps, strict=True))
        for tap, section in self._apart.paths:
            tensors["hints"].append(section(inputs if tap is None else at[tap], inputs, training=True))
        if self._apart.own is not None:
            hints, outputs = self._apart.own(inputs, training=True)
            tensors["hints"], tensors["outputs"] = list(hints), outputs if self.beta else None
        elif self.beta:
            tensors["outputs"] = self._whole(inputs)
        if self.hints is not None:
            tensors["targets"] = [at[number] for number in self.hints.sections]
            pairs = zip(tensors["hints"], self.hints.regressors, strict=True)
            tensors["hints"] = [hint if layer is None else layer(hint) for hint, layer in pairs]
        return tensors

    def _whole(self, inputs: Any) -> Any:
        """The whole student in training; statistics of what the teacher feeds are those of the path that it feeds."""
        if not self._apart.paths:
            return self.student(inputs, training=True)
        fed = {id(variable) for _, path in self._apart.paths for variable in path.variables}
        with keras.StatelessScope() as scope:
            outputs = self.student(inputs, training=True)
        for variable in self.student.non_trainable_variables:
            value = None if id(variable) in fed else scope.get_current_value(variable)
            if value is not None:
                variable.assign(value)
        return outputs

    def outputs_of(self, y_pred: Any) -> Any:
        """The student's outputs among what `call` gave, `None` where there are none."""
        return y_pred["outputs"] if isinstance(y_pred, dict) and "targets" in y_pred else y_pred

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Equation (1) of LIT in training, each sample by its weight; the loss on labels otherwise."""
        if not training:
            measured = self._validation_loss
            return ops.zeros(()) if measured is None else of_batch(measured, y, y_pred, sample_weight)
        loss = ops.zeros(())
        if self.outputs_loss is not None:
            given = x["inputs"] if self.cached else x
            step = Step(given, y_pred["fed"], y, y_pred["outputs"], y_pred["teacher"], sample_weight)
            on_outputs = self.outputs_loss(step)
            loss = loss + self.beta * self._noted("loss_outputs", on_outputs)
        if self.hints is not None:
            pairs = zip(y_pred["targets"], y_pred["hints"], strict=True)
            how = self.hints.relative, weights_of_samples(sample_weight)
            total = sum((hint_loss(self.hints.loss, target, hint, *how) for target, hint in pairs), ops.zeros(()))
            loss = loss + (1 - self.beta) * self._noted("loss_hints", total)
        return sum(self.losses, loss)

    def _noted(self, name: str, value: Any) -> Any:
        self._means[name].update_state(value)
        return value
