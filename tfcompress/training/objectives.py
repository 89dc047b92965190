"""Which loss and which metric a model has: as compiled, else inferred from its outputs and labels."""

import dataclasses
import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np

from tfcompress import expect
from tfcompress.data import without_autotuning
from tfcompress.training.penalized import PenalizedModel

__all__ = ["Evaluator", "Objective", "Score", "evaluate", "infer", "last_activation", "loss_function"]

MetricMaker = Callable[[], keras.metrics.Metric]
Score = Callable[[Any, Any], Any]
"""`(y, outputs) -> [batch]`: one number for each sample, the higher the better; both in the model's structure."""

_SHORT_NAMES = ("crossentropy", "ce")  # which `keras.Model.compile` alone knows
_PROBABILITIES = ("softmax", "sigmoid")
_PASSED_OVER = ("Dropout", "Identity", "Reshape", "Flatten", "Cast", "Squeeze")


@dataclasses.dataclass(frozen=True)
class Objective:
    """What a training minimises and what tells how good a model is.

    Attributes:
        loss: a Keras loss or its name, or a list or dict of them for several outputs, as `keras.Model.compile` takes
            it; None for a model that brings its own `compute_loss`.
        metric: makes a new metric, for instance the class `keras.metrics.MeanAbsoluteError`; or None.
        from_logits: whether a classifier's outputs are logits, and not probabilities.
        name: of the loss.
        description: for the report: both, and where they come from.
        higher_is_better: whether a larger metric means a better model.
        loss_weights: of several losses, as `keras.Model.compile` takes them.
        score: takes the place of the metric: `(y, outputs) -> [batch]` numbers, the higher the better, of a function
            that is traced (`keras.ops`). What rewards are, and what is reported, is its mean over the samples.
    """

    loss: Any
    metric: MetricMaker | None
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
        return None if self.metric is None else self.metric().name

    def new_metrics(self) -> list[keras.metrics.Metric] | None:
        """The metric in the form in which `compile` takes it."""
        return None if self.metric is None or self.score is not None else [self.metric()]

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

    The metric is the first of the compiled ones that is an accuracy, else the accuracy that belongs to the loss, and
    the mean squared error for regression. Metrics named "accuracy" respect `from_logits`, unlike Keras, which
    compares the logit of a binary classifier with 0.5.

    Args:
        model: a Functional or Sequential model; one with several outputs needs a score, and to be compiled.
        y_sample: an array of labels, as many as there are at hand (some hundred are enough).
        score: takes the place of the metric.

    Raises:
        ValueError: for several outputs without a score or without losses, unknown outputs, and labels whose shape does
            not fit the output.
    """
    outputs = getattr(model, "outputs", None) or []
    if score is not None and getattr(model, "loss", None) is not None:
        return _compiled_with_score(model, score)
    if len(outputs) != 1:
        raise ValueError(
            "Expected a built Functional or Sequential model with one output, or, for a model with several, that it is "
            "compiled with its losses and that `objective=` says how good it is. "
            f"Received: model {model.name!r} ({type(model).__name__}) with {len(outputs)} known outputs, "
            f"{'not ' if getattr(model, 'loss', None) is None else ''}compiled, "
            f"{'no objective' if score is None else 'an objective'}. Compile it, and pass a function "
            "objective(y, outputs) that gives one number a sample, the higher the better."
        )
    if score is not None:
        found = infer(model, y_sample)
        words = f"loss {found.name}, inferred, as the model is not compiled; metric {_score_name(score)}, as given"
        return dataclasses.replace(found, metric=None, score=score, description=words, higher_is_better=True)
    activation = last_activation(model)
    if getattr(model, "loss", None) is not None:
        return _compiled(model, np.asarray(y_sample), activation)
    seen = _look(np.asarray(y_sample), tuple(model.outputs[0].shape), activation)
    from_logits = seen.kind != "regression" and activation not in _PROBABILITIES
    loss = _LOSSES[seen.kind](from_logits)
    metric = _metric(seen.kind, from_logits)
    form = "logits" if from_logits else f"last activation {activation}"
    return Objective(
        loss,
        metric,
        from_logits,
        loss.name,
        f"loss {loss.name}, metric {metric().name}; inferred, as the model is not compiled: {seen.words}, {form}",
        seen.kind != "regression",
    )


class Evaluator:
    """Measures loss and metric of a model, again and again with one compiled function.

    Neither the model's weights nor its compile state change.

    Args:
        model: a built model.
        objective: loss and metric.
    """

    def __init__(self, model: keras.Model, objective: Objective):
        self._measured = PenalizedModel(model)
        objective.compile(self._measured)

    def __call__(self, batches: Any) -> dict[str, float]:
        """The objective's loss, without regularisation, and its metric over all of `batches`, by name."""
        results = self._measured.evaluate(without_autotuning(batches), verbose=0, return_dict=True)
        return {name: float(value) for name, value in results.items()}


