"""The differences between two fingerprints, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tfcompress.fingerprint.hashing import SHA256

__all__ = ["differences"]

_NAMED = 6  # layers that are named one by one


class _Absent:
    def __repr__(self) -> str:
        return "absent"


_ABSENT = _Absent()


def differences(then: Any, now: Any, key: str = "") -> list[str]:
    """Returns each key whose value differs, nested ones as `method.epochs`; for models the layers."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        if {"names", "architecture", "weights"} <= then.keys() & now.keys():
            return _between_models(then, now, key)
        keys = [*then, *(name for name in now if name not in then)]
        lines = []
        for name in keys:
            inner = f"{key}.{name}" if key else name
            lines += differences(then.get(name, _ABSENT), now.get(name, _ABSENT), inner)
        return lines
    if then == now or repr(then) == repr(now):  # a NaN is equal to another in its text only
        return []
    if _is_digest(then) and _is_digest(now):
        return [f"{key}: another content than in the folder"]
    return [f"{key}: {then!r} in the folder, {now!r} now"]


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(SHA256)


def _between_models(then: Mapping[str, Any], now: Mapping[str, Any], key: str) -> list[str]:
    counts = [len(model["names"]) for model in (then, now)]
    if counts[0] != counts[1]:
        return [f"{key}.architecture: {counts[0]} layers in the folder, {counts[1]} now"]
    lines = []
    for part, words in (("architecture", "differs in"), ("weights", "differ in")):
        names = [*now["names"], *(["its inputs and outputs"] * (len(now[part]) - counts[1]))]
        places = [at for at, pair in enumerate(zip(then[part], now[part], strict=True)) if pair[0] != pair[1]]
        if places:
            lines.append(f"{key}.{part}: {words} {_layers(places, names)}")
    return lines


def _layers(places: Sequence[int], names: Sequence[str]) -> str:
    shown = ", ".join(names[at] for at in places[:_NAMED])
    if len(places) == len(names):
        return f"all {len(names)} layers" if len(names) > 1 else f"layer {shown}"
    rest = f" and {len(places) - _NAMED} more" if len(places) > _NAMED else ""
    return f"layer{'s' if len(places) > 1 else ''} {shown}{rest}"
