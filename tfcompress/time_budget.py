"""`time_budget`: fits the length of a run to the time available."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tfcompress import expect
from tfcompress.methods import Method
from tfcompress.task import Task
from tfcompress.training import StepTime, duration
from tfcompress.training.forecast import Forecast

__all__ = ["fitted_settings", "given_time", "span_of", "words_for_fitted"]

_UNITS = {"s": 1, "sec": 1, "min": 60, "m": 60, "h": 3600, "d": 86400}
_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(s|sec|min|m|h|d)\b\.?")
_SHARES = 50  # steps in which settings become smaller


def given_time(value: Any) -> float | None:
    """Returns the time budget of a call in seconds.

    Args:
        value: a text such as "1h", "1 h 30 min" or "45 min", or a number of seconds; `None` for none.

    Raises:
        TypeError, ValueError: anything else.
    """
    what = 'a time such as "1h" or "45 min", or a number of seconds above 0'
    if value is None:
        return None
    if isinstance(value, str):
        parts = _PART.findall(value)
        if not parts or _PART.sub("", value).strip():
            expect.refuse("time_budget", what, value)
        value = sum(float(number) * _UNITS[unit] for number, unit in parts)
    seconds: float = expect.number("time_budget", value, above=0)
    return seconds


def fitted_settings(method: Method, task: Task, step: StepTime | None, seconds: float) -> dict[str, Any]:
    """Returns the settings with which a method takes at most `seconds`, by the measured time of a step.

    The settings that preset "fast" reduces (episodes, updates, epochs) all shrink by one common share, down to that
    preset; if that still takes too long, the epochs shrink further.

    Args:
        method: the method.
        task: the task.
        step: the time of an epoch.
        seconds: the time available.

    Returns:
        The settings that differ from the method's, empty if the run is short enough without changes.

    Raises:
        ValueError: no step could be timed, or even the shortest run takes longer.
    """
    shortest = None
    for changes, shortest in _times(method, task, step):
        if shortest <= seconds:
            return changes
    least = "" if shortest is None else f", which is at least {duration(shortest)} here"
    raise ValueError(
        f"Expected `time_budget` to be long enough for a run{least}. Received: {duration(seconds)}. Give more time, "
        'less data, or another method, such as "uniform".'
    )


def span_of(method: Method, task: Task, step: StepTime | None) -> tuple[float, float]:
    """Returns the seconds of the shortest run that `fitted_settings` could make of a method, and those of the method.

    Raises:
        ValueError: no step could be timed.
    """
    times = [seconds for _, seconds in _times(method, task, step)]
    return times[-1], times[0]


def _times(method: Method, task: Task, step: StepTime | None) -> Iterator[tuple[dict[str, Any], float]]:
    """Yields changes of settings that make a run ever shorter, with its seconds.

    Raises:
        ValueError: no step could be timed.
    """
    for changes in _ever_shorter(method.for_data(task)):
        try:
            shorter = dataclasses.replace(method, **changes) if changes else method  # type: ignore[type-var]
            parts = Forecast(shorter.phases(task), step).whole()
        except ValueError:  # settings that do not go together
            continue
        if parts is None:
            raise ValueError(
                "Expected data of a known length, and a model whose training step can be timed, for time_budget. "
                "Received: no timed step. Leave time_budget out, and give epochs=."
            )
        yield changes, sum(parts.values())


def _ever_shorter(method: Method) -> Iterator[dict[str, Any]]:
    """Yields changes of settings that make a run ever shorter."""
    fast: Mapping[str, Any] = type(method).fast or {}
    least = {name: value for name, value in fast.items() if type(value) is int and _larger(method, name, value)}
    if "epochs" not in least and _larger(method, "epochs", 1):
        least["epochs"] = min(5, getattr(method, "epochs"))  # noqa: B009  (not every method has it)
    yield {}
    seen: list[dict[str, Any]] = [{}]
    for left in range(_SHARES - 1, -1, -1):
        changes = {name: low + (getattr(method, name) - low) * left // _SHARES for name, low in least.items()}
        if changes not in seen:
            seen.append(changes)
            yield changes
    for epochs in range(least.get("epochs", 1) - 1, 0, -1):
        yield {**least, "epochs": epochs}


def _larger(method: Method, name: str, value: int) -> bool:
    own = getattr(method, name, None)
    return type(own) is int and own > value


def words_for_fitted(method: Method, task: Task, changes: Mapping[str, Any], seconds: float) -> str:
    """Returns a line on the settings that were fitted, such as "time_budget 1 h 0 min: epochs 30 -> 12"."""
    before = method.for_data(task)
    said = [f"{name} {getattr(before, name)} -> {value}" for name, value in changes.items()]
    return f"time_budget {duration(seconds)}: {', '.join(said) or 'all settings stay, the run takes less'}"
