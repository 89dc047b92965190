"""The widths in the shapes of a TensorFlow Lite file: which sizes follow which channel groups.

The model is converted as it is, and again with other widths (a *probe*), in which no two groups of one size keep the
same number. A size of the file is the width of those labels that has its value in all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from tfcompress.costs import CostModel
from tfcompress.costs.file_size import vary_vectors
from tfcompress.costs.latency import file_for_latency
from tfcompress.network import Network
from tfcompress.operators.lite_file import LiteFile, Operator, Shaped, written
from tfcompress.plan import Plan
from tfcompress.rewrite import apply

__all__ = ["FileOfWidths", "Unresolved", "WidthOperator"]

_Int = npt.NDArray[np.int64]
_PROBES = 4  # at most
_PADDINGS = ("PAD", "PADV2", "MIRROR_PAD")


class Unresolved(ValueError):
    """The sizes of a file do not follow from the widths of channel groups."""


@dataclass(frozen=True, eq=False)
class WidthOperator:
    """An operator whose sizes depend on what groups keep.

    Attributes:
        operator: the operator, in the file of the whole model.
        shapes: for each operand int64 `[rank, 1 + groups]`: a size is the product of a row with `[1, kept...]`.
        integers: the same for the content of operands that are constants of int32, else `None`.
        node: the graph's node that it computes, of several the first one with weights.
    """

    operator: Operator
    shapes: tuple[_Int, ...]
    integers: tuple[_Int | None, ...]
    node: str

    @cached_property
    def letters(self) -> _Int:
        """int64 `[letters, 1 + groups]`: the different widths in its shapes, that of the output last."""
        *inputs, output = [*self.shapes[: len(self.operator.inputs)], np.concatenate(self.outputs)]
        rows = [tuple(row) for shape in inputs for row in shape.tolist() if any(row[1:])]
        last = [tuple(row) for row in output.tolist() if any(row[1:])]
        ordered = [*dict.fromkeys(row for row in rows if row not in last), *dict.fromkeys(last)]
        return np.array(ordered, np.int64).reshape(len(ordered), self.shapes[-1].shape[1])

    @property
    def outputs(self) -> tuple[_Int, ...]:
        """Shapes of the outputs."""
        return self.shapes[len(self.operator.inputs) :]

    @cached_property
    def is_free(self) -> bool:
        """Whether its widths (at most two) may be chosen independently, whatever the groups are."""
        letters = self.letters
        known = {tuple(row) for row in letters.tolist()}
        inside = [row for rows in self.integers if rows is not None for row in rows.tolist() if any(row[1:])]
        return (
            len(letters) <= (1 if self.operator.kind in _PADDINGS else 2)
            and (not len(letters) or np.linalg.matrix_rank(letters[:, 1:]) == len(letters))
            and all(tuple(row) in known for row in inside)
        )

    def shaped(self, kept: _Int) -> Shaped:
        """Returns the operator when group i keeps `kept[i]` channels."""
        factors = np.concatenate([[1], kept])
        shapes = [(rows @ factors).tolist() for rows in self.shapes]
        return Shaped(self.operator, shapes, self._integers(shapes, lambda rows: (rows @ factors).tolist()))

    def with_widths(self, widths: Sequence[int]) -> Shaped:
        """Returns the operator with a number for each of its letters; it must be free."""
        values = {tuple(row): width for row, width in zip(self.letters.tolist(), widths, strict=True)}

        def sizes(rows: _Int) -> list[int]:
            return [values.get(tuple(row), row[0]) for row in rows.tolist()]

        shapes = [sizes(rows) for rows in self.shapes]
        return Shaped(self.operator, shapes, self._integers(shapes, sizes))

    def _integers(
        self, shapes: Sequence[Sequence[int]], numbers: Callable[[_Int], list[int]]
    ) -> list[list[int] | None]:
        """Returns the content of the constants of int32 for shapes of the operands."""
        integers = [None if rows is None else numbers(rows) for rows in self.integers]
        if self.operator.kind in _PADDINGS and integers[1] is not None:
            added = [after - before for before, after in zip(shapes[0], shapes[-1], strict=True)]
            given = np.reshape(integers[1], (-1, 2)).tolist()
            integers[1] = [
                amount
                for (first, last), both in zip(given, added, strict=True)
                for amount in ((first, last) if first + last == both else (both // 2, both - both // 2))
            ]
        return integers


class FileOfWidths:
    """The float32 TensorFlow Lite file of a network, for any widths.

    Args:
        network: the network.
        batch: samples in one invocation.

    Attributes:
        operators: the operators, in the order in which they run.

    Raises:
        MissingOperatorError: LiteRT lacks an operator; the message names it and the layer.
        Unresolved: sizes of the file do not follow from the widths of groups.
    """

    def __init__(self, network: Network, batch: int = 1) -> None:
        costs, groups = network.costs, network.groups
        kept = [costs.sizes]
        files = [_file(network, Plan(), batch)]
        if files[0].several:
            raise Unresolved("it has loops or branches")
        rows = _rows(costs)
        while len(kept) <= _PROBES and (len(kept) < 2 or not _distinct(rows, kept)):
            kept.append(_probe(costs.sizes, len(kept)))
            widths = zip(groups, kept[-1].tolist(), strict=True)
            plan = Plan.keeping({g.name: tuple(range(width)) for g, width in widths if width < g.size})
            if not plan.edits:
                break
            files.append(_file(network, plan, batch))
        kept = kept[: len(files)]
        kinds = [[operator.kind for operator in file.operators] for file in files]
        if any(each != kinds[0] for each in kinds):
            raise Unresolved("its operators are others at other widths")
        sizes = _Sizes(rows, np.stack(kept))
        nodes = _nodes(network, files[0])
        self.operators = tuple(
            _of_widths(each, sizes, node)
            for each, node in zip(zip(*(file.operators for file in files), strict=True), nodes, strict=True)
        )

    def content(self, kept: _Int) -> bytes:
        """Returns the file when group i keeps `kept[i]` channels, with weights that are noise."""
        return written([operator.shaped(kept) for operator in self.operators])


def _file(network: Network, plan: Plan, batch: int) -> LiteFile:
    """Returns the file of a student, which has an operand of its own for each vector, as after training."""
    student = apply(network.model, plan, network.groups)
    vary_vectors(student)
    return LiteFile(file_for_latency(student, batch))


class _Sizes:
    """Finds the width that has given values.

    Args:
        rows: int64 `[rows, 1 + groups]`, known widths.
        kept: int64 `[files, groups]`, what groups keep in each file.
    """

    def __init__(self, rows: _Int, kept: _Int) -> None:
        self._rows = rows
        ones = np.ones((len(kept), 1), np.int64)
        self._values = rows @ np.concatenate([ones, kept], axis=1).T  # [rows, files]
        self.groups = kept.shape[1]

    def row(self, values: Sequence[int]) -> _Int:
        """Returns int64 `[1 + groups]`: the width with a value in each file."""
        wanted = np.array(values, np.int64)
        if (wanted == wanted[0]).all():
            return np.array([wanted[0], *[0] * self.groups], np.int64)
        equal = (self._values == wanted).all(axis=1)
        if equal.any():
            return self._rows[int(equal.argmax())]
        same_ratio = (self._values * wanted[0] == self._values[:, :1] * wanted).all(axis=1)
        whole = same_ratio & (wanted[0] % np.maximum(self._values[:, 0], 1) == 0)
        if whole.any():
            index = int(whole.argmax())
            return self._rows[index] * int(wanted[0] // self._values[index, 0])
        raise Unresolved(f"a size of it is {wanted.tolist()} for several widths, which no group's channels explain")


def _of_widths(versions: Sequence[Operator], sizes: _Sizes, node: str) -> WidthOperator:
    """Returns an operator with its shapes as widths, from its versions in the files."""
    first = versions[0]
    shapes, integers = [], []
    for index, operand in enumerate(first.operands):
        each = [version.operands[index] for version in versions]
        if any(len(version.shape) != len(operand.shape) for version in each):
            raise Unresolved(f"{first.kind} has tensors of other ranks at other widths")
        rows = [sizes.row([version.shape[axis] for version in each]) for axis in range(len(operand.shape))]
        shapes.append(np.array(rows, np.int64).reshape(len(rows), -1 if rows else 1 + sizes.groups))
        inside = None
        if operand.integers is not None and first.kind in _PADDINGS:  # how they are split follows from no width
            inside = np.zeros((len(operand.integers), 1 + sizes.groups), np.int64)
            inside[:, 0] = operand.integers
        elif operand.integers is not None:
            count = len(operand.integers)
            if any(version.integers is None or len(version.integers) != count for version in each):
                raise Unresolved(f"{first.kind} has constants of other lengths at other widths")
            values = [sizes.row([version.integers[place] for version in each]) for place in range(count)]  # type: ignore[index]
            inside = np.array(values, np.int64).reshape(count, 1 + sizes.groups)
        integers.append(inside)
    return WidthOperator(first, tuple(shapes), tuple(integers), node)


def _rows(costs: CostModel) -> _Int:
    """Returns int64 `[rows, 1 + groups]`: the different widths of tensors and weights."""
    known = [ids for item in costs.groups.analysis.values() for labels in item.outputs for ids in (labels.ids,)]
    rows = [costs.width_of(ids) for ids in known]
    rows += list(costs.known_widths())
    return np.unique(np.stack(rows), axis=0) if rows else np.ones((1, 1 + len(costs.sizes)), np.int64)


def _distinct(rows: _Int, kept: Sequence[_Int]) -> bool:
    """Whether no two widths have equal values in all files."""
    table = np.concatenate([np.ones((len(kept), 1), np.int64), np.stack(kept)], axis=1)
    return len(np.unique(rows @ table.T, axis=0)) == len(rows)


def _probe(sizes: _Int, number: int) -> _Int:
    """Returns int64 `[groups]`: other widths; groups of one size keep different numbers where there are enough."""
    seen: dict[int, int] = {}
    kept = []
    for size in sizes.tolist():
        index = seen.get(size, 0)
        seen[size] = index + 1
        if number > 1:  # a digit of the index
            index = index // max(size - 1, 1) ** (number - 1) + 7 * index
        kept.append(max(1, size - 1 - index % max(size - 1, 1)))
    return np.array(kept, np.int64)


def _nodes(network: Network, file: LiteFile) -> list[str]:
    """Returns for each operator the node that it computes: of several the first with weights, else the first."""
    graph = network.graph
    order = {name: index for index, name in enumerate(graph.nodes)}
    of_layer: dict[str, str] = {}
    for name, node in graph.nodes.items():
        of_layer.setdefault(node.layer_name, name)
    weighted = {name for name, item in network.groups.analysis.items() if item.weights}
    made: dict[int, str] = {}
    nodes = []
    for operator in file.operators:
        segments = [part for name in operator.names for part in re.split(r"[/;:]", name)]
        named = [of_layer[layer] for part in segments if (layer := _layer(part, of_layer)) is not None]
        if not named:
            before = [made[operand.tensor] for operand in operator.inputs if operand.tensor in made]
            is_last = any(operand.tensor in file.outputs for operand in operator.outputs)
            last = [ref.node for ref in graph.output_refs] if is_last else []
            named = (last or before or list(graph.nodes))[:1]
            if is_last and operator.kind != "SOFTMAX":
                named = _with_weights_before(network, named[0], weighted) or named
        first = min(named, key=lambda name: (name not in weighted, order[name]))
        for operand in operator.outputs:
            made[operand.tensor] = first
        nodes.append(first)
    return nodes


def _layer(segment: str, layers: dict[str, str]) -> str | None:
    """Returns the layer that a part of a tensor's name names; TensorFlow numbers what Keras has named."""
    for name in (re.sub(r"_\d+$", "", segment), segment):
        if name in layers:
            return name
    return None


def _with_weights_before(network: Network, node: str, weighted: set[str]) -> list[str]:
    """Returns the node itself, or the one before it if that has weights and it has none."""
    if node in weighted:
        return [node]
    inputs = network.graph.nodes[node].inputs
    return [ref.node for ref in inputs if ref.node in weighted][:1]
