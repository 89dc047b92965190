"""`FinishedStage`: a stage of a flow after it ended, in figures."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from tfcompress.measured import Measured

__all__ = ["FinishedStage"]


@dataclasses.dataclass(frozen=True)
class FinishedStage:
    """A stage of a flow after it ended: plain data, the models are in the run folder.

    Attributes:
        method: name of the method.
        settings: settings of the method.
        limits: what the stage had to reach, `{metric: limit}` in the units of `Cost`.
        before: cost and accuracy of the model that the stage began with.
        after: cost and accuracy of the model that it left.
        history: `{"search": logs by epoch, "recover": logs by epoch}`.
        notes: remarks on the stage.
        plans: how many plans of the result's trail are its own.
        seconds: how long it took, in the call that finished it; `None` if that is not known.
    """

    method: str
    settings: Mapping[str, Any]
    limits: Mapping[str, int]
    before: Measured
    after: Measured
    history: Mapping[str, Mapping[str, list[Any]]]
    notes: tuple[str, ...]
    plans: int
    seconds: float | None = dataclasses.field(default=None, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Returns the stage as JSON data."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FinishedStage:
        """Reads a stage from the data of `to_dict`.

        Raises:
            TypeError, KeyError: other data.
        """
        sides = {name: Measured(**data[name]) for name in ("before", "after")}
        return cls(**{**data, **sides, "notes": tuple(data["notes"])})
