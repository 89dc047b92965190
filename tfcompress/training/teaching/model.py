"""The model in which Keras' `fit` trains a student: its sections on the teacher's outputs, and the whole student."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import keras
from keras import ops

from tfcompress import expect
from tfcompress.training.loss import LossFunction, of_batch
from tfcompress.training.own_loss import InPlaceOf, OwnLoss
from tfcompress.training.penalized import policy_of
from tfcompress.training.teaching.losses import HINT_LOSSES, OutputsLoss, Step, hint_loss, weights_of_samples
from tfcompress.training.teaching.parts import FedSection, Points, SplitModel

__all__ = ["Critic", "Distillation", "Hints", "PointHints"]


class Critic(Protocol):
    """A network that is trained against the student."""

    def learn(self, inputs: Any, feed: Callable[[Any], Any], student: keras.Model) -> None:
        """Takes its own steps on a batch, using the student's outputs for `feed(inputs)`."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class Hints:
    """The comparison of the student's sections with the teacher's: the loss L_I, Equation (3) of LIT.

    Attributes:
        student, teacher: both models, split at points with the same shapes.
        sections: the compared sections, counted from 1.
        loss: "l2", "l1" or "smooth_l1".
        teacher_input: whether the student's section i reads the teacher's output of section i - 1 (LIT), or the
            student's own (hint training).
        stem_is_shared: whether the student's stem gives the same output as the teacher's, so that the first section can
            read it.
        regressors: for each of `sections` a layer that brings the student's output to the teacher's shape, or `None`.
        relative: whether outputs are compared in units of the teacher's section, see `hint_loss`.
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
        """Returns for each section the teacher's split point that feeds it (`None`: the inputs), and the section."""
        paths: list[tuple[int | None, FedSection]] = []
        for number in self.sections:
            from_inputs = number == 1 and not self.stem_is_shared
            paths.append((None if from_inputs else number - 1, self.student.fed(number, from_inputs)))
        return paths

    def unreached(self) -> list[Any]:
        """Returns the student's operations that no comparison uses.

        If there is no other loss they have to be frozen: weight decay alone would drive their weights to zero.
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
    """A form of L_I that compares outputs of single layers of student and teacher; the student reads its own outputs.

    Attributes:
        student, teacher: both models, with equally many points.
        loss: "l2", "l1" or "smooth_l1".
        regressors: for each point a layer that brings the student's output to the teacher's shape, or `None`.
        relative: whether outputs are compared in units of the teacher's output, see `hint_loss`.
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
        """Returns an empty list: the teacher feeds no section."""
        return []


@dataclasses.dataclass
class _Apart:
    """A wrapper that hides models from Keras, so that they do not become part of the trained model.

    Attributes:
        taps: computes the needed tensors of the teacher, if there are any.
        own: computes the student's own tensors at the points, and its outputs.
        paths: the student's sections, as from `Hints.paths`.
    """

    taps: keras.Model | None
    own: keras.Model | None = None
    paths: list[tuple[int | None, FedSection]] = dataclasses.field(default_factory=list)


class Distillation(OwnLoss):
    """Trains `student` in place: `beta * L_KD + (1 - beta) * L_I`, Equation (1) of LIT.

    Any loss on the student's outputs may replace L_KD. The teacher runs once per step, with `training=False`; its
    variables are not part of this model. With `beta=0` the whole student is not run in training. Statistics of layers
    in compared sections are updated on the path that the teacher feeds, those of other layers on the path of the whole
    student.

    Its output in training is a dict with everything that the loss needs, see `outputs_of`; otherwise the student's
    output.

    Args:
        student: a built model.
        teacher: a built model with the same inputs and outputs.
        outputs_loss: L_KD; `None` if `beta` is 0.
        hints: L_I; `None` if `beta` is 1.
        beta: weight of L_KD, in [0, 1].
        validation_loss: `(y, outputs, sample_weight) -> scalar`; `None` for none.
        shuffled_inputs: inputs, counted from 0, that each training step shuffles within the batch: the domains that a
            generator translates to.
        critic: a network that learns before each step of the student.
        seed: random seed of the shuffling.
        cached: whether inputs in training have the form `{"inputs": ..., "taps": ..., "outputs": ...}`, with the
            teacher's tensors (`teacher_taps`), as `cached_batches` makes them.

    Raises:
        ValueError: beta is out of range, or a loss that it needs is missing.
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
                "Expected `beta` in [0, 1], a loss on outputs if it is above 0, and hints if it is below 1. "
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
        """The student, or the model in whose place it is trained."""
        return self.student.learner if isinstance(self.student, InPlaceOf) else self.student

    @property
    def training_metrics(self) -> list[keras.metrics.Metric]:
        """The means of the loss on outputs (L_KD) and of L_I over the steps of an epoch."""
        return list(self._means.values())

    def _loss_names(self) -> list[str]:
        return ["loss_outputs"] * (self.outputs_loss is not None) + ["loss_hints"] * (self.hints is not None)

    @property
    def _tapped(self) -> list[int]:
        """Returns the teacher's split points that are needed."""
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
        """Computes the teacher's tensors for a batch.

        Returns:
            `(tensors at the split points that are compared or fed, outputs or [])`.
        """
        if self._apart.taps is None:
            return [], []
        taps, outputs = self._apart.taps(inputs, training=False)
        return keras.tree.map_structure(ops.stop_gradient, (list(taps), outputs))

    def feed(self, inputs: Any) -> Any:
        """Returns the inputs, with `shuffled_inputs` in a new order each time."""
        if not self._shuffled:
            return inputs
        flat = keras.tree.flatten(inputs)
        order = keras.random.shuffle(ops.arange(ops.shape(flat[0])[0]), seed=self._random)
        mixed = [ops.take(a, order, axis=0) if i in self._shuffled else a for i, a in enumerate(flat)]
        return keras.tree.pack_sequence_as(inputs, mixed)

    def before_step(self, inputs: Any) -> None:
        """Trains the critic before the student's step."""
        if self.critic is not None:
            self.critic.learn(inputs, self.feed, self.student)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Returns the student's outputs; in training everything that the loss needs."""
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
        """Runs the whole student in training; sections that the teacher feeds keep the statistics of that path."""
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
        """Returns the student's outputs from the value of `call`, `None` if there are none."""
        return y_pred["outputs"] if isinstance(y_pred, dict) and "targets" in y_pred else y_pred

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Returns Equation (1) of LIT in training, with sample weights; otherwise the loss on labels."""
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
