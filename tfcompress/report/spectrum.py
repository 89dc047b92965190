"""Pictures of the candidates of one search: their quality over their cost, and the changes of layers in each."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tfcompress import expect
from tfcompress.costs import Cost
from tfcompress.costs.budget import as_budget
from tfcompress.costs.metrics import BUILT_IN, metric_of
from tfcompress.methods import Candidate
from tfcompress.plan import Edit, KeepChannels, Reconfigure, RemoveLayers, ReplaceLayers, Trail
from tfcompress.report.plots import load_matplotlib, new_figure, write_figure

__all__ = ["NARROWED", "REMOVED", "changes", "draw_spectrum", "least_of", "plot_changes", "plot_spectrum"]

REMOVED, NARROWED, UNCHANGED = "removed", "fewer channels", "unchanged"
_NAMED = 40  # rows whose names there is room for
_WIDEST = 30  # columns whose figures there is room for
# Layers whose class is left out of a label, as every replacement has its own.
_UNSAID = ("InputLayer", "BatchNormalization", "Activation", "ReLU", "Dropout")


def plot_spectrum(result: Any, path: str | os.PathLike[str] | None = None, cost: str = "macs") -> Any:
    """Draws the quality of a search's candidates over their cost, with a point each.

    Filled points have a model, which `Result.pick` returns without training again; a line connects those that no other
    candidate beats in both. The original and the model of the result are drawn too.

    Args:
        result: a `Result`, which may be a loaded one.
        path: the file to write, its ending gives the format; `None` for no file.
        cost: name of the metric on the axis, a column of the candidates' costs.

    Returns:
        The matplotlib figure.

    Raises:
        ValueError: the metric is unknown, or no candidate has a score.
    """
    return write_figure(draw_spectrum(result, cost), path)


def draw_spectrum(result: Any, cost: str = "macs", width: float = 7.0) -> Any:
    """Returns the figure of `plot_spectrum`, `width` inches wide."""
    load_matplotlib()
    from matplotlib.ticker import EngFormatter

    cost = expect.one_of("cost", cost, (*BUILT_IN, *result.before.others))
    scored = sorted((c for c in result.candidates if c.score is not None), key=lambda c: c.cost[cost])
    if not scored:
        raise ValueError(
            f"Expected candidates with scores. Received: {len(result.candidates)} candidates of "
            f"{result.method!r} without. Its search measured none; draw its history."
        )
    figure = new_figure(width, 5)
    axes = figure.subplots()
    best = _unbeaten(scored, cost, result.higher_is_better)
    axes.plot([c.cost[cost] for c in best], [c.score for c in best], color="C0", linewidth=0.8, zorder=1)
    for label, filled in (("trained", True), ("not trained", False)):
        chosen = [c for c in scored if (c.model is not None) is filled]
        if chosen:
            axes.scatter(
                [c.cost[cost] for c in chosen],
                [c.score for c in chosen],
                edgecolors="C0",
                facecolors="C0" if filled else "none",
                label=f"candidates, {label}",
                zorder=2,
            )
    for measured, label, marker, color in (
        (result.before, "original", "*", "C3"),
        (result.after, "result", "D", "C1"),
    ):
        if measured.validation_accuracy is not None:
            place = [measured.cost[cost]], [measured.validation_accuracy]
            axes.scatter(*place, marker=marker, color=color, s=70, label=label, zorder=3)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlabel(f"{metric_of(cost).unit} of the student")
    axes.set_ylabel(f"{result.metric} (validation)")
    axes.legend(fontsize="small")
    axes.set_title(f"{result.method}, seed {result.seed}")
    return figure


def plot_changes(
    result: Any,
    path: str | os.PathLike[str] | None = None,
    cost: str = "macs",
    layers: Sequence[str] | None = None,
) -> Any:
    """Draws the change of each layer in each candidate: a row per layer, a column per candidate, a color per change.

    Columns are ordered by cost, each with its share of the original's cost; only the trails are read.

    Args:
        result: a `Result`, which may be a loaded one.
        path: the file to write, its ending gives the format; `None` for no file.
        cost: name of the metric that orders the columns.
        layers: names of nodes and channel groups, one per row, in the order of the graph. By default all that some
            trail changes, in the order of the trails' edits, which usually is the graph's.

    Returns:
        The matplotlib figure.

    Raises:
        ValueError: the metric is unknown, there are no candidates, or none changes one of the layers.
    """
    matplotlib = load_matplotlib()
    cost = expect.one_of("cost", cost, (*BUILT_IN, *result.before.others))
    candidates: list[Candidate] = sorted(result.candidates, key=lambda c: c.cost[cost])
    made = [changes(candidate.trail) for candidate in candidates]
    rows = _merged(made) if layers is None else list(expect.each("layers", layers, expect.text, "names", unique=True))
    labels = list(dict.fromkeys(label for row in rows for change in made if (label := change.get(row)) is not None))
    if not labels:
        raise ValueError(
            f"Expected candidates that change layers. Received: {len(candidates)} candidates of {result.method!r}, "
            "whose trails change none of them."
        )
    kinds = [UNCHANGED, *labels]
    matrix = [[kinds.index(change.get(row, UNCHANGED)) for change in made] for row in rows]
    palette = matplotlib.colormaps["tab10" if len(labels) <= 10 else "tab20"]
    colors: list[Any] = ["#eeeeee", *(palette(index % palette.N) for index in range(len(labels)))]
    figure = new_figure(min(4 + 0.45 * len(candidates), 20), min(2 + 0.22 * len(rows), 20))
    axes = figure.subplots()
    axes.imshow(
        matrix,
        cmap=matplotlib.colors.ListedColormap(colors),
        vmin=-0.5,
        vmax=len(kinds) - 0.5,
        aspect="auto",
        interpolation="nearest",
    )
    every = -(-len(rows) // _NAMED)
    axes.set_yticks(range(0, len(rows), every), rows[::every], fontsize="small")
    if len(candidates) <= _WIDEST:
        whole = result.before.cost[cost] or 1
        axes.set_xticks(range(len(candidates)), [_under(c, cost, whole) for c in candidates], fontsize="small")
    axes.set_xlabel(f"candidates, by {metric_of(cost).unit}" + (f"; below, {result.metric}" if result.metric else ""))
    patches = [matplotlib.patches.Patch(color=color, label=kind) for kind, color in zip(kinds, colors, strict=True)]
    figure.legend(handles=patches, loc="outside right upper", fontsize="small")
    axes.set_title(f"{result.method}, seed {result.seed}")
    return write_figure(figure, path)


def changes(trail: Trail) -> dict[str, str]:
    """Returns the change of each layer by a trail, from its edits alone.

    Args:
        trail: the plans.

    Returns:
        `{name: change}` in the order of the edits: for a replacement, under its first node, its layers ("3x3
        DepthwiseConv2D + 1x1 Conv2D") or the name of the part; "removed"; the new settings; or "fewer channels" under
        the name of the channel group. If several edits change one layer, the last one counts, except that later channel
        edits do not override another change.
    """
    words: dict[str, str] = {}
    for edit in (edit for plan in trail for edit in plan):
        for name in _names_of(edit):
            if not (isinstance(edit, KeepChannels) and name in words):
                words[name] = _words(edit)
    return words


def least_of(costs: Sequence[Cost], original: Cost, metrics: Iterable[str]) -> str:
    """Returns the least of several costs in words, by each column metric, such as "at least 1,334 FLOPs (...)"."""
    columns = [metric for metric in metrics if metric in (*BUILT_IN, *original.others)] or list(BUILT_IN)
    least = {metric: min(cost[metric] for cost in costs) for metric in columns}
    shares = {metric: math.ceil(1e4 * number / max(1, original[metric])) / 1e4 for metric, number in least.items()}
    words = [f"{as_budget({metric: least[metric]})} ({shares[metric]:.4f} of the original)" for metric in columns]
    at_once = any(all(cost[metric] == least[metric] for metric in columns) for cost in costs)
    return f"at least {' and '.join(words)}" + ("" if at_once else ", which no single one has at once")


def _names_of(edit: Edit) -> tuple[str, ...]:
    if isinstance(edit, KeepChannels):
        return (edit.group,)
    if isinstance(edit, RemoveLayers):
        return edit.nodes
    return (edit.node,) if isinstance(edit, Reconfigure) else edit.nodes[:1]


def _words(edit: Edit) -> str:
    if isinstance(edit, KeepChannels):
        return NARROWED
    if isinstance(edit, RemoveLayers):
        return REMOVED
    if isinstance(edit, Reconfigure):
        return ", ".join(f"{name}={value}" for name, value in sorted(edit.config.items()))
    assert isinstance(edit, ReplaceLayers)
    return edit.part or " + ".join(_layers_of(edit.replacement)) or "other layers"


def _layers_of(serialized: Mapping[str, Any]) -> list[str]:
    """Returns the layers of a serialized layer or model by class, with their kernel sizes."""
    name, config = serialized["class_name"], serialized["config"]
    if isinstance(config.get("layers"), (list, tuple)):
        return [inner for layer in config["layers"] for inner in _layers_of(layer)]
    if name in _UNSAID:
        return []
    kernel = config.get("kernel_size")
    sizes = kernel if isinstance(kernel, (list, tuple)) else (kernel,)
    return [f"{'x'.join(map(str, sizes))} {name}" if kernel else name]


def _merged(made: Iterable[Mapping[str, str]]) -> list[str]:
    """Returns the names of several dictionaries in one order: that of the longest, others after their predecessor."""
    order: list[str] = []
    for change in sorted(made, key=len, reverse=True):
        place = 0
        for name in change:
            if name in order:
                place = max(place, order.index(name) + 1)
            else:
                order.insert(place, name)
                place += 1
    return order


def _unbeaten(scored: Sequence[Candidate], cost: str, higher_is_better: bool) -> list[Candidate]:
    """Returns, of candidates in the order of their cost, those that are better than all that cost no more."""
    sign = 1 if higher_is_better else -1
    unbeaten: list[Candidate] = []
    for candidate in scored:
        score = sign * (candidate.score or 0.0)
        if not unbeaten or score > sign * (unbeaten[-1].score or 0.0):
            if unbeaten and unbeaten[-1].cost[cost] == candidate.cost[cost]:
                unbeaten.pop()
            unbeaten.append(candidate)
    return unbeaten


def _under(candidate: Candidate, cost: str, whole: float) -> str:
    share = f"{candidate.cost[cost] / whole:.2f}"
    return share if candidate.score is None else f"{share}\n{candidate.score:.3f}"
