"""Plans: what is done to a model, as plain data, serialisable as JSON; a `Trail` is plans one after the other.

A `Plan` has two halves. Its structural edits (`RemoveLayers`, `ReplaceLayers`, `Reconfigure`) speak of the nodes of the
source's graph and are carried out first; `KeepChannels` speaks of the channel groups of the graph that they leave.
Nothing here imports Keras. `tfcompress.rewrite.apply(source, plan)` carries a plan out, and
`tfcompress.rewrite.replay(source, trail)` a trail; done again to the same source they rebuild the same student.
"""

from __future__ import annotations

import dataclasses
import json
import operator
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tfcompress import expect

if TYPE_CHECKING:
    import keras
    import numpy.typing as npt

__all__ = ["Edit", "KeepChannels", "Plan", "Reconfigure", "RemoveLayers", "ReplaceLayers", "StructuralEdit", "Trail"]

_FORMAT = 2
_TRAIL_FORMAT = 1
_SIZES = ("kernel_size", "strides", "dilation_rate")
_CHANGEABLE = (*_SIZES, "padding", "activation")
_PADDINGS = ("valid", "same", "causal")
_PART = "part"
_SHOWN: dict[str, Any] = {"what": "names of nodes, unique, and at least one"}


@dataclass(frozen=True)
class KeepChannels:
    """Keeps some channels of one channel group and removes the others, everywhere at once.

    Attributes:
        group: name of a `ChannelGroup` of the graph that the plan's structural edits leave.
        indices: positions in the group that stay: unique, ascending, at least one.
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
    """Removes layers; what read the last of them reads what the first of them read.

    Attributes:
        nodes: names of nodes of the source's `LayerGraph`, one or more parts of it that have one tensor coming in and
            one going out, of the same shape unless the plan's weights are fresh: unique, at least one.
    """

    nodes: tuple[str, ...]

    def __post_init__(self) -> None:
        expect.settings(self, expect.each, "nodes", check=expect.text, empty=False, unique=True, **_SHOWN)


@dataclass(frozen=True)
class ReplaceLayers:
    """Puts a small graph of stock layers in the place of a node or a region, or one of the parts that a node holds.

    `ReplaceLayers.by(nodes, layer_or_model)` and `ReplaceLayers.by_part(node, name)` make one. The new layers are
    called after the first node: `conv1_pointwise`.

    Attributes:
        nodes: names of nodes of the source's `LayerGraph`, all of one region: unique, at least one.
        replacement: a layer, a Sequential or a Functional model as `keras.saving.serialize_keras_object` writes it,
            whose inputs and outputs stand for the tensors that come into the region and go out of it, in the order of
            the graph; its weights are fresh. Or `{"part": name}`, a part of a layer that has a method `parts`, such as
            a mixture, with the part's weights.
    """

    nodes: tuple[str, ...]
    replacement: Mapping[str, Any]

    def __post_init__(self) -> None:
        expect.settings(self, expect.each, "nodes", check=expect.text, empty=False, unique=True, **_SHOWN)
        object.__setattr__(self, "replacement", _plain("replacement", self.replacement))
        if _PART in self.replacement:
            expect.text("replacement", self.part, "the name of a part", empty=False)
            if len(self.nodes) != 1:
                raise ValueError(f"Expected one node, of which a part is taken out. Received: nodes={self.nodes!r}")
            return
        if not isinstance(self.replacement.get("config"), dict) or "class_name" not in self.replacement:
            what = "a serialised Keras layer or model, or {'part': name}"
            expect.refuse("replacement", what, dict(self.replacement), "ReplaceLayers.by(nodes, layer) makes one.")
        own = sorted(set(_not_of_keras(self.replacement)))
        if own:
            raise ValueError(
                "Expected a `replacement` of stock Keras layers alone, which load where tfcompress is not installed. "
                f"Received: {own}. Put it together from layers of keras.layers."
            )

    def __hash__(self) -> int:
        return hash((self.nodes, json.dumps(self.replacement, sort_keys=True)))

    @property
    def part(self) -> str | None:
        """Name of the part that is taken out of a mixture; `None` where the replacement is a graph of its own."""
        return self.replacement.get(_PART)

    @classmethod
    def by(cls, nodes: Sequence[str], layers: keras.layers.Layer) -> ReplaceLayers:
        """Puts a layer, or the layers of a Sequential or Functional model, in the place of nodes.

        Args:
            nodes: names of nodes of one region.
            layers: the layer or model; its settings count, its weights do not.
        """
        import keras  # plans are read where Keras is not loaded

        if not isinstance(layers, keras.Layer):
            expect.refuse("layers", "a keras.Layer or a keras.Model", layers, wrong_type=True)
        config = keras.saving.serialize_keras_object(layers)
        return cls(tuple(nodes), {key: value for key, value in config.items() if key != "compile_config"})

    @classmethod
    def by_part(cls, node: str, part: str) -> ReplaceLayers:
        """Puts a part of a mixture in the mixture's place, with the part's weights."""
        return cls((node,), {_PART: part})


@dataclass(frozen=True)
class Reconfigure:
    """Changes settings of one layer, in all its calls.

    Weights whose shape stays are inherited; a layer that gets weights of another shape starts fresh.

    Attributes:
        node: name of a node of the source's `LayerGraph`.
        config: new values of `kernel_size`, `strides`, `dilation_rate` (a whole number, or one for each axis),
            `padding` ("valid", "same" or "causal") or `activation` (a name of Keras, or `None`): at least one.
    """

    node: str
    config: Mapping[str, Any]

    def __post_init__(self) -> None:
        expect.settings(self, expect.text, "node", what="the name of a node")
        config = _plain("config", self.config)
        unknown = sorted(set(config) - set(_CHANGEABLE))
        if unknown or not config:
            advice = "Put another layer in its place with ReplaceLayers." if unknown else ""
            expect.refuse("config", f"new values of some of {', '.join(_CHANGEABLE)}", config, advice)
        for name in _SIZES:
            if name in config:
                config[name] = _sizes(name, config[name])
        if "padding" in config:
            expect.one_of("padding", config["padding"], _PADDINGS)
        if config.get("activation") is not None:
            expect.text("activation", config["activation"], "the name of an activation of Keras, or None")
        object.__setattr__(self, "config", config)

    def __hash__(self) -> int:
        return hash((self.node, json.dumps(self.config, sort_keys=True)))


def _sizes(name: str, value: Any) -> int | list[int]:
    """Sizes as JSON has them: one for all axes, or a list."""
    if isinstance(value, list) and 1 <= len(value) <= 3:
        return [expect.whole(name, size, least=1) for size in value]
    size: int = expect.whole(name, value, least=1)
    return size


def _plain(name: str, value: Any) -> dict[str, Any]:
    """A mapping as JSON gives it back."""
    if not isinstance(value, Mapping):
        expect.refuse(name, "a mapping of plain data", value, wrong_type=True)
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(value), allow_nan=False, default=operator.index))
    except (TypeError, ValueError, RecursionError) as error:
        expect.refuse(name, f"plain data, as JSON has it ({error})", value)
    return plain


def _not_of_keras(config: Any) -> Iterator[str]:
    """Classes and functions in a serialised object that are not Keras' own, or hold code."""
    if isinstance(config, dict):
        module, name = config.get("module"), config.get("class_name")
        of_keras = module is None or str(module).partition(".")[0] == "keras"
        if name is not None and (not of_keras or name in ("Lambda", "__lambda__")):
            yield str(config.get("registered_name") or name)
        for value in config.values():
            yield from _not_of_keras(value)
    elif isinstance(config, list):
        for value in config:
            yield from _not_of_keras(value)