def evaluate(model: keras.Model, batches: Any, objective: Objective) -> dict[str, float]:
    """Loss and metric of `model` over all of `batches`, a PyDataset or tf.data.Dataset. See `Evaluator`."""
    return Evaluator(model, objective)(batches)


def loss_function(model: keras.Model, objective: Objective) -> Callable[[Any, Any], Any] | None:
    """The objective's loss, without regularisation, as a function `(y, outputs) -> scalar`.

    Args:
        model: a built model, whose outputs tell what the short forms of Keras' losses stand for.
        objective: loss and metric.

    Returns:
        The function, or `None` where the objective has no loss of its own.
    """
    if objective.loss is None:
        return None
    measured = PenalizedModel(model)
    objective.compile(measured)
    return lambda y, outputs: measured.compute_loss(y=y, y_pred=outputs, training=False)


def last_activation(model: keras.Model) -> str:
    """Name of the activation that gives the output of a Functional or Sequential model, "linear" for none.

    A Softmax layer, an Activation layer, `keras.ops.softmax` and the `activation` of the last layer all count; nested
    models, dropout and reshaping are passed over.
    """
    tensor = model.outputs[0]
    while True:
        operation, _, position = tensor._keras_history
        kind = type(operation).__name__
        if isinstance(operation, keras.Model) and hasattr(operation, "outputs"):
            tensor = operation.outputs[position]
            continue
        name = _activation_of(operation)
        inputs = operation._inbound_nodes[0].input_tensors if operation._inbound_nodes else []
        if name == "linear" and len(inputs) == 1 and (kind in _PASSED_OVER or kind == "Activation"):
            tensor = inputs[0]
            continue
        return name


class _Look(NamedTuple):
    """What labels look like: `kind` of problem, and the words for it."""

    kind: str
    words: str


def _look(y: np.ndarray, shape: tuple[int | None, ...], activation: str) -> _Look:
    """Tells the kind of problem from labels, output shape `[batch, ..., outputs]` and last activation."""
    outputs, rank = shape[-1], len(shape)
    whole = bool(np.all(np.equal(np.mod(y, 1), 0))) if y.dtype != bool else True
    zero_one = whole and bool(np.all((y == 0) | (y == 1)))
    may_be_binary = zero_one and activation in ("sigmoid", "linear")
    fits_indices = y.ndim == rank - 1 or (y.ndim == rank and y.shape[-1] == 1)
    if outputs == 1 and fits_indices:
        return _Look("binary", "labels 0 and 1") if may_be_binary else _Look("regression", "numbers as labels")
    if fits_indices and whole and outputs is not None and y.min() >= 0 and y.max() < outputs:
        return _Look("sparse", f"whole numbers as labels, {outputs} outputs")
    if y.ndim == rank and all(b is None or a == b for a, b in zip(y.shape[1:], shape[1:], strict=True)):
        sums_to_one = bool(np.all(y >= 0)) and np.allclose(y.sum(axis=-1, dtype="float64"), 1, atol=1e-3)
        if sums_to_one and activation != "sigmoid" and (zero_one or activation == "softmax"):
            return _Look("categorical", "one-hot labels" if zero_one else "probabilities as labels")
        if may_be_binary:
            return _Look("binary", "several labels 0 and 1 at once")
        return _Look("regression", "numbers as labels")
    raise ValueError(
        f"Expected labels that fit the output {shape}: class indices from 0 to {outputs} - 1, one-hot labels, or "
        f"numbers of the same shape. Received: labels of shape {y.shape}, dtype {y.dtype}, from {y.min()} to {y.max()}."
    )


_LOSSES: dict[str, Callable[[bool], keras.losses.Loss]] = {
    "sparse": lambda logits: keras.losses.SparseCategoricalCrossentropy(from_logits=logits),
    "categorical": lambda logits: keras.losses.CategoricalCrossentropy(from_logits=logits),
    "binary": lambda logits: keras.losses.BinaryCrossentropy(from_logits=logits),
    "regression": lambda _: keras.losses.MeanSquaredError(),
}

