"""Sections: the parts of a network in which a pattern of layers is repeated, between a stem and a head.

"In this work, we only consider adding the IR loss between natural split points, e.g., when a downsampling occurs"
(LIT, section 3). A section ends where its last repeated block ends, and begins where the section before it ended:
the layers that change the shape are at its beginning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfcompress.graph.layer_graph import LayerGraph, TensorRef
from tfcompress.graph.regions import (
    Chains,
    Segment,
    calls_of,
    context_of,
    is_called_outside,
    segments_of,
    without_context,
)

__all__ = ["Section", "Sections", "bypasses", "find_sections"]


@dataclass(frozen=True, eq=False)
class Section:
    """A part of a network with one input and one output tensor, in which blocks are repeated.

    Attributes:
        name: "section1" for the first.
        entry: the input tensor.
        exit: the output tensor.
        nodes: all nodes in it, in the order of the graph.
        repeated: the nodes of each block that can be removed, because its output has the shape of its input.
        blocks: number of blocks: those in `repeated`, and one more if something with weights comes before them
            (the block that changes the shape). One always stays.
    """

    name: str
    entry: TensorRef
    exit: TensorRef
    nodes: tuple[str, ...]
    repeated: tuple[tuple[str, ...], ...]
    blocks: int

    def removed(self, blocks: int) -> tuple[str, ...]:
        """Returns the nodes to remove so that the first `blocks` blocks stay.

        Raises:
            ValueError: not between 1 and the number of blocks.
        """
        if not 1 <= blocks <= self.blocks:
            raise ValueError(
                f"Expected between 1 and {self.blocks} blocks for {self.name}, as it has {self.blocks}. "
                f"Received: {blocks}"
            )
        gone = self.repeated[len(self.repeated) - (self.blocks - blocks) :]
        return tuple(node for unit in gone for node in unit)


@dataclass(frozen=True, eq=False)
class Sections:
    """A network as stem, sections and head.

    Attributes:
        graph: the network.
        sections: at least one.
        points: the nodes between which blocks were searched: every path to one of them goes through the one before.
    """

    graph: LayerGraph
    sections: tuple[Section, ...]
    points: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Section]:
        return iter(self.sections)

    def __len__(self) -> int:
        return len(self.sections)

    @property
    def blocks(self) -> tuple[int, ...]:
        """Number of blocks of each section."""
        return tuple(section.blocks for section in self.sections)

    @property
    def boundaries(self) -> tuple[str, ...]:
        """The nodes at which the network is split: the input of the first section, and the output of each section.

        Every path to one of them goes through the one before it.
        """
        return (self.sections[0].entry.node, *(section.exit.node for section in self.sections))

    def removed(self, blocks: Sequence[int]) -> tuple[str, ...]:
        """Returns the nodes to remove so that section i keeps its first `blocks[i]` blocks."""
        if len(blocks) != len(self.sections):
            raise ValueError(f"Expected a number of blocks for each of {len(self)} sections. Received: {blocks!r}")
        return tuple(node for section, count in zip(self, blocks, strict=True) for node in section.removed(count))

    def __str__(self) -> str:
        lines = [f"stem: up to {self.boundaries[0]}"]
        lines += [f"{s.name}: {s.blocks} blocks, to {s.exit.node} {self.graph.shape(s.exit)}" for s in self]
        return "\n".join([*lines, "head: the rest"])


@dataclass(frozen=True)
class _Run:
    """Segments `[start, end)`: a repeated pattern of `period` segments, counted from the end."""

    start: int
    end: int
    period: int

    @property
    def units(self) -> list[range]:
        first = self.start + (self.end - self.start) % self.period
        return [range(at, at + self.period) for at in range(first, self.end, self.period)]


def _runs(segments: list[Segment]) -> list[_Run]:
    """Returns repeated patterns, short ones first, and single residual blocks in the rest."""
    numbers: dict[Any, int] = {}
    kinds = np.array([numbers.setdefault(segment.signature, len(numbers)) for segment in segments])
    # What can be left out, and what a section can be fed with.
    free = np.array([segment.entry is not None and not segment.leaks for segment in segments], dtype=bool)
    weighty = np.array([segment.has_weights for segment in segments])
    runs: list[_Run] = []

    def take(run: _Run) -> None:
        units = run.units
        if free[run.start : run.end].all() and units and weighty[units[-1]].any():
            runs.append(run)
            free[run.start : run.end] = False

    for period in range(1, len(segments) // 2 + 1):
        same = (kinds[:-period] == kinds[period:]) & free[:-period] & free[period:]
        for start, end in _stretches(same):
            if end - start >= period:
                take(_Run(start, end + period, period))
    for period in (2, 1):  # with what follows each sum of the network, such as a ReLU, where that stands before it too
        for at in [i for i, segment in enumerate(segments) if segment.is_residual and free[i]]:
            if period == 1:
                take(_Run(at, at + 1, 1))
            elif 0 < at < len(segments) - 1 and kinds[at - 1] == kinds[at + 1] and not weighty[at + 1]:
                take(_Run(at - 1, at + 2, 2))
    return sorted(runs, key=lambda run: run.start)


def _deepest(chains: Chains, segments: list[Segment]) -> tuple[list[Segment], list[_Run]]:
    """Returns the chain with the repeated blocks, and its runs: these segments, or a chain inside one with more.

    A long skip makes one segment of everything that it bypasses. Inside segments only a real repetition counts: of
    parts with branches, or of three other parts. So the two convolutions of a residual block are not blocks themselves.
    """
    best = segments, _runs(segments)
    within = {i for run in best[1] if len(run.units) > 1 for i in range(run.start, run.end)}
    for i, segment in enumerate(segments):
        if i in within or segment.entry is None or len(segment.nodes) < 4:
            continue
        for branch in chains.inside(segment):
            inner = _deepest(chains, branch)
            if _is_repetition(*inner) and _blocks(inner[1]) > _blocks(best[1]):
                best = inner
    return best


def _blocks(runs: list[_Run]) -> int:
    return sum(len(run.units) for run in runs)


def _is_repetition(segments: list[Segment], runs: list[_Run]) -> bool:
    return any(
        len(run.units) > 2 or (len(run.units) == 2 and any(len(segments[i].nodes) > 1 for i in run.units[-1]))
        for run in runs
    )


def _stretches(same: Any) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], same.astype(int), [0]])))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def find_sections(graph: LayerGraph) -> Sections:
    """Splits a network into stem, sections and head.

    Blocks are found by repetition along the nodes on every path, so residual blocks, transformer encoders and plain
    chains of convolutions are all found; so is a single residual block with an identity shortcut. Blocks in sequence
    without a change of shape are one section. If a long skip bypasses more blocks than there are outside (SRResNet),
    the sections are those inside; the skip belongs to the head. Tensors computed from the inputs without weights, such
    as a padding mask, may be read by all blocks.

    Args:
        graph: a network with any number of inputs and outputs.

    Returns:
        The sections.

    Raises:
        ValueError: a network without removable blocks.
    """
    along = segments_of(graph)
    segments, runs = _deepest(Chains(graph), along)
    if (plain := without_context(graph)) is not graph:
        beside = _deepest(Chains(plain), segments_of(plain))
        if _blocks(beside[1]) > _blocks(runs):
            segments, runs = beside
    groups: list[list[_Run]] = []
    for run in runs:
        first = run.units[0].start
        if groups and groups[-1][-1].end >= first:
            groups[-1].append(run)
        else:
            groups.append([run])
    if not groups:
        raise ValueError(
            "Expected a network with repeated blocks that keep the shape of their input, such as a ResNet. "
            f"Received: the model {graph.name!r}, in which {len(along)} parts follow one another and none "
            "could be left out. Give a student of your own (student=, with split_points= for 'lit' and 'hint'), or "
            "prune its channels (method='uniform')."
        )
    sections: list[Section] = []
    start = _start_of_first(segments, groups[0][0])
    for number, runs_here in enumerate(groups, start=1):
        end = runs_here[-1].end
        units = [unit for run in runs_here for unit in run.units]
        inside = {i for unit in units for i in unit}
        leads = any(segments[i].has_weights for i in range(start, end) if i not in inside)
        sections.append(
            Section(
                name=f"section{number}",
                entry=TensorRef(str(segments[start].entry)),
                exit=TensorRef(segments[end - 1].exit),
                nodes=_names(segments[start:end]),
                repeated=tuple(_with_own_context(graph, _names([segments[i] for i in unit])) for unit in units),
                blocks=len(units) + leads,
            )
        )
        start = end
    entries = [segment.entry for segment in segments[:1] if segment.entry is not None]
    return Sections(graph, tuple(sections), (*entries, *(segment.exit for segment in segments)))


def _names(segments: Sequence[Segment]) -> tuple[str, ...]:
    return tuple(node.name for segment in segments for node in segment.nodes)


def _with_own_context(graph: LayerGraph, unit: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the nodes of a block, and those of the context that nothing else reads."""
    own, context, ends = set(unit), context_of(graph), {ref.node for ref in graph.output_refs}
    for node in reversed(list(graph.nodes.values())):
        if node.name in context and not node.is_input and node.name not in ends:
            readers = {reader for ref in node.outputs for reader in graph.readers.get(ref, ())}
            if readers and readers <= own:
                own.add(node.name)
    return tuple(name for name in graph.nodes if name in own)


