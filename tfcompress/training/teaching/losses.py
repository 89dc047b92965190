"""Losses by a teacher: soft targets (Hinton et al. 2014) and hints (Romero et al. 2015)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol

import keras
from keras import ops

from tfcompress import expect
from tfcompress.training.loss import LossFunction, of_batch
from tfcompress.training.objectives import last_activation
from tfcompress.training.teaching.logits import logits_of

__all__ = [
    "HINT_LOSSES",
    "KDLoss",
    "LabelsLoss",
    "OutputLoss",
    "OutputsLoss",
    "SoftTargets",
    "Step",
    "hint_loss",
    "weights_of_samples",
]

_NOTHING = 1e-12  # a mean square below which a teacher gives nothing that anything could be relative to

HINT_LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    "l2": keras.losses.mean_squared_error,
    "l1": keras.losses.mean_absolute_error,
    "smooth_l1": keras.losses.huber,  # with delta = 1, as the smoothed L1 of Girshick (2015)
}


@dataclasses.dataclass(frozen=True)
class SoftTargets:
    """Equation (2) of LIT: `alpha * H(labels, student) + (1 - alpha) * soft`.

    `soft` is the cross-entropy of the student's distribution against the teacher's, both softened by tau; its gradient
    is that of their Kullback-Leibler divergence. Equation (2) has the arguments in the other order, and lacks the
    factor tau^2 (Hinton et al. 2014, section 2), without which the soft term vanishes at high temperatures.

    Attributes:
        alpha: weight of the labels, in [0, 1].
        tau: temperature, above 0.
        soft: `"cross_entropy"`, or `"logits"` for the squared error between logits, summed over classes (Ba and Caruana
            2014), or `"mean_logits"` for its mean over them; these have no temperature.
        scale_by_tau: whether the soft term is multiplied by tau^2.

    Raises:
        TypeError, ValueError: a value has another type, or is out of range.
    """

    alpha: float = 0.5
    tau: float = 4.0
    soft: Literal["cross_entropy", "logits", "mean_logits"] = "cross_entropy"
    scale_by_tau: bool = True

    def __post_init__(self) -> None:
        expect.settings(self, expect.number, "alpha", at_least=0, at_most=1)
        expect.settings(self, expect.number, "tau", above=0)
        expect.settings(self, expect.one_of, "soft", options=("cross_entropy", "logits", "mean_logits"))
        expect.settings(self, expect.flag, "scale_by_tau")

    def __call__(self, hard: Any, student: Any, teacher: Any, weights: Any = None) -> Any:
        """Returns the loss, a scalar.

        Args:
            hard: `H(labels, student)`, a scalar.
            student, teacher: logits, float32 `[batch, ..., classes]`.
            weights: weights of samples, or of samples and positions; `None` for none.
        """
        return self.alpha * hard + (1 - self.alpha) * self.of_logits(student, teacher, weights)

    def of_logits(self, student: Any, teacher: Any, weights: Any = None) -> Any:
        """Returns the soft term, the mean over samples and positions, each times its weight; a scalar."""
        if self.soft == "logits":
            return _mean(ops.sum(ops.square(student - teacher), axis=-1), weights)
        if self.soft == "mean_logits":
            return _mean(ops.square(student - teacher), weights)
        targets = ops.softmax(teacher / self.tau, axis=-1)
        each = ops.sum(targets * ops.log_softmax(student / self.tau, axis=-1), axis=-1)
        cross_entropy = -_mean(each, weights)
        return self.tau**2 * cross_entropy if self.scale_by_tau else cross_entropy


def _mean(values: Any, weights: Any) -> Any:
    """Returns the mean of `values`, `[batch, ...]`, each times its weight, over their number, as in Keras' losses.

    Weights may have fewer axes than values. If the places of weights do not correspond to those of the values, as for a
    section inside the network, a sample gets the mean of its weights.
    """
    if weights is None:
        return ops.mean(values)
    weights, rank = ops.cast(weights, values.dtype), len(values.shape)
    if len(weights.shape) > 1 and weights.shape[-1] == 1:
        weights = ops.squeeze(weights, axis=-1)
    places = len(weights.shape)
    if places > rank or any(a not in (None, 1, b) for a, b in zip(weights.shape[1:], values.shape[1:], strict=False)):
        weights = ops.mean(weights, axis=tuple(range(1, places)))
        places = 1
    for _ in range(rank - places):
        weights = ops.expand_dims(weights, axis=-1)
    return ops.mean(values * weights)


def hint_loss(name: str, teacher: Any, student: Any, relative: bool = False, weights: Any = None) -> Any:
    """Returns `l(S_i, T_i)` of Equation (3) of LIT, the mean over all elements, a float32 scalar.

    Args:
        name: `"l2"` (squared error), `"l1"` (absolute error) or `"smooth_l1"`.
        teacher, student: tensors of one shape `[batch, ...]`.
        relative: whether both are first divided by the root mean square of the teacher's tensor, unless that is zero.
        weights: sample weights; `None` for none.
    """
    teacher, student = ops.cast(teacher, "float32"), ops.cast(student, "float32")
    if relative:
        square = ops.mean(ops.square(teacher))
        unit = ops.where(square > _NOTHING, ops.sqrt(ops.maximum(square, _NOTHING)), 1.0)
        teacher, student = teacher / unit, student / unit
    return _mean(HINT_LOSSES[name](teacher, student), weights)


def weights_of_samples(weights: Any) -> Any:
    """Returns the weights for losses of a teacher: those of the batch; for several outputs their mean."""
    if not keras.tree.is_nested(weights):
        return weights
    parts = [part for part in keras.tree.flatten(weights) if part is not None]
    if len(parts) < 2:
        return parts[0] if parts else None
    each = [ops.mean(ops.reshape(part, (ops.shape(part)[0], -1)), axis=1) for part in parts]
    return ops.mean(ops.cast(ops.stack(each), "float32"), axis=0)


class Step(NamedTuple):
    """A batch, with everything that a loss on outputs may need.

    Attributes:
        x: inputs as in the data.
        fed: inputs as the networks read them.
        y: labels.
        outputs: the student's outputs for `fed`, in training.
        teacher: the teacher's outputs for `fed`, if the loss needs them.
        weights: sample weights of the batch; `None` for none.
    """

    x: Any
    fed: Any
    y: Any
    outputs: Any
    teacher: Any
    weights: Any = None


class OutputsLoss(Protocol):
    """A loss on the outputs of the whole student."""

    @property
    def needs_teacher(self) -> bool:
        """Whether it needs the teacher's outputs."""
        ...

    def __call__(self, step: Step) -> Any:
        """Returns the loss, a scalar."""
        ...


