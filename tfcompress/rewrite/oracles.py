"""Oracles: for each kind of edit, how to run the source itself so that it gives the student's outputs.

The reference is always the model itself, never a copy: an error in copying would be the same on both sides. The oracle
of each kind of edit is registered in `_ORACLES`; no other code asks for the kind of an edit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras

from tfcompress.graph import ChannelGroups, groups_after
from tfcompress.network import Network
from tfcompress.plan import Edit, KeepChannels, Plan, Reconfigure, RemoveLayers, ReplaceLayers
from tfcompress.rewrite.apply import kept_labels
from tfcompress.rewrite.running import Runner

__all__ = ["masked", "reference"]


class _Reference:
    """The source as it has to be run; each kind of edit adds its own changes.

    Attributes:
        source: the source.
        plan: the whole plan.
        groups: the channel groups of the graph that its structural half leaves.
        values: values that replace variables, by id.
        calls: replacements for the `call` of some layers.
        without: names of nodes to skip.
        comparable: whether the outputs equal the student's; False if weights are fresh or settings changed.
    """

    def __init__(self, source: Network, plan: Plan, groups: ChannelGroups) -> None:
        self.source, self.plan, self.groups = source, plan, groups
        self.graph = source.graph
        self.values: dict[int, Any] = {}
        self.calls: list[tuple[Any, Callable[..., Any]]] = []
        self.without: list[str] = []
        self.comparable = plan.weights == "inherited"


def _inherited_channels(reference: _Reference, edits: Sequence[KeepChannels]) -> None:
    """Zeros the weights that read removed channels; normalizations that are cut use the remaining channels."""
    groups, kept = reference.groups, kept_labels(reference.groups, reference.plan)
    operations = {**groups.graph.operations, **reference.graph.operations}  # a part of a mixture is in the first alone
    for name, axes in groups.weight_axes().items():
        known = [id(variable) for variable in getattr(groups.graph.operations[name], "weights", ())]
        for weight in axes:
            removed = {axis: kept[ids] for axis, ids in weight.reads.items() if not kept[ids].all()}
            if removed:
                variable = operations[name].weights[known.index(id(weight.variable))]
                # Layers may share it.
                value = reference.values.get(id(variable), keras.ops.convert_to_tensor(variable))
                for axis, stays in removed.items():
                    shape = [1] * len(variable.shape)
                    shape[axis] = -1
                    value = value * keras.ops.cast(stays.reshape(shape), variable.dtype)
                reference.values[id(variable)] = value
    for name, item in groups.layers.items():
        if groups.through_norms and not item.node.is_input:
            call = item.handler.masked_call(
                item.call, operations[name], kept[item.call.inputs[0].ids].astype("float32")
            )
            if call is not None:
                reference.calls.append((operations[name], call))


def _passed_over(reference: _Reference, edits: Sequence[RemoveLayers]) -> None:
    """Skips the removed layers, which pass on their inputs."""
    reference.without += [node for edit in edits for node in edit.nodes]


def _part_alone(reference: _Reference, edits: Sequence[ReplaceLayers]) -> None:
    """Sets a mixture's own weights so that it computes the chosen part; does nothing for fresh layers."""
    for edit in edits:
        if edit.part is None:
            reference.comparable = False
            continue
        mixture = reference.graph.nodes[edit.nodes[0]].operation
        for variable, value in mixture.alone(edit.part):
            reference.values[id(variable)] = keras.ops.convert_to_tensor(value, variable.dtype)


def _other_settings(reference: _Reference, edits: Sequence[Reconfigure]) -> None:
    """Marks the source as not comparable: only the student has these settings."""
    reference.comparable = reference.comparable and not edits


_ORACLES: dict[type[Edit], Callable[[_Reference, Any], None]] = {
    RemoveLayers: _passed_over,
    ReplaceLayers: _part_alone,
    Reconfigure: _other_settings,
    KeepChannels: _inherited_channels,  # of the graph that the others leave
}


def reference(source: keras.Model | Network, plan: Plan, groups: ChannelGroups | None = None) -> Runner | None:
    """Returns the source as a runner that gives a student's outputs; the model itself is not changed.

    Args:
        source: the model of the plan.
        plan: the plan.
        groups: the source's channel groups, if they are known already.

    Returns:
        The runner; `None` if a plan has fresh weights or changed settings, so that nothing can be compared.

    Raises:
        KeyError: the plan names an unknown group or node.
    """
    source = Network.of(source)
    groups = source.groups if groups is None else groups
    made = _Reference(source, plan, groups_after(groups, plan)[0])
    for kind, oracle in _ORACLES.items():
        if made.comparable:
            oracle(made, [edit for edit in plan if isinstance(edit, kind)])
    return Runner(source, made.values, made.calls, made.without) if made.comparable else None


def masked(source: keras.Model | Network, plan: Plan, groups: ChannelGroups | None = None) -> Runner:
    """Returns a runner of a model with zeros for weights that read removed channels, without removed layers.

    It gives the student's outputs. If the plan cuts through normalizations, these take their statistics over the
    remaining channels. A mixture that is replaced by a part computes only that part.

    Raises:
        KeyError: the plan names an unknown group or node.
        ValueError: a plan with fresh weights or changed settings.
    """
    runner = reference(source, plan, groups)
    if runner is None:
        raise ValueError(
            "Expected a plan whose student computes the same as the source without removed parts. Received: one with "
            "fresh weights or other settings, whose student can only be checked for shapes and cost: verify(...)."
        )
    return runner
