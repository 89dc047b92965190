"""Metrics: the columns of a cost, each a sum of terms `factor * width * width * ...` over the nodes of a graph; and
numbers that are measured on a finished model, which cannot be predicted from terms.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from types import MappingProxyType

import keras

from tfcompress import expect
from tfcompress.graph.channel_groups import ChannelGroups, NodeAnalysis
from tfcompress.graph.labels import Ids

__all__ = [
    "BUILT_IN",
    "LOOKED_UP",
    "GraphTerms",
    "Metric",
    "Term",
    "columns",
    "metric_of",
    "planned_by",
    "register_measured_column",
    "register_metric",
    "register_planned_column",
    "registered_metrics",
    "unregister_metric",
]


@dataclass(frozen=True, eq=False)
class Term:
    """A part of one node's cost: `factor * product of the widths`.

    Attributes:
        factor: a whole number, 0 or more.
        widths: labels int64 `[positions]` of the axes that a plan may shorten, as in `NodeAnalysis`: the width of an
            axis is the number of kept positions.
        alternative: name of the alternative at the node that has this cost; `None` for the present layer.
    """

    factor: int
    widths: tuple[Ids, ...] = ()
    alternative: str | None = None


Terms = Callable[[NodeAnalysis], Iterable[Term]]
GraphTerms = Callable[[ChannelGroups], Iterable[tuple[str, Term]]]
"""A function from the channel groups of a graph to terms, each with the name of its node."""
Measure = Callable[[keras.Model], float]


@dataclass(frozen=True)
class Metric:
    """One column of a cost, or a measured number.

    Attributes:
        name: name of the column, and of its limit in a `Budget`.
        terms: a function that returns the terms of one node; `None` for macs, params and bytes, which `CostModel`
            counts, and for measured metrics.
        unit: its unit in messages.
        measure: a function that returns the number for a model; `None` for a column.
        is_planned: whether a metric is a column while its terms are known (`planned_by`): methods plan by the terms,
            and the finished model is measured, if it is a measured metric too.
        graph_terms: a function that returns the terms of a whole graph; `None` for other metrics.
        per_unit: how many of a column's whole numbers make one unit.
    """

    name: str
    terms: Terms | None
    unit: str
    measure: Measure | None = None
    is_planned: bool = False
    graph_terms: GraphTerms | None = None
    per_unit: int = 1

    @property
    def is_of_package(self) -> bool:
        """Whether a column is one of files, which reports show as measured, or not at all."""
        return self.measure is not None or self.is_planned

    def terms_of(self, groups: ChannelGroups) -> Iterator[tuple[str, Term]]:
        """Yields the terms of a graph, each with the name of its node; none for what `CostModel` counts."""
        if self.graph_terms is not None:
            yield from self.graph_terms(groups)
        elif self.terms is not None:
            for name, item in groups.analysis.items():
                yield from ((name, term) for term in self.terms(item))

    def shown(self, number: int) -> str:
        """Returns a column's number in its unit, such as "1,334 parameters" or "0.557 ms"."""
        return f"{number:,} {self.unit}" if self.per_unit == 1 else f"{number / self.per_unit:,.3f} {self.unit}"

    def of(self, model: keras.Model) -> float:
        """Measures a model.

        Raises:
            TypeError, ValueError: the function did not return a finite number of 0 or more.
        """
        assert self.measure is not None
        number: float = expect.number(f"measure of {self.name!r}", self.measure(model), at_least=0)
        return number


BUILT_IN = ("macs", "params", "bytes")
_METRICS: dict[str, Metric] = {
    name: Metric(name, None, unit) for name, unit in zip(BUILT_IN, ("MACs", "parameters", "bytes"), strict=True)
}

LOOKED_UP = "latency_ns"
"""Name of the column of latency, which `CostModel.look_up` adds where a table of operators was measured."""
_LOOKED_UP = Metric(LOOKED_UP, None, "ms", per_unit=1_000_000)