StructuralEdit = RemoveLayers | ReplaceLayers | Reconfigure
Edit = KeepChannels | StructuralEdit
_KINDS: dict[str, type[Edit]] = {
    kind.__name__: kind for kind in (KeepChannels, RemoveLayers, ReplaceLayers, Reconfigure)
}


def _nodes_of(edit: StructuralEdit) -> tuple[str, ...]:
    return (edit.node,) if isinstance(edit, Reconfigure) else edit.nodes


@dataclass(frozen=True)
class Plan:
    """Edits of one source model: structural ones first, then channels of what they leave.

    Structural edits speak of the nodes of the source, `KeepChannels` of the channel groups of the graph that the
    structural edits leave. The order of the edits does not matter.

    Attributes:
        edits: the edits; at most one for each channel group and for each node.
        weights: where the student's weights come from. "inherited": from the source; layers that are replaced, or whose
            weights change their shape otherwise than by losing channels, start fresh, and no removed or replaced part
            may change a width. "fresh": from the initializers, and widths may change. Or the name of a file of the run
            folder, such as "model.keras", where the student was trained; widths may change then too.
    """

    edits: tuple[Edit, ...] = ()
    weights: str = "inherited"

    def __post_init__(self) -> None:
        edit: dict[str, Any] = {"check": expect.instance, "kinds": tuple(_KINDS.values())}
        named = f"{', '.join(list(_KINDS)[:-1])} or {list(_KINDS)[-1]}"
        expect.settings(self, expect.each, "edits", what=f"edits: {named}", **edit)
        nodes = [node for edit in self.structural for node in _nodes_of(edit)]
        for what, names in (("channel group", [edit.group for edit in self.channels]), ("node", nodes)):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"Expected at most one edit for each {what}. Received several for {twice}")
        expect.settings(self, _weights, "weights")

    @property
    def weights_file(self) -> str | None:
        """The file of the run folder that the student's weights come from, or `None` where they come from no file."""
        return None if self.weights in _WEIGHTS else self.weights

    def __iter__(self) -> Iterator[Edit]:
        return iter(self.edits)

    @property
    def channels(self) -> tuple[KeepChannels, ...]:
        """The edits of channel groups."""
        return tuple(edit for edit in self.edits if isinstance(edit, KeepChannels))

    @property
    def structural(self) -> tuple[StructuralEdit, ...]:
        """The edits of layers: what is removed, replaced and reconfigured."""
        return tuple(edit for edit in self.edits if not isinstance(edit, KeepChannels))

    @property
    def removed(self) -> tuple[str, ...]:
        """The nodes that are removed."""
        return tuple(node for edit in self.edits if isinstance(edit, RemoveLayers) for node in edit.nodes)

    @classmethod
    def without(cls, nodes: Sequence[str]) -> Plan:
        """The plan that removes these nodes, if any."""
        return cls((RemoveLayers(tuple(nodes)),) if nodes else ())

    def __len__(self) -> int:
        return len(self.edits)

    @classmethod
    def keeping(cls, kept: Mapping[str, tuple[int, ...]]) -> Plan:
        """The plan that keeps `kept[group]` of each group named, and all of the others."""
        return cls(tuple(KeepChannels(group, tuple(indices)) for group, indices in kept.items()))

    @classmethod
    def keeping_first(cls, orders: Mapping[str, Sequence[int] | npt.NDArray[Any]], widths: Mapping[str, int]) -> Plan:
        """The plan that keeps the first `widths[group]` positions of `orders[group]`, which has all of the group's.

        It says nothing of groups that stay whole.
        """
        cut = {group: orders[group][:width] for group, width in widths.items() if width < len(orders[group])}
        return cls.keeping({group: tuple(sorted(int(i) for i in first)) for group, first in cut.items()})

    def to_json(self) -> str:
        """The plan as JSON text."""
        edits = [{"edit": type(edit).__name__, **dataclasses.asdict(edit)} for edit in self.edits]
        return json.dumps({"format": _FORMAT, "weights": self.weights, "edits": edits}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Reads what `to_json` wrote.

        Raises:
            ValueError: the text is no plan, or one of a later format.
        """
        expect.text("text", text, "the JSON of a plan")
        try:
            data = json.loads(text)
        except ValueError as error:
            expect.refuse("text", f"the JSON of a plan ({error})", text)
        if not isinstance(data, dict) or data.get("format") != _FORMAT:
            received = data.get("format") if isinstance(data, dict) else type(data).__name__
            older = " A plan of format 1 was written by an older tfcompress, and its channel groups are others: make it"
            advice = f"{older} anew." if received == 1 else ""
            raise ValueError(f"Expected a plan of format {_FORMAT}. Received: format={received!r}.{advice}")
        try:
            unknown = sorted({str(e["edit"]) for e in data["edits"]} - _KINDS.keys())
            if unknown:
                raise ValueError(f"Expected edits of the kinds {sorted(_KINDS)}. Received: {unknown}")
            return cls(tuple(_edit(**entry) for entry in data["edits"]), data["weights"])
        except (KeyError, TypeError) as error:
            raise ValueError(
                "Expected `weights`, and `edits` with their group and indices, nodes and replacement, or node and "
                f"config. Received: {expect.received(data)}"
            ) from error


def _edit(edit: str, **fields: Any) -> Edit:
    return _KINDS[edit](**fields)


_WEIGHTS = ("inherited", "fresh")


def _weights(name: str, value: Any) -> str:
    """Checks where weights come from: a word, or a file inside a folder."""
    what = '"inherited", "fresh", or the name of a file of the run folder such as "model.keras"'
    expect.text(name, value, what)
    file = pathlib.PurePosixPath(value)
    if value not in _WEIGHTS and (
        file.suffix != ".keras" or file.is_absolute() or {"..", "\\"} & {*file.parts, *value}
    ):
        expect.refuse(name, what, value)
    return str(value)


@dataclass(frozen=True)
class Trail:
    """Plans one after the other, each of what the one before left: the way from a model to a student.

    Attributes:
        plans: the plans, at least one; `Plan()` for a student that has lost nothing.
    """

    plans: tuple[Plan, ...]

    def __post_init__(self) -> None:
        plan: dict[str, Any] = {"check": expect.instance, "kinds": Plan, "empty": False}
        expect.settings(self, expect.each, "plans", what="plans, Plan(...), one after the other, at least one", **plan)

    def __iter__(self) -> Iterator[Plan]:
        return iter(self.plans)

    def __len__(self) -> int:
        return len(self.plans)

    @property
    def last(self) -> Plan:
        """The last plan, which makes the student."""
        return self.plans[-1]

    @property
    def files(self) -> tuple[str, ...]:
        """The files of the run folder that weights come from."""
        return tuple(plan.weights_file for plan in self.plans if plan.weights_file is not None)

    def then(self, plan: Plan) -> Trail:
        """The trail that goes on with `plan`, a plan of what this trail leaves."""
        return Trail((*self.plans, plan))

    def ending_with(self, weights: str) -> Trail:
        """The same trail to a student whose weights come from `weights`, as in `Plan.weights`."""
        return Trail((*self.plans[:-1], dataclasses.replace(self.last, weights=weights)))

    def to_json(self) -> str:
        """The trail as JSON text."""
        plans = [json.loads(plan.to_json()) for plan in self.plans]
        return json.dumps({"format": _TRAIL_FORMAT, "plans": plans}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Trail:
        """Reads what `to_json` wrote.

        Raises:
            ValueError: the text is no trail, or one of a later format.
        """
        expect.text("text", text, "the JSON of a trail")
        try:
            data = json.loads(text)
        except ValueError as error:
            expect.refuse("text", f"the JSON of a trail ({error})", text)
        if not isinstance(data, dict) or data.get("format") != _TRAIL_FORMAT or not isinstance(data.get("plans"), list):
            received = sorted(data) if isinstance(data, dict) else type(data).__name__
            stated = data.get("format") if isinstance(data, dict) else None
            raise ValueError(
                f"Expected a trail, with format {_TRAIL_FORMAT} and plans. Received: {received}, format={stated!r}"
            )
        return cls(tuple(Plan.from_json(json.dumps(plan)) for plan in data["plans"]))
