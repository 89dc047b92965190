"""Objectives: loss and metric of a model, as compiled, or inferred from its outputs and labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import keras

from tfcompress import expect
from tfcompress.training.compiled import (
    GivenLoss,
    MetricMaker,
    is_weighted,
    last_activation,
    loss_leaves,
    loss_weights,
    metric_specs,
    name_of,
    read_loss,
    read_losses,
)
from tfcompress.training.metric_rule import PROBABILITIES, Labels, accuracy, chosen_metric, look
from tfcompress.training.penalized import LabelRange, PenalizedModel

__all__ = ["Objective", "Score", "infer", "last_activation"]

Score = Callable[[Any, Any], Any]
"""`(y, outputs) -> [batch]`: one number per sample, higher is better; both in the model's structure."""

_SHORT_NAMES = ("crossentropy", "ce")  # which `keras.Model.compile` alone knows


@dataclasses.dataclass(frozen=True)
class Objective:
    """The loss that training minimizes, and the metric that says how good a model is.

    Attributes:
        loss: a Keras loss or its name, or a list or dict of them for several outputs, as `keras.Model.compile` takes
            it; None for a model with its own `compute_loss`. An `OwnLoss` model uses its own in any case.
        metric: makes a new metric, for instance the class `keras.metrics.MeanAbsoluteError`; or "loss" for the loss
            itself; or None.
        from_logits: whether a classifier's outputs are logits, not probabilities.
        name: name of the loss.
        description: both and their origin, for the report.
        higher_is_better: whether a larger metric means a better model.
        loss_weights: weights of several losses, as `keras.Model.compile` takes them.
        score: used instead of the metric: `(y, outputs) -> [batch]` numbers, higher is better; a function that can be
            traced (`keras.ops`). Rewards and reported values are its mean over the samples.
        further: makers of metrics that are measured and reported too, but not used for choices.
        weighted: whether the metric uses sample weights, if the data have some.
        further_weighted: names of the further metrics that use them.
    """

    loss: Any
    metric: MetricMaker | Literal["loss"] | None
    from_logits: bool = False
    name: str = "custom"
    description: str = "given by the caller"
    higher_is_better: bool = True
    loss_weights: Any = None
    score: Score | None = None
    further: tuple[MetricMaker, ...] = ()
    weighted: bool = False
    further_weighted: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        losses = [part for part in keras.tree.flatten(self.loss) if part is not None]
        what = "a Keras loss, its name, a function (y, outputs), or a list or dictionary of these"
        if not all(isinstance(part, str) or callable(part) for part in losses):
            expect.refuse("loss", what, self.loss, wrong_type=True)
        try:
            for part in losses:
                if part not in _SHORT_NAMES:
                    keras.losses.get(part)
        except ValueError:
            expect.refuse("loss", what, self.loss)
        if not (isinstance(self.metric, str) and self.metric == "loss"):
            maker = '"loss", or a function that makes a new metric, such as the class keras.metrics.MeanAbsoluteError'
            expect.settings(self, expect.function, "metric", what=maker, or_none=True, arguments=0)
        expect.settings(self, expect.flag, "from_logits", "higher_is_better", "weighted")
        expect.settings(self, expect.text, "name", "description")
        score = "a function (y, outputs) -> one number per sample"
        expect.settings(self, expect.function, "score", what=score, or_none=True, arguments=2)
        makers = {"check": expect.function, "what": "makers of new metrics, such as their classes", "arguments": 0}
        expect.settings(self, expect.each, "further", **makers)
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
    def further_names(self) -> tuple[str, ...]:
        """The names of the further metrics."""
        return tuple(str(make().name) for make in self.further)

    @property
    def sign(self) -> int:
        """1, or -1 if less of the metric is better: the metric times this is always better when higher."""
        measured = self.score is not None or self.metric is not None
        return 1 if measured and self.higher_is_better else -1

    def new_metrics(self) -> list[keras.metrics.Metric] | None:
        """Returns new metrics in the form that `compile` takes; the loss is measured without them."""
        if self.score is not None:
            return None
        makers = [*([self.metric] if callable(self.metric) else []), *self.further]
        return [make() for make in makers] or None

    def scores(self, y: Any, outputs: Any) -> Any:
        """Returns the score of each sample, `[batch]`; float labels are cast to Keras' float type, as for losses."""
        assert self.score is not None
        return self.score(keras.tree.map_structure(_as_float, y), outputs)

    def compile(self, model: PenalizedModel, optimizer: Any = None) -> None:
        """Compiles a model with this loss and metric; a model with a loss of its own with the metric only."""
        if self.score is not None:
            model.measure(self.scores, str(self.metric_name))
        own = model.own_loss is not None
        loss, weights = (None, None) if own else (self.loss, self.loss_weights)
        model.label_range = _label_range(loss)
        model.compile(optimizer, loss, loss_weights=weights, **self.compiled_metrics())

    def compiled_metrics(self) -> dict[str, Any]:
        """Returns the metrics as arguments of `keras.Model.compile`."""
        weighted = {*self.further_weighted, *([self.metric_name] if self.weighted else [])}
        metrics = self.new_metrics() or []
        arguments = {
            "metrics": [metric for metric in metrics if metric.name not in weighted],
            "weighted_metrics": [metric for metric in metrics if metric.name in weighted],
        }
        return {name: given or None for name, given in arguments.items()}


