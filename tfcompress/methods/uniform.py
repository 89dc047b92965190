"""`Uniform`: the same ratio everywhere, or one ranking of all channels. The simplest channel pruner, and the baseline
of the others."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np

from tfcompress import expect
from tfcompress.channels.prices import POWER, widths_by_price, worth_of_shares
from tfcompress.costs.metrics import LOOKED_UP
from tfcompress.graph import ChannelGroup
from tfcompress.importance import Criterion, by_name, scores_of
from tfcompress.methods import phases
from tfcompress.methods.base import Candidate, Search
from tfcompress.methods.channel_pruner import PAPERS, ChannelPruner, finite_scores
from tfcompress.methods.registry import register_method
from tfcompress.plan import Plan, Trail
from tfcompress.rewrite import apply
from tfcompress.streams import Stream
from tfcompress.task import Task
from tfcompress.training import PhasePlan, seed_layers
from tfcompress.training.thawing import cut_layers, thawed, to_thaw

__all__ = ["Uniform"]

_Scores = Mapping[str, np.ndarray]


@register_method("uniform")
@dataclasses.dataclass(frozen=True)
class Uniform(ChannelPruner):
    """Removes the same share of channels from every group, those that rank lowest, and fine-tunes.

    Li et al. (2017), "Pruning filters for efficient convnets", with one ratio for all layers (they use `l1_norm`);
    `scope="global"` ranks the channels of all groups together instead, as Molchanov et al. (2017) do. The part of the
    budget that the ratio or the ranking leaves unused is spent channel by channel: on the group that keeps the smallest
    share, or on the channel with the highest score, and if that does not fit on the next one, until no single step
    fits. Where latency is planned for, `scope="global"` removes channels by worth per price, as the greedy relaxation
    of HALP does (Shen et al. 2022): the worth is that of `Knapsack`, the price is the latency that a plan without the
    channels saves at the present widths. With several `steps` it prunes a little and trains a little (Han et al. 2015,
    "Learning both weights and connections"), and fine-tunes at the end.

    Attributes:
        criterion: criterion that ranks channels: a name such as `"l1_norm"` or `"taylor"` (docs/criteria.md lists
            them), an instance with settings, or a function `(group, evidence) -> one number per channel`.
        scope: `"local"`: the same ratio in every group. `"global"`: the lowest scores of all groups together, each
            divided by the mean of its group, because norms of layers of different sizes cannot be compared. With a
            planned limit of latency: the least worth per price, the worth being `channels.prices.worth_of_shares`.
        steps: number of steps in which the budget is reached: after step i of n, i/n of the way has been pruned.
        step_epochs: epochs of training after each step except the last; `epochs` of fine-tuning follow that one.

    Raises:
        ValueError: a setting is out of range.
    """

    criterion: str | Criterion = "next_layer_l1_norm"
    scope: Literal["local", "global"] = "local"
    steps: int = 1
    step_epochs: int = 1

    when: ClassVar[str] = "an answer in minutes, and the baseline for every other method"
    fast: ClassVar[Mapping[str, Any]] = {"epochs": 5}

    def __post_init__(self) -> None:
        super().__post_init__()
        by_name(self.criterion)
        expect.settings(self, expect.one_of, "scope", options=("local", "global"))
        expect.settings(self, expect.whole, "steps", least=1)
        expect.settings(self, expect.whole, "step_epochs")
        if self.steps == 1:
            expect.unused(self, ["step_epochs"], "with steps=1, because epochs= of training follow the last step")

    @classmethod
    def published(cls) -> Mapping[str, Mapping[str, Any]]:
        """Li et al. (2017), section 4: "a constant learning rate 0.001 [...] 40 epochs for CIFAR-10 and 20 epochs for
        ImageNet, which represents one-fourth of the original training epochs", the other settings as for ResNets.
        """
        paper = {
            **PAPERS,
            "criterion": "l1_norm",
            "scope": "local",
            "steps": 1,
            "learning_rate": 0.001,
            "schedule": "step",
            "milestones": (),
        }
        return {
            "resnet56-cifar10": {**paper, "epochs": 40, "batch_size": 128},
            "resnet34-imagenet": {**paper, "epochs": 20, "batch_size": 256},
        }

    def phases(self, task: Task) -> tuple[PhasePlan, ...]:
        """Training between the steps, and fine-tuning."""
        total, teacher = task.costs.total.macs, phases.cost_of_teacher(self.teaching_for(task))
        shares = [self._limits(task, step).get("macs", total) / total for step in range(1, self.steps)]
        between = [
            PhasePlan(_phase(step), self.step_epochs, max(share, 0.1) + teacher)
            for step, share in enumerate(shares, start=1)
            if self.step_epochs
        ]
        return (*between, self.finetuning_phase(task, self.epochs))

    def plans_again(self) -> bool:
        """Whether the search may be repeated with a smaller budget."""
        return self.steps == 1

    def search(self, task: Task) -> Search:
        """Prunes step by step, with a plan for each step."""
        now, trail = task, None
        history: dict[str, list[Any]] = {}
        kept = task.widths.greatest
        for step in range(1, self.steps + 1):
            scores = self._scores(task, now)
            kept = self._kept(task, now, scores, step, kept)
            orders = {name: np.argsort(-group_scores, kind="stable") for name, group_scores in scores.items()}
            widths = zip(now.groups, kept.tolist(), strict=True)
            plan = Plan.keeping_first(orders, {group.name: w for group, w in widths if w < group.size})
            trail = Trail((plan,)) if trail is None else trail.then(plan)
            if step == self.steps:
                break
            source = apply(now.model, plan, now.groups)
            seed_layers(source, task.seed, Stream.STEP, step)
            network = task.network_of(source)
            with thawed(source, to_thaw(network, cut_layers(task.groups.graph, network, trail))):
                training = dataclasses.replace(self.training, epochs=self.step_epochs)
                trained = self.train_cut(source, task, training, _phase(step))
            for name, values in trained.items():
                history.setdefault(name, []).extend(values)
            now = task.on(source)
        assert trail is not None
        origin = "the same ratio everywhere" if self.scope == "local" else "one ranking of all channels"
        if self._is_priced(task):
            origin = "the least worth per price removed"
        return Search(now.model, trail, (Candidate(trail, task.costs.of_kept(kept), origin=origin),), history)

    def _scores(self, task: Task, now: Task) -> _Scores:
        """Returns the scores of each group that may be pruned, float `[size]`, by the present weights."""
        task.progress.doing("ranking channels")
        evidence, criterion = now.evidence(), by_name(self.criterion)
        free = (group.name for group, may in zip(task.groups, task.widths.least < task.costs.sizes, strict=True) if may)
        return {name: scores_of(now.groups[name], evidence, criterion) for name in free}

    def _limits(self, task: Task, step: int) -> dict[str, int]:
        """Returns the limits for step `step` of `steps`."""
        totals = {metric: task.costs.total[metric] for metric in task.limits}
        return {m: whole - (whole - task.limits[m]) * step // self.steps for m, whole in totals.items()}

    def _is_priced(self, task: Task) -> bool:
        """Whether channels are removed by worth per price."""
        return self.scope == "global" and LOOKED_UP in task.limits

    def _kept(self, task: Task, now: Task, scores: _Scores, step: int, before: np.ndarray) -> np.ndarray:
        """Returns the largest widths, int64 `[groups]`, within a step's limits and the widths of the step before."""
        limits = self._limits(task, step)

        def fits(kept: np.ndarray) -> bool:
            return task.fits_kept(kept, limits)

        if self.scope == "local":
            return task.widths.even(fits, before)
        if self._is_priced(task):
            worths = [self._worth(group, scores.get(group.name)) for group in now.groups]
            kept = widths_by_price(task.costs, task.widths, worths, limits, before)
            return task.widths.grown(kept, lambda group, widths: -np.diff(worths[group])[widths], fits, before)
        sizes = task.costs.sizes
        relative = [
            np.sort(_relative(scores[group.name])) if group.name in scores else np.empty(0) for group in task.groups
        ]
        levels = -np.unique(np.concatenate([*relative, np.zeros(1)]))[::-1]

        def above(level: float) -> np.ndarray:
            """Returns how many channels score at least `-level`; groups without scores stay whole."""
            return np.array(
                [
                    len(r) - np.searchsorted(r, -level) if len(r) else size
                    for r, size in zip(relative, sizes, strict=True)
                ]
            )

        def worth(group: int, widths: np.ndarray) -> np.ndarray:
            """Returns the negated scores of the channels that the steps from these widths add first."""
            ascending = relative[group]
            return -ascending[len(ascending) - 1 - widths] if len(ascending) else np.zeros(len(widths))

        kept = np.minimum(task.widths.largest(levels, above, fits), before)
        return task.widths.grown(kept, worth, fits, before)

    def _worth(self, group: ChannelGroup, scores: np.ndarray | None) -> np.ndarray:
        """Returns the worth of each width of a group, float64 `[size + 1]`; zeros if it may not be pruned."""
        if scores is None:
            return np.zeros(group.size + 1)
        return worth_of_shares(group, -np.sort(-finite_scores(group, scores, self.criterion)), POWER)


def _phase(step: int) -> str:
    return f"training after step {step}"


def _relative(scores: np.ndarray) -> np.ndarray:
    """Returns scores divided by their mean absolute value; scores that are all zero stay zero."""
    size = float(np.abs(scores).mean())
    return np.asarray(scores / size if size else scores, np.float64)
