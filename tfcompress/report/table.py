"""Tables as text and as HTML, and lines of text that fit a terminal."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence

__all__ = ["WIDTH", "fitted", "html_table", "in_columns", "shortened", "wrapped"]

WIDTH = 100  # columns of a terminal
_LEAST = 12  # columns of a name


def in_columns(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Returns columns of equal width: the first `left` ones left-aligned, numbers right-aligned."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def fitted(rows: Sequence[Sequence[str]], left: int, width: int = WIDTH) -> list[str]:
    """Columns as `in_columns` has them, within `width`: names in the first column are shortened, and what still does
    not fit stands below in a table of its own, with the first column again.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    parts: list[list[int]] = [[]]
    for column in range(1, len(widths)):
        taken = min(widths[0], 2 * _LEAST) + sum(2 + widths[i] for i in parts[-1])
        if parts[-1] and taken + 2 + widths[column] > width:
            parts.append([])
        parts[-1].append(column)
    lines: list[str] = []
    for columns in parts:
        room = max(_LEAST, width - sum(2 + widths[i] for i in columns))
        cells = [[shortened(row[0], room), *(row[i] for i in columns)] for row in rows]
        lines += [*[""] * bool(lines), *in_columns(cells, left)]
    return lines


def html_table(rows: Sequence[Sequence[str]], caption: str = "", has_style: bool = True) -> str:
    """A table in HTML, headings first, the first cell of each row its heading; texts are escaped.

    Args:
        rows: its cells.
        caption: a title above it.
        has_style: whether a style sheet aligns its cells; without one the table says it itself.
    """
    style = "" if has_style else ' style="text-align: left"'
    head, *body = rows
    lines = ["<table>", *([f"<caption>{html.escape(caption)}</caption>"] if caption else [])]
    corner, *heads = (html.escape(cell) for cell in head)
    titles = f'<th scope="col"{style}>{corner}</th>' + "".join(f'<th scope="col">{cell}</th>' for cell in heads)
    lines += [f"<thead><tr>{titles}</tr></thead>", "<tbody>"]
    for first, *cells in body:
        data = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
        lines.append(f'<tr><th scope="row"{style}>{html.escape(first)}</th>{data}</tr>')
    return "\n".join([*lines, "</tbody>", "</table>"])


def shortened(name: str, room: int) -> str:
    """A name of at most `room` characters, which lacks its middle where it is longer."""
    if len(name) <= room:
        return name
    start = (room - 1) // 2
    return f"{name[:start]}…{name[len(name) - (room - 1 - start) :]}"


def wrapped(line: str, width: int = WIDTH) -> list[str]:
    """A line, or several within `width`, of which all but the first are indented further."""
    if len(line) <= width:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    return textwrap.wrap(line, width, subsequent_indent=indent, break_on_hyphens=False)
