"""`compare`: results, or the folders that hold them, side by side."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from tfcompress import expect, result_files
from tfcompress.report.comparison import Compared, Comparison
from tfcompress.result import Result

__all__ = ["compare"]

_WHAT = "several results or folders of runs in a list, or a dictionary with a name for each"


def compare(
    results: Iterable[Result | str | os.PathLike[str]] | Mapping[str, Result | str | os.PathLike[str]],
) -> Comparison:
    """Puts results side by side: what they cost, and how good they are.

        comparison = tfcompress.compare(["runs/uniform", "runs/rlal", result])
        print(comparison)
        comparison.plot("comparison.png", "params")

    Args:
        results: results, run folders of finished runs, or folders that `Result.save` wrote; of a folder only the
            figures are read, not its models. In a dictionary each key names its result; in a list a folder keeps its
            own name, and a result is named after its method.

    Returns:
        A `Comparison`, which print and Jupyter show as a table, and which draws the metric over MACs, latency or size.

    Raises:
        TypeError: a value of another type.
        FileNotFoundError: a folder without a result.
        ValueError: nothing to compare, or a damaged result.
    """
    if isinstance(results, (str, bytes, os.PathLike, Result)) or not isinstance(results, Iterable):
        expect.refuse("results", _WHAT, results, "Put a single result into a list.", wrong_type=True)
    if isinstance(results, Mapping):
        given = [(expect.text("results", name, "names as keys"), value) for name, value in results.items()]
    else:
        try:
            values = list(results)
        except TypeError:  # an array or a tensor of one number
            expect.refuse("results", _WHAT, results, wrong_type=True)
        given = list(zip(_names(values), values, strict=True))
    if not given:
        expect.refuse("results", f"{_WHAT}, at least one", results)
    return Comparison([_compared(name, value) for name, value in given])


def _names(values: list[Any]) -> list[str]:
    """Returns a name for each: folder name or method; where two are equal, the whole path or the seed is added."""
    short, long = [], []
    for value in values:
        if isinstance(value, Result):
            short.append(value.method)
            long.append(f"{value.method}, seed {value.seed}")
        else:
            path: pathlib.Path = expect.path("results", value, "results, or paths of their folders")
            whole = path.resolve()
            short.append((whole.parent if whole.name == "result" else whole).name or str(path))
            long.append(str(path))
    names = [brief if short.count(brief) == 1 else full for brief, full in zip(short, long, strict=True)]
    return [
        name if names.count(name) == 1 else f"{name} ({1 + names[:number].count(name)})"
        for number, name in enumerate(names)
    ]


def _compared(name: str, value: Any) -> Compared:
    if isinstance(value, Result):
        fields = vars(value)
    else:
        expect.path("results", value, "results, or paths of their folders")
        fields = result_files.figures(value)
    return Compared(
        name=name,
        **{key: fields[key] for key in ("method", "seed", "metric", "higher_is_better", "before", "after")},
    )
