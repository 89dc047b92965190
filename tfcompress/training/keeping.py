"""The weights of the epoch that did best on the validation split."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tfcompress.training.objectives import Objective
from tfcompress.training.state import Tensors

__all__ = ["KEPT", "Best", "words_for_kept"]

KEPT = "kept"
"""The name in a history of a value that is 1 for the epoch whose weights were kept, and 0 for all others."""

_LOSS = "val_loss"


class Best:
    """The weights of the best epoch so far: by the metric, then by the lower loss, then by the later epoch.

    An epoch whose metric or loss is NaN or infinite is never the best.

    Args:
        objective: the metric and its direction; without one the validation loss decides.

    Attributes:
        epoch: number of the best epoch, counted from 1; 0 if there is none yet.
        tensors: the model's state after that epoch.
    """

    def __init__(self, objective: Objective) -> None:
        name = objective.metric_name
        self._name = None if name is None else f"val_{name}"
        self._sign = 1.0 if objective.higher_is_better else -1.0
        self._key: list[float] = []
        self.epoch = 0
        self.tensors: Tensors = {}

    @property
    def name(self) -> str:
        """The name in the logs of the value that is compared first."""
        return _LOSS if self._name is None else self._name

    def look(self, epoch: int, logs: Mapping[str, float], tensors: Tensors) -> None:
        """Compares epoch `epoch`, counted from 1, and keeps its weights if they are the best."""
        loss = logs.get(_LOSS, math.nan)
        key = [-loss] if self._name is None or self._name not in logs else [self._sign * logs[self._name], -loss]
        if all(map(math.isfinite, key)) and key >= self._key:
            self.epoch, self._key, self.tensors = epoch, key, tensors

    def info(self) -> dict[str, Any]:
        """Returns the state for a checkpoint."""
        return {"epoch": self.epoch, "key": self._key}

    def restore(self, info: Mapping[str, Any], tensors: Tensors) -> None:
        """Restores the state that `info` and `tensors` had when a checkpoint was written."""
        self.epoch, self._key, self.tensors = info["epoch"], list(info["key"]), tensors


def words_for_kept(phase: str, history: Mapping[str, Sequence[Any]], objective: Objective) -> str | None:
    """Returns a sentence on the epoch whose weights a phase has kept; `None` if there was no choice."""
    marks = list(history.get(KEPT, ()))
    if 1.0 not in marks:
        return None
    epoch = marks.index(1.0)
    name = _LOSS if objective.metric_name is None else f"val_{objective.metric_name}"
    values = history.get(name, history.get(_LOSS, ()))
    shown = "" if not values else f": {name} {values[epoch]:.4f}"
    if values and epoch + 1 < len(marks) and values[-1] is not None:
        shown += f", {values[-1]:.4f} in the last epoch"
    return (
        f"{phase}: the weights of epoch {epoch + 1} of {len(marks)} are kept, the best on the validation split{shown}"
    )
