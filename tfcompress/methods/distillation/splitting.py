"""Finds the points at which teacher and student are split: points with tensors of the same shape."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfcompress.graph import LayerGraph, TensorRef, bypasses, cut_points, find_sections
from tfcompress.network import Network
from tfcompress.training.teaching import SplitModel

__all__ = [
    "check_copy",
    "check_shapes",
    "copy_part",
    "derived_points",
    "matching_points",
    "passed_points",
    "split_points_of",
]


def split_points_of(model: keras.Model | Network, given: Sequence[str] | None) -> tuple[str, ...]:
    """Returns split points of a model: the given ones, or the beginnings and ends of its sections.

    Raises:
        ValueError: there are no sections; or a given point lies inside a block.
    """
    graph = Network.of(model).graph
    if given is None:
        return find_sections(graph).boundaries
    try:
        between = find_sections(graph).points
    except ValueError:
        between = ()
    return _between_blocks(graph, given, between)


def _between_blocks(graph: LayerGraph, points: Sequence[str], between: Sequence[str]) -> tuple[str, ...]:
    """Returns the points if every path goes through each of them, or they are in `between`."""
    allowed = {*cut_points(graph), *between}
    for name in points:
        if name in graph.nodes and name not in allowed:
            raise ValueError(
                "Expected split points that every path from inputs to outputs goes through, or that lie between the "
                f"blocks inside a long skip. Received: {name!r} of {graph.name!r}, which some path bypasses. Use "
                "the sum that ends its block."
            )
    return tuple(points)


def derived_points(
    original: keras.Model | Network, points: Sequence[str], student: keras.Model | Network
) -> tuple[str, ...]:
    """Returns the points of a student, made by removing layers, that correspond to `points` of the original.

    Raises:
        ValueError: a point lies inside a removed part.
    """
    graph, left = Network.of(original).graph, Network.of(student).graph
    return passed_points(graph, points, [name for name in graph.nodes if name not in left.nodes])


def passed_points(graph: LayerGraph, points: Sequence[str], removed: Sequence[str]) -> tuple[str, ...]:
    """Returns the nodes that replace `points` when some nodes are removed.

    Raises:
        ValueError: a point lies inside a removed part, or nothing is left between two points.
    """
    passed, gone = bypasses(graph, removed), set(removed)
    new_points = tuple(passed.get(TensorRef(name), TensorRef(name)).node for name in points)
    if any(name in gone for name in new_points) or len(set(new_points)) < len(new_points):
        raise ValueError(
            f"Expected split points between remaining blocks. Received: split_points={tuple(points)}, of which some "
            "lie inside blocks that the student lacks, or have nothing between them in the student."
        )
    return new_points


def matching_points(
    teacher: SplitModel, student: keras.Model | Network, given: Sequence[str] | None, channels_may_differ: bool = False
) -> tuple[str, ...]:
    """Returns the points of another model that correspond to the teacher's split points.

    Without given names: the beginnings and ends of the student's own sections, if they fit; else the last point before
    the shape changes from the teacher's.

    Args:
        teacher: the teacher with its split points.
        student: a model without nested ones.
        given: names of the student's split points.
        channels_may_differ: whether only the other axes have to agree.

    Raises:
        ValueError: there are no points of these shapes.
    """
    graph = Network.of(student).graph
    if given is not None:
        return _between_blocks(graph, given, tuple(graph.nodes) if teacher.is_inside else ())

    def fits(name: str, number: int) -> bool:
        return _alike(graph.shape(TensorRef(name)), teacher.shape(number), channels_may_differ)

    count = len(teacher.boundaries)
    try:
        own = find_sections(graph).boundaries
    except ValueError:
        own = ()
    if len(own) == count and all(fits(name, number) for number, name in enumerate(own)):
        return own
    through = cut_points(graph)
    matched: list[str] = []
    at = len(through)
    for number in reversed(range(count)):
        # The last point of this shape; the first section's input is the first such point, where both have one shape.
        places = [i for i in range(at) if fits(through[i], number)]
        same_as_next = number == 0 and _alike(teacher.shape(0), teacher.shape(1), channels_may_differ)
        if not places:
            raise ValueError(
                "Expected a student with tensors like the teacher's at its split points. Received: student "
                f"{graph.name!r}, in which nothing before {matched[-1] if matched else 'the end'!r} has the shape of "
                f"{teacher.boundaries[number]!r}, {teacher.shape(number)}. Give the points of both: split_points= and "
                "student_split_points=."
            )
        at = _end_of_stem(graph, through, places) if same_as_next else places[-1]
        matched.append(through[at])
    return tuple(reversed(matched))


def _end_of_stem(graph: LayerGraph, through: Sequence[str], places: Sequence[int]) -> int:
    """Returns the last point before the first block, among those where the stem may end."""
    order = list(graph.nodes)
    for place, following in itertools.pairwise(places):
        if order.index(through[following]) - order.index(through[place]) > 1:
            return place
    return places[0]


def _alike(first: Sequence[int | None], second: Sequence[int | None], channels_may_differ: bool) -> bool:
    return tuple(first[:-1]) == tuple(second[:-1]) if channels_may_differ else tuple(first) == tuple(second)


def check_shapes(student: SplitModel, teacher: SplitModel, channels_may_differ: bool = False) -> None:
    """Checks that student and teacher have the same shapes at all split points.

    Raises:
        ValueError: shapes or numbers of points differ; both layers are named.
    """
    if len(student.boundaries) != len(teacher.boundaries):
        raise ValueError(
            f"Expected the same number of split points in student and teacher, {teacher.boundaries}. Received: "
            f"{student.boundaries}"
        )
    for number, (of_student, of_teacher) in enumerate(zip(student.boundaries, teacher.boundaries, strict=True)):
        if not _alike(student.shape(number), teacher.shape(number), channels_may_differ):
            raise ValueError(
                "Expected split points with tensors of equal shape. Received: "
                f"{of_student!r} of the student {student.model.name!r} with {student.shape(number)}, and "
                f"{of_teacher!r} of the teacher {teacher.model.name!r} with {teacher.shape(number)}. "
                "Name points that match: split_points= and student_split_points=."
            )


def copy_part(name: str, teacher: SplitModel, student: SplitModel) -> None:
    """Copies the teacher's weights to one part of the student.

    Raises:
        ValueError: the part has different weights.
    """
    for source, target in zip(*check_copy(name, teacher, student), strict=True):
        target.assign(np.array(keras.ops.convert_to_numpy(source)))


def check_copy(name: str, teacher: SplitModel, student: SplitModel) -> tuple[list[Any], list[Any]]:
    """Returns the weights of one part of the teacher, and the student's matching ones.

    Raises:
        ValueError: the part has different weights.
    """
    old, new = (
        [w for layer in split.layers[name] for w in getattr(layer, "weights", ())] for split in (teacher, student)
    )
    if [tuple(w.shape) for w in old] != [tuple(w.shape) for w in new]:
        raise ValueError(
            f"Expected a student whose {name} has the teacher's weights, to copy them. Received: student "
            f"{student.model.name!r} with {len(new)} weights of shapes {[tuple(w.shape) for w in new][:6]} there, the "
            f"teacher has {[tuple(w.shape) for w in old][:6]}. Remove {name!r} from copy=."
        )
    return old, new
