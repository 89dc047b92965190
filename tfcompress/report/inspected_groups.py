"""Channel groups and fixed channels in the text of an inspection: those that differ in numbers alone are one line."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

from tfcompress.graph import ChannelGroup, FixedChannels
from tfcompress.report.names import alike, grouped, pattern, short

__all__ = ["fixed_lines", "group_lines"]

_Member = TypeVar("_Member")


def group_lines(groups: Iterable[ChannelGroup]) -> list[str]:
    """A line for each group, or for several that are alike."""
    lines = []
    for members in _alike((_key_of_group(group), group) for group in groups):
        first = members[0]
        name, producers = _names([[m.name] for m in members]), _names([m.producers for m in members])
        through, read = (_names([getattr(m, key) for m in members]) for key in ("carriers", "readers"))
        line = f"{name}: {first.size} channels, written by {producers}"
        line += f", through {through}" * bool(first.carriers) + f", read by {read if first.readers else 'nothing'}"
        lines.append(line + _count(members, "groups"))
    return lines


def fixed_lines(fixed: Iterable[FixedChannels]) -> list[str]:
    """A line for each layer whose channels stay, or for several that are alike."""
    lines = []
    for members in _alike(((f.channels, alike([f.layer, f.node]), alike([f.reason])), f) for f in fixed):
        layer, node = (_names([[getattr(m, key)] for m in members]) for key in ("layer", "node"))
        reason = pattern([member.reason for member in members])
        lines.append(f"{layer}: {members[0].channels} channels stay: {reason} (at {node}){_count(members, 'layers')}")
    return lines or ["nothing"]


def _key_of_group(group: ChannelGroup) -> Hashable:
    return group.size, *(alike(names) for names in ([group.name], group.producers, group.carriers, group.readers))


def _alike(items: Iterable[tuple[Hashable, _Member]]) -> Iterable[list[_Member]]:
    """The members of each key, in the order of the first ones."""
    kinds: dict[Hashable, list[_Member]] = {}
    for key, member in items:
        kinds.setdefault(key, []).append(member)
    return kinds.values()


def _names(lists: Sequence[Sequence[str]]) -> str:
    """Lists of names that differ in their numbers alone, as one."""
    names = [pattern(column) for column in zip(*lists, strict=True)]
    return short(names[0]) if len(names) == 1 else grouped(names)


def _count(members: Sequence[object], words: str) -> str:
    return f" ({len(members)} {words} alike)" if len(members) > 1 else ""