def _start_of_first(segments: list[Segment], run: _Run) -> int:
    """Returns where the first section begins: before the block that changes the shape, if there is one."""
    first = run.units[0].start
    before = range(max(first - run.period, 0), first)
    branching = any(len(segments[i].nodes) > 1 for unit in run.units for i in unit)
    if branching and any(len(segments[i].nodes) > 1 and segments[i].entry is not None for i in before):
        return next(i for i in before if len(segments[i].nodes) > 1)
    return first


def bypasses(graph: LayerGraph, nodes: Sequence[str], any_shape: bool = False) -> dict[TensorRef, TensorRef]:
    """Returns tensors to use instead of the outputs of removed nodes: the inputs of the removed parts.

    Args:
        graph: the network.
        nodes: the nodes to remove.
        any_shape: whether the input of a removed part may differ in shape from its output.

    Returns:
        `{output of a removed node: remaining tensor}`, for the outputs that the rest reads.

    Raises:
        KeyError: a name is not a node of the graph.
        ValueError: a part has several inputs (except masks and similar, see `context_of`), or an input of another shape
            than its output, or contains one call of a layer that is called elsewhere too.
    """
    unknown = sorted(set(nodes) - graph.nodes.keys())
    if unknown:
        raise KeyError(f"Expected names of nodes of {graph.name!r}. Received: {unknown}")
    gone, calls = set(nodes), calls_of(graph)
    sources: dict[TensorRef, frozenset[TensorRef]] = {}
    for node in graph.nodes.values():
        if node.name not in gone:
            continue
        if is_called_outside(node, gone, calls):
            raise ValueError(
                f"Expected all calls of a layer to be removed, or none. Received: {node.name!r}, of a "
                f"layer that is also called as {sorted(calls[node.layer_name] - gone)}."
            )
        coming = frozenset().union(*(sources.get(ref, frozenset([ref])) for ref in node.inputs))
        sources.update(dict.fromkeys(node.outputs, coming))
    read = {ref for node in graph.nodes.values() if node.name not in gone for ref in node.inputs}
    replacements = {}
    for ref in [ref for ref in sources if ref in read or ref in graph.output_refs]:
        coming = sources[ref]
        if len(coming) > 1:
            # Of what has another shape, a mask cannot be what is passed on.
            fitting = frozenset(source for source in coming if graph.shape(source) == graph.shape(ref))
            coming = fitting if {source.node for source in coming - fitting} <= context_of(graph) else coming
        if len(coming) != 1 or not (any_shape or graph.shape(next(iter(coming))) == graph.shape(ref)):
            shown = ", ".join(f"{source.node} {graph.shape(source)}" for source in sorted(coming, key=str)) or "nothing"
            raise ValueError(
                "Expected removed layers with outputs of the same shape as their inputs. Received: "
                f"{ref.node} {graph.shape(ref)}, made from {shown}."
            )
        replacements[ref] = next(iter(coming))
    return replacements