def infer(model: keras.Model, y_sample: Any, score: Score | None = None, monitor: str | None = None) -> Objective:
    """Returns loss and metric of the compiled model, else those that fit its outputs and labels.

    The metric is the first compiled one that is an accuracy, else the first for which it is known whether more is
    better, else the accuracy that fits the loss if labels and outputs are those of a classifier, else the error that a
    regression's loss measures, else the loss itself. Metrics named "accuracy" respect `from_logits`, unlike in Keras,
    which compares the logit of a binary classifier with 0.5; and they compare each of several labels 0 and 1 at once,
    where Keras compares the largest. The description says what was decided and why. The other compiled metrics of a
    model with one output are measured too.

    Args:
        model: a Functional or Sequential model; a model with several outputs has to be compiled, and needs a score.
        y_sample: an array of labels; some hundred are enough.
        score: used instead of the metric.
        monitor: name of the compiled metric to choose by, or "loss"; `None` to apply the rule above.

    Raises:
        ValueError: several outputs without a score or without losses, unknown outputs, labels whose shape does not fit
            the output, an unknown `monitor`, or one beside a score.
    """
    if monitor is not None and score is not None:
        expect.refuse("monitor", "None beside `objective`, which already says what choices are made by", monitor)
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
            "objective(y, outputs) that gives one number per sample, higher is better."
        )
    if score is not None:
        inferred = infer(model, y_sample)
        why = "inferred, because the model is not compiled"
        words = f"loss {inferred.name}, {why}; metric {_score_name(score)}, as given"
        return dataclasses.replace(inferred, metric=None, score=score, description=words, higher_is_better=True)
    labels = Labels.of(keras.tree.flatten(y_sample)[0], tuple(model.outputs[0].shape), last_activation(model))
    if losses:
        return _compiled(model, labels, monitor)
    inferred = _uncompiled(labels)
    if monitor in (None, inferred.metric_name, f"val_{inferred.metric_name}"):
        return inferred
    if monitor in ("loss", "val_loss"):
        return dataclasses.replace(inferred, metric="loss", higher_is_better=False)
    options = (inferred.metric_name, "loss")
    advice = "The model is not compiled: compile it with the metric."
    return expect.one_of("monitor", monitor, options, advice)  # type: ignore[no-any-return]


_LOSSES: dict[str, Callable[[bool], keras.losses.Loss]] = {
    "sparse": lambda logits: keras.losses.SparseCategoricalCrossentropy(from_logits=logits),
    "categorical": lambda logits: keras.losses.CategoricalCrossentropy(from_logits=logits),
    "binary": lambda logits: keras.losses.BinaryCrossentropy(from_logits=logits),
    "regression": lambda _: keras.losses.MeanSquaredError(),
}


def _uncompiled(labels: Labels) -> Objective:
    seen = look(labels)
    from_logits = seen.kind != "regression" and labels.activation not in PROBABILITIES
    loss = _LOSSES[seen.kind](from_logits)
    metric = keras.metrics.MeanSquaredError if seen.kind == "regression" else accuracy(seen.kind, from_logits)
    form = "logits" if from_logits else f"last activation {labels.activation}"
    return Objective(
        loss,
        metric,
        from_logits,
        loss.name,
        f"loss {loss.name}, metric {metric().name}; inferred, because the model is not compiled: {seen.words}, {form}; "
        "compile it if its loss is another",
        seen.kind != "regression",
    )


def _compiled(model: keras.Model, labels: Labels, monitor: str | None) -> Objective:
    losses, specs = loss_leaves(model), metric_specs(model)
    one_loss = len(losses) == 1
    loss = read_loss(losses[0]) if one_loss else GivenLoss(" + ".join(map(name_of, losses)), is_keras=False)
    metric, from_logits, higher, words, further = chosen_metric(loss, labels, specs, monitor)
    name = metric if isinstance(metric, str) else metric().name
    return Objective(
        losses[0] if one_loss else model.loss,
        metric,
        from_logits,
        loss.name,
        f"loss {loss.name}, metric {name}; as the model is compiled, {words}",
        higher,
        loss_weights(model),
        further=further,
        weighted=callable(metric) and is_weighted(model, name),
        further_weighted=tuple(each for each in (make().name for make in further) if is_weighted(model, each)),
    )


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


def _label_range(loss: Any) -> LabelRange | None:
    """Returns the range of labels that a classifier's loss reads; `None` if it takes any."""
    losses = [part for part in keras.tree.flatten(loss) if part is not None]
    given = read_loss(losses[0]) if len(losses) == 1 else None
    if given is None or not given.is_keras:
        return None
    if given.name in ("binary_crossentropy", "binary_focal_crossentropy"):
        return LabelRange(are_indices=False)
    if given.name == "sparse_categorical_crossentropy":
        return LabelRange(are_indices=True, ignored=given.ignored)
    return None


def _as_float(labels: Any) -> Any:
    is_float = "float" in keras.backend.standardize_dtype(labels.dtype)
    return keras.ops.cast(labels, keras.backend.floatx()) if is_float else labels


def _score_name(score: Any) -> str:
    name = name_of(score)
    return "objective" if name == "<lambda>" else name
