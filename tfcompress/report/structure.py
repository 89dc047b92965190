"""Structure in an inspection: layers and blocks that may go, and what of the others may be smaller."""

from __future__ import annotations

import dataclasses
from typing import Any

from tfcompress.costs import CostModel
from tfcompress.costs.budget import share_that_reaches
from tfcompress.graph import find_sections
from tfcompress.report.names import grouped, short

__all__ = ["Shallower", "Shrinking"]

_STUDENTS = 12  # whose costs are shown
_KINDS = {"kernel_size": "kernel sizes", "padding": "paddings", "outputs": "outputs"}


@dataclasses.dataclass(frozen=True)
class Shrinking:
    """The decisions of method="n2n" on a model.

    Attributes:
        sequence: the layers that it reads one after the other.
        removable: those of them that may be removed.
        smaller: by kind ("kernel_size", "padding", "outputs") the layers of which it may lower that.
    """

    sequence: tuple[str, ...]
    removable: tuple[str, ...]
    smaller: dict[str, tuple[str, ...]]

    @classmethod
    def of(cls, costs: CostModel) -> Shrinking:
        """The decisions on the model of these costs."""
        from tfcompress.methods.n2n.space import Space  # here, as a method is loaded when it is asked for

        space = Space.of(costs)
        sequence, variables = space.removable.sequence.nodes, space.shrinkable.variables
        removable = tuple(name for name, may in zip(sequence, space.removable.allowed, strict=True) if may)
        smaller = {kind: tuple(v.node for v in variables if v.what == kind) for kind in _KINDS}
        return cls(tuple(sequence), removable, smaller)

    def lines(self) -> list[str]:
        """Lines of text."""
        counts = f"{len(self.removable)} of {len(self.sequence)}"
        lines = [f"  layers that may be removed, {counts}: {grouped(self.removable)}"]
        for kind, nodes in self.smaller.items():
            lines.append(f"  {_KINDS[kind]} that may be smaller, {len(nodes)}: {grouped(nodes)}")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data."""
        smaller = {kind: list(nodes) for kind, nodes in self.smaller.items()}
        return {"sequence": list(self.sequence), "removable": list(self.removable), "smaller": smaller}


@dataclasses.dataclass(frozen=True)
class Section:
    """A section of a model: so many blocks up to a node, with the shape of its output."""

    name: str
    blocks: int
    exit: str
    output_shape: tuple[int | None, ...]


@dataclasses.dataclass(frozen=True)
class Shallower:
    """The sections of a model, and the students that method="lit", "kd", "hint" and "scratch" can make of them.

    Attributes:
        entry: the node that the first section reads; "" where there are no sections.
        sections: the sections.
        students: blocks in each section with the MACs that this leaves, from all blocks to one in each section.
        total_macs: of the model.
    """

    entry: str
    sections: tuple[Section, ...]
    students: tuple[tuple[tuple[int, ...], int], ...]
    total_macs: int

    @classmethod
    def of(cls, costs: CostModel) -> Shallower:
        """The sections and students of the model of these costs."""
        from tfcompress.methods.distillation.students import fewer_and_fewer, shallow_plan

        graph, total = costs.groups.graph, costs.total.macs
        try:
            sections = find_sections(graph)
        except ValueError:
            return cls("", (), (), total)
        free = (True,) * len(sections)
        blocks = list(fewer_and_fewer(sections, free))
        macs = [shallow_plan(sections, costs, each, None, free)[1].macs for each in blocks]
        plain = tuple(Section(s.name, s.blocks, s.exit.node, tuple(graph.shape(s.exit))) for s in sections)
        return cls(sections.boundaries[0], plain, tuple(zip(blocks, macs, strict=True)), total)

    def lines(self) -> list[str]:
        """Lines of text; of many students some."""
        if not self.sections:
            return [
                "  no sections, as no blocks that keep the shape of what they read are repeated: give a student of "
                "your own (student=), or remove channels"
            ]
        steps = max(1, -(-(len(self.students) - 1) // (_STUDENTS - 1)))
        shown = dict([*self.students[::steps], self.students[-1]])
        shares = [f"{','.join(map(str, blocks))} ({self._share(macs)})" for blocks, macs in shown.items()]
        count = len(self.students)
        number = f"{len(shown)} of {count}" if len(shown) < count else str(count)
        return [
            f"  stem: up to {short(self.entry)}",
            *(f"  {s.name}: {s.blocks} blocks, to {short(s.exit)} {s.output_shape}" for s in self.sections),
            "  head: the rest",
            f"  students by blocks in each section, and the flops_budget that reaches them, {number}: "
            + ", ".join(shares),
        ]

    def _share(self, macs: int) -> str:
        return share_that_reaches(macs, self.total_macs) if self.total_macs else "no MACs counted"

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, with all students."""
        return {
            "entry": self.entry or None,
            "sections": [dataclasses.asdict(s) | {"output_shape": list(s.output_shape)} for s in self.sections],
            "students": [
                {"blocks": list(blocks), "macs": macs, "flops_budget": self._budget(macs)}
                for blocks, macs in self.students
            ],
        }

    def _budget(self, macs: int) -> float | None:
        return float(self._share(macs)) if self.total_macs else None
