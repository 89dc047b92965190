"""Which loss and which metric a model has: as compiled, else inferred from its outputs and labels."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import keras
import numpy as np

from tfcompress import expect
from tfcompress.training.compiled import (
    GivenLoss,
    MetricMaker,
    direction,
    last_activation,
    loss_leaves,
    loss_weights,
    made_anew,
    metric_specs,
    name_of,
    read_loss,
    read_losses,
    unwrapped,
)
from tfcompress.training.penalized import PenalizedModel

__all__ = ["Objective", "Score", "infer", "last_activation"]

Score = Callable[[Any, Any], Any]
"""`(y, outputs) -> [batch]`: one number for each sample, the higher the better; both in the model's structure."""

_SHORT_NAMES = ("crossentropy", "ce")  # which `keras.Model.compile` alone knows
_PROBABILITIES = ("softmax", "sigmoid")
_ASK = "pass objective= to choose by another number"
_ABOVE_ZERO = ", so outputs above 0 count as 1"


@dataclasses.dataclass(frozen=True)
class Objective:
    """What a training minimises and what tells how good a model is.

    Attributes:
        loss: a Keras loss or its name, or a list or dict of them for several outputs, as `keras.Model.compile` takes
            it; None for a model that brings its own `compute_loss`.
        metric: makes a new metric, for instance the class `keras.metrics.MeanAbsoluteError`; or "loss" for the loss
            itself; or None.
        from_logits: whether a classifier's outputs are logits, and not probabilities.
        name: of the loss.
        description: for the report: both, and where they come from.
        higher_is_better: whether a larger metric means a better model.
        loss_weights: of several losses, as `keras.Model.compile` takes them.
        score: takes the place of the metric: `(y, outputs) -> [batch]` numbers, the higher the better, of a function
            that is traced (`keras.ops`). What rewards are, and what is reported, is its mean over the samples.
    """

    loss: Any
    metric: MetricMaker | Literal["loss"] | None
    from_logits: bool = False
    name: str = "custom"
    description: str = "given by the caller"
    higher_is_better: bool = True
    loss_weights: Any = None
    score: Score | None = None

    def __post_init__(self) -> None:
        losses = [part for part in keras.tree.flatten(self.loss) if part is not None]
        what = "a Keras loss, its name, a function (y, outputs), or a list or dictionary of such"
        if not all(isinstance(part, str) or callable(part) for part in losses):
            expect.refuse("loss", what, self.loss, wrong_type=True)
        try:
            for part in losses:
                if part not in _SHORT_NAMES:
                    keras.losses.get(part)
        except ValueError:
            expect.refuse("loss", what, self.loss)
        maker = "what makes a new metric, such as the class keras.metrics.MeanAbsoluteError"
        expect.settings(self, expect.function, "metric", what=maker, or_none=True, arguments=0)
        expect.settings(self, expect.flag, "from_logits", "higher_is_better")
        expect.settings(self, expect.text, "name", "description")
        score = "a function (y, outputs) -> one number a sample"
        expect.settings(self, expect.function, "score", what=score, or_none=True, arguments=2)
        weights = [part for part in keras.tree.flatten(self.loss_weights) if part is not None]
        for weight in weights:
            expect.number("loss_weights", weight)

    @property
    def metric_name(self) -> str | None:
        """The name of the metric in history and results."""
        if self.score is not None:
            return _score_name(self.score)
        return self.metric().name if callable(self.metric) else self.metric

    @property
    def sign(self) -> int:
        """1, or -1 where less of the metric is better: times the metric, higher is better."""
        measured = self.score is not None or self.metric is not None
        return 1 if measured and self.higher_is_better else -1

    def new_metrics(self) -> list[keras.metrics.Metric] | None:
        """The metric in the form in which `compile` takes it; the loss is measured without being asked for."""
        return [self.metric()] if callable(self.metric) and self.score is None else None

    def scores(self, y: Any, outputs: Any) -> Any:
        """`[batch]` numbers of the score; labels that are floats come to it in Keras' float type, as to losses."""
        assert self.score is not None
        return self.score(keras.tree.map_structure(_as_float, y), outputs)

    def compile(self, model: PenalizedModel, optimizer: Any = None) -> None:
        """Compiles a model with this loss and metric."""
        if self.score is not None:
            model.measure(self.scores, str(self.metric_name))
        model.compile(optimizer, self.loss, loss_weights=self.loss_weights, metrics=self.new_metrics())


