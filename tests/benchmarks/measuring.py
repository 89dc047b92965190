"""Measures two things side by side, and prints what it found as one table.

The machines that run this are shared and noisy: only ratios are compared, of measurements that alternate (A B A B ...),
and the median over the pairs is shown. Wall time counts what other programs take away; the CPU time of the process (all
of its threads) does not, so that both ratios are shown.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

__all__ = ["Row", "Span", "Stopwatch", "Table", "interleaved", "median", "ratio_row", "single_row", "timed"]


@dataclass(frozen=True)
class Span:
    """A stretch of time.

    Attributes:
        wall_s: by the clock.
        cpu_s: of the process, summed over its threads.
    """

    wall_s: float = 0.0
    cpu_s: float = 0.0

    @classmethod
    def now(cls) -> Span:
        """The present, as a span since some moment."""
        return cls(time.perf_counter(), time.process_time())

    def __add__(self, other: Span) -> Span:
        return Span(self.wall_s + other.wall_s, self.cpu_s + other.cpu_s)

    def __sub__(self, other: Span) -> Span:
        return Span(self.wall_s - other.wall_s, self.cpu_s - other.cpu_s)

    def __mul__(self, factor: float) -> Span:
        return Span(self.wall_s * factor, self.cpu_s * factor)

    def __str__(self) -> str:
        return f"{_seconds(self.wall_s)} ({_seconds(self.cpu_s)})"


def _seconds(value: float) -> str:
    return f"{value * 1e3:.0f} ms" if value < 1 else f"{value:.2f} s"


class Stopwatch:
    """Adds up what is done while it runs.

    Attributes:
        total: the sum since it was made or reset.
    """

    def __init__(self) -> None:
        self.total = Span()

    def reset(self) -> None:
        """Back to zero."""
        self.total = Span()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Counts what happens inside."""
        start = Span.now()
        try:
            yield
        finally:
            self.total += Span.now() - start


def timed(action: Callable[[], object]) -> Span:
    """How long one call takes."""
    start = Span.now()
    action()
    return Span.now() - start


def interleaved(ours: Callable[[], Span], reference: Callable[[], Span], pairs: int) -> list[tuple[Span, Span]]:
    """Measures both in turn, after one round that only warms up."""
    ours(), reference()
    return [(ours(), reference()) for _ in range(pairs)]


def median(spans: Sequence[Span]) -> Span:
    """The median of wall and of CPU time, each on its own."""
    return Span(statistics.median(s.wall_s for s in spans), statistics.median(s.cpu_s for s in spans))


@dataclass(frozen=True)
class Row:
    """A line of the table; `ratio` and `cpu_ratio` are texts, so that a row can say that it was not measured."""

    name: str
    ours: str
    reference: str
    ratio: str
    cpu_ratio: str
    allowed: float | None
    note: str = ""


def ratio_row(name: str, pairs: Sequence[tuple[Span, Span]], allowed: float, note: str = "") -> Row:
    """The row of pairs `(ours, reference)`: medians of both, and the medians of the ratios of the pairs."""
    ours, reference = (median([pair[side] for pair in pairs]) for side in (0, 1))
    wall = [a.wall_s / b.wall_s for a, b in pairs]
    cpu = [a.cpu_s / b.cpu_s for a, b in pairs]
    return Row(name, str(ours), str(reference), _spread(wall), _spread(cpu), allowed, f"{len(pairs)} pairs; {note}")


def _spread(ratios: Sequence[float]) -> str:
    return f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"


def single_row(name: str, spans: Sequence[Span], note: str = "") -> Row:
    """The row of what is measured alone: the median."""
    return Row(name, str(median(spans)), "-", "-", "-", None, note)


@dataclass
class Table:
    """The rows of a run."""

    rows: list[Row] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """Appends a row."""
        self.rows.append(row)

    def lines(self) -> list[str]:
        """The table as Markdown; seconds are wall time, with CPU time in brackets."""
        head = ("", "ours", "reference", "ratio, wall [min, max]", "ratio, CPU [min, max]", "at most")
        cells = [head] + [
            (
                row.name,
                row.ours,
                row.reference,
                row.ratio,
                row.cpu_ratio,
                "-" if row.allowed is None else f"{row.allowed:.2f}",
            )
            for row in self.rows
        ]
        widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
        lines = [
            "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
            for line in cells
        ]
        lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
        return [*lines, "", *(f"{row.name}: {row.note}" for row in self.rows if row.note)]
