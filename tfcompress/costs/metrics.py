"""Metrics: the columns of a cost, each a sum of terms `factor * width * width * ...` over the nodes of a graph; and
numbers that are measured on a finished model, which no terms foresee.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import keras

from tfcompress import expect
from tfcompress.graph.channel_groups import NodeAnalysis
from tfcompress.graph.labels import Ids

__all__ = [
    "BUILT_IN",
    "Metric",
    "Term",
    "columns",
    "metric_of",
    "register_metric",
    "registered_metrics",
    "unregister_metric",
]


@dataclass(frozen=True, eq=False)
class Term:
    """A part of one node's cost: `factor * product of the widths`.

    Attributes:
        factor: a whole number, 0 or more.
        widths: labels int64 `[positions]` of the axes that a plan may shorten, as `NodeAnalysis` holds them: of each
            axis those positions count that are kept.
        alternative: the name of what costs this if it stands at the node; `None` for the layer that does.
    """

    factor: int
    widths: tuple[Ids, ...] = ()
    alternative: str | None = None


Terms = Callable[[NodeAnalysis], Iterable[Term]]
Measure = Callable[[keras.Model], float]


@dataclass(frozen=True)
class Metric:
    """One column of a cost, or a number that is measured.

    Attributes:
        name: of the column, and of its limit in a `Budget`.
        terms: a function of one node that gives its terms; `None` for macs, params and bytes, which `CostModel` counts,
            and for what is measured.
        unit: what messages call a number of it.
        measure: a function of a model that gives the number; `None` for a column.
    """

    name: str
    terms: Terms | None
    unit: str
    measure: Measure | None = None

    def of(self, model: keras.Model) -> float:
        """Measures a model.

        Raises:
            TypeError, ValueError: the function gave no finite number of 0 or more.
        """
        assert self.measure is not None
        number: float = expect.number(f"measure of {self.name!r}", self.measure(model), at_least=0)
        return number


BUILT_IN = ("macs", "params", "bytes")
_METRICS: dict[str, Metric] = {
    name: Metric(name, None, unit) for name, unit in zip(BUILT_IN, ("MACs", "parameters", "bytes"), strict=True)
}


def register_metric(
    name: str, terms: Terms | None = None, unit: str | None = None, *, measure: Measure | None = None
) -> None:
    """Registers a metric, which is from then on a column of every cost and may be limited by a budget.

    A metric that is no sum of terms is given as `measure`: it is no column, as no plan's can be foreseen. Methods plan
    by the other limits of a budget, and the finished student is measured and held to this one.

        def activations(node):
            (labels,) = node.outputs
            shape = enumerate(node.node.output_shapes[0])
            rest = math.prod(size for axis, size in shape if axis not in (0, labels.axis))
            return [Term(rest, (labels.ids,))]

        register_metric("activations", activations)
        tfcompress.compress(model, "uniform", data, budget={"activations": 0.5})

    Args:
        name: an identifier that is not taken.
        terms: a function of a `NodeAnalysis` that gives the node's `Term`s. It is called once for each node of a graph;
            costs never fall as widths grow, which searches rely on, so factors are not negative.
        unit: what messages call a number of it; the name by default.
        measure: in place of terms, a function of a `keras.Model` that gives a number of 0 or more, the lower the
            better, such as the size of a file. Each model that it is given is a copy, not compiled.

    Raises:
        TypeError, ValueError: no identifier, a name that is taken, no function of one argument, or not one of `terms`
            and `measure`.
    """
    expect.text("name", name)
    if not name.isidentifier():
        expect.refuse("name", "an identifier such as 'activations'", name)
    if name in _METRICS:
        taken = f"a name other than {tuple(_METRICS)}"
        expect.refuse("name", taken, name, "unregister_metric takes a registered one out.")
    if (terms is None) == (measure is None):
        raise ValueError(
            f"Expected either `terms`, a function of one node, or `measure`, a function of a keras.Model. Received: "
            f"{'neither' if terms is None else 'both'} for {name!r}."
        )
    if measure is None:
        expect.function("terms", terms, "a function of one node that gives its terms", arguments=1)
    else:
        expect.function("measure", measure, "a function of a keras.Model that gives a number", arguments=1)
    if unit is not None:
        expect.text("unit", unit)
    _METRICS[name] = Metric(name, terms, unit or name, measure)


def unregister_metric(name: str) -> None:
    """Takes a registered metric out again; cost models that were made with it keep their column.

    Raises:
        ValueError: no such metric, or macs, params or bytes.
    """
    own = [metric for metric in _METRICS if metric not in BUILT_IN]
    expect.one_of("name", name, own)
    del _METRICS[name]


def registered_metrics() -> Mapping[str, Metric]:
    """All metrics by name, the built-in ones first."""
    return MappingProxyType(dict(_METRICS))


def columns() -> Mapping[str, Metric]:
    """The metrics that are columns of a cost: all but those that are measured."""
    return MappingProxyType({name: metric for name, metric in _METRICS.items() if metric.measure is None})


def metric_of(name: str) -> Metric:
    """The metric of a name; one that is not registered any more speaks of itself by its name."""
    return _METRICS.get(name) or Metric(name, None, name)