def infer(model: keras.Model, y_sample: Any, score: Score | None = None) -> Objective:
    """Loss and metric of the compiled model, else those that fit its outputs and labels.

    The metric is the first of the compiled ones that is an accuracy, else the first of which it is known whether more
    of it is better, else the accuracy that belongs to the loss where labels and outputs are those of a classifier, else
    the error that a regression's loss measures, else the loss itself. Metrics named "accuracy" respect `from_logits`,
    unlike Keras, which compares the logit of a binary classifier with 0.5, and compare each of several labels 0 and 1
    at once, where Keras compares the largest. The description says what was decided and why.

    Args:
        model: a Functional or Sequential model; one with several outputs needs a score, and to be compiled.
        y_sample: an array of labels, as many as there are at hand (some hundred are enough).
        score: takes the place of the metric.

    Raises:
        ValueError: for several outputs without a score or without losses, unknown outputs, and labels whose shape does
            not fit the output.
    """
    outputs = getattr(model, "outputs", None) or []
    losses = loss_leaves(model)
    if score is not None and losses:
        return _compiled_with_score(model, score)
    if len(outputs) != 1:
        raise ValueError(
            "Expected a built Functional or Sequential model with one output, or, for a model with several, that it is "
            "compiled with its losses and that `objective=` says how good it is. "
            f"Received: model {model.name!r} ({type(model).__name__}) with {len(outputs)} known outputs, "
            f"{'' if losses else 'not '}compiled, "
            f"{'no objective' if score is None else 'an objective'}. Compile it, and pass a function "
            "objective(y, outputs) that gives one number a sample, the higher the better."
        )
    if score is not None:
        found = infer(model, y_sample)
        words = f"loss {found.name}, inferred, as the model is not compiled; metric {_score_name(score)}, as given"
        return dataclasses.replace(found, metric=None, score=score, description=words, higher_is_better=True)
    labels = _Labels.of(keras.tree.flatten(y_sample)[0], tuple(model.outputs[0].shape), last_activation(model))
    return _compiled(model, labels) if losses else _uncompiled(labels)


class _Labels(NamedTuple):
    """Labels and the output that they belong to.

    Attributes:
        y: labels.
        shape: of the output, `[batch, ..., outputs]`.
        activation: of the output.
    """

    y: np.ndarray
    shape: tuple[int | None, ...]
    activation: str

    @classmethod
    def of(cls, y: Any, shape: tuple[int | None, ...], activation: str) -> _Labels:
        return cls(np.asarray(y), shape, activation)

    @property
    def one_number(self) -> bool:
        """Whether the output is a single number for each place."""
        return self.shape[-1] == 1

    @property
    def are_whole(self) -> bool:
        return self.y.dtype == bool or bool(np.all(np.equal(np.mod(self.y, 1), 0)))

    @property
    def are_zero_or_one(self) -> bool:
        return bool(np.all((self.y == 0) | (self.y == 1)))

    @property
    def have_a_number_a_place(self) -> bool:
        """Whether the shape is the output's without its last axis, or with 1 there."""
        y = self.y[..., 0] if self.y.ndim == len(self.shape) and self.y.shape[-1] == 1 else self.y
        return _fits(y.shape, self.shape[:-1])

    @property
    def have_the_shape(self) -> bool:
        """Whether the shape is the output's."""
        return _fits(self.y.shape, self.shape)

    @property
    def are_indices(self) -> bool:
        """Whether they can be indices of the outputs."""
        classes = self.shape[-1]
        in_range = self.are_whole and classes is not None and self.y.min() >= 0 and self.y.max() < classes
        return self.have_a_number_a_place and not self.one_number and bool(in_range)

    @property
    def sum_to_one(self) -> bool:
        """Whether they are distributions over the outputs: one-hot, or probabilities."""
        if not self.have_the_shape or self.one_number or not bool(np.all(self.y >= 0)):
            return False
        return bool(np.allclose(self.y.sum(axis=-1, dtype="float64"), 1, atol=1e-3))