_PLANNED: ContextVar[Mapping[str, GraphTerms]] = ContextVar("planned", default=MappingProxyType({}))


def register_measured_column(name: str, unit: str, measure: Measure) -> None:
    """Registers a metric of the package that is measured, and planned by terms where these are known.

    Args:
        name: its name.
        unit: its unit in messages.
        measure: as for `register_metric`.
    """
    _METRICS[name] = Metric(name, None, unit, measure, is_planned=True)


def register_planned_column(name: str, unit: str) -> None:
    """Registers a metric of the package that is a column while its terms are known, and is not measured.

    Args:
        name: its name.
        unit: its unit in messages.
    """
    _METRICS[name] = Metric(name, None, unit, is_planned=True)


@contextlib.contextmanager
def planned_by(terms: Mapping[str, GraphTerms]) -> Iterator[None]:
    """Makes metrics columns of all cost models that are made in the block, of this thread.

    Args:
        terms: for each of these metrics, which are registered by `register_measured_column` or
            `register_planned_column`, its terms.
    """
    token = _PLANNED.set({**_PLANNED.get(), **terms})
    try:
        yield
    finally:
        _PLANNED.reset(token)


def register_metric(
    name: str, terms: Terms | None = None, unit: str | None = None, *, measure: Measure | None = None
) -> None:
    """Registers a metric: it becomes a column of every cost, and budgets may limit it.

    A metric that is not a sum of terms is given as `measure`: it is not a column, because it is not known for a plan.
    Methods plan for the other limits of a budget, and the finished student is measured and checked against this one.

        def activations(node):
            (labels,) = node.outputs
            shape = enumerate(node.node.output_shapes[0])
            rest = math.prod(size for axis, size in shape if axis not in (0, labels.axis))
            return [Term(rest, (labels.ids,))]

        register_metric("activations", activations)
        tfcompress.compress(model, "uniform", data, budget={"activations": 0.5})

    Args:
        name: an identifier that is not taken.
        terms: a function from a `NodeAnalysis` to the node's `Term`s. It is called once for each node of a graph;
            factors must not be negative, because searches rely on costs that never decrease as widths grow.
        unit: its unit in messages; the name by default.
        measure: instead of terms, a function of a `keras.Model` that returns a number of 0 or more, lower is better,
            such as the size of a file. Each model that it gets is a copy, not compiled.

    Raises:
        TypeError, ValueError: not an identifier, a name that is taken, not a function of one argument, or not exactly
            one of `terms` and `measure`.
    """
    expect.text("name", name)
    if not name.isidentifier():
        expect.refuse("name", "an identifier such as 'activations'", name)
    if name in _METRICS:
        taken = f"a name other than {tuple(_METRICS)}"
        expect.refuse("name", taken, name, "unregister_metric removes a registered one.")
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
    """Removes a registered metric; cost models that were made with it keep their column.

    Raises:
        ValueError: unknown, or a metric of the package.
    """
    own = [name for name, metric in _METRICS.items() if name not in BUILT_IN and not metric.is_planned]
    expect.one_of("name", name, own)
    del _METRICS[name]


def registered_metrics() -> Mapping[str, Metric]:
    """Returns the metrics that a call may limit, by name, the built-in ones first."""
    return MappingProxyType({n: m for n, m in _METRICS.items() if m.measure is not None or not m.is_planned})


def columns() -> Mapping[str, Metric]:
    """Returns the metrics that are columns of a cost: all except measured ones whose terms are not known now."""
    now = _PLANNED.get()
    of_graphs = {name: replace(_METRICS[name], graph_terms=terms) for name, terms in now.items()}
    always = {name: metric for name, metric in _METRICS.items() if metric.measure is None and not metric.is_planned}
    return MappingProxyType(always | of_graphs)


def metric_of(name: str) -> Metric:
    """Returns the metric with this name; for one that is no longer registered, a metric that only has the name."""
    return _LOOKED_UP if name == LOOKED_UP else _METRICS.get(name) or Metric(name, None, name)
