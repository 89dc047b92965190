"""A run as a picture: its metric during search and recovery, compared with the original's."""

from __future__ import annotations

import itertools
import math
import os
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tfcompress.report.plots import load_matplotlib, new_figure, write_figure

__all__ = ["add_title", "draw_history", "plot_history"]

_Logs = Mapping[str, Sequence[Any]]
_OF_PLANS = {"flops": "FLOPs of the plan\n(share of the original)", "removed_norm": "norm of the\nweights it removes"}
_FLAT = 0.005  # FLOPs that vary by less are those of the title
_MANY = 60  # points of a line that are drawn without marks
_RECOVERY = 0.4  # share of the axis that epochs have at least beside what is no epoch
_LETTER, _OF_TITLE, _OF_LEGEND = 0.085, 0.078, 0.065  # inches of a letter, by where it stands
_STUDENTS = "students: accuracy"
_STAR: Mapping[str, Any] = {"linestyle": "none", "marker": "*", "markersize": 11, "zorder": 4}
_THIN: Mapping[str, Any] = {"linewidth": 0.8, "marker": ""}
_DOTS: Mapping[str, Any] = {"linestyle": "none", "marker": "."}


class _Line(NamedTuple):
    """A line of the upper panel, or the only line of a lower panel."""

    label: str
    values: Sequence[Any]
    color: str
    style: Mapping[str, Any] = {}
    start: int = 1


class _Phase(NamedTuple):
    """A section of the horizontal axis."""

    name: str
    length: int


class _Drawing:
    """All data of a run's picture.

    Attributes:
        lines: lines of the upper panel.
        panels: the lines of the panels below it.
        phases: sections of the axis, in sequence.
        unit: unit of the axis, during a search without epochs.
        searched: places of the axis for such a search.
    """

    def __init__(self, result: Any) -> None:
        self.lines: list[_Line] = []
        self.panels: list[_Line] = []
        self.phases: list[_Phase] = []
        self.unit = "epoch"
        self._metric = result.metric or "loss"
        self._sign = 1 if result.higher_is_better else -1
        search, recover = result.history.get("search", {}), result.history.get("recover", {})
        if "reward" in search and "loss" not in search:
            self._add_episodes(search)
        elif _STUDENTS in search:
            self.unit, values = "student of the search", search[_STUDENTS]
            label = f"{self._metric} of a student after a few epochs"
            self._add_phase("students", len(values), _Line(label, values, "C0", _DOTS))
        elif "step" in search and "metric" in search:
            self._add_steps(search, result.before.macs or 1)
        else:
            self._add_epochs(search, "search")
            self._add_rewards_of_epochs(search)
        searched = self.end
        self._add_epochs(recover, "recovery")
        self.searched = 0 if self.unit == "epoch" else searched

    @property
    def end(self) -> int:
        """The last used place of the axis."""
        return sum(phase.length for phase in self.phases)

    def _add_phase(self, name: str, length: int, *lines: _Line) -> None:
        if length:
            self.lines += [line._replace(start=self.end + 1) for line in lines]
            self.phases.append(_Phase(name, length))

    def _add_episodes(self, search: _Logs) -> None:
        """Adds a search with fixed weights: a point for each episode, then one for each move of its local search."""
        self.unit = "episode of the search"
        rewards, moves = search["reward"], search.get("local_search", ())
        metrics = search.get("metric", rewards)
        count = max(len(values) for name, values in search.items() if name != "local_search")
        if list(metrics) == list(rewards):
            self._add_phase("episodes", count, _Line("reward of the episode", self._signed(rewards), "C0"))
            self._add_phase("moves", len(moves), _Line("reward after a move of channels", self._signed(moves), "C5"))
            self.lines.append(_Line("best reward", _best_so_far([*rewards, *moves], self._sign), "C1"))
        else:  # a reward of another scale than the metric
            label = f"{self._metric} of the episode"
            self._add_phase("episodes", count, _Line(label, self._signed(metrics), "C0"))
            self.panels.append(_Line("reward", rewards, "C1"))
        self._add_panels(search)

    def _add_steps(self, search: _Logs, whole: int) -> None:
        """Adds a search that prunes a little at a time, and measures after each step or only at the end of a run."""
        metrics = search["metric"]
        self._add_panels({"flops": [macs / whole for macs in search.get("macs", ())]})
        if self.panels or _points(metrics, 1)[0]:
            self.unit = "step of the pruning"
            self._add_phase("steps", len(metrics), _Line(f"{self._metric} after the step", metrics, "C0"))

    def _add_epochs(self, logs: _Logs, phase: str) -> None:
        """Adds every training by epoch that measures the metric; names of logs may begin with the name of the phase."""
        key = f"val_{self._metric}"
        for name in [name for name in logs if name == key or name.endswith(f" {key}")]:
            prefix, values = name.removesuffix(key), logs[name]
            marks = logs.get(f"{prefix}kept", ())
            kept = [value if mark else None for value, mark in zip(values, marks, strict=False)]
            self._add_phase(
                prefix.strip(" :") or phase,
                len(values),
                _Line(f"training {self._metric}", logs.get(f"{prefix}{self._metric}", ()), "C7", _THIN),
                _Line(f"validation {self._metric}", values, "C2"),
                _Line("epoch whose weights are kept", kept, "C2", _STAR),
            )

    def _add_rewards_of_epochs(self, search: _Logs) -> None:
        """Adds the rewards of an agent that learns while the model trains, by epoch."""
        for label, name, color in (
            ("mean reward of the episodes", "reward", "C0"),
            ("best reward", "reward_best", "C1"),
            ("metric of the plan that the weights follow", "reward_followed", "C4"),
        ):
            self.lines.append(_Line(label, self._signed(search.get(name, ())), color))
        self._add_panels(search)

    def _add_panels(self, logs: _Logs) -> None:
        for name, label in _OF_PLANS.items():
            _, known = _points(logs.get(name, ()), 1)
            if known and (name != "flops" or max(known) - min(known) > _FLAT):
                self.panels.append(_Line(label, logs[name], "C3"))

    def _signed(self, values: Sequence[Any]) -> list[Any]:
        """Returns rewards as values of the metric: negated if less is better."""
        return [None if value is None else self._sign * value for value in values]


