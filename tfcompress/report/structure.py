"""Structure in the text of `inspect`: layers and blocks that may be removed, and which others may be smaller."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from tfcompress.costs import CostModel
from tfcompress.costs.budget import share_that_reaches
from tfcompress.graph import find_sections

__all__ = ["grouped", "section_lines", "structure_lines"]

_FEW = 8  # names that are shown one by one
_STUDENTS = 12  # whose costs are shown
_KINDS = {"kernel_size": "kernel sizes", "padding": "paddings", "outputs": "outputs"}


def structure_lines(costs: CostModel) -> list[str]:
    """Returns lines on the decisions of method="n2n": layers that it may remove, and variables that it may reduce."""
    from tfcompress.methods.n2n.space import Space  # here, as a method is loaded when it is asked for

    space = Space.of(costs)
    sequence, allowed = space.removable.sequence.nodes, space.removable.allowed
    removable = [name for name, may in zip(sequence, allowed, strict=True) if may]
    lines = [f"  layers that may be removed, {len(removable)} of {len(sequence)}: {grouped(removable)}"]
    for what, words in _KINDS.items():
        nodes = [variable.node for variable in space.shrinkable.variables if variable.what == what]
        lines.append(f"  {words} that may be smaller, {len(nodes)}: {grouped(nodes)}")
    return lines


def section_lines(costs: CostModel) -> list[str]:
    """Returns lines on the decisions of method="lit": the sections, and the budget that leads to each student."""
    from tfcompress.methods.distillation.students import fewer_and_fewer, shallow_plan

    graph, total = costs.groups.graph, costs.total.macs
    try:
        sections = find_sections(graph)
    except ValueError:
        return [
            "  no sections, as no blocks that keep the shape of what they read are repeated: give a student of your "
            "own (student=), or remove channels"
        ]
    free = (True,) * len(sections)
    students = list(fewer_and_fewer(sections, free))
    steps = max(1, -(-(len(students) - 1) // (_STUDENTS - 1)))
    shown = dict.fromkeys([*students[::steps], students[-1]])
    shares = []
    for blocks in shown:
        macs = shallow_plan(sections, costs, blocks, None, free)[1].macs
        share = share_that_reaches(macs, total) if total else "no MACs counted"
        shares.append(f"{','.join(map(str, blocks))} ({share})")
    number = f"{len(shown)} of {len(students)}" if len(shown) < len(students) else str(len(students))
    return [
        *(f"  {line}" for line in str(sections).splitlines()),
        f"  students by blocks in each section, and the flops_budget that reaches them, {number}: {', '.join(shares)}",
    ]


def grouped(names: Iterable[str]) -> str:
    """Returns names as text; names that differ only in numbers are shown once if there are many: `block*_conv1 (8)`.

    Args:
        names: names, in the order to show them.
    """
    left = list(names)
    if not left:
        return "none"
    return ", ".join(left if len(left) <= _FEW else _merged(left))


def _merged(names: list[str]) -> Iterator[str]:
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(re.sub(r"\d+", "*", name), []).append(name)
    for members in alike.values():
        yield members[0] if len(members) == 1 else f"{_pattern(members)} ({len(members)})"


def _pattern(names: list[str]) -> str:
    """Returns a pattern for names that differ only in numbers, with a star for each number that varies."""
    parts = zip(*(re.split(r"(\d+)", name) for name in names), strict=True)
    return "".join(values[0] if len(set(values)) == 1 else "*" for values in parts)
