"""Edits: the parts of a `Plan`, as plain data. Nothing here imports Keras."""

from __future__ import annotations

import json
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tfcompress import expect

if TYPE_CHECKING:
    import keras

__all__ = [
    "CHANGEABLE",
    "KINDS",
    "Edit",
    "KeepChannels",
    "Reconfigure",
    "RemoveLayers",
    "ReplaceLayers",
    "StructuralEdit",
    "nodes_of",
]

_SIZES = ("kernel_size", "strides", "dilation_rate")
CHANGEABLE = (*_SIZES, "padding", "activation")
_PADDINGS = ("valid", "same", "causal")
_PART = "part"
# The only layer of ours that a plan may put in: it goes again when a part of it is chosen.
_MIXTURE = ("tfcompress.layers.mixture", "Mixture", "tfcompress>Mixture")
_SHOWN: dict[str, Any] = {"what": "names of nodes, unique, and at least one"}


@dataclass(frozen=True)
class KeepChannels:
    """Keeps some channels of one channel group and removes the others, everywhere at once.

    Attributes:
        group: name of a `ChannelGroup` of the graph that results from the plan's structural edits.
        indices: positions in the group to keep: unique, ascending, at least one.
    """

    group: str
    indices: tuple[int, ...]

    def __post_init__(self) -> None:
        expect.settings(self, expect.text, "group", what="the name of a channel group")
        try:
            indices = tuple(map(operator.index, self.indices))
        except TypeError:  # one number, a string, or fractions
            expect.refuse("indices", "several whole numbers", self.indices, wrong_type=True)
        if not indices or list(indices) != sorted(set(indices)) or indices[0] < 0:
            raise ValueError(
                "Expected `indices` to be ascending, unique, not negative, and at least one. "
                f"Received: group={self.group!r}, indices={self.indices!r}"
            )
        object.__setattr__(self, "indices", indices)


@dataclass(frozen=True)
class RemoveLayers:
    """Removes layers; the layers behind them then read the input of the removed part.

    Attributes:
        nodes: names of nodes of the source's `LayerGraph`, unique, at least one. They form one or more parts of the
            graph, each with one input tensor and one output tensor, of equal shape unless the plan's weights are fresh.
    """

    nodes: tuple[str, ...]

    def __post_init__(self) -> None:
        expect.settings(self, expect.each, "nodes", check=expect.text, empty=False, unique=True, **_SHOWN)


@dataclass(frozen=True)
class ReplaceLayers:
    """Replaces a node or a region by a small graph of stock layers, or a mixture by one of its parts.

    `ReplaceLayers.by(nodes, layer_or_model)` and `ReplaceLayers.by_part(node, name)` create one. The new layers are
    named after the first node: `conv1_pointwise`.

    Attributes:
        nodes: names of nodes of the source's `LayerGraph`, all in one region: unique, at least one.
        replacement: a stock layer, a Sequential or Functional model of stock layers, or a `tfcompress.layers.Mixture`
            of these, as written by `keras.saving.serialize_keras_object`. Its inputs and outputs stand for the tensors
            that enter and leave the region, in the order of the graph; its weights are fresh. Or `{"part": name}`: a
            part of a layer that has a method `parts`, such as a mixture, with the part's weights.
    """

    nodes: tuple[str, ...]
    replacement: Mapping[str, Any]

    def __post_init__(self) -> None:
        expect.settings(self, expect.each, "nodes", check=expect.text, empty=False, unique=True, **_SHOWN)
        object.__setattr__(self, "replacement", _plain("replacement", self.replacement))
        if _PART in self.replacement:
            expect.text("replacement", self.part, "the name of a part", empty=False)
            if len(self.nodes) != 1:
                raise ValueError(f"Expected one node to take the part from. Received: nodes={self.nodes!r}")
            return
        if not isinstance(self.replacement.get("config"), dict) or "class_name" not in self.replacement:
            what = "a serialised Keras layer or model, or {'part': name}"
            expect.refuse("replacement", what, dict(self.replacement), "ReplaceLayers.by(nodes, layer) makes one.")
        own = sorted(set(_not_of_keras(self.replacement)))
        if own:
            raise ValueError(
                "Expected a `replacement` of stock Keras layers only, which load where tfcompress is not installed.  "
                f"Received: {own}. Build it from layers of keras.layers."
            )

    def __hash__(self) -> int:
        return hash((self.nodes, json.dumps(self.replacement, sort_keys=True)))

    @property
    def part(self) -> str | None:
        """Name of the part that is taken out of a mixture; `None` where the replacement is a graph of its own."""
        return self.replacement.get(_PART)

    @classmethod
    def by(cls, nodes: Sequence[str], layers: keras.layers.Layer) -> ReplaceLayers:
        """Replaces nodes by a layer, or by the layers of a Sequential or Functional model.

        Args:
            nodes: names of nodes of one region.
            layers: the layer or model; its settings are used, its weights are not.
        """
        import keras  # plans are read where Keras is not loaded

        if not isinstance(layers, keras.Layer):
            expect.refuse("layers", "a keras.Layer or a keras.Model", layers, wrong_type=True)
        config = keras.saving.serialize_keras_object(layers)
        return cls(tuple(nodes), {key: value for key, value in config.items() if key != "compile_config"})

    @classmethod
    def by_part(cls, node: str, part: str) -> ReplaceLayers:
        """Replaces a mixture by one of its parts, with the part's weights."""
        return cls((node,), {_PART: part})


