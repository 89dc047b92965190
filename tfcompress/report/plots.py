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
_OF_PLANS = {"flops": "FLOPs of the plan\n(share of the original)", "removed_norm": "norm of the\nweights it removes"}


def plot_history(history: Mapping[str, Mapping[str, Sequence[Any]]], path: str | os.PathLike[str], metric: str) -> None:
    """Draws rewards, the metric, and what the search tells of its plans, by epoch, over search and recovery.

    A search on weights that stay has no epochs: it is drawn by episode, and then by the plans of its local search.

    Args:
        history: `Result.history`.
        path: where the picture goes; its ending gives the format.
        metric: name of the metric, `Result.metric`.
    """
    search, recover = history.get("search", {}), history.get("recover", {})
    by_episode = "reward" in search and "loss" not in search
    moves = search.get("local_search", ())
    last = _length({name: values for name, values in search.items() if name != "local_search"})
    cut = last + len(moves)
    panels = [(name, label) for name, label in _OF_PLANS.items() if _points(search.get(name, ()), 1)[0]]
    figure = new_figure(8, 4.5 + 1.5 * len(panels))
    heights = (3, *[1] * len(panels))
    upper, *lower = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    best = _best_so_far(search, moves) if by_episode else search.get("reward_best", ())
    for label, values, start, color in (
        ("reward of the episode" if by_episode else "mean reward of the episodes", search.get("reward", ()), 1, "C0"),
        ("reward after a move of channels", moves, last + 1, "C5"),
        ("best reward", best, 1, "C1"),
        ("metric of the plan that the weights follow", search.get("reward_followed", ()), 1, "C4"),
        (f"validation {metric}", search.get(f"val_{metric}", ()), 1, "C2"),
        (f"validation {metric}", recover.get(f"val_{metric}", ()), cut + 1, "C2"),
    ):
        points = _points(values, start)
        if points[0]:
            upper.plot(*points, color=color, marker=".", label=label)
    for axes, (name, label) in zip(lower, panels, strict=True):
        axes.plot(*_points(search[name], 1), color="C3", marker=".")
        axes.set_ylabel(label)
        axes.set_ylim(0, 1.05 if name == "flops" else None)
    if cut:
        for axes in (upper, *lower):
            axes.axvline(cut + 0.5, color="gray", linestyle=":", label="cut")
    handles, labels = upper.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    if unique:
        upper.legend(unique.values(), unique.keys())
    upper.set_ylabel("share of right answers" if "accuracy" in metric else metric)
    figure.axes[-1].set_xlabel("episode of the search, then epoch of the recovery" if by_episode else "epoch")
    write_figure(figure, path)


def _length(logs: Mapping[str, Sequence[Any]]) -> int:
    return max((len(values) for values in logs.values()), default=0)


def _best_so_far(search: Mapping[str, Sequence[Any]], moves: Sequence[Any]) -> Sequence[Any]:
    """The highest reward after each plan that was measured; nothing where some were not."""
    rewards = [*search["reward"], *moves]
    return [] if None in rewards else np.maximum.accumulate(rewards).tolist()


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
