"""`Uniform`: the same ratio everywhere. The plainest channel pruner, and the yardstick of the others."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np

from tfcompress.importance import Criterion, by_name, ranking
from tfcompress.methods.base import Candidate, Search
from tfcompress.methods.registry import register_method
from tfcompress.methods.sgd import SGDMethod
from tfcompress.plan import Plan
from tfcompress.task import Task
from tfcompress.training import PhasePlan

__all__ = ["Uniform", "keep_most_important"]


@register_method("uniform")
@dataclasses.dataclass(frozen=True)
class Uniform(SGDMethod):
    """Removes the same share of the channels of every group, those of the smallest norm, and fine-tunes.

    Li et al. (2017), "Pruning filters for efficient convnets", with one ratio for all layers.

    Attributes:
        criterion: a name such as `"l1_norm"` or `"taylor"` (docs/criteria.md lists them), an instance with settings, or
            a function `(group, evidence) -> one number a channel`.
    """

    criterion: str | Criterion = "l1_norm"

    def __post_init__(self) -> None:
        super().__post_init__()
        by_name(self.criterion)

    def phases(self, task: Task) -> tuple[PhasePlan, ...]:
        """Fine-tuning only."""
        share = task.limits.get("macs", task.costs.total.macs) / task.costs.total.macs
        return (PhasePlan("fine-tuning", self.epochs, max(share, 0.1)),)

    def search(self, task: Task) -> Search:
        """Finds the largest ratio that fits the budget."""
        kept = self._largest_fit(task)
        plan = keep_most_important(task, kept, by_name(self.criterion))
        candidate = Candidate(plan, task.costs.of(plan), origin="the same ratio everywhere")
        return Search(task.model, plan, (candidate,))

    def _largest_fit(self, task: Task) -> np.ndarray:
        """int64 `[groups]`: widths at the largest common ratio within the limits, by bisection over all ratios at
        which any width changes."""
        sizes = task.costs.sizes
        ratios = np.unique(np.concatenate([np.arange(1, size + 1) / size for size in sizes.tolist()] or [np.ones(1)]))
        low, high = -1, len(ratios) - 1
        while low < high:
            middle = (low + high + 1) // 2
            if task.fits(task.costs.of_kept(_widths(sizes, ratios[middle]))):
                low = middle
            else:
                high = middle - 1
        return _widths(sizes, ratios[low]) if low >= 0 else np.minimum(sizes, 1)

    def recover(self, student: keras.Model, task: Task) -> dict[str, list[Any]]:
        """Fine-tunes the student."""
        return self.train(student, task, "fine-tuning", self.epochs)


def _widths(sizes: np.ndarray, ratio: float) -> np.ndarray:
    return np.maximum(1, np.floor(sizes * ratio + 1e-9)).astype(np.int64)


def keep_most_important(task: Task, kept: np.ndarray, criterion: Criterion) -> Plan:
    """The plan that keeps the `kept[i]` most important channels of group i, and says nothing of whole groups."""
    evidence = task.evidence()
    chosen = {}
    for group, width in zip(task.groups, kept.tolist(), strict=True):
        if width < group.size:
            best = ranking(group, evidence, criterion)[:width]
            chosen[group.name] = tuple(sorted(best.tolist()))
    return Plan.keeping(chosen)
