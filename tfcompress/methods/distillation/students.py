"""How a shallower student comes about: which blocks stay, which groups of grouped convolutions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tfcompress.costs import Cost, CostModel
from tfcompress.graph import Sections
from tfcompress.plan import KeepChannels, Plan

__all__ = ["even_blocks", "lower_cardinality", "shallow_plan"]


def even_blocks(
    sections: Sections, fits: Callable[[tuple[int, ...]], bool], free: Sequence[bool]
) -> tuple[int, ...] | None:
    """How many blocks stay in each section when they are removed one by one, evenly, until the student fits.

    Each one is taken from the section of which the largest share is left, of several from the last.

    Args:
        sections: of the network.
        fits: whether a student with these blocks is within the budget.
        free: for each section whether it may lose blocks.

    Returns:
        The numbers; `None` if not even one block each fits.
    """
    blocks = list(sections.blocks)
    while not fits(tuple(blocks)):
        shares = [
            (left / whole, number)
            for number, (left, whole, may) in enumerate(zip(blocks, sections.blocks, free, strict=True))
            if may and left > 1
        ]
        if not shares:
            return None
        blocks[max(shares)[1]] -= 1
    return tuple(blocks)


def lower_cardinality(costs: CostModel, cardinality: int | None, inside: set[str]) -> tuple[KeepChannels, ...]:
    """Edits that leave `cardinality` of the groups of every grouped convolution that has more, and the width around it.

    "The width of the network is not affected by the group size, so LIT is oblivious to the group size" (section 4.1).

    Args:
        costs: of what the removed layers leave.
        cardinality: how many groups stay; `None` for all.
        inside: layers of the sections.
    """
    if cardinality is None:
        return ()
    found = []
    for group in costs.groups:
        grouped = [
            layer
            for layer in group.producers
            if layer in inside and getattr(costs.groups.layers[layer].node.operation, "groups", 1) == group.size
        ]
        if grouped and group.size > cardinality:
            found.append(KeepChannels(group.name, tuple(range(cardinality))))
    return tuple(found)


def shallow_plan(
    sections: Sections, costs: CostModel, blocks: Sequence[int], cardinality: int | None, free: Sequence[bool]
) -> tuple[Plan, Cost]:
    """The plan that leaves `blocks[i]` blocks of section i, those that are free at a lower cardinality; its cost."""
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