class KDLoss:
    """L_KD of a student and its teacher, Equation (2) of LIT.

    Args:
        student, teacher: classifiers; see `logits_of`.
        targets: alpha, tau and form of the soft term.
        hard_loss: `H(y, outputs, weights)`, a scalar.
        binary: whether each output is an independent yes-or-no answer.

    Raises:
        ValueError: a model gives neither logits nor probabilities.
    """

    needs_teacher = True

    def __init__(
        self,
        student: keras.Model,
        teacher: keras.Model,
        targets: SoftTargets,
        hard_loss: LossFunction,
        binary: bool = False,
    ) -> None:
        self._targets, self._hard_loss = targets, hard_loss
        # Logits that are compared themselves have to be of one kind: those of probabilities are known up to a constant.
        both_give_logits = {last_activation(model) for model in (student, teacher)} == {"linear"}
        normalized = targets.soft != "cross_entropy" and not both_give_logits
        self._student, self._teacher = (logits_of(model, normalized, binary) for model in (student, teacher))

    def __call__(self, step: Step) -> Any:
        """Returns the loss, a scalar."""
        hard = of_batch(self._hard_loss, step.y, step.outputs, step.weights)
        logits = self._student(step.outputs), self._teacher(step.teacher)
        return self._targets(hard, *logits, weights_of_samples(step.weights))


@dataclasses.dataclass(frozen=True)
class LabelsLoss:
    """The loss on labels, for students that learn only hints from the teacher.

    Attributes:
        hard_loss: `H(y, outputs, weights)`, a scalar.
    """

    hard_loss: LossFunction

    needs_teacher = False

    def __call__(self, step: Step) -> Any:
        """Returns the loss, a scalar."""
        return of_batch(self.hard_loss, step.y, step.outputs, step.weights)


@dataclasses.dataclass(frozen=True)
class OutputLoss:
    """The difference between the outputs of student and teacher, for models whose outputs are not classes.

    Attributes:
        loss: "l2", "l1" or "smooth_l1".
    """

    loss: str = "l2"

    needs_teacher = True

    def __post_init__(self) -> None:
        expect.settings(self, expect.one_of, "loss", options=tuple(HINT_LOSSES))

    def __call__(self, step: Step) -> Any:
        """Returns the sum over outputs of the mean over elements, a scalar."""
        pairs = zip(keras.tree.flatten(step.teacher), keras.tree.flatten(step.outputs), strict=True)
        weights = weights_of_samples(step.weights)
        return sum((hint_loss(self.loss, target, output, False, weights) for target, output in pairs), ops.zeros(()))
