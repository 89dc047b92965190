"""A picture of the channels kept by layer, and of the removed or replaced layers."""

from __future__ import annotations

import os
import re
from typing import Any

from tfcompress.report.history import add_title
from tfcompress.report.layers import KEPT, NEW, REMOVED, REPLACED, LayerChange, layer_changes
from tfcompress.report.plots import load_matplotlib, new_figure, write_figure
from tfcompress.report.spectrum import NARROWED

__all__ = ["draw_structure", "plot_structure"]

_WHOLE, _GONE = "#dddddd", "#c44e52"
_COLORS = {KEPT: "#4c72b0", NARROWED: "#4c72b0", REPLACED: "#dd8452", NEW: "#55a868"}
_SET_ANEW = "#8172b3"
_ROW, _CROWDED = 0.21, 150  # inches of a row; rows beyond which they are thinner
_LONG = 40  # characters that there is room for on either side of a wide picture
_WIDE = 6  # inches
_LETTER = 0.0088  # inches of a letter by its size in points
_LABELS = {
    _COLORS[KEPT]: "channels kept",
    _COLORS[REPLACED]: "replaced",
    _COLORS[NEW]: "new",
    _SET_ANEW: "other settings",
    _GONE: "removed",
}
_CONVOLUTION = re.compile(r"\b(\w*?)Conv\dD\b")  # "DepthwiseConv2D" is said as "depthwise", "Conv2D" as "conv"


def plot_structure(result: Any, path: str | os.PathLike[str] | None = None) -> Any:
    """Draws for each layer the share of its channels that is kept, with the channels before and after.

    A removed layer is crossed out; a replaced layer has the color of replacements, and shows the name of its
    replacement. Layers with learned weights are drawn, without normalizations, in the order of the graph from top to
    bottom.

    Args:
        result: a `Result`, which may be a loaded one.
        path: the file to write, its ending gives the format; `None` for no file.

    Returns:
        The matplotlib figure.

    Raises:
        ValueError: the result does not know the layers of its original, see `Result.load`.
    """
    return write_figure(draw_structure(result), path)


def draw_structure(result: Any, width: float = 8.0) -> Any:
    """Returns the figure of `plot_structure`, `width` inches wide."""
    load_matplotlib()
    from matplotlib.patches import Patch
    from matplotlib.ticker import PercentFormatter

    rows = [change for change in layer_changes(result) if (change.before or change.after[0]).is_drawn]
    height = _ROW * min(1.0, _CROWDED / max(1, len(rows)))
    figure = new_figure(width, 1.6 + height * max(3, len(rows)))
    add_title(figure, result)
    axes = figure.subplots()
    wide = width > _WIDE
    room, size = (_LONG, 8.0) if wide else (_LONG * 3 // 4, 7.0)
    size = min(size, 72 * height * 0.6)
    names, texts = [_cut(change.name, room) for change in rows], [_cut(_text(change), room) for change in rows]
    bars = [_bar(change) for change in rows]
    for place, ((color, share), text) in enumerate(zip(bars, texts, strict=True)):
        axes.barh(place, 1, color=_WHOLE, height=0.8)
        axes.barh(place, share, color=color, height=0.8)
        if color == _GONE:
            axes.plot([0, 1], [place, place], color=_GONE, linewidth=1.2)
        axes.text(1.015, place, text, va="center", ha="left", fontsize=size)
    axes.set_yticks(range(len(rows)), names, fontsize=size)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    left, right = (size * _LETTER * max(map(len, words), default=0) for words in (names, texts))
    axes.set_xlim(0, 1 / max(0.4, 1 - right / (width - left - 0.3)))
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1] if wide else [0, 0.5, 1])
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel("channels kept, of those that the layer had", loc="left")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_bounds(0, 1)
    colors = {color for color, _ in bars}
    handles = [Patch(color=color, label=label) for color, label in _LABELS.items() if color in colors]
    figure.legend(handles=handles, loc="outside lower left", ncols=len(_LABELS), fontsize="small")
    return figure


def _bar(change: LayerChange) -> tuple[str, float]:
    """Returns the color of a row, and how much of it is filled."""
    before, after = change.channels
    if change.change == REMOVED or after is None:
        return _GONE, 0.0
    return _COLORS.get(change.change, _SET_ANEW), min(1.0, after / before) if before else 1.0


def _text(change: LayerChange) -> str:
    before, after = ("-" if channels is None else channels for channels in change.channels)
    if change.change == REMOVED:
        return f"{before} → removed"
    if change.change == NEW:
        return f"{after}, new"
    widths = f"{before} → {after}" if before != after else f"{before}"
    if change.change in (KEPT, NARROWED):
        return widths
    words = _CONVOLUTION.sub(lambda match: match[1].lower() or "conv", change.by or change.change)
    return f"{before} → {words}" if after == "-" else f"{widths}, {words}"


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: room - 1]}…"
