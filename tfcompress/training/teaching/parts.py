"""Points of a model that are read, and a model cut at such points: stem, sections and head, each runs alone."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import keras

from tfcompress.graph import TensorRef, cut_points
from tfcompress.graph.regions import between, context_of, dominates, immediate_dominators, without_context
from tfcompress.network import Network

__all__ = ["FedSection", "Points", "SplitModel"]


class Points:
    """A model, and nodes of it whose outputs are read.

    Args:
        model: a built model without nested ones, such as `tfcompress.rewrite.apply` makes.
        boundaries: names of nodes.

    Raises:
        ValueError: a name is not a node of the model, or a node has several outputs.
    """

    def __init__(self, model: keras.Model | Network, boundaries: Sequence[str]) -> None:
        self._read(model, boundaries)
        for name in self.boundaries:
            if len(self._graph.nodes[name].outputs) != 1:
                raise ValueError(
                    f"Expected layers with one output, to compare it. Received: {name!r} of {self.model.name!r}, which "
                    f"has {len(self._graph.nodes[name].outputs)}."
                )

    def _read(self, model: keras.Model | Network, boundaries: Sequence[str]) -> None:
        network = Network.of(model)
        self.model = network.model
        self.boundaries = tuple(boundaries)
        self._graph = network.graph
        for name in self.boundaries:
            if name not in self._graph.nodes:
                through = cut_points(self._graph)
                raise ValueError(
                    f"Expected split points that are layers of the model. Received: {name!r}, which is none of "
                    f"{self.model.name!r}. Among them are {', '.join(through[:: max(1, len(through) // 8)])}."
                )

    def shape(self, boundary: int) -> tuple[int | None, ...]:
        """Returns the static shape of a point's output, the batch first."""
        return self._graph.shape(TensorRef(self.boundaries[boundary]))

    def _tensor(self, boundary: int) -> Any:
        return self._graph.tensors[TensorRef(self.boundaries[boundary])]

    def taps(self, boundaries: Sequence[int], with_outputs: bool = True) -> keras.Model:
        """Returns a model with this model's layers that gives `(outputs of the points, outputs or [])`."""
        outputs = self.model.output if with_outputs else []
        return keras.Model(self.model.input, ([self._tensor(i) for i in boundaries], outputs))


class SplitModel(Points):
    """A model and its split points.

    Args:
        model: a built model without nested ones, such as `tfcompress.rewrite.apply` makes.
        boundaries: the nodes at which it is split, in their order: the input of the first section, and the output of
            each section. At least two. Paths may bypass all of them (a long skip), but every path to one of them goes
            through the one before it.

    Raises:
        ValueError: a name is not a node of the model, or some path to the next point bypasses it.
    """

    def __init__(self, model: keras.Model | Network, boundaries: Sequence[str]) -> None:
        self._read(model, boundaries)
        order = list(self._graph.nodes)
        places = [order.index(name) for name in self.boundaries]
        if len(places) < 2 or places != sorted(set(places)):
            raise ValueError(
                "Expected at least two different split points, in the order of the model: the input of the first "
                f"section, and the output of each section. Received: {self.boundaries}"
            )
        plain = without_context(self._graph)
        dominators = [(graph.nodes, immediate_dominators(graph)) for graph in (self._graph, plain)]
        for name, following in itertools.pairwise(self.boundaries):
            passed = any(following in nodes and dominates(name, following, above) for nodes, above in dominators)
            if len(self._graph.nodes[name].outputs) != 1 or not passed:
                raise ValueError(
                    "Expected split points such that every path to one goes through the one before it. Received: "
                    f"{name!r} of {self._graph.name!r}, which some path to {following!r} bypasses. Use the sum that "
                    "ends its block."
                )

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the parts: "stem", "section1", ..., "head"."""
        return ("stem", *(f"section{i}" for i in range(1, len(self.boundaries))), "head")

    @property
    def is_inside(self) -> bool:
        """Whether some path bypasses a split point: the points lie inside a long skip."""
        return not set(self.boundaries) <= set(cut_points(self._graph))

    @cached_property
    def layers(self) -> dict[str, tuple[Any, ...]]:
        """Returns the operations of each part; operations on a skip beyond the last split point belong to the head."""
        members: dict[str, dict[int, Any]] = {name: {} for name in self.names}
        part_of = dict.fromkeys(self._graph.nodes, "head")
        for boundary, part in reversed(list(zip(self.boundaries, self.names, strict=False))):
            part_of.update(dict.fromkeys(between(self._graph, boundary), part))
        for node in self._graph.nodes.values():
            members[part_of[node.name]][id(node.operation)] = node.operation
        return {name: tuple(operations.values()) for name, operations in members.items()}

    def section(self, number: int, from_inputs: bool = False) -> keras.Model:
        """Returns the part from one split point to the next, with the model's own layers.

        Args:
            number: 1 for the first section.
            from_inputs: whether it begins at the model's inputs instead.
        """
        start = self.model.input if from_inputs else self._tensor(number - 1)
        return keras.Model(start, self._tensor(number), name=f"{self.model.name}_section{number}")

    def fed(self, number: int, from_inputs: bool = False) -> FedSection:
        """Returns a section that reads the output of another network.

        Args:
            number, from_inputs: as for `section`.
        """
        entry = TensorRef(self.boundaries[number - 1])
        context = context_of(self._graph)
        if from_inputs or entry.node in context:
            return FedSection(self.section(number, from_inputs))
        inside = between(without_context(self._graph), self.boundaries[number], entry.node)
        read = [ref for name in inside for ref in self._graph.nodes[name].inputs if ref.node in context]
        beside = [self._graph.tensors[ref] for ref in dict.fromkeys(read)]
        tensors = [self._tensor(number - 1), *beside]
        name = f"{self.model.name}_section{number}"
        model = keras.Model(tensors if beside else tensors[0], self._tensor(number), name=name)
        mask = getattr(tensors[0], "_keras_mask", None)
        if mask is not None and keras.Model(self.model.input, mask).weights:
            mask = None  # of what the network computes on its way: another's is not known
        masks = [] if mask is None else [mask]
        return FedSection(
            model, keras.Model(self.model.input, [*beside, *masks]) if beside or masks else None, masks != []
        )


class FedSection:
    """A section that reads another network's output; it also reads masks and similar tensors from the inputs.

    Args:
        model: from the fed tensor and the context to the section's output.
        context: from the inputs to the tensors read beside the fed one, and its mask; `None` for neither.
        masked: whether there is such a mask.
    """

    def __init__(self, model: keras.Model, context: keras.Model | None = None, masked: bool = False) -> None:
        self.model = model
        self._context, self._masked = context, masked
        self.model.supports_masking = True  # no warning of a mask that it passes on itself

    @property
    def variables(self) -> list[Any]:
        """The variables of its layers."""
        variables: list[Any] = self.model.variables
        return variables

    def __call__(self, tensor: Any, inputs: Any, training: bool) -> Any:
        """Returns the section's output.

        Args:
            tensor: the tensor to read.
            inputs: the network's inputs for the same batch.
            training: whether its layers are in training.
        """
        if self._context is None:
            return self.model(tensor, training=training)
        beside = keras.tree.flatten(self._context(inputs, training=False))
        mask = beside.pop() if self._masked else None
        given, masks = ([tensor, *beside], [mask, *(None for _ in beside)]) if beside else (tensor, mask)
        return self.model(given, training=training, mask=masks)
