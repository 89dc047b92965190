"""Puts the remaining layers of the original's nested models into nested models of the student."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from tfcompress.graph import LayerGraph, TensorRef

__all__ = ["Nesting", "nesting_of", "nests"]

_Tensors = dict[TensorRef, Any]
_Path = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Nesting:
    """The nested models that the nodes of a graph belong to.

    Attributes:
        inside: for each node in nested models their names, the outermost first.
        names: the names of layers in their nested model, if they differ from those in the graph.
        inputs: the shapes of inputs that take other sizes than in the graph, such as `(None, None, None, 3)`.
    """

    inside: Mapping[str, _Path] = dataclasses.field(default_factory=dict)
    names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    inputs: Mapping[str, tuple[int | None, ...]] = dataclasses.field(default_factory=dict)

    def tensors(self, graph: LayerGraph, nodes: Sequence[str], call: Callable[[str, _Tensors], None]) -> _Tensors:
        """Calls all nodes, those of a nested model inside a model of their own; returns the outermost tensors.

        Args:
            graph: the graph.
            nodes: names of its nodes, each after those that it reads.
            call: calls one node on its input tensors, and adds its outputs.
        """
        tensors: _Tensors = {}
        self._walk(graph, nodes, 0, call, tensors)
        return tensors

    def _walk(self, graph: LayerGraph, nodes: Sequence[str], depth: int, call: Any, tensors: _Tensors) -> None:
        for members in self._units(graph, nodes, depth):
            path = self.inside.get(members[0], ())
            if len(path) > depth:
                self._nest(graph, members, path[depth], depth, call, tensors)
            else:
                call(members[0], tensors)

    def _units(self, graph: LayerGraph, nodes: Sequence[str], depth: int) -> list[list[str]]:
        """Returns the nodes one by one, and those of a nested model together, each after its inputs."""
        unit_of: dict[str, str] = {}
        units: dict[str, list[str]] = {}
        for name in nodes:
            path = self.inside.get(name, ())
            unit_of[name] = f"/{path[depth]}" if len(path) > depth else name  # no layer's name has a slash in front
            units.setdefault(unit_of[name], []).append(name)
        if len(units) == len(nodes):
            return list(units.values())
        reads = {
            unit: dict.fromkeys(
                unit_of[ref.node] for name in members for ref in graph.nodes[name].inputs if ref.node in unit_of
            )
            for unit, members in units.items()
        }
        ordered: list[str] = []
        done: set[str] = set()
        stack = [(unit, False) for unit in reversed(units)]
        while stack:  # depth first, so that the order stays as far as it can
            unit, ready = stack.pop()
            if unit in done:
                continue
            if ready:
                done.add(unit)
                ordered.append(unit)
                continue
            stack.append((unit, True))
            stack += [(read, False) for read in reversed(reads[unit]) if read != unit and read not in done]
        return [units[unit] for unit in ordered]

    def _nest(self, graph: LayerGraph, members: list[str], name: str, depth: int, call: Any, outer: _Tensors) -> None:
        own, ends = set(members), set(graph.output_refs)
        read = list(dict.fromkeys(ref for node in members for ref in graph.nodes[node].inputs if ref.node not in own))
        given = [
            ref
            for node in members
            for ref in graph.nodes[node].outputs
            if ref in ends or any(reader not in own for reader in graph.readers.get(ref, ()))
        ]
        taken = {self.names.get(graph.nodes[node].layer_name, graph.nodes[node].layer_name) for node in members}
        inner = {ref: _input_like(outer[ref], name, taken) for ref in read}
        inputs = list(inner.values())
        self._walk(graph, members, depth + 1, call, inner)
        outputs = [inner[ref] for ref in given]
        model = keras.Model(_bare(inputs), _bare(outputs), name=name)
        called = model(_bare([outer[ref] for ref in read]))
        outer.update(zip(given, keras.tree.flatten(called), strict=True))


def nesting_of(original: LayerGraph, student: LayerGraph) -> Nesting:
    """Returns the nesting of a student's nodes: that of the original's nodes with the same names, and of new ones
    between them; and the input sizes of the original.

    Nested models that are called several times are left flat, because their remains may differ from call to call.

    Args:
        original: the graph of the model that was given.
        student: the graph of the student.
    """
    known = _paths(original)
    inside = {name: known.get(name, ()) for name in student.nodes}
    new = [name for name in student.nodes if name not in known]
    if new:
        inside |= _between(student, {name: path for name, path in inside.items() if name in known}, new)
    inside = {name: path for name, path in inside.items() if path}
    names = {}
    for name in inside:
        if name in original.nodes and student.nodes[name].layer_name == original.nodes[name].layer_name:
            names[original.nodes[name].layer_name] = str(original.nodes[name].operation.name)
    shapes = {ref.node: original.shape(ref)[1:] for ref in original.input_refs}
    inputs = {
        ref.node: (None, *shapes[ref.node])
        for ref in student.input_refs
        if shapes.get(ref.node, student.shape(ref)[1:]) != student.shape(ref)[1:]
    }
    return Nesting(inside, names, inputs)


def nests(file: pathlib.Path) -> bool:
    """Whether the model in a .keras file has nested models."""
    with zipfile.ZipFile(file) as archive:
        config = json.loads(archive.read("config.json"))
    layers = config.get("config", {}).get("layers", ())
    return any(layer.get("class_name") in ("Functional", "Sequential", "Model") for layer in layers)


def _paths(graph: LayerGraph) -> dict[str, _Path]:
    """Returns the nested models of each node, except models that are called again and their contents."""
    again = {
        (*node.inside[:depth], name.partition("@")[0])
        for node in graph.nodes.values()
        for depth, name in enumerate(node.inside)
        if "@" in name
    }
    paths = {}
    for node in graph.nodes.values():
        path = node.inside
        for depth, name in enumerate(path):
            if (*path[:depth], name.partition("@")[0]) in again:
                path = path[:depth]
                break
        paths[node.name] = path
    return paths


def _between(graph: LayerGraph, known: Mapping[str, _Path], new: Sequence[str]) -> dict[str, _Path]:
    """Returns the deepest nested model that a new node belongs to: with nodes of it before and after."""

    def reached(nodes: Sequence[str], neighbours: Callable[[str], list[str]]) -> dict[str, set[_Path]]:
        models: dict[str, set[_Path]] = {}
        for name in nodes:
            if name in known:
                models[name] = {known[name][:depth] for depth in range(len(known[name]) + 1)}
            else:
                models[name] = {path for neighbour in neighbours(name) for path in models.get(neighbour, set())}
        return models

    nodes = list(graph.nodes)
    before = reached(nodes, lambda name: [ref.node for ref in graph.nodes[name].inputs])
    readers = {name: [r for ref in graph.nodes[name].outputs for r in graph.readers.get(ref, ())] for name in nodes}
    behind = reached(nodes[::-1], lambda name: readers[name])
    return {name: max(before[name] & behind[name], key=len, default=()) for name in new}


def _input_like(tensor: Any, model: str, taken: set[str]) -> Any:
    """Returns an input of a nested model for a tensor that it reads, with a name that no layer in it has."""
    name = base = f"{model}_input"
    number = 1
    while name in taken:
        number += 1
        name = f"{base}_{number}"
    taken.add(name)
    return keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, sparse=tensor.sparse or None, name=name)


def _bare(tensors: list[Any]) -> Any:
    """Returns one tensor itself, several as their list."""
    return tensors[0] if len(tensors) == 1 else tensors
