"""Decides which frozen layers a phase trains all the same, and restores the flags afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfcompress.graph import LayerGraph
from tfcompress.network import Network
from tfcompress.plan import Trail

__all__ = [
    "cut_layers",
    "frozen",
    "inner_layers",
    "keeps_its_values",
    "own_variables",
    "thawed",
    "to_thaw",
    "words_for",
]

_NAMED = 5


def cut_layers(before: LayerGraph, student: keras.Model | Network, trail: Trail) -> dict[str, list[int]]:
    """Returns the layers whose weights a trail changed, with the positions of these weights in `variables`.

    These are the weights that the plans cut, whose shape differs from the model's, and all weights if a plan says
    `weights="fresh"`.

    Args:
        before: the graph of the model that the trail starts from.
        student: the student of the trail.
        trail: the trail.
    """
    fresh = any(plan.weights == "fresh" for plan in trail)
    if not fresh and not any(plan.channels for plan in trail):
        return {}
    changed: dict[str, list[int]] = {}
    for name, layer in Network.of(student).graph.operations.items():
        shapes = _shapes(before.operations.get(name), layer)
        variables = enumerate(getattr(layer, "variables", ()))
        places = [place for place, variable in variables if fresh or shapes[place] not in (None, tuple(variable.shape))]
        if places:
            changed[name] = places
    return changed


def _shapes(before: Any, now: Any) -> list[tuple[int, ...] | None]:
    """Returns for each variable of a layer its shape in the layer `before`, or `None` if it does not exist there.

    Variables are matched by their position, or by their path if Keras orders them differently.
    """
    old, new = (list(getattr(layer, "variables", ())) for layer in (before, now))
    paths = [[variable.path.partition("/")[2] for variable in variables] for variables in (old, new)]
    if sorted(paths[0]) == sorted(paths[1]) and len(set(paths[0])) == len(old):
        shapes = {path: tuple(variable.shape) for path, variable in zip(paths[0], old, strict=True)}
        return [shapes[path] for path in paths[1]]
    if len(old) != len(new):
        return [None] * len(new)
    return [tuple(variable.shape) for variable in old]


def to_thaw(student: keras.Model | Network, cut: Mapping[str, Sequence[int]]) -> list[Any]:
    """Returns the frozen layers of a student that its recovery trains all the same, because their weights changed.

    - A layer is trained if it holds a weight that a plan cut; inside a wrapper, an RNN or a nested model, the innermost
    such layer.
    - A frozen BatchNormalization is trained (scale, offset and statistics) if its channels were cut, if it was drawn
    anew, or if it directly reads the output of another layer of this list. Any other stays frozen and uses
      its statistics.
      - A frozen Embedding keeps its values, cut or not: they were learned elsewhere, from more than the data at hand.
      So does a frozen shift (`tfcompress.replacements.Shift`), which with other values would not be a shift.

      Before the cut, in a search that trains (RLAL's joint training), frozen layers stay frozen, because nothing of
      them has changed. Layers that are drawn anew are trained too, see `Distilling.begun`. Flags are restored in both
      cases.

    Args:
        student: the student of the trail.
        cut: the result of `cut_layers`.
    """
    graph = Network.of(student).graph
    layers: list[Any] = []
    writers: set[str] = set()
    for name, layer in graph.operations.items():
        if name not in cut or not isinstance(layer, keras.Layer):
            continue
        ids = {id(layer.variables[place]) for place in cut[name]}
        changed = [inner for inner in inner_layers(layer) if ids & {id(own) for own in own_variables(inner)}]
        changed = [inner for inner in changed if not inner.trainable and not keeps_its_values(inner)]
        if changed:
            layers += changed
            writers.add(name)
    for node in graph.nodes.values():
        layer = node.operation
        if not isinstance(layer, keras.layers.BatchNormalization) or layer.trainable or layer in layers:
            continue
        if any(graph.nodes[ref.node].layer_name in writers for ref in node.inputs):
            layers.append(layer)
    return layers


def words_for(layers: Sequence[Any], which: str = "whose weights changed") -> str:
    """Returns a sentence on frozen layers that are trained, with their names."""
    names = [layer.name for layer in layers]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    single = len(names) == 1
    return (
        f"{len(names)} frozen {'layer' if single else 'layers'} {which} {'is' if single else 'are'} "
        f"trained: {', '.join(names[:_NAMED])}{more}"
    )


def keeps_its_values(layer: Any) -> bool:
    """Whether a layer is a frozen Embedding or a frozen shift, which is neither drawn anew nor trained.

    A shift is a depthwise convolution whose numbers are all given by its config: see `tfcompress.replacements.Shift`.
    """
    initializer = getattr(layer, "depthwise_initializer", None)
    is_shift = isinstance(initializer, keras.initializers.Constant) and np.ndim(initializer.value) > 0
    return (is_shift or isinstance(layer, keras.layers.Embedding)) and not layer.trainable


def inner_layers(layer: Any) -> list[Any]:
    """Returns a layer and all layers inside it (wrapped layers, cells, layers of nested models), outer ones first."""
    return list(layer._flatten_layers()) if isinstance(layer, keras.Layer) else []


def own_variables(layer: Any) -> list[Any]:
    """Returns the variables of a layer that do not belong to layers inside it."""
    inner = {id(variable) for part in inner_layers(layer)[1:] for variable in part.variables}
    return [variable for variable in layer.variables if id(variable) not in inner]


class _Flags:
    """The `trainable` flags of layers, of all layers inside them, and of their variables.

    Setting the flag of a layer sets those of all layers inside it, so that each of them has to be restored.
    """

    def __init__(self, layers: Iterable[Any]) -> None:
        every = {id(inner): inner for layer in layers for inner in inner_layers(layer)}
        # Those that hold others first.
        self.layers = sorted(every.values(), key=lambda layer: -len(inner_layers(layer)))
        self._of_layers = {id(layer): layer.trainable for layer in self.layers}
        variables = {id(variable): variable for layer in self.layers for variable in layer.variables}
        self._of_variables = [(variable, variable.trainable) for variable in variables.values()]

    def of(self, layer: Any) -> bool:
        return self._of_layers[id(layer)]

    def restore(self) -> None:
        """Restores all flags."""
        for layer in self.layers:
            layer.trainable = self.of(layer)
        self.restore_variables()

    def restore_variables(self, but: Iterable[Any] = ()) -> None:
        kept = {id(variable) for variable in but}
        for variable, trainable in self._of_variables:
            if id(variable) not in kept and variable.trainable != trainable:
                variable.trainable = trainable


@contextlib.contextmanager
def frozen(layers: Iterable[Any]) -> Iterator[None]:
    """Keeps layers from being trained inside the `with`; BatchNormalization keeps and uses its statistics."""
    layers = [layer for layer in layers if isinstance(layer, keras.Layer)]
    flags = _Flags(layers)
    for layer in layers:
        layer.trainable = False
    try:
        yield
    finally:
        flags.restore()


@contextlib.contextmanager
def thawed(model: keras.Model, layers: Iterable[Any]) -> Iterator[None]:
    """Makes layers of a model trainable inside the `with`, whatever their flags; all flags are restored afterwards.

    Args:
        model: the model.
        layers: layers of it, or layers inside those. Layers that `keeps_its_values` names stay frozen.
    """
    wanted = {id(layer) for layer in layers if not keeps_its_values(layer)}
    if not wanted:
        yield
        return
    flags = _Flags([model])
    trained: list[Any] = []
    try:
        for layer in flags.layers:
            # What holds a layer has to be open for Keras to find the variables of that layer.
            layer.trainable = flags.of(layer) or any(id(inner) in wanted for inner in inner_layers(layer))
            if id(layer) in wanted:
                trained += [variable for variable in own_variables(layer) if variable.trainable]
        flags.restore_variables(but=trained)
        yield
    finally:
        flags.restore()
