"""The rule that chooses a metric by loss, labels and outputs; docs/objective.md has it as a table."""

from __future__ import annotations

import functools
from typing import Any, Literal, NamedTuple

import keras
import numpy as np

from tfcompress.training.compiled import GivenLoss, MetricMaker, direction, made_anew, names_accuracy, unwrapped

__all__ = ["PROBABILITIES", "Choice", "Labels", "accuracy", "chosen_metric", "look"]

PROBABILITIES = ("softmax", "sigmoid")
"""Last activations whose outputs are not logits."""

_ASK = "pass objective= to choose by another number"
_ABOVE_ZERO = ", so outputs above 0 count as 1"


class Labels(NamedTuple):
    """Labels, and the output that they belong to.

    Attributes:
        y: labels.
        shape: shape of the output, `[batch, ..., outputs]`.
        activation: activation of the output.
    """

    y: np.ndarray
    shape: tuple[int | None, ...]
    activation: str

    @classmethod
    def of(cls, y: Any, shape: tuple[int | None, ...], activation: str) -> Labels:
        """Returns labels from any array, for an output of a shape and an activation."""
        return cls(np.asarray(y), shape, activation)

    @property
    def one_number(self) -> bool:
        """Whether the output is a single number per place."""
        return self.shape[-1] == 1

    @property
    def are_whole(self) -> bool:
        """Whether all labels are whole numbers."""
        return self.y.dtype == bool or bool(np.all(np.equal(np.mod(self.y, 1), 0)))

    @property
    def are_zero_or_one(self) -> bool:
        """Whether all labels are 0 or 1."""
        return bool(np.all((self.y == 0) | (self.y == 1)))

    @property
    def have_a_number_a_place(self) -> bool:
        """Whether their shape is the output's without its last axis, or with 1 there."""
        y = self.y[..., 0] if self.y.ndim == len(self.shape) and self.y.shape[-1] == 1 else self.y
        return _fits(y.shape, self.shape[:-1])

    @property
    def have_the_shape(self) -> bool:
        """Whether their shape is the output's."""
        return _fits(self.y.shape, self.shape)

    @property
    def are_indices(self) -> bool:
        """Whether they can be indices of the outputs."""
        classes = self.shape[-1]
        in_range = self.are_whole and classes is not None and self.y.min() >= 0 and self.y.max() < classes
        return self.have_a_number_a_place and not self.one_number and bool(in_range)

    @property
    def sum_to_one(self) -> bool:
        """Whether they are distributions over the outputs: one-hot or probabilities."""
        if not self.have_the_shape or self.one_number or not bool(np.all(self.y >= 0)):
            return False
        return bool(np.allclose(self.y.sum(axis=-1, dtype="float64"), 1, atol=1e-3))


