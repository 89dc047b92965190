"""Shallower students: which blocks and which groups of grouped convolutions stay; or given models."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import keras

from tfcompress import expect
from tfcompress.costs import Cost, CostModel, cost
from tfcompress.costs.budget import share_that_reaches
from tfcompress.graph import Sections, find_sections
from tfcompress.plan import KeepChannels, Plan
from tfcompress.task import Task
from tfcompress.training.compiled import last_activation

__all__ = ["Blocks", "StudentChoice", "even_blocks", "fewer_and_fewer", "lower_cardinality", "shallow_plan"]

_NEAR = 0.1  # a budget that lacks no more than this share of a block misses it nearly

Blocks = tuple[int, ...]


def _students(name: str, value: Any) -> keras.Model | tuple[keras.Model, ...] | None:
    """Checks `student`."""
    what = "a built keras.Model, or a tuple of them"
    if value is None or isinstance(value, keras.Model):
        return value
    check = partial(expect.instance, kinds=keras.Model, what=what)
    models: tuple[keras.Model, ...] = expect.each(name, value, check, what, empty=False, or_none=True)
    return models


def _blocks(name: str, value: Any) -> tuple[Any, ...] | None:
    """Checks `blocks`: a tuple of whole numbers, or a tuple of such tuples."""
    what = "numbers of blocks, 1 or more for each section, or a sequence of these"
    nested = isinstance(value, (tuple, list)) and any(isinstance(entry, (tuple, list)) for entry in value)
    check = partial(expect.each, check=expect.whole, what=what, least=1, empty=False)
    blocks: tuple[Any, ...] | None = (
        expect.each(name, value, check, what) if nested else check(name, value, or_none=True)
    )
    return blocks


@dataclasses.dataclass(frozen=True)
class StudentChoice:
    """The choice of the student, or of a sequence of students, each of which learns from the one before.

    Attributes:
        student: given models; `None` if students are made from the teacher.
        blocks: number of blocks that stay in each section, for each student; `None` for as many as the budget allows.
        sections: which sections may lose blocks, counted from 1; `None` for all.
        cardinality: number of groups that each grouped convolution in a section keeps; `None` for all.

    Raises:
        TypeError, ValueError: a setting has another type, is out of range, or contradicts another.
    """

    student: keras.Model | tuple[keras.Model, ...] | None = None
    blocks: Blocks | tuple[Blocks, ...] | None = None
    sections: tuple[int, ...] | None = None
    cardinality: int | None = None

    def __post_init__(self) -> None:
        expect.settings(self, expect.whole, "cardinality", least=1, or_none=True)
        sections = "numbers of sections, counted from 1"
        each_section = {"check": expect.whole, "what": sections, "least": 1, "empty": False, "or_none": True}
        expect.settings(self, expect.each, "sections", **each_section)
        expect.settings(self, _students, "student")
        both = self.student is not None and self.blocks is not None
        if both or (self.student is not None and (self.sections or self.cardinality)):
            raise ValueError(
                "Expected either `student`, or settings of a student to make (blocks, sections, cardinality). "
                "Received: both. Leave one of them out."
            )
        expect.settings(self, _blocks, "blocks")
        falling = all(
            len(earlier) == len(later) and all(a >= b for a, b in zip(earlier, later, strict=True))
            for earlier, later in itertools.pairwise(self.blocks_given)
        )
        if not falling:
            expect.refuse("blocks", "a sequence in which no section gains blocks", self.blocks)

    @property
    def given(self) -> tuple[keras.Model, ...]:
        """The given models."""
        if self.student is None:
            return ()
        return self.student if isinstance(self.student, tuple) else (self.student,)

    @property
    def blocks_given(self) -> tuple[Blocks, ...]:
        """The given numbers of blocks, for each student."""
        if self.blocks is None:
            return ()
        nested = isinstance(self.blocks[0], (tuple, list))
        return tuple(tuple(b) for b in self.blocks) if nested else (tuple(self.blocks),)  # type: ignore[arg-type]

    @property
    def count(self) -> int:
        """Number of students, each of which learns from the one before."""
        return len(self.given or self.blocks_given or (None,))

    @property
    def is_told(self) -> bool:
        """Whether the student is known without a budget."""
        return self.student is not None or self.blocks is not None

    @property
    def advice(self) -> str:
        """Advice for a budget below the cheapest student."""
        if self.is_told:
            return f"That is the cost of {'student' if self.blocks is None else f'blocks={self.blocks}'}."
        return (
            "That is the shallowest student, with one block in each section that may lose any; "
            "tfcompress.inspect(model) shows what each student costs. Ask for that share, and remove channels of the "
            "result with another method, such as 'uniform'; or give a smaller student with student=."
        )

    def least(self, costs: CostModel) -> Cost:
        """Returns the cost of the cheapest student."""
        if self.student is not None:
            return cost(self.given[-1])
        sections = find_sections(costs.groups.graph)
        blocks = (1,) * len(sections) if self.blocks is None else self.blocks_given[-1]
        return self._plan(sections, costs, self._with_free(sections, blocks))[1]

    def plans(self, task: Task) -> list[Plan]:
        """Returns the plan of each student in the sequence, all for the task's model.

        Raises:
            ValueError: no student meets the budget, or the requested one does not.
        """
        task.budget.check_reachable(task.costs.total, self.least(task.costs), self.advice)
        sections = find_sections(task.groups.graph)
        counts = [self._with_free(sections, blocks) for blocks in self.blocks_given]
        if not counts:
            make = partial(self._plan, sections, task.costs)
            even = even_blocks(sections, lambda blocks: task.fits(make(blocks)[1]), self._free(sections))
            assert even is not None  # the shallowest student fits
            counts = [even]
        return [self._plan(sections, task.costs, blocks)[0] for blocks in counts]

    def near_miss(self, task: Task) -> str | None:
        """Returns a sentence if a budget just misses one more block, else `None`."""
        if self.is_told:
            return None
        sections, total = find_sections(task.groups.graph), task.costs.total
        before: tuple[Blocks, Cost] | None = None
        for blocks in fewer_and_fewer(sections, self._free(sections)):
            _, now = self._plan(sections, task.costs, blocks)
            if not task.fits(now):
                before = blocks, now
                continue
            if before is None:
                return None
            more, cost_of_more = before
            over = [metric for metric, limit in task.limits.items() if cost_of_more[metric] > limit]
            if any(cost_of_more[m] - task.limits[m] > _NEAR * (cost_of_more[m] - now[m]) for m in over):
                return None
            given, asked = (
                " and ".join(said)
                for said in (map(task.budget.said, over), (task.budget.asked(m, cost_of_more, total) for m in over))
            )
            reached = " and ".join(f"{share_that_reaches(now[m], total[m])} of the {m}" for m in over)
            return (
                f"{given} leaves {blocks} blocks in the sections, {reached}; with {asked} there would be {more}, "
                "which is hardly more."
            )
        return None

    def check_given(self, task: Task) -> None:
        """Refuses given models that do not fit the teacher."""
        for student in self.given:
            _check_student(student, task.original)

    def _free(self, sections: Sections) -> tuple[bool, ...]:
        if self.sections is None:
            return (True,) * len(sections)
        unknown = [number for number in self.sections if not 1 <= number <= len(sections)]
        if unknown:
            raise ValueError(
                f"Expected `sections` between 1 and {len(sections)}, as in\n{sections}\nReceived: {unknown}"
            )
        return tuple(i in self.sections for i in range(1, len(sections) + 1))

    def _with_free(self, sections: Sections, blocks: Blocks) -> Blocks:
        if len(blocks) != len(sections):
            raise ValueError(f"Expected `blocks` for {len(sections)} sections, as in\n{sections}\nReceived: {blocks}")
        triples = list(zip(blocks, sections.blocks, self._free(sections), strict=True))
        if self.blocks is not None and any(count != whole for count, whole, may in triples if not may):
            raise ValueError(
                f"Expected `blocks` that keep all blocks of the sections not in sections={self.sections}, which "
                f"have {sections.blocks}. Received: blocks={blocks}"
            )
        return tuple(count if may else whole for count, whole, may in triples)

    def _plan(self, sections: Sections, costs: CostModel, blocks: Blocks) -> tuple[Plan, Cost]:
        plan, total = shallow_plan(sections, costs, blocks, self.cardinality, self._free(sections))
        if self.cardinality is not None and not plan.channels:
            raise ValueError(
                f"Expected grouped convolutions with more than {self.cardinality} groups in the sections. Received: "
                f"cardinality={self.cardinality} for the model {sections.graph.name!r}, which has none."
            )
        return plan, total


def _check_student(student: keras.Model, teacher: keras.Model) -> None:
    shapes = [(model.input_shape, model.output_shape) for model in (student, teacher)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"Expected a student with inputs and outputs like the teacher's, {shapes[1]}. Received: student "
            f"{student.name!r} with {shapes[0]}. Build it for the same inputs and classes."
        )
    if len(teacher.outputs) == 1 and last_activation(student) != last_activation(teacher):
        raise ValueError(
            f"Expected a student that ends as its teacher does, with {last_activation(teacher)!r}, as one loss has to "
            f"serve both. Received: student {student.name!r}, which ends with {last_activation(student)!r}. Give both "
            "logits, or both probabilities."
        )


def even_blocks(
    sections: Sections, fits: Callable[[tuple[int, ...]], bool], free: Sequence[bool]
) -> tuple[int, ...] | None:
    """Returns the number of blocks that stay in each section when they are removed evenly, until the student fits.

    Each one is removed from the section that has kept the largest share, of equal ones from the last.

    Args:
        sections: sections of the network.
        fits: whether a student with these blocks is within the budget.
        free: for each section whether it may lose blocks.

    Returns:
        The numbers; `None` if one block per section does not fit either.
    """
    return next((blocks for blocks in fewer_and_fewer(sections, free) if fits(blocks)), None)


def fewer_and_fewer(sections: Sections, free: Sequence[bool]) -> Iterator[tuple[int, ...]]:
    """Yields numbers of blocks in each section as they are removed one by one, from all of them to one in each.

    Args:
        sections: sections of the network.
        free: for each section whether it may lose blocks.
    """
    blocks = list(sections.blocks)
    while True:
        yield tuple(blocks)
        shares = [
            (left / whole, number)
            for number, (left, whole, may) in enumerate(zip(blocks, sections.blocks, free, strict=True))
            if may and left > 1
        ]
        if not shares:
            return
        blocks[max(shares)[1]] -= 1


def lower_cardinality(costs: CostModel, cardinality: int | None, inside: set[str]) -> tuple[KeepChannels, ...]:
    """Returns edits that keep `cardinality` groups of every grouped convolution with more, and the width around it.

    "The width of the network is not affected by the group size, so LIT is oblivious to the group size" (section 4.1).

    Args:
        costs: costs after the removal of layers.
        cardinality: number of groups to keep; `None` for all.
        inside: layers of the sections.
    """
    if cardinality is None:
        return ()
    edits = []
    for group in costs.groups:
        grouped = [
            layer
            for layer in group.producers
            if layer in inside and getattr(costs.groups.layers[layer].node.operation, "groups", 1) == group.size
        ]
        if grouped and group.size > cardinality:
            edits.append(KeepChannels(group.name, tuple(range(cardinality))))
    return tuple(edits)


def shallow_plan(
    sections: Sections, costs: CostModel, blocks: Sequence[int], cardinality: int | None, free: Sequence[bool]
) -> tuple[Plan, Cost]:
    """Returns the plan that keeps `blocks[i]` blocks of section i, free ones at a lower cardinality; and its cost."""
    removed = sections.removed(blocks)
    gone = set(removed)
    layers = {
        sections.graph.nodes[name].layer_name
        for section, may in zip(sections, free, strict=True)
        for name in section.nodes
        if may and name not in gone
    }
    plan = Plan.without(removed)
    if cardinality is not None:
        plan = Plan((*plan, *lower_cardinality(costs.after(plan), cardinality, layers)))
    return plan, costs.of(plan)
