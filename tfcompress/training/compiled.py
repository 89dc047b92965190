"""The compile state of a model: its losses, and its metrics, from which new ones like them can be made."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras

__all__ = [
    "GivenLoss",
    "MetricMaker",
    "compile_settings",
    "direction",
    "is_weighted",
    "last_activation",
    "loss_leaves",
    "loss_weights",
    "made_anew",
    "metric_specs",
    "name_of",
    "names_accuracy",
    "output_structure",
    "read_loss",
    "read_losses",
    "unwrapped",
]

MetricMaker = Callable[[], keras.metrics.Metric]

_PASSED_OVER = ("Dropout", "Identity", "Reshape", "Flatten", "Cast", "Squeeze")

_ACCURACY = re.compile(r"(?<!in)acc(uracy|uracies)?(?![a-z])")
_ERROR = re.compile(r"(?<![a-z])(error|err|loss)(?![a-z])")

_SHORT = {
    "crossentropy": "crossentropy",
    "ce": "crossentropy",
    "bce": "binary_crossentropy",
    "mse": "mean_squared_error",
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "msle": "mean_squared_logarithmic_error",
    "logcosh": "log_cosh",
    "kld": "kl_divergence",
    "kullback_leibler_divergence": "kl_divergence",
    "ctc": "ctc",
}
_SHORT_METRICS = {"acc": "accuracy"}


class GivenLoss(NamedTuple):
    """One loss that a model is compiled with.

    Attributes:
        name: in snake case, such as "binary_crossentropy"; "crossentropy" for Keras' short form, which depends on the
            shapes.
        is_keras: whether it is one of Keras' own losses, not another function or subclass.
        from_logits: whether it treats the outputs as logits.
        ignored: the class that it ignores, or `None`.
    """

    name: str
    is_keras: bool
    from_logits: bool = False
    ignored: int | None = None


def loss_leaves(model: keras.Model) -> list[Any]:
    """Returns the losses that a model is compiled with, in a flat list; empty if it is not compiled."""
    return [loss for loss in keras.tree.flatten(getattr(model, "loss", None)) if loss is not None]


def loss_weights(model: keras.Model) -> Any:
    """Returns the weights of the losses, as `keras.Model.compile` got them."""
    return getattr(getattr(model, "_compile_loss", None), "_user_loss_weights", None)


def read_losses(model: keras.Model) -> list[GivenLoss]:
    """Returns descriptions of the losses that a model is compiled with."""
    return [read_loss(loss) for loss in loss_leaves(model)]


def read_loss(loss: Any) -> GivenLoss:
    """Returns a description of a loss, in any form that `keras.Model.compile` takes."""
    if str(loss).lower() in ("crossentropy", "ce"):
        return GivenLoss("crossentropy", is_keras=True)
    given, keywords = unwrapped(loss if callable(loss) and not inspect.isclass(loss) else keras.losses.get(loss))
    is_keras = _module(given).partition(".")[0] == "keras"
    if isinstance(given, keras.losses.Loss):
        from_logits, ignored = getattr(given, "from_logits", False), getattr(given, "ignore_class", None)
        name = _snake_case(type(given).__name__)
        if type(given) in (keras.losses.Loss, _wrapper_class()):
            name = name_of(given)
    else:
        from_logits, ignored = keywords.get("from_logits", False), keywords.get("ignore_class")
        name = name_of(given)
    return GivenLoss(_SHORT.get(name, name), is_keras, bool(from_logits), ignored)


def unwrapped(thing: Any) -> tuple[Any, dict[str, Any]]:
    """Returns the function in a `functools.partial`, and its keywords; anything else is returned unchanged."""
    keywords: dict[str, Any] = {}
    while isinstance(thing, functools.partial):
        keywords = {**thing.keywords, **keywords}
        thing = thing.func
    return thing, keywords


def name_of(thing: Any) -> str:
    """Returns the name of a loss or metric in any form."""
    if isinstance(thing, str):
        return thing
    thing, _ = unwrapped(thing)
    name = getattr(thing, "name", None) or getattr(thing, "__name__", None)
    return str(name or _snake_case(type(thing).__name__))


def metric_specs(model: keras.Model) -> list[Any]:
    """Returns the metrics that a model is compiled with, `metrics` before `weighted_metrics`, as the user gave them."""
    compiled = getattr(model, "_compile_metrics", None)
    given = [getattr(compiled, "_user_metrics", None), getattr(compiled, "_user_weighted_metrics", None)]
    return list(_leaves(given))


def is_weighted(model: keras.Model, name: str | None) -> bool:
    """Whether a model is compiled with a metric of this name in `weighted_metrics`, and not in `metrics`."""
    compiled = getattr(model, "_compile_metrics", None)
    plain, weighted = (
        {_SHORT_METRICS.get(each, each) for each in map(name_of, _leaves(getattr(compiled, attribute, None)))}
        for attribute in ("_user_metrics", "_user_weighted_metrics")
    )
    name = _SHORT_METRICS.get(str(name), str(name))
    return name in weighted and name not in plain


def compile_settings(model: keras.Model) -> dict[str, Any]:
    """Returns the arguments of `compile` as given; `get_compile_config` would require each to have a config."""
    recorded = getattr(model, "_compile_config", None)
    return {} if recorded is None else dict(recorded.config)


def made_anew(spec: Any) -> MetricMaker:
    """Returns a function that makes new metrics like a given name, function, `functools.partial`, class, or object.

    An object is copied by its class and its config, if that gives an equal copy; otherwise, as when `get_config` leaves
    an argument out, the object itself is used, and reset before it measures.
    """
    if not isinstance(spec, keras.metrics.Metric):
        return functools.partial(_made, spec)
    if type(spec) is keras.metrics.MeanMetricWrapper:  # a config of it warns of lambdas
        wrapper: Any = keras.metrics.MeanMetricWrapper
        return functools.partial(wrapper, spec._fn, name=spec.name, dtype=spec.dtype, **spec._fn_kwargs)
    try:
        make = functools.partial(_from_config, type(spec), spec.get_config())
        if _settings(make()) == _settings(spec):
            return make
    except Exception:  # whatever the class of somebody else's raises where its config is not all that it is made with
        pass
    return lambda: spec


def names_accuracy(name: str) -> bool:
    """Whether a metric's name means an accuracy: it contains the word "acc" or "accuracy", and is not an error."""
    return bool(_ACCURACY.search(name.lower())) and not _ERROR.search(name.lower())


