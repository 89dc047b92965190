"""Which loss and which metric a model has: as compiled, else inferred from its outputs and labels."""

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
"""`(y, outputs) -> [batch]`: one number for each sample, the higher the better; both in the model's structure."""

_SHORT_NAMES = ("crossentropy", "ce")  # which `keras.Model.compile` alone knows


@dataclasses.dataclass(frozen=True)
class Objective:
    """The loss that a training minimises, and the metric that tells how good a model is.

    Attributes:
        loss: a Keras loss or its name, or a list or dict of them for several outputs, as `keras.Model.compile` takes
            it; None for a model that brings its own `compute_loss`. An `OwnLoss` model does, whatever stands here.
        metric: makes a new metric, for instance the class `keras.metrics.MeanAbsoluteError`; or "loss" for the loss
            itself; or None.
        from_logits: whether a classifier's outputs are logits, and not probabilities.
        name: of the loss.
        description: for the report: both, and where they come from.
        higher_is_better: whether a larger metric means a better model.
        loss_weights: of several losses, as `keras.Model.compile` takes them.
        score: takes the place of the metric: `(y, outputs) -> [batch]` numbers, the higher the better, of a function
            that is traced (`keras.ops`). What rewards are, and what is reported, is its mean over the samples.
        further: what makes metrics that are measured and reported too, and that nothing is chosen by.
        weighted: whether the metric counts samples by their weights, where the data have some.
        further_weighted: names of the further metrics that do.
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
        what = "a Keras loss, its name, a function (y, outputs), or a list or dictionary of such"
        if not all(isinstance(part, str) or callable(part) for part in losses):
            expect.refuse("loss", what, self.loss, wrong_type=True)
        try:
            for part in losses:
                if part not in _SHORT_NAMES:
                    keras.losses.get(part)
        except ValueError:
            expect.refuse("loss", what, self.loss)
        if not (isinstance(self.metric, str) and self.metric == "loss"):
            maker = '"loss", or what makes a new metric, such as the class keras.metrics.MeanAbsoluteError'
            expect.settings(self, expect.function, "metric", what=maker, or_none=True, arguments=0)
        expect.settings(self, expect.flag, "from_logits", "higher_is_better", "weighted")
        expect.settings(self, expect.text, "name", "description")
        score = "a function (y, outputs) -> one number a sample"
        expect.settings(self, expect.function, "score", what=score, or_none=True, arguments=2)
        makers = {"check": expect.function, "what": "what makes new metrics, such as their classes", "arguments": 0}
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
        """1, or -1 where less of the metric is better: times the metric, higher is better."""
        measured = self.score is not None or self.metric is not None
        return 1 if measured and self.higher_is_better else -1

    def new_metrics(self) -> list[keras.metrics.Metric] | None:
        """The metrics in the form in which `compile` takes them; the loss is measured without being asked for."""
        if self.score is not None:
            return None
        makers = [*([self.metric] if callable(self.metric) else []), *self.further]
        return [make() for make in makers] or None

    def scores(self, y: Any, outputs: Any) -> Any:
        """`[batch]` numbers of the score; labels that are floats come to it in Keras' float type, as to losses."""
        assert self.score is not None
        return self.score(keras.tree.map_structure(_as_float, y), outputs)

    def compile(self, model: PenalizedModel, optimizer: Any = None) -> None:
        """Compiles a model with this loss and metric; one with a loss of its own with the metric."""
        if self.score is not None:
            model.measure(self.scores, str(self.metric_name))
        own = model.own_loss is not None
        loss, weights = (None, None) if own else (self.loss, self.loss_weights)
        model.label_range = _label_range(loss)
        model.compile(optimizer, loss, loss_weights=weights, **self.compiled_metrics())

    def compiled_metrics(self) -> dict[str, Any]:
        """The metrics as the arguments of `keras.Model.compile` that they are."""
        weighted = {*self.further_weighted, *([self.metric_name] if self.weighted else [])}
        metrics = self.new_metrics() or []
        arguments = {
            "metrics": [metric for metric in metrics if metric.name not in weighted],
            "weighted_metrics": [metric for metric in metrics if metric.name in weighted],
        }
        return {name: given or None for name, given in arguments.items()}


def infer(model: keras.Model, y_sample: Any, score: Score | None = None, monitor: str | None = None) -> Objective:
    """Loss and metric of the compiled model, else those that fit its outputs and labels.

    The metric is the first of the compiled ones that is an accuracy, else the first of which it is known whether more
    of it is better, else the accuracy that belongs to the loss where labels and outputs are those of a classifier, else
    the error that a regression's loss measures, else the loss itself. Metrics named "accuracy" respect `from_logits`,
    unlike Keras, which compares the logit of a binary classifier with 0.5, and compare each of several labels 0 and 1
    at once, where Keras compares the largest. The description says what was decided and why. The other compiled metrics
    of a model with one output are measured too.

    Args:
        model: a Functional or Sequential model; one with several outputs needs a score, and to be compiled.
        y_sample: an array of labels, as many as there are at hand (some hundred are enough).
        score: takes the place of the metric.
        monitor: name of the compiled metric to choose by, or "loss"; `None` for the rule above.

    Raises:
        ValueError: for several outputs without a score or without losses, unknown outputs, labels whose shape does
            not fit the output, and a `monitor` that there is not, or beside a score.
    """
    if monitor is not None and score is not None:
        expect.refuse("monitor", "None beside `objective`, which says what choices are made by", monitor)
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
        inferred = infer(model, y_sample)
        words = f"loss {inferred.name}, inferred, as the model is not compiled; metric {_score_name(score)}, as given"
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
        f"loss {loss.name}, metric {metric().name}; inferred, as the model is not compiled: {seen.words}, {form}; "
        "compile it where it has another loss",
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
    """Which labels the loss of a classifier reads; `None` where it takes any."""
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
