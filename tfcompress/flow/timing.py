"""The time of a flow: how it is estimated, shared out, and said before the first step."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from tfcompress.header import header, processor, warning_of_seconds
from tfcompress.methods import Method
from tfcompress.network import Network
from tfcompress.task import Task
from tfcompress.time_budget import fitted_settings, span_of, words_for_fitted
from tfcompress.training import NoRunFolder, RunFolder, StepTime, duration
from tfcompress.training.forecast import Forecast

__all__ = ["fitted_methods", "lines_of", "long_run"]

_BRIEF_S = 60.0


def fitted_methods(
    methods: Sequence[Method],
    tasks: Sequence[Task],
    step: StepTime | None,
    seconds: float,
    run: RunFolder | NoRunFolder,
) -> tuple[tuple[Method, ...], list[str]]:
    """Returns the methods with settings that together take at most `seconds`, and notes on them.

    Each stage has its shortest time, and of the rest the same share of what it would take beyond that. A run that goes
    on keeps the settings of its first call.

    Args:
        methods, tasks: the stages, as if each began with the original.
        step: the time of an epoch of the original.
        seconds: the time available.
        run: the run folder.

    Raises:
        ValueError: no step could be timed, or even the shortest flow takes longer.
    """
    changes = run.recall("in_time", tasks[0].progress.note)
    if changes is None:
        spans = [span_of(method, task, step) for method, task in zip(methods, tasks, strict=True)]
        least, most = (sum(span[side] for span in spans) for side in (0, 1))
        if least > seconds:
            raise ValueError(
                f"Expected `time_budget` to be long enough for all stages, which is at least {duration(least)} here. "
                f"Received: {duration(seconds)}. Give more time, less data, or fewer stages."
            )
        share = min(1.0, (seconds - least) / (most - least)) if most > least else 1.0
        times = [short + share * (long - short) for short, long in spans]
        changes = [
            fitted_settings(method, task, step, time) for method, task, time in zip(methods, tasks, times, strict=True)
        ]
        run.write_json("in_time", changes)
    fitted = tuple(
        dataclasses.replace(method, **change) if change else method  # type: ignore[type-var]
        for method, change in zip(methods, changes, strict=True)
    )
    stages = zip(methods, tasks, changes, strict=True)
    return fitted, [f"{stage[0].name}: {words_for_fitted(*stage, seconds)}" for stage in stages]


def _seconds(methods: Sequence[Method], tasks: Sequence[Task], step: StepTime | None) -> list[float] | None:
    """Returns the estimated seconds of each stage, as if it began with the original; `None` if nothing was timed."""
    parts = [Forecast(method.phases(task), step).whole() for method, task in zip(methods, tasks, strict=True)]
    return None if None in parts else [sum((part or {}).values()) for part in parts]


def lines_of(
    original: Network,
    whole: Task,
    methods: Sequence[Method],
    tasks: Sequence[Task],
    words: str,
    step: StepTime | None,
) -> dict[str, str]:
    """Returns the header of a flow: the model, its stages with what each has to reach, what each trains, and the time.

    Args:
        original: the network that was given.
        whole: the task of the whole budget.
        methods, tasks: the stages, as if each began with the original.
        words: the stages with what each has to reach.
        step: the time of an epoch of the original.
    """
    lines: dict[str, str] = {"model": header(original, methods[0], whole, None)["model"], "stages": words}
    seconds = _seconds(methods, tasks, step)
    for number, (method, task) in enumerate(zip(methods, tasks, strict=True), start=1):
        said = header(original, method, task, None)["training"]
        time = "" if seconds is None or sum(seconds) < _BRIEF_S else f"; at most about {duration(seconds[number - 1])}"
        lines[f"stage {number}"] = f"{method.name}: {said}{time}"
    return {**lines, "time": _time(whole, seconds)}


def _time(whole: Task, seconds: Sequence[float] | None) -> str:
    if whole.run.is_finished:
        return "this run was finished before; only files that are damaged or missing are made again"
    safe = "Ctrl-C is safe, the same call goes on" if isinstance(whole.run, RunFolder) else ""
    if seconds is None:
        words = "known after the first epoch of each stage"
    elif sum(seconds) < _BRIEF_S:
        words = f"under a minute on {processor()}"
    else:
        words = f"at most about {duration(sum(seconds))} on {processor()}, as if each stage began with the original"
    return "; ".join(filter(None, (words, safe)))


def long_run(methods: Sequence[Method], tasks: Sequence[Task], step: StepTime | None) -> str | None:
    """Returns a warning if a flow is long and an interruption would lose it; else `None`."""
    seconds: Any = _seconds(methods, tasks, step)
    return warning_of_seconds(0.0 if seconds is None else sum(seconds), tasks[0])
