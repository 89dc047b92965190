"""Layers before and after: what a run changed in each layer of the original model."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from typing import Any

from tfcompress.edits import nodes_of
from tfcompress.input_shapes import of_one_size
from tfcompress.network import Network
from tfcompress.plan import KeepChannels, ReplaceLayers, Trail
from tfcompress.report.spectrum import NARROWED, REMOVED, changes

__all__ = ["KEPT", "NEW", "LayerChange", "LayerFacts", "layer_changes", "layers_of"]

KEPT, NEW, REPLACED = "kept", "new", "replaced"
TOGETHER = "together with "
_CALL = re.compile(r"@\d+$")  # what the node of a later call has behind the name of its layer


@dataclasses.dataclass(frozen=True)
class LayerFacts:
    """The facts of one layer of a model.

    Attributes:
        name: in the model's graph.
        kind: name of its class.
        channels: channels of its first output; `None` if it has no channel axis.
        macs: multiply-adds of one sample, over all calls.
        params: number of learned weights.
    """

    name: str
    kind: str
    channels: int | None
    macs: int
    params: int

    @property
    def is_drawn(self) -> bool:
        """Whether its channels are its own: it has learned weights, and does more than scale its input."""
        return self.params > 0 and "Normalization" not in self.kind


@dataclasses.dataclass(frozen=True)
class LayerChange:
    """A layer of the original, and the layers that replace it.

    Attributes:
        before: the layer of the original; `None` for a layer without a counterpart in the original.
        after: the layer now, or its replacements; empty if it was removed.
        change: "kept", "fewer channels", "removed", "replaced", "new", or the new settings.
        by: for a replaced layer its replacement, such as "3x3 DepthwiseConv2D + 1x1 Conv2D"; for a region of several
            layers, for all but the first, "together with" the first; else "".
    """

    before: LayerFacts | None
    after: tuple[LayerFacts, ...]
    change: str
    by: str = ""

    @property
    def name(self) -> str:
        """The layer's name."""
        return (self.before or self.after[0]).name

    @property
    def kind(self) -> str:
        """Name of the layer's class."""
        return (self.before or self.after[0]).kind

    @property
    def channels(self) -> tuple[int | None, int | None]:
        """Channels before and after; for a replacement, those of its last layer with weights of its own."""
        last = next((facts for facts in reversed(self.after) if facts.is_drawn), self.after[-1] if self.after else None)
        return None if self.before is None else self.before.channels, None if last is None else last.channels

    def sums(self, name: str) -> tuple[int, int]:
        """Returns a cost, "macs" or "params", before and after."""
        return getattr(self.before, name, 0), sum(getattr(facts, name) for facts in self.after)


def layers_of(network: Network) -> tuple[LayerFacts, ...]:
    """Returns the facts of each layer of a network, except its inputs, in the order of its graph."""
    facts = []
    for row in network.costs.by_layer():
        item = network.groups.layers[row.layer]
        if not item.node.is_input:
            axis = item.outputs[0].axis if item.outputs else 0
            channels = row.output_shape[axis] if 0 < axis < len(row.output_shape) else None
            facts.append(LayerFacts(row.layer, row.type_name, channels, row.macs, row.params))
    return tuple(facts)


def layer_changes(result: Any) -> tuple[LayerChange, ...]:
    """Returns the change of each layer of the original, then each layer without a counterpart in the original.

    Args:
        result: a `Result`, which may be a loaded one.

    Raises:
        ValueError: the result does not know the layers of its original.
    """
    before: Sequence[LayerFacts] = result.layers_before
    if not before:
        raise ValueError(
            "Expected a result that knows the layers of its original. Received: one that an earlier version of "
            "tfcompress saved. Load it with Result.load(folder, model=...), given the model that was compressed."
        )
    after = layers_of(Network(of_one_size(result.model, result.calibration)))
    names = {facts.name for facts in before}
    if not any(result.trail) and [facts.name for facts in after] != [facts.name for facts in before]:
        # A student that was given, of which the trail says nothing: layers of the same name have nothing in common.
        return (
            *(LayerChange(facts, (), REMOVED) for facts in before),
            *(LayerChange(None, (facts,), NEW) for facts in after),
        )
    fates = _Fates(result.trail, names)
    standing: dict[str, list[LayerFacts]] = {}
    new = []
    for facts in after:
        root = facts.name if facts.name in names else fates.root(facts.name)
        if root is None:
            new.append(LayerChange(None, (facts,), NEW))
        else:
            standing.setdefault(root, []).append(facts)
    return (*(fates.change(facts, tuple(standing.get(facts.name, ()))) for facts in before), *new)


class _Fates:
    """The structural changes of a trail, by layer of the original.

    Attributes:
        words: the change of each layer that the trail removes, replaces or reconfigures.
        replaced: layers that a region's replacement is named after.
    """

    def __init__(self, trail: Trail, names: Iterable[str]) -> None:
        self.words: dict[str, str] = {}
        self.replaced: set[str] = set()
        known, words = set(names), {_CALL.sub("", node): word for node, word in changes(trail).items()}
        for edit in (edit for plan in trail for edit in plan):
            if isinstance(edit, KeepChannels):
                continue
            nodes = [_CALL.sub("", node) for node in nodes_of(edit)]
            if isinstance(edit, ReplaceLayers):
                root = nodes[0] if nodes[0] in known else self.root(nodes[0])
                if root is not None:
                    self.replaced.add(root)
                    self.words[root] = words[nodes[0]]
                self.words.update({name: f"{TOGETHER}{root}" for name in nodes[1:] if name in known and name != root})
            else:
                self.words.update({name: words[name] for name in nodes if name in known})

    def root(self, name: str) -> str | None:
        """Returns the original's layer that a layer is named after; `None` if it is a layer of its own."""
        return max((root for root in self.replaced if name.startswith(f"{root}_")), key=len, default=None)

    def change(self, before: LayerFacts, after: tuple[LayerFacts, ...]) -> LayerChange:
        """Returns the change of a layer of the original that these layers replace."""
        word = self.words.get(before.name)
        if len(after) == 1 and after[0].name == before.name:
            fewer = (after[0].channels or 0) < (before.channels or 0)
            return LayerChange(before, after, word or (NARROWED if fewer else KEPT))
        if word in (None, REMOVED):
            return LayerChange(before, after, REMOVED)
        return LayerChange(before, after, REPLACED, str(word))
