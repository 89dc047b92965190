"""`Knapsack`: the most important channels that a budget can hold, found exactly."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np

from tfcompress import expect
from tfcompress.channels.allocation import Allocation, allocated, choices_of
from tfcompress.channels.prices import POWER, worth_of_shares
from tfcompress.graph import ChannelGroup
from tfcompress.importance import Criterion, Taylor, by_name, scores_of
from tfcompress.methods.base import Candidate, Search
from tfcompress.methods.channel_pruner import PAPERS, ChannelPruner, finite_scores
from tfcompress.methods.registry import register_method
from tfcompress.plan import Plan, Trail
from tfcompress.task import Task
from tfcompress.training import PhasePlan

__all__ = ["Knapsack"]


@register_method("knapsack")
@dataclasses.dataclass(frozen=True)
class Knapsack(ChannelPruner):
    """Keeps the channels with the greatest sum of importance within all limits of the budget, and fine-tunes.

    Shen et al. (2022), "Structural Pruning via Latency-Saliency Knapsack" (HALP): importance is the value of a channel,
    what it costs is its weight, and a knapsack is filled. The paper takes the cost of a layer's channel as if the
    layers before it stayed whole; here the cost of a convolution depends on the channels that it reads and on those
    that it writes, and the channels of a residual stream are one group in all layers that touch it. The answer is the
    optimum of an integer program over the widths of all groups together.

    Widths of a group with more than `levels` allowed ones are chosen from so many, evenly spaced; what is left of the
    budget afterwards is spent channel by channel, on the highest value that fits.

    Attributes:
        criterion: criterion that gives channels their importance: a name such as `"l1_norm"` or `"taylor"`
            (docs/criteria.md lists them), an instance with settings, or a function
            `(group, evidence) -> one number per channel`.
        scale: `"share"`: what counts of a group is the share of its importance that stays, raised to `power`, times the
            number of layers that write or read the group: norms of layers of different sizes cannot be compared, and
            what half a layer is worth does not depend on how wide it is. `"none"`: the sum of the criterion's numbers,
            for one that estimates the loss (`"taylor"`).
        power: exponent of the shares, above 0 and at most 1. With 1 the last channels of a layer are worth as much as
            the first, and where scores are alike whole layers go down to one channel.
        levels: number of widths of a group to choose from.
        gap: share of the greatest possible value that may be given up for a faster answer; 0 for the optimum.
        solver_seconds: time limit of the solver; the best widths until then are taken, and a note says how much better
            others may be.

    Raises:
        TypeError, ValueError: a setting has another type, or is out of range.
    """

    criterion: str | Criterion = "next_layer_l1_norm"
    scale: Literal["share", "none"] = "share"
    power: float = POWER
    levels: int = 32
    gap: float = 1e-3
    solver_seconds: float = 60.0

    when: ClassVar[str] = "an answer in minutes that gives each layer its own width, by several budgets at once"
    fast: ClassVar[Mapping[str, Any]] = {"epochs": 5}

    def __post_init__(self) -> None:
        super().__post_init__()
        by_name(self.criterion)
        expect.settings(self, expect.one_of, "scale", options=("share", "none"))
        expect.settings(self, expect.number, "power", above=0, at_most=1)
        if self.scale == "none":
            expect.unused(self, ["power"], "with scale='none', whose values are sums")
        expect.settings(self, expect.whole, "levels", least=2)
        expect.settings(self, expect.number, "gap", at_least=0, below=1)
        expect.settings(self, expect.number, "solver_seconds", above=0)

    @classmethod
    def published(cls) -> Mapping[str, Mapping[str, Any]]:
        """Shen et al. (2022), section 4, and the settings of their code for ResNet-50: 90 epochs, batches of 1,024, a
        rate of 1.024 with a cosine. Not here: eight epochs of warm-up, smoothed labels, and pruning in 30 small steps.
        """
        return {
            "resnet50-imagenet": {
                **PAPERS,
                "criterion": Taylor(absolute=True),
                "scale": "none",
                "epochs": 90,
                "batch_size": 1024,
                "learning_rate": 1.024,
                "schedule": "cosine",
                "momentum": 0.875,
                "weight_decay": 2.0**-15,
            }
        }

    def phases(self, task: Task) -> tuple[PhasePlan, ...]:
        """Fine-tuning."""
        return (self.finetuning_phase(task, self.epochs),)

    def plans_again(self) -> bool:
        """Whether the search may be repeated with a smaller budget."""
        return True

    def search(self, task: Task) -> Search:
        """Solves for the widths."""
        orders, worths = self._ranked(task)
        task.progress.doing("choosing the widths")
        choices = choices_of(task.widths, self.levels)
        values = [worth[widths] for worth, widths in zip(worths, choices, strict=True)]
        limits, fits = task.limits, task.fits_kept
        near = task.widths.even(fits)
        solved = allocated(task.costs, choices, values, limits, fits, near, self.gap, self.solver_seconds)
        notes = tuple(self._notes(task, solved, choices))
        kept = near if solved is None else solved.kept
        # The rest of the budget goes to the channels of the highest value that fit.
        kept = task.widths.grown(kept, lambda group, widths: -np.diff(worths[group])[widths], fits)
        widths = zip(task.groups, kept.tolist(), strict=True)
        trail = Trail((Plan.keeping_first(orders, {group.name: w for group, w in widths if w < group.size}),))
        candidate = Candidate(trail, task.costs.of_kept(kept), origin="the widths of the greatest value")
        return Search(task.model, trail, (candidate,), notes=notes)

    def _ranked(self, task: Task) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
        """Returns the order of channels by group, int64 `[size]`, and the value of each width, float64 `[size + 1]`.

        Groups that may not be pruned have zeros.
        """
        task.progress.doing("ranking channels")
        evidence, criterion = task.evidence(), by_name(self.criterion)
        orders, worths = {}, []
        for group, may in zip(task.groups, task.widths.least < task.costs.sizes, strict=True):
            if not may:
                worths.append(np.zeros(group.size + 1))
                continue
            scores = finite_scores(group, scores_of(group, evidence, criterion), self.criterion)
            orders[group.name] = np.argsort(-scores, kind="stable")
            worths.append(self._worth(group, -np.sort(-scores)))
        return orders, worths

    def _worth(self, group: ChannelGroup, scores: np.ndarray) -> np.ndarray:
        """Returns the value of each width from descending scores, float64 `[size + 1]`."""
        if self.scale == "none":
            return np.concatenate([[0.0], np.cumsum(scores)])
        return worth_of_shares(group, scores, self.power)

    def _notes(self, task: Task, solved: Allocation | None, choices: list[np.ndarray]) -> list[str]:
        if solved is None:
            return [
                f"The solver found no widths in {self.solver_seconds:g} s: the same ratio was taken everywhere. Give "
                "it more solver_seconds=, or fewer levels=."
            ]
        notes = []
        if solved.gap:
            late = f" The solver's time was up (solver_seconds={self.solver_seconds:g})." * (solved.gap > self.gap)
            notes.append(f"Other widths may be better by {solved.gap:.3%} of the value at most.{late}")
        allowed = [len(task.widths.some(group, task.costs.sizes[group])) for group in range(len(choices))]
        if coarse := sum(len(c) < count for c, count in zip(choices, allowed, strict=True)):
            notes.append(f"Of {coarse} channel groups {self.levels} widths each were tried (levels={self.levels}).")
        if solved.estimated:
            notes.append(f"The costs of {solved.estimated} parts of many groups were estimated, and then counted.")
        return notes
