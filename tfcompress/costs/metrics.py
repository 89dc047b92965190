"""Metrics: the columns of a cost, each a sum of terms `factor * width * width * ...` over the nodes of a graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tfcompress import expect
from tfcompress.graph.channel_groups import NodeAnalysis
from tfcompress.graph.labels import Ids

__all__ = ["BUILT_IN", "Metric", "Term", "metric_of", "register_metric", "registered_metrics", "unregister_metric"]


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


@dataclass(frozen=True)
class Metric:
    """One column of a cost.

    Attributes:
        name: of the column, and of its limit in a `Budget`.
        terms: a function of one node that gives its terms; `None` for macs, params and bytes, which `CostModel` counts.
        unit: what messages call a number of it.
    """

    name: str
    terms: Terms | None
    unit: str


BUILT_IN = ("macs", "params", "bytes")
_METRICS: dict[str, Metric] = {
    name: Metric(name, None, unit) for name, unit in zip(BUILT_IN, ("MACs", "parameters", "bytes"), strict=True)
}


def register_metric(name: str, terms: Terms, unit: str | None = None) -> None:
    """Registers a metric, which is from then on a column of every cost and may be limited by a budget.

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

    Raises:
        TypeError, ValueError: no identifier, a name that is taken, or no function of one argument.
    """
    expect.text("name", name)
    if not name.isidentifier():
        expect.refuse("name", "an identifier such as 'activations'", name)
    if name in _METRICS:
        taken = f"a name other than {tuple(_METRICS)}"
        expect.refuse("name", taken, name, "unregister_metric takes a registered one out.")
    expect.function("terms", terms, "a function of one node that gives its terms", arguments=1)
    if unit is not None:
        expect.text("unit", unit)
    _METRICS[name] = Metric(name, terms, unit or name)


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


def metric_of(name: str) -> Metric:
    """The metric of a name; one that is not registered any more speaks of itself by its name."""
    return _METRICS.get(name) or Metric(name, None, name)