def plot_history(result: Any, path: str | os.PathLike[str] | None = None) -> Any:
    """Draws the validation metric of a run during search and recovery, and the search's values for plans.

    A dashed line is the original's metric. A search with fixed weights has no epochs: it is drawn by episode, and then
    by the plans of its local search; a search that trains students is drawn by student, and one that prunes a little at
    a time by step. Without a metric the loss is drawn.

    Args:
        result: a `Result`, which may be a loaded one.
        path: the file to write, its ending gives the format; `None` for no file.

    Returns:
        The matplotlib figure, which Jupyter shows.
    """
    return write_figure(draw_history(result), path)


def draw_history(result: Any, width: float = 8.0) -> Any:
    """Returns the figure of `plot_history`, `width` inches wide."""
    load_matplotlib()
    from matplotlib.ticker import MaxNLocator

    drawing = _Drawing(result)
    figure = new_figure(width, 4.5 + 1.5 * len(drawing.panels))
    add_title(figure, result)
    heights = (3, *[1] * len(drawing.panels))
    upper, *lower = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    if not drawing.phases:
        upper.set_axis_off()
        upper.text(0.5, 0.5, "Nothing was trained: there are no epochs to show.", ha="center", va="center")
        return figure
    for line in drawing.lines:
        _draw(upper, line)
    original = result.before.validation_accuracy
    if original is not None:
        upper.axhline(original, color="k", linestyle="--", linewidth=1, label=f"original ({original:.4g})", zorder=1)
    for axes, line in zip(lower, drawing.panels, strict=True):
        _draw(axes, line)
        axes.set_ylabel(line.label, fontsize="small")
        if line.label in _OF_PLANS.values():
            axes.set_ylim(0, 1.05 if line.label == _OF_PLANS["flops"] else 1.1 * max(_points(line.values, 1)[1]) or 1)
    handles, labels = upper.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    if unique:
        columns = max(1, int(width / (0.5 + _OF_LEGEND * max(map(len, unique)))))
        style = {"loc": "outside lower center", "fontsize": "small", "frameon": False}
        figure.legend(unique.values(), unique.keys(), ncols=min(columns, len(unique)), **style)
        figure.set_figheight(figure.get_figheight() + 0.2 * -(-len(unique) // columns))
    upper.set_ylabel(f"{result.metric or 'loss'} (validation)")
    last = figure.axes[-1]
    last.set_xlim(0.5, drawing.end + 0.5)
    first = drawing.searched
    if first:
        _stretch(last, first, drawing.end)
    else:
        last.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    then = ", then epoch of the recovery" if 0 < first < drawing.end else ""
    last.set_xlabel(f"{drawing.unit}{then}")
    _mark_phases(upper, lower, drawing)
    return figure


def _stretch(axes: Any, first: int, end: int) -> None:
    """Gives the epochs after the first places, which are not epochs, enough of the axis, and numbers them from 1."""
    from matplotlib.ticker import MaxNLocator

    middle = min(first / end, 1 - _RECOVERY) if first < end else 1.0
    places, shares = [0.5, first + 0.5, end + 0.5], [0.0, middle, 1.0]
    if first == end:
        places, shares = places[:2], shares[:1] + shares[2:]
    axes.set_xscale("function", functions=(partial(_along, places, shares), partial(_along, shares, places)))
    locator = MaxNLocator(6, integer=True, min_n_ticks=1)
    ticks = {}
    for start, count in ((0, first), (first, end - first)):
        ticks.update({start + int(v): f"{int(v)}" for v in locator.tick_values(1, max(1, count)) if 1 <= v <= count})
    axes.set_xticks(list(ticks), list(ticks.values()))


def _along(places: Sequence[float], shares: Sequence[float], x: Any) -> Any:
    """Maps values between `places` to values between `shares`, piecewise linearly, also beyond the ends."""
    return np.interp(x, places, shares)


def _draw(axes: Any, line: _Line) -> None:
    x, y = _points(line.values, line.start)
    if len(x) > (line.style is _THIN):
        marker = "." if len(x) <= _MANY else ""
        axes.plot(x, y, color=line.color, label=line.label, **{"marker": marker, **line.style})


def _mark_phases(upper: Any, lower: Iterable[Any], drawing: _Drawing) -> None:
    """Draws a dotted line between phases, and above the panel the names of phases with enough room."""
    ends = list(itertools.accumulate(phase.length for phase in drawing.phases))
    for end in ends[:-1]:
        for axes in (upper, *lower):
            axes.axvline(end + 0.5, color="gray", linestyle=":", linewidth=1)
    if len(ends) > 1:
        scale, inches = upper.xaxis.get_transform(), 0.85 * upper.figure.get_figwidth()
        whole = scale.transform([0.5, ends[-1] + 0.5])
        for phase, end in zip(drawing.phases, ends, strict=True):
            sides = scale.transform([end + 0.5 - phase.length, end + 0.5])
            if _LETTER * len(phase.name) < inches * np.ptp(sides) / np.ptp(whole):
                middle = scale.inverted().transform([sides.mean()])[0]
                style = {"ha": "center", "va": "bottom", "fontsize": "small", "color": "dimgray"}
                upper.text(middle, 1.01, phase.name, transform=upper.get_xaxis_transform(), **style)


def add_title(figure: Any, result: Any) -> None:
    """Writes a title: the model, the run, and its outcome."""
    before, after = result.before, result.after
    run = f"{result.model.name}: {result.method}, seed {result.seed}"
    outcome = f"{after.macs / before.macs:.1%} of the MACs" if before.macs else "no MACs counted"
    if result.metric and None not in (before.accuracy, after.accuracy):
        scores = f"{result.metric} ({after.split}) {before.accuracy:.4f} → {after.accuracy:.4f}"
        outcome = f"{scores} with {outcome}"
    room = int(figure.get_figwidth() / _OF_TITLE)
    lines = [*textwrap.wrap(run, room), *textwrap.wrap(outcome, room)]
    figure.suptitle("\n".join(lines), fontsize="medium")


def _best_so_far(rewards: Sequence[Any], sign: int) -> Sequence[Any]:
    """Returns the highest reward after each measured plan, as a value of the metric; empty if some are missing."""
    return [] if None in rewards else (sign * np.maximum.accumulate(rewards)).tolist()


def _points(values: Sequence[Any], start: int) -> tuple[list[int], list[float]]:
    known = [(start + i, value) for i, value in enumerate(values) if value is not None and math.isfinite(value)]
    return [x for x, _ in known], [y for _, y in known]
