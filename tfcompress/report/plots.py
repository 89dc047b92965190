"""Plots of a run."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["plot_history"]


def plot_history(history: Mapping[str, Mapping[str, Sequence[Any]]], path: str | os.PathLike[str], metric: str) -> None:
    """Draws reward, accuracy and FLOPs by epoch, over search and recovery.

    Args:
        history: `Result.history`.
        path: where the picture goes; its ending gives the format.
        metric: name of the metric, `Result.metric`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    curves = (
        ("reward", "mean reward of the episodes"),
        ("reward_best", "best reward"),
        (f"val_{metric}", f"validation {metric}"),
    )
    start = 1
    for phase in ("search", "recover"):
        logs = history.get(phase, {})
        epochs = max((len(values) for values in logs.values()), default=0)
        for color, (name, label) in zip(("C0", "C1", "C2"), curves, strict=True):
            points = _points(logs.get(name, ()), start)
            upper.plot(
                *points, color=color, marker=".", label=label if phase == "search" or name.startswith("val") else None
            )
        lower.plot(*_points(logs.get("flops", ()), start), color="C3", marker=".")
        if phase == "search" and epochs:
            upper.axvline(start + epochs - 0.5, color="gray", linestyle=":", label="cut")
            lower.axvline(start + epochs - 0.5, color="gray", linestyle=":")
        start += epochs
    handles, labels = upper.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    upper.legend(unique.values(), unique.keys())
    upper.set_ylabel("share of right answers")
    lower.set_ylabel("FLOPs of the plan\n(share of the original)")
    lower.set_xlabel("epoch")
    lower.set_ylim(0, 1.05)
    part = pathlib.Path(path)
    figure.savefig(part.with_name(f"part.{part.name}"))
    part.with_name(f"part.{part.name}").replace(part)


def _points(values: Sequence[Any], start: int) -> tuple[list[int], list[float]]:
    known = [(start + i, value) for i, value in enumerate(values) if value is not None]
    return [x for x, _ in known], [y for _, y in known]
