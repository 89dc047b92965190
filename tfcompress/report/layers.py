"""Layers before and after: what a run made of each layer of the model that it was given."""

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
        channels: of its first output; `None` where it has no channel axis.
        macs: multiply-adds of one sample, over all calls.
        params: learned weights.
    """

    name: str
    kind: str
    channels: int | None
    macs: int
    params: int

    @property
    def is_drawn(self) -> bool:
        """Whether its channels are its own: it learns, and does more than scale what comes in."""
        return self.params > 0 and "Normalization" not in self.kind


@dataclasses.dataclass(frozen=True)
class LayerChange:
    """A layer before, and what stands in its place.

    Attributes:
        before: the layer of the original; `None` for one that the original has no counterpart of.
        after: the layer as it is now, or those that replace it; none where it was removed.
        change: "kept", "fewer channels", "removed", "replaced", "new", or the settings that are new.
        by: of a replaced layer the layers that stand there, such as "3x3 DepthwiseConv2D + 1x1 Conv2D", or, of a region
            of several layers, for all but the first "together with" that one; else "".
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
        """Channels before and after: of a replacement those of its last layer that has weights of its own."""
        last = next((facts for facts in reversed(self.after) if facts.is_drawn), self.after[-1] if self.after else None)
        return None if self.before is None else self.before.channels, None if last is None else last.channels

    def sums(self, name: str) -> tuple[int, int]:
        """A cost, "macs" or "params", before and after."""
        return getattr(self.before, name, 0), sum(getattr(facts, name) for facts in self.after)


def layers_of(network: Network) -> tuple[LayerFacts, ...]:
    """The facts of each layer of a network, but for its inputs, in the order of its graph."""
    facts = []
    for row in network.costs.by_layer():
        item = network.groups.layers[row.layer]
        if not item.node.is_input:
            axis = item.outputs[0].axis if item.outputs else 0
            channels = row.output_shape[axis] if 0 < axis < len(row.output_shape) else None
            facts.append(LayerFacts(row.layer, row.type_name, channels, row.macs, row.params))
    return tuple(facts)


def layer_changes(result: Any) -> tuple[LayerChange, ...]:
    """Says of each layer of the original what became of it, and then of each that the original has no counterpart of.

    Args:
        result: a `Result`, a loaded one as well.

    Raises:
        ValueError: a result that does not know the layers of its original.
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
    """Structural changes by layer of the original, as a trail tells them.

    Attributes:
        words: of each layer that the trail removes, replaces or sets anew what became of it.
        replaced: layers that a region's replacement is called after.
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
        """The layer of the original that a layer stands for, as it is called after it; `None` for one of its own."""
        return max((root for root in self.replaced if name.startswith(f"{root}_")), key=len, default=None)

    def change(self, before: LayerFacts, after: tuple[LayerFacts, ...]) -> LayerChange:
        """The change of a layer of the original, in whose place these stand."""
        word = self.words.get(before.name)
        if len(after) == 1 and after[0].name == before.name:
            fewer = (after[0].channels or 0) < (before.channels or 0)
            return LayerChange(before, after, word or (NARROWED if fewer else KEPT))
        if word in (None, REMOVED):
            return LayerChange(before, after, REMOVED)
        return LayerChange(before, after, REPLACED, str(word))
