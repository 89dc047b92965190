"""`Benchmark`: the measurements of several files as text, as HTML and as JSON."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tfcompress.costs import Latency
from tfcompress.report.table import fitted, html_table, wrapped

__all__ = ["Benchmark", "FileBenchmark"]

_FORMAT = 1
_MIB = 1 << 20


@dataclass(frozen=True)
class FileBenchmark:
    """The measurements of a file.

    Attributes:
        path: the file, or the folder of a SavedModel.
        runtime: `"LiteRT"` for TFLite, `"TensorFlow"` for a Keras file or a SavedModel; "" for another file.
        bytes: size of the file, or of all files of the folder.
        memory_bytes: peak growth of the memory of a process that reads the file and runs it once on one thread; None
            where it was not measured.
        latencies: a `Latency` for each number of samples and of threads; that of a number of samples with which the
            file does not run is missing.
        operators: the number of operators of a TFLite file, else None.
        outside_xnnpack: of them those that XNNPACK does not take, by name with their number.
        notes: remarks.
        error: why the file was not measured; "" if it was.
    """

    path: str
    runtime: str
    bytes: int | None = None
    memory_bytes: int | None = None
    latencies: tuple[Latency, ...] = ()
    operators: int | None = None
    outside_xnnpack: Mapping[str, int] = field(default_factory=dict, hash=False)
    notes: tuple[str, ...] = ()
    error: str = ""

    def latency(self, batch: int, threads: int) -> Latency | None:
        """Returns the latency with these numbers of samples and threads; None if it was not measured."""
        return next((each for each in self.latencies if (each.batch, each.threads) == (batch, threads)), None)


@dataclass(frozen=True)
class Benchmark:
    """Files side by side, from `tfcompress.benchmark`.

    `print(benchmark)` shows the tables, 100 columns wide at most, and Jupyter shows one.

    Attributes:
        files: a `FileBenchmark` each; the original, if there is one, is the first.
        original: path of the file that shares are of; "" for none.
        device: processor, system and versions, as from `tfcompress.costs.device`.
    """

    files: tuple[FileBenchmark, ...]
    original: str
    device: Mapping[str, str] = field(hash=False)

    @property
    def failures(self) -> tuple[FileBenchmark, ...]:
        """The files that were not measured; `error` of each says why."""
        return tuple(file for file in self.files if file.error)

    def rows(self) -> list[tuple[str, ...]]:
        """Returns everything as one table of texts, headings first: a line for each file."""
        return [(*size, *latency[1:]) for size, latency in zip(self._size_rows(), self._latency_rows(), strict=True)]

    def __repr__(self) -> str:
        return f"<Benchmark of {len(self.files)} files>"

    def __str__(self) -> str:
        lines = fitted(self._size_rows(), left=2)
        batches = sorted({latency.batch for file in self.files for latency in file.latencies})
        for batch in batches:
            samples = "1 sample" if batch == 1 else f"{batch} samples"
            lines += ["", f"Milliseconds of an invocation of {samples}: median, interquartile range in brackets."]
            lines += fitted(self._latency_rows(batch), left=1)
        return "\n".join([*lines, "", *(part for note in self.notes() for part in wrapped(note))])

    def _repr_html_(self) -> str:
        return html_table(self.rows()) + "".join(f"\n<p>{line}</p>" for line in map(_escaped, self.notes()))

    def notes(self) -> list[str]:
        """Returns the sentences below the table: operators, remarks, refusals, and the machine."""
        names, notes = self._names(), []
        for file in self.files:
            name = names[file.path]
            if file.outside_xnnpack:
                said = ", ".join(f"{count} {operator}" for operator, count in file.outside_xnnpack.items())
                notes.append(f"{name}: LiteRT's own kernels run what XNNPACK does not take: {said}.")
            notes += [f"{name}: {note}." for note in file.notes]
            if any(not latency.settled for latency in file.latencies):
                notes.append(f"{name}: latencies with * did not settle, as the machine was busy.")
            if file.error:
                notes.append(f"{name} is not measured. {file.error}")
        if self.original and len({file.runtime for file in self.files if not file.error}) > 1:
            notes.append(
                "Each file runs in its own runtime: shares of an original in another one compare the runtimes as well."
            )
        machine = self.device
        return [
            *notes,
            f"{machine['cpu']}, {machine['cores']} cores; LiteRT {machine['litert']}, "
            f"TensorFlow {machine['tensorflow']}.",
        ]

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as plain data."""
        files = [{**asdict(file), "outside_xnnpack": dict(file.outside_xnnpack)} for file in self.files]
        return {"format": _FORMAT, "original": self.original, "device": dict(self.device), "files": files}

    def to_json(self) -> str:
        """Returns everything as JSON."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    def _names(self) -> dict[str, str]:
        """Returns a name for each path: that of the file where it is the only one of that name."""
        short = [pathlib.PurePath(file.path).name for file in self.files]
        names = {
            file.path: name if short.count(name) == 1 else file.path
            for file, name in zip(self.files, short, strict=True)
        }
        return {path: f"{name} (original)" if path == self.original else name for path, name in names.items()}

    def _first(self) -> FileBenchmark | None:
        return self.files[0] if self.original else None

    def _size_rows(self) -> list[tuple[str, ...]]:
        names, first = self._names(), self._first()
        rows: list[tuple[str, ...]] = [("file", "runtime", "bytes", "", "memory MiB", "", "outside XNNPACK")]
        for file in self.files:
            outside = "-" if file.operators is None else f"{sum(file.outside_xnnpack.values())} of {file.operators}"
            rows.append(
                (
                    names[file.path],
                    file.runtime or "-",
                    "-" if file.bytes is None else f"{file.bytes:,}",
                    _share(file, first, lambda each: each.bytes),
                    "-" if file.memory_bytes is None else f"{file.memory_bytes / _MIB:.1f}",
                    _share(file, first, lambda each: each.memory_bytes),
                    outside,
                )
            )
        return _without_empty(rows)

    def _latency_rows(self, batch: int | None = None) -> list[tuple[str, ...]]:
        names, first = self._names(), self._first()
        settings = sorted({(each.batch, each.threads) for file in self.files for each in file.latencies})
        if batch is None:
            heads = [head for size, threads in settings for head in (f"ms, {size} on {_threads(threads)}", "")]
        else:
            settings = [setting for setting in settings if setting[0] == batch]
            heads = [head for _, threads in settings for head in (_threads(threads), "")]
        rows: list[tuple[str, ...]] = [("file", *heads)]
        for file in self.files:
            cells = [names[file.path]]
            for setting in settings:
                latency = file.latency(*setting)
                cells.append(_cell(latency))
                cells.append(_share(file, first, lambda each, at=setting: _median(each.latency(*at))))  # type: ignore[misc]
            rows.append(tuple(cells))
        return _without_empty(rows)


def _threads(number: int) -> str:
    return "1 thread" if number == 1 else f"{number} threads"


def _cell(latency: Latency | None) -> str:
    if latency is None:
        return "-"
    return f"{latency.median_ms:.3f} ({latency.spread_ms:.3f}){'' if latency.settled else '*'}"


def _median(latency: Latency | None) -> float | None:
    return None if latency is None else latency.median_ms


def _share(file: FileBenchmark, first: FileBenchmark | None, value: Any) -> str:
    """Returns the share of the original's number, "" for the original and where one of the two is not measured."""
    if first is None or file is first:
        return ""
    part, whole = value(file), value(first)
    return f"{part / whole:.1%}" if part is not None and whole else ""


def _without_empty(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    kept = [column for column in range(len(rows[0])) if any(row[column] for row in rows)]
    return [tuple(row[column] for column in kept) for row in rows]


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
