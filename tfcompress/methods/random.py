"""`Random`: random ratios within the budget's bounds, the best of many tries. The baseline of every agent."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from tfcompress import expect
from tfcompress.channels import INSIDE_BLOCKS, Control, Widths, inside_units, pruning_units, reachable_inside
from tfcompress.costs import Cost, CostModel
from tfcompress.importance import Criterion, by_name
from tfcompress.methods import phases
from tfcompress.methods.agent_search import PHASE, ROUND
from tfcompress.methods.base import Candidate, Search
from tfcompress.methods.channel_pruner import ChannelPruner
from tfcompress.methods.episodes import Episode, Episodes, check_budget, cost_of_rewards, plans_for
from tfcompress.methods.registry import register_method
from tfcompress.plan import Trail
from tfcompress.streams import Stream
from tfcompress.task import Task
from tfcompress.training import PhasePlan

__all__ = ["Random"]


@register_method("random")
@dataclasses.dataclass(frozen=True)
class Random(ChannelPruner):
    """Draws pruning rates at random within RLAL's bounds, keeps the plan of the highest reward, and fine-tunes.

    Attributes:
        tries: number of random plans; `None` for as many as RLAL measures on a trained model: 200, or fewer where
            fine-tuning is short.
        reward_images: number of validation samples for one reward; `None` for all.
        recalibrate_batches: number of batches of 128 training images from which BatchNormalization statistics are
            computed anew before each reward; 0 for those of the whole model.
        criterion: criterion that ranks channels: a name such as `"l1_norm"` or `"taylor"` (docs/criteria.md lists
            them), an instance with settings, or a function `(group, evidence) -> one number per channel`.
    """

    tries: int | None = None
    reward_images: int | None = 1000
    recalibrate_batches: int = 1
    criterion: str | Criterion = "next_layer_l1_norm"

    when: ClassVar[str] = "a baseline for rlal: as many plans, tried without learning"
    fast: ClassVar[Mapping[str, Any]] = {"tries": 20, "reward_images": 500, "epochs": 5}

    def __post_init__(self) -> None:
        super().__post_init__()
        expect.settings(self, expect.whole, "tries", least=1, or_none=True)
        expect.settings(self, expect.whole, "reward_images", least=1, or_none=True)
        expect.settings(self, expect.whole, "recalibrate_batches")
        by_name(self.criterion)

    advice = INSIDE_BLOCKS

    def least(self, costs: CostModel, control: Control) -> Cost:
        """Returns the cost with the fewest channels inside blocks, and all channels between them."""
        return reachable_inside(costs, control.widths(costs.groups))

    def widths(self, task: Task) -> Widths:
        """Returns the widths that the groups of a student may have: all channels between blocks stay."""
        return inside_units(task.widths, task.groups, pruning_units(task.groups))

    def check_model(self, task: Task) -> None:
        """Refuses a model without channels inside blocks, and minimum ratios for channels between them."""
        check_budget(task)

    @classmethod
    def published(cls) -> Mapping[str, Mapping[str, Any]]:
        """A baseline has no paper: as many plans as RLAL's agent plays in its paper, with the same rewards and
        fine-tuning, for each of its networks.
        """
        from tfcompress.methods.rlal.published import PUBLISHED  # which brings all of RLAL along

        own = {field.name for field in dataclasses.fields(cls)}
        return {
            network: {
                **{name: value for name, value in settings.items() if name in own},
                "epochs": settings["finetune_epochs"],
                "tries": settings["episodes_per_epoch"] * (settings["agent_epochs"][2] - settings["agent_epochs"][0]),
            }
            for network, settings in PUBLISHED.items()
        }

    def for_data(self, task: Task) -> Self:
        """Returns the method with its number of tries."""
        if self.tries is not None:
            return self
        tries = plans_for(task, self.epochs, self.reward_images, self.recalibrate_batches)
        return dataclasses.replace(self, tries=tries)

    def phases(self, task: Task) -> tuple[PhasePlan, ...]:
        """The search, in rounds of some tries, and fine-tuning."""
        of_reward = (phases.share_of_macs(task), self.reward_images, self.recalibrate_batches)
        tries = self._tries(task)
        rounds = -(-tries // ROUND)
        cost = cost_of_rewards(task, tries / rounds, *of_reward)
        return (PhasePlan(PHASE, rounds, max(cost, 1e-6), unit="round"), self.finetuning_phase(task, self.epochs))

    def _tries(self, task: Task) -> int:
        tries = self.for_data(task).tries
        assert tries is not None
        return tries

    def plans_again(self) -> bool:
        """Whether the search may be repeated with a smaller budget."""
        return True

    def search(self, task: Task) -> Search:
        """Plays `tries` episodes on the unchanged model."""
        tries, progress = self._tries(task), task.progress
        episodes = Episodes(task, by_name(self.criterion), self.reward_images, self.recalibrate_batches)
        episodes.rank()
        rng = task.rng(Stream.RATES)
        best: Episode | None = None
        rewards = []
        progress.begin(PHASE, -(-tries // ROUND))
        for attempt in range(tries):
            progress.doing(f"try {attempt + 1} of {tries}")
            episode = episodes.play(lambda state: float(rng.random()))
            rewards.append(episode.reward)
            if best is None or episode.reward > best.reward:
                best = episode
            if (attempt + 1) % ROUND == 0 or attempt + 1 == tries:
                recent = rewards[attempt // ROUND * ROUND :]
                progress.epoch_done(attempt // ROUND + 1, {"reward": sum(recent) / len(recent), "best": best.reward})
        progress.end()
        assert best is not None
        note = f"random search: best reward {best.reward:.4f} of {tries} tries"
        trail = Trail((episodes.plan(best.kept),))
        candidate = Candidate(trail, task.costs.of(trail.last), best.reward, f"best of {tries} random tries")
        return Search(task.model, trail, candidates=(candidate,), history={"reward": rewards}, notes=(note,))
