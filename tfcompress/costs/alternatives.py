"""The costs of a part of a network and of its possible replacements, without building the whole student."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tfcompress.costs.counts import Cost, CostModel
from tfcompress.edits import StructuralEdit, nodes_of
from tfcompress.graph import ChannelGroups, LayerGraph, part_of, restructured

__all__ = ["Alternative", "alternatives"]


@dataclass(frozen=True, eq=False)
class Alternative:
    """A part of a network alone, unchanged or after an edit.

    Attributes:
        cost: its terms in every column. The costs of the whole model differ by the difference of two alternatives.
        groups: channel groups of its graph, whose inputs and outputs are those of the part:
            `tfcompress.rewrite.apply(model, Plan(), groups)` builds it as a model of its own, for example to measure
            it.
    """

    cost: Cost
    groups: ChannelGroups


def alternatives(costs: CostModel, nodes: Sequence[str], edits: Mapping[str, StructuralEdit]) -> dict[str, Alternative]:
    """Returns the costs of a part of a network, and of each alternative to it.

        alternatives(network.costs, ["conv1"], {
            "pointwise": ReplaceLayers.by(["conv1"], keras.layers.Conv2D(16, 1, padding="same")),
            "identity": RemoveLayers(("conv1",)),
        })

    Only the part is built, in its place: with the shapes and types of its input tensors.

    Args:
        costs: costs of the whole network.
        nodes: names of the nodes of the part.
        edits: the alternatives by name, each an edit of some or all of these nodes that keeps the shapes of the part's
            outputs: other layers, a part of a mixture, other settings, fewer layers.

    Returns:
        The unchanged part, under the name of its first node's layer, as in `CostModel.by_node`; then the alternatives.

    Raises:
        KeyError: a name that is not a node of the graph.
        ValueError: the nodes are not a part, or share a layer or a weight with the rest; or an alternative has the
            layer's name, edits other nodes, or does not fit; the message names it.
    """
    graph = costs.groups.graph
    part = part_of(graph, nodes)
    inside = [name for name in graph.nodes if name in set(nodes)]
    _check_alone(graph, set(inside))
    first = graph.nodes[inside[0]].layer_name
    if first in edits:
        raise ValueError(f"Expected names that differ from the layer's own. Received: an alternative {first!r}")
    through_norms = costs.groups.through_norms
    each = {first: Alternative(costs.of_nodes(inside), ChannelGroups.of(part, through_norms))}
    for name, edit in edits.items():
        if elsewhere := sorted(set(nodes_of(edit)) - set(inside)):
            raise ValueError(
                f"Expected alternatives that edit nodes of {inside}. Received: {name!r}, which edits {elsewhere}"
            )
        try:
            left = restructured(part, [edit]).graph
        except ValueError as error:
            raise ValueError(f"Alternative {name!r} of {inside}: {error}") from error
        model = CostModel(ChannelGroups.of(left, through_norms))
        own = [node.name for node in left.nodes.values() if not node.is_input]
        each[name] = Alternative(model.of_nodes(own), model.groups)
    return each


def _check_alone(graph: LayerGraph, inside: set[str]) -> None:
    """Refuses a part whose layers or weights also belong to other nodes: its cost would not be its own."""
    held = {name: _held(node.operation) for name, node in graph.nodes.items()}
    own = set().union(*(held[name] for name in inside))
    if shared := [name for name, ids in held.items() if name not in inside and ids & own]:
        raise ValueError(
            f"Expected nodes that share no layer and no weight with others. Received: {sorted(inside)}, which share "
            f"with {shared}. Add these to the part."
        )


def _held(operation: object) -> set[int]:
    """Returns identities of the weights of an operation."""
    return {id(variable) for variable in getattr(operation, "weights", ())}