def _fits(shape: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    sizes = zip(shape[1:], expected[1:], strict=False)
    return len(shape) == len(expected) and all(size in (None, got) for got, size in sizes)


class _Look(NamedTuple):
    """What labels look like: `kind` of problem, and the words for it."""

    kind: str
    words: str


def _look(labels: _Labels) -> _Look:
    """Tells the kind of problem from labels, output shape `[batch, ..., outputs]` and last activation."""
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


_LOSSES: dict[str, Callable[[bool], keras.losses.Loss]] = {
    "sparse": lambda logits: keras.losses.SparseCategoricalCrossentropy(from_logits=logits),
    "categorical": lambda logits: keras.losses.CategoricalCrossentropy(from_logits=logits),
    "binary": lambda logits: keras.losses.BinaryCrossentropy(from_logits=logits),
    "regression": lambda _: keras.losses.MeanSquaredError(),
}

_ERRORS: dict[str, MetricMaker] = {
    "mean_squared_error": keras.metrics.MeanSquaredError,
    "mean_absolute_error": keras.metrics.MeanAbsoluteError,
    "mean_absolute_percentage_error": keras.metrics.MeanAbsolutePercentageError,
    "mean_squared_logarithmic_error": keras.metrics.MeanSquaredLogarithmicError,
    "huber": keras.metrics.MeanSquaredError,
    "log_cosh": keras.metrics.MeanSquaredError,
}
"""What is measured of regressions, by their loss."""

_NO_CLASSES = ("ctc", "kl_divergence", "poisson", "cosine_similarity", "circle")
"""Losses that say nothing about classes, whatever the labels look like."""


def _accuracy(kind: str, from_logits: bool) -> MetricMaker:
    if kind == "binary":
        threshold = 0.0 if from_logits else 0.5
        return functools.partial(keras.metrics.BinaryAccuracy, name="accuracy", threshold=threshold)
    accuracies = {"sparse": keras.metrics.SparseCategoricalAccuracy, "categorical": keras.metrics.CategoricalAccuracy}
    return functools.partial(accuracies[kind], name="accuracy")


def _uncompiled(labels: _Labels) -> Objective:
    seen = _look(labels)
    from_logits = seen.kind != "regression" and labels.activation not in _PROBABILITIES
    loss = _LOSSES[seen.kind](from_logits)
    metric = keras.metrics.MeanSquaredError if seen.kind == "regression" else _accuracy(seen.kind, from_logits)
    form = "logits" if from_logits else f"last activation {labels.activation}"
    return Objective(
        loss,
        metric,
        from_logits,
        loss.name,
        f"loss {loss.name}, metric {metric().name}; inferred, as the model is not compiled: {seen.words}, {form}; "
        "compile it where it has another loss",
        seen.kind != "regression",
    )


class _Fitting(NamedTuple):
    """The accuracy that fits a compiled model: its kind, `None` for none, and why."""

    kind: str | None
    from_logits: bool
    words: str


def _fitting_accuracy(loss: GivenLoss, labels: _Labels, asked: bool) -> _Fitting:
    """Which accuracy belongs to a loss, its labels and its output.

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
    probabilities = labels.activation in _PROBABILITIES
    if name in _NO_CLASSES or not (probabilities or asked):
        return _Fitting(None, False, f"the loss {loss.name} does not say that the labels are classes")
    return _by_look(loss, labels, asked)


def _by_look(loss: GivenLoss, labels: _Labels, asked: bool) -> _Fitting:
    """The accuracy for a loss that does not say it: as the labels look."""
    try:
        seen = _look(labels)
    except ValueError:
        return _Fitting(None, False, "the labels do not fit the output as classes")
    if seen.kind == "regression" or (seen.kind == "categorical" and not labels.are_zero_or_one):
        return _Fitting(None, False, "the labels are numbers and no classes")
    # Of a regression of labels 0 and 1 the outputs are near these; any other loss has logits where it has not said.
    from_logits = labels.activation not in _PROBABILITIES and loss.name not in _ERRORS
    return _Fitting(seen.kind, from_logits, f"fits the labels ({seen.words})")


def _compiled(model: keras.Model, labels: _Labels) -> Objective:
    losses, specs = loss_leaves(model), metric_specs(model)
    one_loss = len(losses) == 1
    loss = read_loss(losses[0]) if one_loss else GivenLoss(" + ".join(map(name_of, losses)), is_keras=False)
    metric, from_logits, higher, words = _chosen_metric(loss, labels, specs)
    name = metric if isinstance(metric, str) else metric().name
    return Objective(
        losses[0] if one_loss else model.loss,
        metric,
        from_logits,
        loss.name,
        f"loss {loss.name}, metric {name}; as the model is compiled, {words}",
        higher,
        loss_weights(model),
    )


def _chosen_metric(
    loss: GivenLoss, labels: _Labels, specs: list[Any]
) -> tuple[MetricMaker | Literal["loss"], bool, bool, str]:
    """`(metric, from_logits, higher_is_better, why)` of a compiled model."""
    passed_over, others = [], []
    for spec in specs:
        asked = isinstance(spec, str) and spec.lower() in ("accuracy", "acc")
        if asked:
            fitting = _fitting_accuracy(loss, labels, asked=True)
            if fitting.kind is not None:
                words = f"the first accuracy among its metrics; it {fitting.words}"
                return _accuracy(fitting.kind, fitting.from_logits), fitting.from_logits, True, words
            passed_over.append(f"metric accuracy is not used: {fitting.words}")
            continue
        make = made_anew(spec)
        metric = make()
        unfit = _unfit(metric, labels)
        if unfit is not None:
            passed_over.append(f"metric {metric.name} is not used, as it {unfit}")
        elif "acc" in metric.name.lower():
            return make, _fitting_accuracy(loss, labels, True).from_logits, True, "the first accuracy among its metrics"
        elif direction(metric) is None:
            passed_over.append(
                f"metric {metric.name} is not used, as nothing says whether more of it is better: {_ASK}"
            )
        else:
            others.append(make)
    said = "".join(f"; {words}" for words in passed_over)
    fitting = _fitting_accuracy(loss, labels, asked=False)
    if others:
        better = bool(direction(others[0]()))
        which = "more" if better else "less"
        return others[0], fitting.from_logits, better, f"the first of its metrics, of which {which} is better{said}"
    if fitting.kind is not None:
        words = f"the metric {fitting.words}{said}"
        return _accuracy(fitting.kind, fitting.from_logits), fitting.from_logits, True, words
    if loss.is_keras and loss.name in _ERRORS:
        return _ERRORS[loss.name], False, False, f"the metric is that of the loss, as {fitting.words}{said}"
    return "loss", fitting.from_logits, False, f"the metric is the loss itself, as {fitting.words}; {_ASK}{said}"


def _unfit(metric: keras.metrics.Metric, labels: _Labels) -> str | None:
    """Why one of Keras' accuracies does not fit the labels, for which it would still give some number; else `None`."""
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


def _compiled_with_score(model: keras.Model, score: Score) -> Objective:
    names = [loss.name for loss in read_losses(model)]
    return Objective(
        model.loss,
        None,
        name=" + ".join(dict.fromkeys(names)),
        description=f"loss {' + '.join(names)}, as the model is compiled; metric {_score_name(score)}, as given",
        loss_weights=loss_weights(model),
        score=score,
    )


def _as_float(labels: Any) -> Any:
    is_float = "float" in keras.backend.standardize_dtype(labels.dtype)
    return keras.ops.cast(labels, keras.backend.floatx()) if is_float else labels


def _score_name(score: Any) -> str:
    name = name_of(score)
    return "objective" if name == "<lambda>" else name
