"""Plots of sensitivity, and of several runs side by side; figures that Jupyter shows."""

from __future__ import annotations

import io
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfcompress import expect

__all__ = [
    "MARKERS",
    "load_matplotlib",
    "new_figure",
    "plain_text",
    "plot_lines",
    "plot_sensitivity",
    "write_figure",
]

_NAMED = 20  # groups that a legend can tell apart
_WORST = 10  # of more groups, those that are named
MARKERS = "osv^D<>Pp*"


def plot_sensitivity(sensitivity: Any, path: str | os.PathLike[str] | None = None) -> Any:
    """Draws the metric of a model over the share of one group's channels that is kept, with a line for each group.

    Up to 20 groups are named in a legend. With more groups, the ten that lose most are named, and the color of the
    other, thin lines shows their place in the network.

    Args:
        sensitivity: a `Sensitivity`.
        path: the file to write, its ending gives the format; `None` for no file.

    Returns:
        The matplotlib figure.
    """
    matplotlib = load_matplotlib()
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
            style = {"color": color, "label": name, "marker": MARKERS[index % len(MARKERS)], "zorder": 3}
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
    return write_figure(figure, path)


def plot_lines(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    path: str | os.PathLike[str] | None,
    x_label: str,
    y_label: str,
    x_scale: str = "linear",
) -> Any:
    """Draws one quantity over another, with a line and points for each name, such as accuracy over size by method.

    Args:
        lines: `(x, y)` for each name, in the order in which points are connected.
        path: the file to write, its ending gives the format; `None` for no file.
        x_label: label of x, with its unit.
        y_label: label of y.
        x_scale: `"linear"` or `"log"`.

    Returns:
        The matplotlib figure.
    """
    matplotlib = load_matplotlib()
    figure = new_figure(9, 5.5)
    axes = figure.subplots()
    colors = matplotlib.colormaps["tab10" if len(lines) <= 10 else "tab20"]
    for index, (name, (x, y)) in enumerate(lines.items()):
        axes.plot(x, y, color=colors(index % colors.N), marker=MARKERS[index % len(MARKERS)], label=name)
    axes.set_xscale(x_scale)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    figure.legend(loc="outside right upper", fontsize="small")
    return write_figure(figure, path)


def load_matplotlib() -> Any:
    """The module matplotlib.

    Raises:
        ImportError: it is not installed; the message has the line that installs it.
    """
    return expect.extra("plot", "matplotlib", "pictures are drawn with", "Tables and reports are written without it.")


def new_figure(width: float, height: float) -> Any:
    """Returns a figure of this size in inches, without a window; Jupyter shows it at the end of a cell."""
    load_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    class Shown(Figure):
        """A figure that shows itself as a picture."""

        def _repr_png_(self) -> bytes:
            content = io.BytesIO()
            self.savefig(content, format="png")
            return content.getvalue()

    figure = Shown(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def plain_text() -> Any:
    """Returns a context in which texts of figures are literal: names with dollar signs are not formulas."""
    return load_matplotlib().rc_context({"text.parse_math": False})


def write_figure(figure: Any, path: str | os.PathLike[str] | None) -> Any:
    """Writes a figure to another file and renames it, if there is a path; returns the figure."""
    whole: pathlib.Path | None = expect.path("path", path, or_none=True)
    if whole is not None:
        part = whole.with_name(f"part.{whole.name}")
        figure.savefig(part)
        part.replace(whole)
    return figure
