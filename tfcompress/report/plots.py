"""Plots of a run, of how sensitive a model is, and of several runs side by side."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfcompress import expect

__all__ = ["new_figure", "plot_history", "plot_lines", "plot_sensitivity", "write_figure"]

_NAMED = 20  # groups that a legend can tell apart
_WORST = 10  # of more groups, those that are named
_MARKERS = "osv^D<>Pp*"


def plot_history(history: Mapping[str, Mapping[str, Sequence[Any]]], path: str | os.PathLike[str], metric: str) -> None:
    """Draws reward, accuracy and FLOPs by epoch, over search and recovery.

    Args:
        history: `Result.history`.
        path: where the picture goes; its ending gives the format.
        metric: name of the metric, `Result.metric`.
    """
    figure = new_figure(8, 6)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    curves = (
        ("reward", "mean reward of the episodes"),
        ("reward_best", "best reward"),
        (f"val_{metric}", f"validation {metric}"),
    )
    start = 1
    for phase in ("search", "recover"):
        logs = history.get(phase, {})
        epochs = max((len(values) for values in logs.values()), default=0)
        for color, (name, label) in zip(("C0", "C1", "C2"), curves, strict=True):
            points = _points(logs.get(name, ()), start)
            upper.plot(
                *points, color=color, marker=".", label=label if phase == "search" or name.startswith("val") else None
            )
        lower.plot(*_points(logs.get("flops", ()), start), color="C3", marker=".")
        if phase == "search" and epochs:
            upper.axvline(start + epochs - 0.5, color="gray", linestyle=":", label="cut")
            lower.axvline(start + epochs - 0.5, color="gray", linestyle=":")
        start += epochs
    handles, labels = upper.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    upper.legend(unique.values(), unique.keys())
    upper.set_ylabel("share of right answers")
    lower.set_ylabel("FLOPs of the plan\n(share of the original)")
    lower.set_xlabel("epoch")
    lower.set_ylim(0, 1.05)
    write_figure(figure, path)


def plot_sensitivity(sensitivity: Any, path: str | os.PathLike[str]) -> None:
    """Draws the metric of a model over the share of one group's channels that is kept, a line for each group.

    Up to 20 groups are named in a legend. Of more, the ten that lose most are named, and the color of the others, which
    are drawn thin, tells where in the network they are.

    Args:
        sensitivity: a `Sensitivity`.
        path: where the picture goes; its ending gives the format.
    """
    import matplotlib

    figure = new_figure(9, 5.5)
    axes = figure.subplots()
    count = len(sensitivity.groups)
    # Every line begins at the whole model.
    keep_ratios = np.array([1.0, *sensitivity.keep_ratios])
    scores = np.column_stack([np.full(count, sensitivity.baseline), sensitivity.accuracy])
    order = np.argsort(-keep_ratios, kind="stable")
    many = count > _NAMED
    places = matplotlib.colormaps["viridis"]
    lowest = sensitivity.accuracy.min(axis=1)
    named = np.argsort(lowest, kind="stable")[:_WORST].tolist() if many else list(range(count))
    for index, name in enumerate(sensitivity.groups):
        if index in named:
            color = f"C{named.index(index)}" if many else matplotlib.colormaps["tab20"](index)
            style = {"color": color, "label": name, "marker": _MARKERS[index % len(_MARKERS)], "zorder": 3}
        else:
            style = {"color": places(index / (count - 1)), "linewidth": 0.7, "alpha": 0.6}
        axes.plot(keep_ratios[order], scores[index][order], **style)
    axes.axhline(sensitivity.baseline, color="gray", linestyle="--", label="whole model")
    axes.set_xlabel("share of the group's channels kept, all other groups whole")
    axes.set_ylabel(f"{sensitivity.metric} (validation)")
    axes.invert_xaxis()
    axes.set_title(f"{sensitivity.model}: {count} channel groups")
    if many:
        scale = matplotlib.cm.ScalarMappable(matplotlib.colors.Normalize(1, count), places)
        figure.colorbar(scale, ax=axes, label="the other groups, from the input to the output")
    title = f"the {_WORST} that lose most" if many else None
    figure.legend(loc="outside right upper", fontsize="small", title=title)
    write_figure(figure, path)


def plot_lines(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    path: str | os.PathLike[str],
    x_label: str,
    y_label: str,
    x_scale: str = "linear",
) -> None:
    """Draws one quantity over another, a line with points for each name, such as accuracy over size for each method.

    Args:
        lines: for each name `(x, y)`, in the order in which points are joined.
        path: where the picture goes; its ending gives the format.
        x_label: what x is, with its unit.
        y_label: what y is.
        x_scale: `"linear"` or `"log"`.
    """
    import matplotlib

    figure = new_figure(9, 5.5)
    axes = figure.subplots()
    colors = matplotlib.colormaps["tab10" if len(lines) <= 10 else "tab20"]
    for index, (name, (x, y)) in enumerate(lines.items()):
        axes.plot(x, y, color=colors(index % colors.N), marker=_MARKERS[index % len(_MARKERS)], label=name)
    axes.set_xscale(x_scale)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    figure.legend(loc="outside right upper", fontsize="small")
    write_figure(figure, path)


def new_figure(width: float, height: float) -> Any:
    """A figure of this size in inches, without a window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def write_figure(figure: Any, path: str | os.PathLike[str]) -> None:
    """Writes a figure beside its place and renames it."""
    whole: pathlib.Path = expect.path("path", path)
    part = whole.with_name(f"part.{whole.name}")
    figure.savefig(part)
    part.replace(whole)


def _points(values: Sequence[Any], start: int) -> tuple[list[int], list[float]]:
    known = [(start + i, value) for i, value in enumerate(values) if value is not None]
    return [x for x, _ in known], [y for _, y in known]
