"""The stages of a flow as a table and as a picture: what each gained, and what it cost."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from tfcompress.costs.budget import shown
from tfcompress.report.comparison import costs_of
from tfcompress.report.plots import new_figure, write_figure
from tfcompress.training.forecast import duration

__all__ = ["draw_stages", "plot_stages", "stage_rows"]

_COSTS = {
    "macs": "MACs",
    "params": "parameters",
    "bytes": "bytes",
    "file_bytes": "TFLite bytes",
    "latency_ms": "latency, ms",
}


def stage_rows(result: Any) -> list[tuple[str, ...]]:
    """Returns a row of text for the original and for each stage, headings first: each cost with its share of the
    original's, the metric with its change by the stage, and the time.

    Args:
        result: the `Result` of a flow.
    """
    sides = [result.before, *(stage.after for stage in result.stages)]
    names, split = _costs(sides), _split(sides)
    has_metric = all(_score(side, split) is not None for side in sides)
    heads = [head for name in names for head in (_COSTS[name], "")]
    rows = [("stage", *heads, *((f"{result.metric} ({split})", "change") if has_metric else ()), "time")]
    whole = costs_of(result.before)
    labels = ["original", *(f"{number} {stage.method}" for number, stage in enumerate(result.stages, start=1))]
    for place, (label, side) in enumerate(zip(labels, sides, strict=True)):
        costs, cells = costs_of(side), [label]
        for name in names:
            value = costs[name]
            share = f"{value / whole[name]:.1%}" if place and whole[name] else ""
            cells += [f"{value:,}" if isinstance(value, int) else shown(value), share]
        if has_metric:
            score = _score(side, split)
            cells += [f"{score:.4f}", f"{score - _score(sides[place - 1], split):+.4f}" if place else ""]
        seconds = result.stages[place - 1].seconds if place else None
        rows.append((*cells, "" if not place else "-" if seconds is None else duration(seconds)))
    return rows


def _costs(sides: Sequence[Any]) -> list[str]:
    """Returns the costs that the original and all stages have; the size of a file, if it is known, not of weights."""
    names = [name for name in _COSTS if all(name in costs_of(side) for side in sides)]
    return [name for name in names if name != "bytes" or "file_bytes" not in names]


def _split(sides: Sequence[Any]) -> str:
    return "test" if all(side.split == "test" for side in sides) else "validation"


def _score(side: Any, split: str) -> Any:
    return side.accuracy if split == "test" else side.validation_accuracy


def plot_stages(result: Any, path: str | os.PathLike[str] | None = None) -> Any:
    """Draws the metric and the costs after each stage of a flow, the costs as shares of the original's.

    Args:
        result: the `Result` of a flow, which may be a loaded one.
        path: the file to write, its ending gives the format; `None` for no file.

    Returns:
        The matplotlib figure, which Jupyter shows.

    Raises:
        ValueError: the result is of a single method.
    """
    return write_figure(draw_stages(result), path)


def draw_stages(result: Any, width: float = 8.0) -> Any:
    """Returns the figure of `plot_stages`, `width` inches wide."""
    if not result.stages:
        raise ValueError(
            f"Expected the result of a flow of several methods. Received: one of {result.method!r} alone. Draw its "
            "history: result.plot()."
        )
    sides = [result.before, *(stage.after for stage in result.stages)]
    split, places = _split(sides), range(len(sides))
    figure = new_figure(width, 5.0)
    upper, lower = figure.subplots(2, 1, sharex=True)
    scores = [_score(side, split) for side in sides]
    if None not in scores:
        upper.plot(places, scores, marker="o", color="C2")
    upper.set_ylabel(f"{result.metric} ({split})" if result.metric else "no metric")
    whole = costs_of(result.before)
    for number, name in enumerate(_costs(sides)):
        if whole[name]:
            shares = [costs_of(side)[name] / whole[name] for side in sides]
            lower.plot(places, shares, marker="o", color=f"C{number}", label=_COSTS[name])
    lower.set_ylim(bottom=0)
    lower.set_ylabel("share of the original")
    lower.legend(fontsize="small", frameon=False)
    lower.set_xticks(list(places), ["original", *(stage.method for stage in result.stages)])
    for axes in (upper, lower):
        axes.grid(color="#eeeeee")
        axes.set_axisbelow(True)
    figure.suptitle(f"{result.model.name}: {result.method}, seed {result.seed}", fontsize="medium")
    return figure