def _fits(shape: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    sizes = zip(shape[1:], expected[1:], strict=False)
    return len(shape) == len(expected) and all(size in (None, got) for got, size in sizes)


class _Look(NamedTuple):
    """The kind of problem that labels suggest, and the words for it."""

    kind: str
    words: str


def look(labels: Labels) -> _Look:
    """Returns the kind of problem, from labels, output shape `[batch, ..., outputs]` and last activation."""
    y, shape, activation = labels
    may_be_binary = labels.are_zero_or_one and activation in ("sigmoid", "linear")
    if labels.one_number and labels.have_a_number_a_place:
        return _Look("binary", "labels 0 and 1") if may_be_binary else _Look("regression", "numbers as labels")
    if labels.are_indices:
        return _Look("sparse", f"whole numbers as labels, {shape[-1]} outputs")
    if labels.have_the_shape:
        zero_one = labels.are_zero_or_one
        if labels.sum_to_one and activation != "sigmoid" and (zero_one or activation == "softmax"):
            return _Look("categorical", "one-hot labels" if zero_one else "probabilities as labels")
        if may_be_binary:
            return _Look("binary", "several labels 0 and 1 at once")
        return _Look("regression", "numbers as labels")
    raise ValueError(
        f"Expected labels that fit the output {shape}: class indices from 0 to {shape[-1]} - 1, one-hot labels, or "
        f"numbers of the same shape. Received: labels of shape {y.shape}, dtype {y.dtype}, from {y.min()} to {y.max()}."
        " If they are something else, compile the model with its own loss."
    )


_ERRORS: dict[str, MetricMaker] = {
    "mean_squared_error": keras.metrics.MeanSquaredError,
    "mean_absolute_error": keras.metrics.MeanAbsoluteError,
    "mean_absolute_percentage_error": keras.metrics.MeanAbsolutePercentageError,
    "mean_squared_logarithmic_error": keras.metrics.MeanSquaredLogarithmicError,
    "huber": keras.metrics.MeanSquaredError,
    "log_cosh": keras.metrics.MeanSquaredError,
}
"""The errors that are measured for regressions, by their loss."""

_NO_CLASSES = ("ctc", "kl_divergence", "poisson", "cosine_similarity", "circle")
"""Losses that do not mean classes, whatever the labels look like."""


def accuracy(kind: str, from_logits: bool) -> MetricMaker:
    """Returns the accuracy for a kind of labels: "sparse", "categorical" or "binary"."""
    if kind == "binary":
        threshold = 0.0 if from_logits else 0.5
        return functools.partial(keras.metrics.BinaryAccuracy, name="accuracy", threshold=threshold)
    accuracies = {"sparse": keras.metrics.SparseCategoricalAccuracy, "categorical": keras.metrics.CategoricalAccuracy}
    return functools.partial(accuracies[kind], name="accuracy")


class _Fitting(NamedTuple):
    """The accuracy that fits a compiled model: its kind, `None` for none, and the reason."""

    kind: str | None
    from_logits: bool
    words: str


def _fitting_accuracy(loss: GivenLoss, labels: Labels, asked: bool) -> _Fitting:
    """Returns the accuracy that fits a loss, its labels and its output.

    Args:
        loss: the loss.
        labels: the labels.
        asked: whether the model is compiled with "accuracy", so that its labels are classes of some kind.
    """
    name, logits = loss.name, loss.from_logits
    if name == "crossentropy":
        name = "binary_crossentropy" if labels.one_number else "categorical_crossentropy"
        name = "sparse_categorical_crossentropy" if labels.are_indices else name
    belongs = f"belongs to the loss {loss.name}"
    if name == "sparse_categorical_crossentropy":
        counted = "" if loss.ignored is None else f", and counts places of the ignored class {loss.ignored} as wrong"
        return _Fitting("sparse", logits, belongs + counted)
    if name in ("categorical_crossentropy", "categorical_focal_crossentropy"):
        return _Fitting("categorical", logits, belongs)
    if name in ("binary_crossentropy", "binary_focal_crossentropy"):
        if not labels.are_zero_or_one:
            return _Fitting(None, logits, "the labels are not all 0 or 1")
        if labels.sum_to_one and (labels.activation == "softmax" or asked):
            return _Fitting("categorical", logits, f"{belongs} with one-hot labels")
        several = "" if labels.one_number else ", and compares each of several labels 0 and 1 at once"
        return _Fitting("binary", logits, belongs + several + (_ABOVE_ZERO if logits else ""))
    if name in ("hinge", "squared_hinge"):
        fits = asked and labels.are_zero_or_one
        words = belongs + _ABOVE_ZERO if fits else "an accuracy does not fit a hinge loss"
        return _Fitting("binary" if fits else None, True, words)
    probabilities = labels.activation in PROBABILITIES
    if name in _NO_CLASSES or not (probabilities or asked):
        return _Fitting(None, False, f"the loss {loss.name} does not say that the labels are classes")
    return _by_look(loss, labels, asked)


def _by_look(loss: GivenLoss, labels: Labels, asked: bool) -> _Fitting:
    """Returns the accuracy for a loss that does not determine it: by the look of the labels."""
    try:
        seen = look(labels)
    except ValueError:
        return _Fitting(None, False, "the labels do not fit the output as classes")
    if seen.kind == "regression" or (seen.kind == "categorical" and not labels.are_zero_or_one):
        return _Fitting(None, False, "the labels are numbers, not classes")
    # Of a regression of labels 0 and 1 the outputs are near these; any other loss has logits where it has not said.
    from_logits = labels.activation not in PROBABILITIES and loss.name not in _ERRORS
    return _Fitting(seen.kind, from_logits, f"fits the labels ({seen.words})")


class Choice(NamedTuple):
    """The metric of a compiled model.

    Attributes:
        metric: makes the metric; "loss" for the loss itself.
        from_logits: whether a classifier's outputs are logits.
        higher_is_better: whether a larger value means a better model.
        words: the reason for the choice.
        further: makers of the other metrics that the model is compiled with.
    """

    metric: MetricMaker | Literal["loss"]
    from_logits: bool
    higher_is_better: bool
    words: str
    further: tuple[MetricMaker, ...] = ()


class _Usable(NamedTuple):
    """A compiled metric that fits the labels; `higher` is `None` if it is not known whether more is better."""

    make: MetricMaker
    from_logits: bool
    higher: bool | None
    words: str
    is_accuracy: bool = False

    @property
    def name(self) -> str:
        return str(self.make().name)


def chosen_metric(loss: GivenLoss, labels: Labels, specs: list[Any], monitor: str | None = None) -> Choice:
    """Returns the metric of a compiled model.

    Args:
        loss: its loss.
        labels: labels and output.
        specs: the metrics that it is compiled with.
        monitor: the name of one of them, or "loss", to choose by; `None` to apply the rule.

    Raises:
        ValueError: the model is not compiled with `monitor`, or it is not known whether more of it is better.
    """
    usable, passed_over = _usable(loss, labels, specs)
    fitting = _fitting_accuracy(loss, labels, asked=False)
    if monitor is not None:
        choice = _monitored(monitor, usable, fitting.from_logits)
    else:
        choice = _by_rule(loss, usable, fitting, "".join(f"; {words}" for words in passed_over))
    names = {choice.metric if isinstance(choice.metric, str) else choice.metric().name}
    further = []
    for each in usable:
        if each.name not in names:
            names.add(each.name)
            further.append(each.make)
    return choice._replace(further=tuple(further))


def _usable(loss: GivenLoss, labels: Labels, specs: list[Any]) -> tuple[list[_Usable], list[str]]:
    """Returns the metrics that fit the labels, and notes on those that do not, or that cannot be chosen by."""
    usable, passed_over = [], []
    for spec in specs:
        if isinstance(spec, str) and spec.lower() in ("accuracy", "acc"):
            fitting = _fitting_accuracy(loss, labels, asked=True)
            if fitting.kind is None:
                passed_over.append(f"metric accuracy is not used: {fitting.words}")
                continue
            words = f"the first accuracy among its metrics; it {fitting.words}"
            make = accuracy(fitting.kind, fitting.from_logits)
            usable.append(_Usable(make, fitting.from_logits, True, words, is_accuracy=True))
            continue
        make = made_anew(spec)
        metric = make()
        higher, unfit = direction(metric), _unfit(metric, labels)
        if unfit is not None:
            passed_over.append(f"metric {metric.name} is not used, because it {unfit}")
        elif names_accuracy(metric.name):
            from_logits = _fitting_accuracy(loss, labels, True).from_logits
            usable.append(_Usable(make, from_logits, True, "the first accuracy among its metrics", is_accuracy=True))
        else:
            from_logits = _fitting_accuracy(loss, labels, False).from_logits
            words = f"the first of its metrics, of which {'more' if higher else 'less'} is better"
            usable.append(_Usable(make, from_logits, higher, words))
            if higher is None and not any(each.is_accuracy for each in usable):
                passed_over.append(
                    f"metric {metric.name} is measured only, because it is not known whether more of it is "
                    f"better: {_ASK}"
                )
    return usable, passed_over


def _by_rule(loss: GivenLoss, usable: list[_Usable], fitting: _Fitting, said: str) -> Choice:
    """Chooses the first accuracy, else the first metric with a known direction, else the metric that fits the loss."""
    for each in usable:
        if each.is_accuracy:
            return Choice(each.make, each.from_logits, True, each.words)
    for each in usable:
        if each.higher is not None:
            return Choice(each.make, fitting.from_logits, each.higher, each.words + said)
    if fitting.kind is not None:
        words = f"the metric {fitting.words}{said}"
        return Choice(accuracy(fitting.kind, fitting.from_logits), fitting.from_logits, True, words)
    if loss.is_keras and loss.name in _ERRORS:
        words = f"the metric is that of the loss, because {fitting.words}{said}"
        return Choice(_ERRORS[loss.name], False, False, words)
    words = f"the metric is the loss itself, because {fitting.words}; {_ASK}{said}"
    return Choice("loss", fitting.from_logits, False, words)


def _monitored(monitor: str, usable: list[_Usable], from_logits: bool) -> Choice:
    """Returns the metric that `monitor` names."""
    name = monitor.removeprefix("val_")
    if name == "loss":
        return Choice("loss", from_logits, False, "the loss, as monitor= says")
    for each in usable:
        if each.name != name and not (each.is_accuracy and name in ("acc", "accuracy") and each.name == "accuracy"):
            continue
        if each.higher is None:
            raise ValueError(
                f"Expected `monitor` to name a metric for which it is known whether more is better. Received: "
                f"monitor={monitor!r}, for which it is not known. Pass objective=, a function of labels and outputs "
                "that gives one number per sample, the higher the better."
            )
        return Choice(each.make, each.from_logits, each.higher, "as monitor= says")
    known = ", ".join(repr(each.name) for each in usable)
    raise ValueError(
        f"Expected `monitor` to name a metric that the model is compiled with and that fits its labels, of "
        f"{known + ', ' if known else ''}'loss'. Received: monitor={monitor!r}. Compile the model with it."
    )


def _unfit(metric: keras.metrics.Metric, labels: Labels) -> str | None:
    """Returns why one of Keras' accuracies does not fit the labels, although it would give a number; else `None`."""
    function, _ = unwrapped(getattr(metric, "_fn", None))
    name = getattr(function, "__name__", "") if str(getattr(function, "__module__", "")).startswith("keras.") else ""
    if name in ("categorical_accuracy", "top_k_categorical_accuracy") and not labels.have_the_shape:
        return "compares one-hot labels"
    if name.startswith("sparse_") and name.endswith("accuracy") and not labels.have_a_number_a_place:
        return "compares the indices of classes"
    single = labels.one_number and labels.have_a_number_a_place
    if name == "binary_accuracy" and not (labels.have_the_shape or single):
        return "compares labels of the outputs' own shape"
    if name == "binary_accuracy" and not labels.are_zero_or_one:
        return "compares labels 0 and 1"
    return "compares outputs for equality" if name == "accuracy" else None
