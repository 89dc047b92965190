"""Results side by side: a table, and a plot of their metric over their cost."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from tfcompress import expect
from tfcompress.costs.metrics import BUILT_IN, metric_of
from tfcompress.report.plots import MARKERS, new_figure, plain_text, write_figure
from tfcompress.report.table import html_table, in_columns

__all__ = ["Compared", "Comparison", "costs_of", "title_of"]

_TITLES = {
    "macs": "MACs",
    "params": "parameters",
    "bytes": "bytes of weights",
    "latency_ms": "latency (ms)",
    "file_bytes": "bytes of the TFLite file",
}


@dataclasses.dataclass(frozen=True)
class Compared:
    """A result in a comparison: its figures, and a name that distinguishes it.

    Attributes:
        name: its name in the table and the picture.
        method: name of the method.
        seed: the seed.
        metric: name of the metric; "" for none.
        higher_is_better: whether a larger metric means a better model.
        before, after: the `Measured` of the original and of the compressed model.
    """

    name: str
    method: str
    seed: int
    metric: str
    higher_is_better: bool
    before: Any
    after: Any


class _Row(NamedTuple):
    """A model of the table: an original or a student, with its original."""

    name: str
    metric: str
    measured: Any
    before: Any


class Comparison:
    """Several results side by side, from `tfcompress.compare`.

    `print(comparison)` shows the table, and so does Jupyter.

    Attributes:
        results: the results as `Compared`, in the given order.
        costs: the costs that all of them have, by name, for `plot`.
        split: the split of the table's metric: "test" if all results have it, else "validation".
    """

    def __init__(self, results: Sequence[Compared]) -> None:
        self.results = tuple(results)
        sides = [side for result in self.results for side in (result.before, result.after)]
        columns = dict.fromkeys(name for side in sides for name in costs_of(side) if name not in BUILT_IN)
        everywhere = [name for name in columns if all(name in costs_of(side) for side in sides)]
        self.costs: tuple[str, ...] = (*BUILT_IN, *everywhere)
        self.split = "test" if all(side.split == "test" for side in sides) else "validation"
        self._columns = (*BUILT_IN, *columns)

    def __len__(self) -> int:
        return len(self.results)

    def rows(self) -> list[tuple[str, ...]]:
        """Returns the table as texts, headings first: a line for each original, and one for each result."""
        metrics = list(dict.fromkeys(result.metric for result in self.results if result.metric))
        heads = [head for name in self._columns for head in (title_of(name), "")]
        lines = [("", *heads, *(head for metric in metrics for head in (f"{metric} ({self.split})", "")))]
        for row in (*self._originals(), *(_Row(r.name, r.metric, r.after, r.before) for r in self.results)):
            costs, before = costs_of(row.measured), {} if row.measured is row.before else costs_of(row.before)
            cells = [row.name]
            for name in self._columns:
                cells += _cells(costs.get(name), before.get(name))
            for metric in metrics:
                values = [self._score(side) if metric == row.metric else None for side in (row.measured, row.before)]
                cells += _differences(values[0], None if row.measured is row.before else values[1])
            lines.append(tuple(cells))
        kept = [i for i in range(len(lines[0])) if i == 0 or any(line[i] for line in lines)]
        return [tuple(line[i] for i in kept) for line in lines]

    def __repr__(self) -> str:
        return f"<Comparison of {len(self.results)} results>"

    def __str__(self) -> str:
        return "\n".join(in_columns(self.rows(), left=1))

    def _repr_html_(self) -> str:
        return html_table(self.rows())

    def plot(self, path: str | os.PathLike[str] | None = None, cost: str = "macs") -> Any:
        """Draws the metric over a cost, with a point for each result and each original.

        Args:
            path: the file to write, its ending gives the format; `None` for no file.
            cost: the cost on the axis: "macs", "params", "bytes", or another that all results have, see `costs`;
                "latency_ms" if it was measured.

        Returns:
            The matplotlib figure, which Jupyter shows.

        Raises:
            ValueError: some result does not have the cost, or there is no metric, or the metrics differ.
        """
        if path in self._columns:
            expect.refuse("path", "the path of a picture", path, f"Write cost={path!r}.")
        named = isinstance(cost, str) and cost in self._columns
        cost = expect.one_of("cost", cost, self.costs, "Some of the results do not have it." if named else "")
        metrics = list(dict.fromkeys(result.metric for result in self.results))
        unmeasured = [result.name for result in self.results if self._score(result.after) is None]
        if len(metrics) > 1 or unmeasured:
            received = f"metrics {metrics}" if len(metrics) > 1 else f"none for {', '.join(unmeasured)}"
            raise ValueError(
                f"Expected results with the same metric. Received: {received}. Print the comparison: its "
                "table has a column for each metric."
            )
        with plain_text():
            return write_figure(self._drawn(cost, metrics[0]), path)

    def _drawn(self, cost: str, metric: str) -> Any:
        from matplotlib.ticker import EngFormatter

        figure = new_figure(8, 5)
        axes = figure.subplots()
        for index, row in enumerate(self._originals()):
            score = self._score(row.before)
            if score is not None:
                style = {"marker": "*", "color": str(min(0.7, 0.25 * index)), "label": row.name}
                axes.scatter(costs_of(row.before)[cost], score, s=130, zorder=3, **style)
        for index, result in enumerate(self.results):
            style = {"marker": MARKERS[index // 10 % len(MARKERS)], "color": f"C{index % 10}", "label": result.name}
            axes.scatter(costs_of(result.after)[cost], self._score(result.after), s=45, zorder=2, **style)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.set_xlabel(title_of(cost))
        axes.set_ylabel(f"{metric} ({self.split})")
        axes.grid(color="#eeeeee")
        axes.set_axisbelow(True)
        axes.set_title(f"{metric} against {title_of(cost)}", fontsize="medium")
        figure.legend(loc="outside right upper", fontsize="small")
        return figure

    def _originals(self) -> list[_Row]:
        """Returns the models that were compressed, each once: models with equal cost and metric count as one."""
        rows: dict[Any, _Row] = {}
        for result in self.results:
            key = result.before.cost, result.metric, self._score(result.before)
            rows.setdefault(key, _Row(result.name, result.metric, result.before, result.before))
        several = len(rows) > 1
        return [row._replace(name=f"original of {row.name}" if several else "original") for row in rows.values()]

    def _score(self, measured: Any) -> float | None:
        score: float | None = measured.accuracy if self.split == "test" else measured.validation_accuracy
        return score


def title_of(cost: str) -> str:
    """Returns a cost in words."""
    return _TITLES.get(cost) or metric_of(cost).unit


def costs_of(measured: Any) -> dict[str, float]:
    """Returns all costs in a `Measured` by name: its own columns, registered metrics, and measurements."""
    known: dict[str, float] = {name: getattr(measured, name) for name in BUILT_IN}
    for numbers in (measured.others, measured.measurements, measured.on_device):
        for name, number in numbers.items():
            known.setdefault(name, number)
    return known


def _cells(value: float | None, before: float | None) -> list[str]:
    """Returns a number, and its ratio to the original's."""
    if value is None:
        return ["-", ""]
    said = f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
    return [said, f"{value / before:.1%}" if before else ""]


def _differences(value: float | None, before: float | None) -> list[str]:
    """Returns a metric, and its difference from the original's."""
    if value is None:
        return ["-", ""]
    return [f"{value:.4f}", "" if before is None else f"{value - before:+.4f}"]