def direction(metric: keras.metrics.Metric) -> bool | None:
    """Returns whether a larger value means a better model; `None` if that is not known."""
    if names_accuracy(metric.name):
        return True
    known = getattr(metric, "_direction", None)
    return None if known not in ("up", "down") else known == "up"


def output_structure(model: keras.Model) -> Any:
    """Returns the symbolic outputs of a Functional or Sequential model, in the structure that a call returns."""
    functional = getattr(model, "_functional", None) or model  # that of a Sequential model
    outputs: list[Any] = model.outputs
    return getattr(functional, "_outputs_struct", outputs[0] if len(outputs) == 1 else outputs)


def last_activation(model: keras.Model) -> str:
    """Returns the name of the last activation of a Functional or Sequential model, "linear" for none.

    A Softmax layer, an Activation layer, `keras.ops.softmax` and the `activation` of the last layer all count; nested
    models, dropout and reshaping are skipped.
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


def _activation_of(operation: Any) -> str:
    function = getattr(operation, "activation", None)
    if function is not None:
        return getattr(function, "__name__", type(function).__name__.lower())
    kind = type(operation).__name__.lower()
    return kind if kind in ("softmax", "sigmoid", "logsoftmax", "relu", "tanh") else "linear"


def _wrapper_class() -> type:
    """Returns Keras' class of losses that wrap a function."""
    return keras.losses.MeanSquaredError.__mro__[1]


def _module(thing: Any) -> str:
    wrapped = getattr(thing, "fn", None) if type(thing) is _wrapper_class() else None
    thing = thing if wrapped is None else unwrapped(wrapped)[0]
    return str(getattr(thing if inspect.isroutine(thing) or inspect.isclass(thing) else type(thing), "__module__", ""))


def _snake_case(name: str) -> str:
    if name.upper() == name:
        return name.lower()
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _leaves(specs: Any) -> Iterator[Any]:
    if isinstance(specs, dict) and "class_name" not in specs:
        specs = list(specs.values())
    if isinstance(specs, (list, tuple)):
        for spec in specs:
            yield from _leaves(spec)
    elif specs is not None:
        yield specs


def _made(spec: Any) -> keras.metrics.Metric:
    made = spec if isinstance(spec, functools.partial) else keras.metrics.get(spec)
    if isinstance(made, keras.metrics.Metric):
        if isinstance(spec, str):
            made.name = spec  # as Keras names it
        return made
    return keras.metrics.MeanMetricWrapper(made, name=name_of(spec))


def _from_config(kind: type[keras.metrics.Metric], config: dict[str, Any]) -> keras.metrics.Metric:
    with keras.saving.custom_object_scope({kind.__name__: kind}):
        made: keras.metrics.Metric = kind.from_config(config)
    return made


def _settings(metric: keras.metrics.Metric) -> dict[str, str]:
    """Returns the attributes that a metric's class adds to Keras', without its state, as text."""
    of_keras = vars(keras.metrics.Mean(name="any"))
    state = (keras.Variable, keras.metrics.Metric)
    settings = {name: value for name, value in vars(metric).items() if name not in of_keras or name == "name"}
    return {name: repr(value) for name, value in settings.items() if not isinstance(value, state)}
