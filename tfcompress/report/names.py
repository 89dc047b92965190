"""Names of layers as text: long ones shortened, and those that differ in their numbers alone as one."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator, Sequence

from tfcompress.report.table import shortened

__all__ = ["alike", "grouped", "pattern", "short"]

_FEW = 8  # names that are shown one by one
_ROOM = 40  # characters of a name


def short(name: str) -> str:
    """A name that leaves room beside it."""
    return shortened(name, _ROOM)


def grouped(names: Iterable[str]) -> str:
    """Names as text; where they are many, those that differ in their numbers alone are one, such as `block*_conv1 (8)`.

    Args:
        names: in the order in which they are shown.
    """
    left = list(names)
    if not left:
        return "none"
    return ", ".join(map(short, left) if len(left) <= _FEW else _merged(left))


def alike(names: Sequence[str]) -> Hashable:
    """A key that is the same for lists of names which differ in their numbers alone."""
    return tuple(re.sub(r"\d+", "*", name) for name in names)


def pattern(names: Sequence[str]) -> str:
    """Names alike but for their numbers, with a star for each number that is not the same in all."""
    parts = zip(*(re.split(r"(\d+)", name) for name in names), strict=True)
    return "".join(values[0] if len(set(values)) == 1 else "*" for values in parts)


def _merged(names: list[str]) -> Iterator[str]:
    kinds: dict[Hashable, list[str]] = {}
    for name in names:
        kinds.setdefault(alike([name]), []).append(name)
    for members in kinds.values():
        yield short(members[0]) if len(members) == 1 else f"{short(pattern(members))} ({len(members)})"
