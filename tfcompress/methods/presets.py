"""Describes presets: which one a method has, which settings differ, and its work compared to "fast"."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from tfcompress.methods.base import Method
from tfcompress.task import Task
from tfcompress.training import PhasePlan

__all__ = ["nearest_preset", "share_of_fast", "words_for_preset", "work"]

_SHOWN = 4  # settings that a sentence names
_WORTH_SAYING = 0.8  # shares of the work below this one


def nearest_preset(method: Method) -> tuple[str, dict[str, Any]]:
    """Returns the preset from which a method differs in the fewest settings, and these settings with their values.

    It depends only on the settings, so it is known for any instance, however it was made.
    """
    fields = dataclasses.fields(method)  # type: ignore[arg-type]
    defaults = {
        field.name: field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        for field in fields
    }
    own = {name: getattr(method, name) for name in defaults}
    changes = {}
    for preset, settings in {"balanced": {}, **type(method).presets()}.items():
        given = {**defaults, **settings}
        changes[preset] = {name: value for name, value in own.items() if not _same(value, given[name])}
    name = min(changes, key=lambda preset: len(changes[preset]))
    return name, changes[name]


def _same(value: Any, given: Any) -> bool:
    return value is given or (type(value) is type(given) and bool(value == given))


def words_for_preset(method: Method) -> list[str]:
    """Returns a phrase for a method's preset, such as "preset fast, except epochs=8"; empty for one without presets."""
    if len(type(method).presets()) == 1:
        return []
    preset, changes = nearest_preset(method)
    if not changes:
        return [f"preset {preset}"]
    if len(changes) > _SHOWN:
        return [f"preset {preset}, except for {len(changes)} settings"]
    return [f"preset {preset}, except {', '.join(_said(*change) for change in changes.items())}"]


def _said(name: str, value: Any) -> str:
    is_short = isinstance(value, (bool, int, float, str, tuple, type(None))) and len(repr(value)) <= 30
    return f"{name}={value!r}" if is_short else name


def work(phases: Iterable[PhasePlan]) -> float:
    """Returns the work of phases, in epochs of training the whole model."""
    return sum((phase.epochs + phase.extra) * phase.cost for phase in phases)


def share_of_fast(method: Method, task: Task) -> float | None:
    """Returns the work of preset "fast" as a share of a method's work, with the method's other changes kept.

    Returns:
        `None` if there is no such preset, or the saving is small.
    """
    fast: Mapping[str, Any] | None = type(method).presets().get("fast")
    preset, changes = nearest_preset(method)
    whole = work(method.phases(task))
    if fast is None or preset == "fast" or not whole:
        return None
    others = {name: value for name, value in changes.items() if name not in fast}
    try:
        share = work(type(method).with_preset("fast", **others).phases(task)) / whole
    except ValueError:  # what was changed does not go with it
        return None
    return share if share < _WORTH_SAYING else None