@dataclass(frozen=True)
class Reconfigure:
    """Changes settings of one layer, in all its calls.

    Weights that keep their shape are inherited; a layer whose weights change shape starts fresh.

    Attributes:
        node: name of a node of the source's `LayerGraph`.
        config: new values of `kernel_size`, `strides`, `dilation_rate` (a whole number, or one for each axis),
            `padding` ("valid", "same" or "causal") or `activation` (a Keras name, or `None`): at least one.
    """

    node: str
    config: Mapping[str, Any]

    def __post_init__(self) -> None:
        expect.settings(self, expect.text, "node", what="the name of a node")
        config = _plain("config", self.config)
        unknown = sorted(set(config) - set(CHANGEABLE))
        if unknown or not config:
            advice = "Put another layer in its place with ReplaceLayers." if unknown else ""
            expect.refuse("config", f"new values of some of {', '.join(CHANGEABLE)}", config, advice)
        for name in _SIZES:
            if name in config:
                config[name] = _sizes(name, config[name])
        if "padding" in config:
            expect.one_of("padding", config["padding"], _PADDINGS)
        if config.get("activation") is not None:
            expect.text("activation", config["activation"], "the name of a Keras activation, or None")
        object.__setattr__(self, "config", config)

    def __hash__(self) -> int:
        return hash((self.node, json.dumps(self.config, sort_keys=True)))


def _sizes(name: str, value: Any) -> int | list[int]:
    """Returns sizes as JSON data: one for all axes, or a list."""
    if isinstance(value, list) and 1 <= len(value) <= 3:
        return [expect.whole(name, size, least=1) for size in value]
    size: int = expect.whole(name, value, least=1)
    return size


def _plain(name: str, value: Any) -> dict[str, Any]:
    """Returns a mapping in the form that reading it back from JSON gives."""
    if not isinstance(value, Mapping):
        expect.refuse(name, "a mapping of plain data", value, wrong_type=True)
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(value), allow_nan=False, default=operator.index))
    except (TypeError, ValueError, RecursionError) as error:
        expect.refuse(name, f"plain data, as JSON has it ({error})", value)
    return plain


def _not_of_keras(config: Any) -> Iterator[str]:
    """Yields the classes and functions in a serialised object that are not part of Keras, or that hold code."""
    if isinstance(config, dict):
        module, name = config.get("module"), config.get("class_name")
        # A class of the user's program itself has no module, but a name that it is registered by.
        of_keras = not config.get("registered_name") if module is None else str(module).partition(".")[0] == "keras"
        is_mixture = (module, name, config.get("registered_name")) == _MIXTURE
        if name is not None and not is_mixture and (not of_keras or name in ("Lambda", "__lambda__")):
            yield str(config.get("registered_name") or name)
        for value in config.values():
            yield from _not_of_keras(value)
    elif isinstance(config, list):
        for value in config:
            yield from _not_of_keras(value)


StructuralEdit = RemoveLayers | ReplaceLayers | Reconfigure
Edit = KeepChannels | StructuralEdit
KINDS: dict[str, type[Edit]] = {
    kind.__name__: kind for kind in (KeepChannels, RemoveLayers, ReplaceLayers, Reconfigure)
}


def nodes_of(edit: StructuralEdit) -> tuple[str, ...]:
    """Returns the nodes that an edit names."""
    return (edit.node,) if isinstance(edit, Reconfigure) else edit.nodes
