"""A model cut at split points: stem, sections and head, each of which runs alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import keras

from tfcompress.graph import LayerGraph, TensorRef, cut_points

__all__ = ["SplitModel"]


class SplitModel:
    """A model and its split points.

    Args:
        model: a built model without nested ones, such as `tfcompress.rewrite.apply` makes.
        boundaries: the nodes at which it is split, in their order: what the first section reads, and what each section
            gives. At least two.

    Raises:
        ValueError: a name that is not a node of the model, or one that some path goes round.
    """

    def __init__(self, model: keras.Model, boundaries: Sequence[str]) -> None:
        self.model = model
        self.boundaries = tuple(boundaries)
        self._graph = LayerGraph.from_keras(model)
        through = cut_points(self._graph)
        for name in self.boundaries:
            if name not in self._graph.nodes:
                raise ValueError(
                    f"Expected split points that are layers of the model. Received: {name!r}, which is none of "
                    f"{model.name!r}. Among them are {', '.join(through[:: max(1, len(through) // 8)])}."
                )
            if name not in through:
                raise ValueError(
                    "Expected split points that every path from inputs to outputs goes through. Received: "
                    f"{name!r} of {model.name!r}, which some path goes round. Take the sum that ends its block."
                )
        places = [through.index(name) for name in self.boundaries]
        if len(places) < 2 or places != sorted(set(places)):
            raise ValueError(
                "Expected at least two different split points, in the order of the model: what the first section "
                f"reads, and what each section gives. Received: {self.boundaries}"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The parts: "stem", "section1", ..., "head"."""
        return ("stem", *(f"section{i}" for i in range(1, len(self.boundaries))), "head")

    def shape(self, boundary: int) -> tuple[int | None, ...]:
        """Static shape of what is handed on at a split point, the batch first."""
        return self._graph.shape(TensorRef(self.boundaries[boundary]))

    @cached_property
    def layers(self) -> dict[str, tuple[Any, ...]]:
        """The operations of each part."""
        found: dict[str, dict[int, Any]] = {name: {} for name in self.names}
        part = 0
        for node in self._graph.nodes.values():
            found[self.names[part]][id(node.operation)] = node.operation
            if part < len(self.boundaries) and node.name == self.boundaries[part]:
                part += 1
        return {name: tuple(operations.values()) for name, operations in found.items()}

    def _tensor(self, boundary: int) -> Any:
        return self._graph.tensors[TensorRef(self.boundaries[boundary])]

    def section(self, number: int, from_inputs: bool = False) -> keras.Model:
        """What leads from one split point to the next, with the model's own layers.

        Args:
            number: 1 for the first section.
            from_inputs: whether it begins at the model's inputs instead.
        """
        start = self.model.input if from_inputs else self._tensor(number - 1)
        return keras.Model(start, self._tensor(number), name=f"{self.model.name}_section{number}")

    def taps(self, boundaries: Sequence[int], with_outputs: bool = True) -> keras.Model:
        """A model, with this model's layers, that gives `(what is handed on at `boundaries`, outputs or [])`."""
        outputs = self.model.output if with_outputs else []
        return keras.Model(self.model.input, ([self._tensor(i) for i in boundaries], outputs))
