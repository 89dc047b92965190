"""What is to be done to a model, as plain data: a `Plan` is a list of edits, serialisable as JSON.

Nothing here imports Keras. `tfcompress.rewrite.apply(source, plan)` carries a plan out; applied again to the same
source it rebuilds the same student.
"""

from __future__ import annotations

import dataclasses
import json
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tfcompress import expect

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Edit", "KeepChannels", "Plan", "RemoveLayers"]

_FORMAT = 1


@dataclass(frozen=True)
class KeepChannels:
    """Keeps some channels of one channel group and removes the others, everywhere at once.

    Attributes:
        group: name of a `ChannelGroup` of the source model.
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
            one of the same shape going out: unique, at least one.
    """

    nodes: tuple[str, ...]

    def __post_init__(self) -> None:
        names: dict[str, Any] = {"check": expect.text, "what": "names of nodes, unique, and at least one"}
        expect.settings(self, expect.each, "nodes", empty=False, unique=True, **names)


Edit = KeepChannels | RemoveLayers


@dataclass(frozen=True)
class Plan:
    """An ordered list of edits of one source model.

    All edits speak of the source: of its nodes and of its channel groups.

    Attributes:
        edits: the edits; at most one for each channel group and for each node.
    """

    edits: tuple[Edit, ...] = ()

    def __post_init__(self) -> None:
        edit: dict[str, Any] = {"check": expect.instance, "kinds": (KeepChannels, RemoveLayers)}
        expect.settings(self, expect.each, "edits", what="edits: KeepChannels(...) and RemoveLayers(...)", **edit)
        for what, names in (("channel group", [edit.group for edit in self.channels]), ("node", list(self.removed))):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"Expected at most one edit for each {what}. Received several for {twice}")

    def __iter__(self) -> Iterator[Edit]:
        return iter(self.edits)

    @property
    def channels(self) -> tuple[KeepChannels, ...]:
        """The edits of channel groups."""
        return tuple(edit for edit in self.edits if isinstance(edit, KeepChannels))

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

    def then(self, later: Plan) -> Plan:
        """The plan that does at once what this one does and then `later`, a plan of what this one leaves.

        Raises:
            ValueError: `later` names a position that this plan does not leave.
        """
        kept = {edit.group: edit.indices for edit in self.channels}
        for edit in later.channels:
            first = kept.get(edit.group)
            if first is not None and edit.indices[-1] >= len(first):
                raise ValueError(
                    f"Expected indices below {len(first)}, what is left of group {edit.group!r}. "
                    f"Received: {edit.indices[-1]}"
                )
            kept[edit.group] = edit.indices if first is None else tuple(first[i] for i in edit.indices)
        return Plan((*Plan.without((*self.removed, *later.removed)), *Plan.keeping(kept)))

    def to_json(self) -> str:
        """The plan as JSON text."""
        edits = [{"edit": type(edit).__name__, **dataclasses.asdict(edit)} for edit in self.edits]
        return json.dumps({"format": _FORMAT, "edits": edits}, indent=1)

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
            raise ValueError(f"Expected a plan of format {_FORMAT}. Received: format={received!r}")
        try:
            unknown = sorted({str(e["edit"]) for e in data["edits"]} - _KINDS.keys())
            if unknown:
                raise ValueError(f"Expected edits of the kinds {sorted(_KINDS)}. Received: {unknown}")
            return cls(tuple(_edit(**entry) for entry in data["edits"]))
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"Expected edits with their group and indices, or nodes. Received: {data.get('edits')!r}"
            ) from error


_KINDS: dict[str, type[Edit]] = {"KeepChannels": KeepChannels, "RemoveLayers": RemoveLayers}


def _edit(edit: str, **fields: Any) -> Edit:
    return _KINDS[edit](**fields)
