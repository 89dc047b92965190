"""The table of a result, before and after, as text and as HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence

from tfcompress.costs.budget import shown
from tfcompress.costs.latency import LATENCY
from tfcompress.measured import FILE, Measured
from tfcompress.report.table import in_columns

__all__ = ["as_html", "as_text", "rows_of"]

_HEAD = ("", "before", "after", "share")
_NAMES = {LATENCY: "latency, one thread (ms)", FILE: "TFLite file (bytes)"}


def rows_of(before: Measured, after: Measured, metric: str) -> list[tuple[str, str, str, str]]:
    """Returns a row of text for each number: its name, before, after, and their ratio (for a metric, the difference).

    Args:
        before: measurements of the original.
        after: measurements of the compressed model.
        metric: name of the metric.
    """
    rows = [_row("MACs", before.macs, after.macs), _row("parameters", before.params, after.params)]
    on_device = [name for name in (FILE, LATENCY) if name in before.on_device and name in after.on_device]
    if FILE not in on_device:
        rows.append(_row("bytes of weights", before.bytes, after.bytes))
    rows += [_row(_NAMES[name], before.on_device[name], after.on_device[name]) for name in on_device]
    rows += [_row(name, before.others[name], number) for name, number in after.others.items()]
    measured = [name for name in after.measurements if name not in on_device]
    rows += [_row(_NAMES.get(name, name), before.measurements[name], after.measurements[name]) for name in measured]
    for split in ("test", "validation"):
        first, last = (_metric(side, split) for side in (before, after))
        if first is not None and last is not None:
            rows.append(_difference(f"{metric} ({split})", first, last))
    rows += [
        _difference(f"{name} ({after.split})", before.metrics[name], value) for name, value in after.metrics.items()
    ]
    return rows


def _difference(name: str, first: float, last: float) -> tuple[str, str, str, str]:
    return name, f"{first:.4f}", f"{last:.4f}", f"{last - first:+.4f}"


def as_text(title: str, rows: Sequence[tuple[str, str, str, str]], below: Sequence[str]) -> str:
    """Returns the table with a title and lines below it."""
    return "\n".join([title, *in_columns([_HEAD, *rows], left=1), *below])


def as_html(title: str, rows: Sequence[tuple[str, str, str, str]], below: Sequence[str]) -> str:
    """Returns the same as HTML, for a notebook."""
    return (
        f"<table><caption>{html.escape(title)}</caption><thead>{_cells(_HEAD, 'th')}</thead>"
        f"<tbody>{''.join(_cells(row, 'td') for row in rows)}</tbody></table>"
        f"{''.join(f'<p>{html.escape(line)}</p>' for line in below if line)}"
    )


def _cells(row: Sequence[str], tag: str) -> str:
    sides = ("left", *["right"] * (len(row) - 1))
    cells = (
        f'<{tag} style="text-align: {side}">{html.escape(cell)}</{tag}>' for cell, side in zip(row, sides, strict=True)
    )
    return f"<tr>{''.join(cells)}</tr>"


def _metric(measured: Measured, split: str) -> float | None:
    if split == "validation":
        return measured.validation_accuracy
    return measured.accuracy if measured.split == "test" else None


def _row(name: str, before: float, after: float) -> tuple[str, str, str, str]:
    first, last = (f"{value:,}" if isinstance(value, int) else shown(value) for value in (before, after))
    return name, first, last, f"{after / before:.1%}" if before else "-"
