"""Plans: edits of a model as plain data, serialisable as JSON. A `Trail` is a sequence of plans.

A `Plan` has two halves. Its structural edits (`RemoveLayers`, `ReplaceLayers`, `Reconfigure`) name nodes of the
source's graph and are carried out first; `KeepChannels` names channel groups of the graph that results.
Nothing here imports Keras. `tfcompress.rewrite.apply(source, plan)` carries out a plan, and
`tfcompress.rewrite.replay(source, trail)` a trail; repeated on the same source, they rebuild the same student.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tfcompress import expect
from tfcompress.edits import (
    KINDS,
    Edit,
    KeepChannels,
    Reconfigure,
    RemoveLayers,
    ReplaceLayers,
    StructuralEdit,
    nodes_of,
)

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Edit", "KeepChannels", "Plan", "Reconfigure", "RemoveLayers", "ReplaceLayers", "StructuralEdit", "Trail"]

_FORMAT = 2
_TRAIL_FORMAT = 1


@dataclass(frozen=True)
class Plan:
    """Edits of one source model: structural edits first, then channel edits.

    Structural edits name nodes of the source; `KeepChannels` names channel groups of the graph that the structural
    edits leave. The order of the edits does not matter.

    Attributes:
        edits: the edits; at most one for each channel group and for each node.
        weights: the origin of the student's weights. "inherited": from the source; layers that are replaced, or whose
            weights change shape other than by losing channels, start fresh, and no removed or replaced part may change
            a width. "fresh": from the initializers, and widths may change. Or the name of a file of the run folder,
            such as "model.keras", if the student was trained; widths may change then too.
    """

    edits: tuple[Edit, ...] = ()
    weights: str = "inherited"

    def __post_init__(self) -> None:
        edit: dict[str, Any] = {"check": expect.instance, "kinds": tuple(KINDS.values())}
        named = f"{', '.join(list(KINDS)[:-1])} or {list(KINDS)[-1]}"
        expect.settings(self, expect.each, "edits", what=f"edits: {named}", **edit)
        nodes = [node for edit in self.structural for node in nodes_of(edit)]
        for what, names in (("channel group", [edit.group for edit in self.channels]), ("node", nodes)):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"Expected at most one edit for each {what}. Received several for {twice}")
        expect.settings(self, _weights, "weights")

    @property
    def weights_file(self) -> str | None:
        """Name of the file of the run folder that holds the student's weights; `None` if they come from no file."""
        return None if self.weights in _WEIGHTS else self.weights

    def __iter__(self) -> Iterator[Edit]:
        return iter(self.edits)

    @property
    def channels(self) -> tuple[KeepChannels, ...]:
        """The edits of channel groups."""
        return tuple(edit for edit in self.edits if isinstance(edit, KeepChannels))

    @property
    def structural(self) -> tuple[StructuralEdit, ...]:
        """The edits of layers: removed, replaced and reconfigured ones."""
        return tuple(edit for edit in self.edits if not isinstance(edit, KeepChannels))

    @property
    def removed(self) -> tuple[str, ...]:
        """The nodes that are removed."""
        return tuple(node for edit in self.edits if isinstance(edit, RemoveLayers) for node in edit.nodes)

    @classmethod
    def without(cls, nodes: Sequence[str]) -> Plan:
        """Returns the plan that removes these nodes; with no nodes, a plan without edits."""
        return cls((RemoveLayers(tuple(nodes)),) if nodes else ())

    def __len__(self) -> int:
        return len(self.edits)

    @classmethod
    def keeping(cls, kept: Mapping[str, tuple[int, ...]]) -> Plan:
        """Returns the plan that keeps channels `kept[group]` of each named group, and all channels of the others."""
        return cls(tuple(KeepChannels(group, tuple(indices)) for group, indices in kept.items()))

    @classmethod
    def keeping_first(cls, orders: Mapping[str, Sequence[int] | npt.NDArray[Any]], widths: Mapping[str, int]) -> Plan:
        """Returns the plan that keeps the first `widths[group]` of `orders[group]`, an order of all its channels.

        Groups that stay whole get no edit.
        """
        cut = {group: orders[group][:width] for group, width in widths.items() if width < len(orders[group])}
        return cls.keeping({group: tuple(sorted(int(i) for i in first)) for group, first in cut.items()})

    def renamed(self, then: Sequence[str], now: Sequence[str]) -> Plan:
        """Returns this plan with layer names replaced: `then[i]` by `now[i]`.

        Args:
            then, now: the names of all layers of the old and the new source, in the order of its graph.
        """
        names = {old: new for old, new in zip(then, now, strict=True) if old != new}
        if not names:
            return self

        def name(text: str) -> str:
            if text in names or text in then:
                return names.get(text, text)
            at = max(text.rfind(":"), text.rfind("@"))  # a part of a layer, or one of its later calls
            return text if at < 0 else name(text[:at]) + text[at:]

        def group(text: str) -> str:
            for first in prefixes:  # layers of a replacement are called after the first that they replace
                if text.startswith(f"{first}_") and text not in then:
                    return name(first) + text[len(first) :]
            return name(text)

        def edited(edit: Edit) -> Edit:
            if isinstance(edit, KeepChannels):
                return KeepChannels(group(edit.group), edit.indices)
            if isinstance(edit, Reconfigure):
                return dataclasses.replace(edit, node=name(edit.node))
            return dataclasses.replace(edit, nodes=tuple(map(name, edit.nodes)))

        replaced = [edit.nodes[0].partition("@")[0] for edit in self.structural if isinstance(edit, ReplaceLayers)]
        prefixes = sorted(replaced, key=len, reverse=True)
        return dataclasses.replace(self, edits=tuple(map(edited, self)))

    def to_json(self) -> str:
        """Returns the plan as JSON text."""
        edits = [{"edit": type(edit).__name__, **dataclasses.asdict(edit)} for edit in self.edits]
        return json.dumps({"format": _FORMAT, "weights": self.weights, "edits": edits}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Reads a plan that `to_json` wrote.

        Raises:
            ValueError: the text is not a plan, or has another format.
        """
        data = _parsed(text, "the JSON of a plan")
        if not isinstance(data, dict) or data.get("format") != _FORMAT:
            received = data.get("format") if isinstance(data, dict) else type(data).__name__
            older = " An older tfcompress wrote plans of format 1, with other channel groups: make the plan"
            advice = f"{older} again." if received == 1 else ""
            raise ValueError(f"Expected a plan of format {_FORMAT}. Received: format={received!r}.{advice}")
        try:
            unknown = sorted({str(e["edit"]) for e in data["edits"]} - KINDS.keys())
            if unknown:
                raise ValueError(f"Expected edits of the kinds {sorted(KINDS)}. Received: {unknown}")
            return cls(tuple(_edit(**entry) for entry in data["edits"]), data["weights"])
        except (KeyError, TypeError) as error:
            raise ValueError(
                "Expected `weights`, and `edits` with their group and indices, nodes and replacement, or node and "
                f"config. Received: {expect.received(data)}"
            ) from error


def _parsed(text: str, what: str) -> Any:
    """Parses JSON; refuses other text."""
    expect.text("text", text, what)
    try:
        return json.loads(text)
    except ValueError as error:
        expect.refuse("text", f"{what} ({error})", text)


def _edit(edit: str, **fields: Any) -> Edit:
    return KINDS[edit](**fields)


_WEIGHTS = ("inherited", "fresh")


def _weights(name: str, value: Any) -> str:
    """Checks the origin of weights: a keyword, or the name of a file inside a folder."""
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
    """Plans in sequence, each for the model that the one before left: the way from a model to a student.

    Attributes:
        plans: the plans, at least one; `Plan()` for a student that has lost nothing.
        layers: the names of all layers of the first model, in the order of its graph. By them the trail also fits the
            same architecture built again, whose layers Keras names differently. Empty if they are not known.
    """

    plans: tuple[Plan, ...]
    layers: tuple[str, ...] = dataclasses.field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        plan: dict[str, Any] = {"check": expect.instance, "kinds": Plan, "empty": False}
        expect.settings(self, expect.each, "plans", what="plans, Plan(...), one after the other, at least one", **plan)
        expect.settings(self, expect.each, "layers", check=expect.text, what="names of layers")

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
        """The files of the run folder that hold weights."""
        return tuple(plan.weights_file for plan in self.plans if plan.weights_file is not None)

    def then(self, plan: Plan) -> Trail:
        """Returns this trail extended by `plan`, which is a plan for the student of this trail."""
        return Trail((*self.plans, plan), self.layers)

    def ending_with(self, weights: str) -> Trail:
        """Returns this trail with `weights` as the origin of its student's weights, as in `Plan.weights`."""
        return Trail((*self.plans[:-1], dataclasses.replace(self.last, weights=weights)), self.layers)

    def of_layers(self, layers: Sequence[str]) -> Trail:
        """Returns this trail for a model of the same architecture, whose layers have these names.

        Args:
            layers: the names of all its layers, in the order of its graph.

        Raises:
            ValueError: the number of layers differs from the trail's.
        """
        if not self.layers or tuple(layers) == self.layers:
            return dataclasses.replace(self, layers=tuple(layers))
        if len(layers) != len(self.layers):
            raise ValueError(
                f"Expected the model that the trail starts from, with {len(self.layers)} layers. Received: one with "
                f"{len(layers)} layers. Build the same architecture."
            )
        return Trail(tuple(plan.renamed(self.layers, layers) for plan in self.plans), tuple(layers))

    def to_json(self) -> str:
        """Returns the trail as JSON text."""
        plans = [json.loads(plan.to_json()) for plan in self.plans]
        layers = {"layers": list(self.layers)} if self.layers else {}
        return json.dumps({"format": _TRAIL_FORMAT, **layers, "plans": plans}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Trail:
        """Reads a trail that `to_json` wrote.

        Raises:
            ValueError: the text is not a trail, or has another format.
        """
        data = _parsed(text, "the JSON of a trail")
        if not isinstance(data, dict) or data.get("format") != _TRAIL_FORMAT or not isinstance(data.get("plans"), list):
            received = sorted(data) if isinstance(data, dict) else type(data).__name__
            stated = data.get("format") if isinstance(data, dict) else None
            raise ValueError(
                f"Expected a trail, with format {_TRAIL_FORMAT} and plans. Received: {received}, format={stated!r}"
            )
        return cls(tuple(Plan.from_json(json.dumps(plan)) for plan in data["plans"]), data.get("layers", ()))
