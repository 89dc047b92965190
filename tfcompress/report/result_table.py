"""The table of a result, before and after: its rows, and the table as text and as HTML."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tfcompress.costs.budget import shown
from tfcompress.report.comparison import title_of
from tfcompress.report.table import html_table, in_columns

__all__ = ["as_html", "as_text", "rows_of", "scores_of"]

_HEAD = ("", "before", "after", "share")
_ON_DEVICE = {
    "file_bytes": "TFLite file (bytes)",
    "gzip_bytes": "the file gzipped (bytes)",
    "latency_ms": "latency, one thread (ms)",
    "predicted_ms": "latency predicted (ms)",
}
_Row = tuple[str, str, str, str]


def rows_of(before: Any, after: Any, metric: str) -> list[_Row]:
    """Returns a row of text for each number that both sides know, headings first: its name, before, after, and their
    share, of a metric the difference.

    Args:
        before: `Measured` of the model as it was given.
        after: that of the compressed one.
        metric: name of the metric.
    """
    rows = [_HEAD, _row("MACs", before.macs, after.macs), _row("parameters", before.params, after.params)]
    on_device = [name for name in _ON_DEVICE if name in before.on_device and name in after.on_device]
    if "file_bytes" not in on_device:
        rows.append(_row("bytes of weights", before.bytes, after.bytes))
    rows += [_row(_ON_DEVICE[name], before.on_device[name], after.on_device[name]) for name in on_device]
    for first, last in ((before.others, after.others), (before.measurements, after.measurements)):
        rows += [_row(title_of(name), first[name], last[name]) for name in _both(first, last) if name not in on_device]
    rows += [_difference(f"{metric} ({split})", first, last) for split, first, last in scores_of(before, after)]
    for name in _both(before.metrics, after.metrics):
        rows.append(_difference(f"{name} ({after.split})", before.metrics[name], after.metrics[name]))
    return rows


def scores_of(before: Any, after: Any) -> Iterator[tuple[str, float, float]]:
    """The metric before and after, on each split that both were measured on."""
    for split in ("test", "validation"):
        first, last = (_score(side, split) for side in (before, after))
        if first is not None and last is not None:
            yield split, first, last


def as_text(title: str, rows: Sequence[_Row], below: Sequence[str]) -> str:
    """Returns the table with a title and lines below it."""
    return "\n".join([title, *in_columns(rows, left=1), *below])


def as_html(title: str, rows: Sequence[_Row], below: Sequence[str], stages: str = "") -> str:
    """Returns the same as HTML, which a notebook shows, with the table of stages between."""
    lines = "".join(f"<p>{html.escape(line)}</p>" for line in below if line)
    return html_table(rows, title, has_style=False) + stages + lines


def _both(first: Mapping[str, float], last: Mapping[str, float]) -> list[str]:
    return [name for name in last if name in first]


def _score(measured: Any, split: str) -> float | None:
    if split == "validation":
        score: float | None = measured.validation_accuracy
        return score
    return measured.accuracy if measured.split == "test" else None


def _row(name: str, before: float, after: float) -> _Row:
    first, last = (f"{value:,}" if isinstance(value, int) else shown(value) for value in (before, after))
    return name, first, last, f"{after / before:.1%}" if before else "-"


def _difference(name: str, first: float, last: float) -> _Row:
    return name, f"{first:.4f}", f"{last:.4f}", f"{last - first:+.4f}"
