"""Oracles: for each kind of edit, how the source itself is run to give what the student has to give.

The reference is always the model itself, never a copy of it: what is wrong with copies would be wrong on both sides. An
oracle that a kind of edit brings is registered in `_ORACLES`, and nothing else asks of which kind an edit is.
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
    """The source as it is to be run, to which each kind of edit adds its own.

    Attributes:
        source: the source.
        plan: the whole plan.
        groups: the channel groups of the graph that its structural half leaves.
        values: by the id of a variable, what stands for it.
        calls: what stands for the `call` of some layers.
        without: names of nodes that are passed over.
        comparable: whether the outputs are those of the student; not where weights are fresh or settings are others.
    """

    def __init__(self, source: Network, plan: Plan, groups: ChannelGroups) -> None:
        self.source, self.plan, self.groups = source, plan, groups
        self.graph = source.graph
        self.values: dict[int, Any] = {}
        self.calls: list[tuple[Any, Callable[..., Any]]] = []
        self.without: list[str] = []
        self.comparable = plan.weights == "inherited"


def _inherited_channels(reference: _Reference, edits: Sequence[KeepChannels]) -> None:
    """Zeros for the weights that read removed channels; normalisations that are cut go by the channels that stay."""
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
    """The removed layers pass on what they read."""
    reference.without += [node for edit in edits for node in edit.nodes]


def _part_alone(reference: _Reference, edits: Sequence[ReplaceLayers]) -> None:
    """A mixture whose own weights are such that it computes what the chosen part does; nothing for fresh layers."""
    for edit in edits:
        if edit.part is None:
            reference.comparable = False
            continue
        mixture = reference.graph.nodes[edit.nodes[0]].operation
        for variable, value in mixture.alone(edit.part):
            reference.values[id(variable)] = keras.ops.convert_to_tensor(value, variable.dtype)


def _other_settings(reference: _Reference, edits: Sequence[Reconfigure]) -> None:
    """Nothing to compare with: only the student has these settings."""
    reference.comparable = reference.comparable and not edits


_ORACLES: dict[type[Edit], Callable[[_Reference, Any], None]] = {
    RemoveLayers: _passed_over,
    ReplaceLayers: _part_alone,
    Reconfigure: _other_settings,
    KeepChannels: _inherited_channels,  # of the graph that the others leave
}


def reference(source: keras.Model | Network, plan: Plan, groups: ChannelGroups | None = None) -> Runner | None:
    """The source, to be run so that it gives a student's outputs; the model itself is not changed.

    Args:
        source: the model that the plan is of.
        plan: the plan.
        groups: the source's channel groups, if they are known already.

    Returns:
        What runs it; `None` where a plan has fresh weights or other settings, so that nothing can be compared.

    Raises:
        KeyError: the plan names a group or a node that is not there.
    """
    source = Network.of(source)
    groups = source.groups if groups is None else groups
    made = _Reference(source, plan, groups_after(groups, plan)[0])
    for kind, oracle in _ORACLES.items():
        if made.comparable:
            oracle(made, [edit for edit in plan if isinstance(edit, kind)])
    return Runner(source, made.values, made.calls, made.without) if made.comparable else None


def masked(source: keras.Model | Network, plan: Plan, groups: ChannelGroups | None = None) -> Runner:
    """A model with zeros for the weights that would read removed channels, and without removed layers; to be run.

    It gives the student's outputs. Where the plan cuts through normalisations, these take their statistics over the
    channels that stay. A mixture of which a part is taken out computes that part alone.

    Raises:
        KeyError: the plan names a group or a node that is not there.
        ValueError: a plan with fresh weights or other settings.
    """
    runner = reference(source, plan, groups)
    if runner is None:
        raise ValueError(
            "Expected a plan whose student computes what the source does without what is removed. Received: one with "
            "fresh weights or other settings, of which only shapes and cost can be checked: verify(...)."
        )
    return runner