_KINDS = {
    "sparse_categorical_crossentropy": "sparse",
    "categorical_crossentropy": "categorical",
    "categorical_focal_crossentropy": "categorical",
    "binary_crossentropy": "binary",
    "binary_focal_crossentropy": "binary",
}


def _metric(kind: str, from_logits: bool) -> MetricMaker:
    if kind == "regression":
        return keras.metrics.MeanSquaredError
    if kind == "binary":
        threshold = 0.0 if from_logits else 0.5
        return functools.partial(keras.metrics.BinaryAccuracy, name="accuracy", threshold=threshold)
    accuracies = {"sparse": keras.metrics.SparseCategoricalAccuracy, "categorical": keras.metrics.CategoricalAccuracy}
    return functools.partial(accuracies[kind], name="accuracy")


def _compiled(model: keras.Model, y: np.ndarray, activation: str) -> Objective:
    loss = keras.tree.flatten(model.loss)[0]  # the only output's, where they are given by output
    name, from_logits = _loss_name(loss)
    kind = _KINDS.get(name)
    if kind is None:  # some other loss: the labels tell what an accuracy would be
        kind = _look(y, tuple(model.outputs[0].shape), activation).kind
        from_logits = kind != "regression" and activation not in _PROBABILITIES
    metric, whence = _metric(kind, from_logits), "the metric belongs to the loss"
    given = next(_accuracies(model), None)
    if given is not None:
        whence = "the first accuracy among its metrics"
        metric = given if callable(given) else metric
    return Objective(
        loss,
        metric,
        from_logits,
        name,
        f"loss {name}, metric {metric().name}; as the model is compiled, {whence}",
        kind != "regression" or given is not None,
    )


def _compiled_with_score(model: keras.Model, score: Score) -> Objective:
    names = [_loss_name(loss)[0] for loss in keras.tree.flatten(model.loss) if loss is not None]
    return Objective(
        model.loss,
        None,
        name=" + ".join(dict.fromkeys(names)),
        description=f"loss {' + '.join(names)}, as the model is compiled; metric {_score_name(score)}, as given",
        loss_weights=(model.get_compile_config() or {}).get("loss_weights"),
        score=score,
    )


def _as_float(labels: Any) -> Any:
    is_float = "float" in keras.backend.standardize_dtype(labels.dtype)
    return keras.ops.cast(labels, keras.backend.floatx()) if is_float else labels


def _score_name(score: Any) -> str:
    name = getattr(score, "__name__", type(score).__name__)
    return "objective" if name == "<lambda>" else str(name)


def _loss_name(loss: Any) -> tuple[str, bool]:
    """Snake-case name of a Keras loss, of whatever form, and its `from_logits`."""
    found = loss if str(loss).lower() in ("crossentropy", "ce") else keras.losses.get(loss)
    if isinstance(found, keras.losses.Loss):
        name = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in type(found).__name__)
        return name.lstrip("_"), bool(getattr(found, "from_logits", False))
    return getattr(found, "__name__", str(found)), False


def _accuracies(model: keras.Model) -> Iterator[MetricMaker | str]:
    """The compiled metrics that are accuracies: their makers, or "accuracy", which depends on the loss."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about lambdas among the metrics
        config = model.get_compile_config()
    for spec in _leaves([config.get("metrics"), config.get("weighted_metrics")]):
        details = spec.get("config") if isinstance(spec, dict) else None
        name = spec if isinstance(spec, str) else details.get("name", "") if isinstance(details, dict) else ""
        if "acc" not in name.lower():
            continue
        if name in ("accuracy", "acc") and isinstance(spec, str):
            yield "accuracy"
        else:
            yield functools.partial(_make_metric, spec)


def _leaves(specs: Any) -> Iterator[Any]:
    if isinstance(specs, dict) and "class_name" not in specs:
        specs = list(specs.values())
    if isinstance(specs, (list, tuple)):
        for spec in specs:
            yield from _leaves(spec)
    elif specs is not None:
        yield specs


def _make_metric(spec: Any) -> keras.metrics.Metric:
    made = keras.metrics.get(spec)
    return made if isinstance(made, keras.metrics.Metric) else keras.metrics.MeanMetricWrapper(made, name=str(spec))


def _activation_of(operation: Any) -> str:
    function = getattr(operation, "activation", None)
    if function is not None:
        return getattr(function, "__name__", type(function).__name__.lower())
    kind = type(operation).__name__.lower()
    return kind if kind in ("softmax", "sigmoid", "logsoftmax", "relu", "tanh") else "linear"
