"""Pictures of a search that trained students: its updates, and all of its students (Figures 3 to 5 of N2N)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfcompress.report.plots import new_figure, write_figure

__all__ = ["plot_students", "plot_updates"]

_CURVES = (("compression", "C0"), ("accuracy", "C2"), ("reward", "C1"))


@dataclass(frozen=True)
class _Student:
    stage: str
    update: int
    params: int | None
    accuracy: float | None
    reward: float


def plot_updates(result: Any, path: str | os.PathLike[str] | None = None) -> Any:
    """Draws compression, accuracy and reward of the students by update, with a panel per stage (Figures 3 to 5 of N2N).

    A line is the mean over the students of an update: rewards over all of them, compression (the share of removed
    parameters) and accuracy (as a share of the original's) over those that were trained. Circles mark the largest and
    the smallest trained student of the stage.

    Args:
        result: a `Result` of method "n2n", which may be a loaded one.
        path: the file to write, its ending gives the format; `None` for no file.

    Returns:
        The matplotlib figure.

    Raises:
        ValueError: the result has no students.
    """
    students, whole = _students(result), result.before
    stages = list(dict.fromkeys(student.stage for student in students))
    figure = new_figure(7, 1 + 2.6 * len(stages))
    panels = figure.subplots(len(stages), 1, squeeze=False)[:, 0]
    for axes, stage in zip(panels, stages, strict=True):
        of_stage = [student for student in students if student.stage == stage]
        updates = sorted({student.update for student in of_stage})
        trained = [student for student in of_stage if student.accuracy is not None]
        for name, color in _CURVES:
            shown = of_stage if name == "reward" else trained
            values = [
                [_value(student, name, whole) for student in shown if student.update == update] for update in updates
            ]
            points = [(update, np.mean(each)) for update, each in zip(updates, values, strict=True) if each]
            axes.plot([x for x, _ in points], [y for _, y in points], color=color, label=name)
        for student in _extremes(trained):
            axes.scatter(
                [student.update], [_value(student, "compression", whole)], s=90, facecolors="none", edgecolors="C3"
            )
            axes.annotate(
                f"{student.params:,}",
                (student.update, _value(student, "compression", whole)),
                textcoords="offset points",
                xytext=(6, -10),
                fontsize="x-small",
            )
        axes.set_title(f"{stage}: {len(of_stage)} students, {len(trained)} trained", fontsize="small")
        axes.set_ylabel("share, or reward")
        axes.set_ylim(min(-0.05, *(student.reward for student in of_stage)) - 0.05, 1.1)
        axes.set_xlabel("update")
    panels[0].legend(fontsize="small", loc="lower right")
    figure.suptitle(f"{result.method}, seed {result.seed}: means over the students of an update")
    return write_figure(figure, path)


def plot_students(result: Any, path: str | os.PathLike[str] | None = None) -> Any:
    """Draws each trained student as a point of accuracy over parameters, with the original and the result.

    Args:
        result: a `Result` of method "n2n", which may be a loaded one.
        path: the file to write, its ending gives the format; `None` for no file.

    Returns:
        The matplotlib figure.

    Raises:
        ValueError: the result has no students, or no trained ones.
    """
    trained = [student for student in _students(result) if student.accuracy is not None]
    if not trained:
        raise ValueError("Expected students that were trained. Received: none. The search refused all that it drew.")
    figure = new_figure(7, 5)
    axes = figure.subplots()
    for color, stage in enumerate(dict.fromkeys(student.stage for student in trained)):
        of_stage = [student for student in trained if student.stage == stage]
        axes.scatter(
            [student.params for student in of_stage],
            [student.accuracy for student in of_stage],
            s=18,
            color=f"C{color}",
            alpha=0.3 + 0.7 * np.linspace(0, 1, len(of_stage)),
            label=f"{stage}: {len(of_stage)} students, the later the darker",
        )
    for measured, label, marker, shade in ((result.before, "original", "*", "C3"), (result.after, "result", "D", "k")):
        if measured.validation_accuracy is not None:
            axes.scatter(
                [measured.params], [measured.validation_accuracy], marker=marker, color=shade, s=70, label=label
            )
    axes.set_xscale("log")
    axes.set_xlabel("parameters")
    axes.set_ylabel(f"{result.metric} (validation)")
    axes.legend(fontsize="small")
    axes.set_title(f"{result.method}, seed {result.seed}: students after their few epochs, the result after all")
    return write_figure(figure, path)


def _students(result: Any) -> list[_Student]:
    search: Mapping[str, Sequence[Any]] = result.history.get("search", {})
    names = ("stage", "update", "params", "accuracy", "reward")
    columns = [search.get(f"students: {name}", ()) for name in names]
    if not columns[0]:
        raise ValueError(
            f"Expected a search that trained students, of method='n2n'. Received: {result.method!r}, whose history has "
            f"{sorted(search)[:5]}. Draw it with plot_history or plot_spectrum."
        )
    return [_Student(*row) for row in zip(*columns, strict=True)]


def _value(student: _Student, name: str, whole: Any) -> float:
    if name == "reward":
        return student.reward
    if name == "compression":
        return 1 - (student.params or 0) / whole.params
    return (student.accuracy or 0.0) / (whole.validation_accuracy or 1.0)


def _extremes(trained: Sequence[_Student]) -> list[_Student]:
    ordered = sorted(trained, key=lambda student: student.params or 0)
    return [ordered[0], ordered[-1]] if len(ordered) > 1 else ordered
