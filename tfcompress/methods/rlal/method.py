"""The method RLAL: its settings, and how its parts work together."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import keras

from tfcompress import expect
from tfcompress.agents import PruningAgent, SacSettings, load_tf_agents
from tfcompress.channels import INSIDE_BLOCKS, Control, Widths, inside_units, pruning_units, reachable_inside
from tfcompress.channels.environment import STATE_SIZE
from tfcompress.costs import Cost, CostModel
from tfcompress.importance import Criterion, by_name
from tfcompress.methods import phases
from tfcompress.methods.agent_search import PHASE, ROUND, AgentSearch
from tfcompress.methods.base import Candidate, Search
from tfcompress.methods.channel_pruner import ChannelPruner
from tfcompress.methods.episodes import Episodes, check_budget, cost_of_rewards, plans_for
from tfcompress.methods.local_search import local_search
from tfcompress.methods.registry import register_method
from tfcompress.methods.rlal.alignment import Alignment, beta_for
from tfcompress.methods.rlal.joint import AgentEpochs, Timetable
from tfcompress.methods.rlal.player import SacPlayer
from tfcompress.methods.rlal.published import PUBLISHED
from tfcompress.methods.rlal.settings import AgentSettings
from tfcompress.plan import Trail
from tfcompress.process import lock
from tfcompress.streams import Stream
from tfcompress.task import Task
from tfcompress.training import PhasePlan, scaled

__all__ = ["RLAL"]

_FOUR_PARTS = "Joint training has four parts, of an epoch or more; joint=False searches with fixed weights."
_FILLING = 10  # one of so many episodes of a search on fixed weights comes before the agent learns


@register_method("rlal")
@dataclasses.dataclass(frozen=True)
class RLAL(ChannelPruner):
    """A soft actor-critic agent prunes the channels inside each block, of a trained model or while its weights train.

    Ganjdanesh, Gao and Huang (2024), "Jointly Training and Pruning CNNs via Learnable Agent Guidance and Alignment".
    A fresh model is trained and pruned jointly, as in the paper (Algorithm 1). A model that is already trained gains
    nothing from joint training: the agent searches with its weights fixed, and all epochs go into the recovery of the
    best plan. `joint=` overrides this. `RLAL.as_published("resnet56-cifar10")` has exactly the paper's settings; the
    settings that differ here say so. The ablations of the paper are one setting each:
    `agent=AgentSettings(use_environment_model=False)` (Table 3, "w/o EE"), `alignment=0` ("w/o SR"),
    `episodes_per_epoch` (Figure 2).

    Attributes:
        epochs: epochs of the joint training, at least 4; of the recovery, if weights are fixed during the
            search.
        finetune_epochs: epochs of fine-tuning after joint training, with the same settings, `None` for as many as
            `epochs`; without joint training, additional epochs of the recovery.
        joint: whether weights train while the agent prunes; `None`: if the model is not already trained.
        agent_epochs: `(start, learn, end)` for a joint run of `reference_epochs`: episodes from `start`, learning from
            `learn`, the agent stops at `end`, and only weights are trained and aligned from there on.
        episodes_per_epoch: P of Algorithm 1, in joint training.
        episodes: number of episodes of a search with fixed weights; `None` for 150, or fewer where the recovery is
            short: with `local_search` no more plans than read as many images as the recovery trains on, but at least
            20. Decided.
        local_search: number of plans to try around the best one after the episodes: one unit gives channels to another;
            `None` for a quarter of the plans that the length of the recovery allows, at most 50.
        alignment: beta of Equation (11), for a run as long as the published one; 0 leaves the soft regularization out.
        scale_alignment: whether beta is scaled to the steps and the learning rate of this run, so that it moves weights
            as far as in the published one. Decided: without it, beta does nothing in a short run.
        reward_images: number of validation samples for one reward; `None` for all.
        recalibrate_batches: number of batches of 128 training images from which BatchNormalization statistics are
            computed anew before each reward; 0 as in the paper. Decided: with the whole model's statistics, rewards are
            mostly noise.
        rescore_best: whether to measure the best plan again at each epoch before a new one is compared with it; False
            is as in the paper, which compares rewards earned with different weights. Decided.
        criterion: criterion that ranks channels, again in each epoch of the agent: a name such as `"l1_norm"` or
            `"taylor"` (docs/criteria.md lists them), an instance with settings, or a function `(group, evidence) -> one
            number per channel`.
        agent: settings of SAC and of the environment model.
    """

    finetune_epochs: int | None = None
    joint: bool | None = None
    agent_epochs: tuple[int, int, int] = (10, 20, 90)
    episodes_per_epoch: int = 10
    episodes: int | None = None
    local_search: int | None = None
    alignment: float = 1e-4
    scale_alignment: bool = True
    reward_images: int | None = 1000
    recalibrate_batches: int = 1
    rescore_best: bool = True
    criterion: str | Criterion = "next_layer_l1_norm"
    agent: AgentSettings = dataclasses.field(default_factory=AgentSettings)

    when: ClassVar[str] = "the most accuracy for a budget, in an evening; the default"
    fast: ClassVar[Mapping[str, Any]] = {
        "epochs": 5,
        "episodes": 20,
        "episodes_per_epoch": 5,
        "local_search": 0,
        "reward_images": 500,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        expect.settings(self, expect.one_of, "joint", options=(None, True, False))
        if self.joint is not False:
            expect.settings(self, expect.whole, "epochs", least=4, advice=_FOUR_PARTS)
        expect.settings(self, expect.whole, "finetune_epochs", or_none=True)
        rising = f"three rising epochs from 0 to {self.reference_epochs} (reference_epochs)"
        expect.settings(self, expect.each, "agent_epochs", check=expect.whole, what=rising, length=3)
        start, learn, end = self.agent_epochs
        if not start < learn < end <= self.reference_epochs:
            expect.refuse("agent_epochs", rising, self.agent_epochs)
        expect.settings(self, expect.whole, "episodes_per_epoch", least=1)
        expect.settings(self, expect.whole, "episodes", least=1, or_none=True)
        expect.settings(self, expect.whole, "local_search", or_none=True)
        expect.settings(self, expect.number, "alignment", at_least=0)
        expect.settings(self, expect.flag, "scale_alignment")
        expect.settings(self, expect.whole, "reward_images", least=1, or_none=True)
        expect.settings(self, expect.whole, "recalibrate_batches")
        expect.settings(self, expect.flag, "rescore_best")
        expect.settings(self, expect.instance, "agent", kinds=AgentSettings, what="AgentSettings(...)")
        by_name(self.criterion)

    advice = INSIDE_BLOCKS

    def least(self, costs: CostModel, control: Control) -> Cost:
        """Returns the cost with the fewest channels inside blocks, and all channels between them."""
        return reachable_inside(costs, control.widths(costs.groups))

    def widths(self, task: Task) -> Widths:
        """Returns the widths that the groups of a student may have: all channels between blocks stay."""
        return inside_units(task.widths, task.groups, pruning_units(task.groups))

    def check_model(self, task: Task) -> None:
        """Refuses a model without channels inside blocks, and minimum ratios for channels between them; also if
        tf-agents is missing.
        """
        check_budget(task)
        with lock:  # it changes the warning filters and `sys.modules` for a while
            load_tf_agents()

    def timetable(self, task: Task) -> Timetable:
        """Returns the agent's epochs, scaled to the length of this run; a warm start needs no weights-only epochs."""
        start, learn, end = scaled(self.agent_epochs, of=self.reference_epochs, to=self.epochs)
        # A short run has at least one epoch to fill the buffer and one to learn, and ends no earlier.
        start = min(start, self.epochs - 2)
        learn = min(max(learn, start + 1), self.epochs - 1)
        end = max(end, learn + 1)
        shift = start if task.is_trained else 0
        return Timetable(start - shift, learn - shift, end - shift)

    def is_joint(self, task: Task) -> bool:
        """Whether weights train while the agent prunes."""
        return not task.is_trained if self.joint is None else self.joint

    def epochs_of_finetuning(self, task: Task) -> int:
        """Returns the length of the fine-tuning."""
        if self.is_joint(task):
            return self.epochs if self.finetune_epochs is None else self.finetune_epochs
        return self.epochs + (self.finetune_epochs or 0)

    def for_data(self, task: Task) -> Self:
        """Returns the method with the number of plans that a search on fixed weights tries."""
        if self.is_joint(task):
            return self
        epochs = self.epochs_of_finetuning(task)
        plans = plans_for(task, epochs, self.reward_images, self.recalibrate_batches)
        moves = plans // 4
        return dataclasses.replace(
            self,
            episodes=plans - moves if self.episodes is None else self.episodes,
            local_search=moves if self.local_search is None else self.local_search,
        )

    def phases(self, task: Task) -> tuple[PhasePlan, ...]:
        """Returns joint training, or the search with fixed weights; and fine-tuning."""
        share = phases.share_of_macs(task)
        teacher = phases.cost_of_teacher(self.teaching_for(task))
        of_reward = (share, self.reward_images, self.recalibrate_batches)
        finetuning = self.finetuning_phase(task, self.epochs_of_finetuning(task))
        if not self.is_joint(task):
            episodes, moves = self._plans(task)
            rounds = -(-episodes // ROUND)
            cost = cost_of_rewards(task, (episodes + moves) / rounds, *of_reward)
            return (PhasePlan(PHASE, rounds, max(cost, 1e-6), unit="round"), finetuning)
        timetable = self.timetable(task)
        rewards = (timetable.end - timetable.start) * self.episodes_per_epoch
        extra = cost_of_rewards(task, rewards, *of_reward)
        return (PhasePlan("joint training", self.epochs, 1.0 + teacher, extra=extra), finetuning)

    def _plans(self, task: Task) -> tuple[int, int]:
        """Returns the number of episodes, and of plans that the local search tries."""
        decided = self.for_data(task)
        assert decided.episodes is not None and decided.local_search is not None
        return decided.episodes, decided.local_search

    def search(self, task: Task) -> Search:
        """Plays with fixed weights, or trains weights and agent jointly (Algorithm 1)."""
        episodes = Episodes(
            task,
            by_name(self.criterion),
            self.reward_images,
            self.recalibrate_batches,
            fixed_weights=not self.is_joint(task),
        )
        return self._joint(task, episodes) if self.is_joint(task) else self._on_fixed_weights(task, episodes)

    def _agent(self, task: Task, episodes: Episodes, settings: SacSettings, epochs: int) -> PruningAgent:
        return PruningAgent(STATE_SIZE, epochs, settings, seed=task.seed, first_action=episodes.environment.even_rate())

    def _on_fixed_weights(self, task: Task, episodes: Episodes) -> Search:
        why = f"the model is trained (validation metric {task.accuracy:.4f})" if task.is_trained else "joint=False"
        note = f"RLAL: {why}: the agent searches with its weights fixed, and all epochs go into the recovery"
        of_agent = {field.name: getattr(self.agent, field.name) for field in dataclasses.fields(SacSettings)}
        settings = SacSettings(**of_agent | {"use_environment_model": False})
        count, moves = self._plans(task)
        player = SacPlayer(self._agent(task, episodes, settings, 1), count // _FILLING)
        search = AgentSearch(task, episodes, player, count)
        search.run()
        reward, kept = search.best
        better, rewards = local_search(task, episodes, kept, reward, moves, task.rng(Stream.MOVES))
        candidates = search.candidates()
        words = f"RLAL: best reward {reward:.4f} of {count} episodes"
        if rewards and max(rewards) > reward:
            plan = episodes.plan(better)
            best = Candidate(Trail((plan,)), task.costs.of(plan), max(rewards), "local search")
            candidates = (best, *candidates)
            words = f"{words}, {max(rewards):.4f} after {len(rewards)} moves of channels"
        history: dict[str, list[Any]] = {**search.history, "local_search": rewards}
        return Search(task.model, candidates[0].trail, candidates, history, (note, words))

    def _joint(self, task: Task, episodes: Episodes) -> Search:
        prunable = tuple(group.name for unit in episodes.environment.units for group in unit.groups)
        alignment = Alignment(self.beta(task), task.groups, prunable)
        agent = self._agent(task, episodes, self.agent, self.epochs)
        timetable = self.timetable(task)
        joint = AgentEpochs(task, episodes, agent, alignment, timetable, self.episodes_per_epoch, self.rescore_best)
        notes = self._notes(task, timetable, alignment.strength)
        history = phases.train_student(
            task.model,
            task,
            self.training,
            "joint training",
            teaching=self.teaching_for(task),
            keep_up=False,  # rewards take statistics anew by each layer's own momentum
            penalties=[alignment] if self.alignment else [],
            callbacks=[joint],
            stateful={"agent": agent, "joint": joint},
        )
        if self.alignment:
            notes = (*notes, joint.says(history))
        return Search(task.model, Trail((joint.plan,)), candidates=joint.candidates(), history=history, notes=notes)

    def beta(self, task: Task) -> float:
        """Returns the strength of the alignment in this run; not scaled if the length of an epoch is not known."""
        steps = task.splits.train.num_batches(self.batch_size)
        if not self.scale_alignment or not steps:
            return self.alignment
        return beta_for(self.alignment, self.training, steps, task.is_trained)

    def _notes(self, task: Task, timetable: Timetable, beta: float) -> tuple[str, ...]:
        rate = self.training.first_learning_rate(task.is_trained)
        with_beta = f"alignment with beta {beta:.3g}"
        if not task.is_trained:
            return (
                f"RLAL: the model is fresh: joint training from the start (learning rate {rate}, weights only before "
                f"epoch {timetable.start + 1}, {with_beta})",
            )
        return (
            f"RLAL: the model is trained (validation metric {task.accuracy:.4f}), and joint=True: warm start with "
            f"learning rate {rate}, no weights-only epochs, {with_beta}",
        )

    def recover(self, student: keras.Model, task: Task) -> dict[str, list[Any]]:
        """Fine-tunes the pruned model with the settings of the joint training."""
        training = dataclasses.replace(self.training, epochs=self.epochs_of_finetuning(task))
        return self.train_cut(student, task, training, "fine-tuning", keep=self.keep)

    @classmethod
    def published(cls) -> Mapping[str, Mapping[str, Any]]:
        """The settings for each network of the paper (Section 4.1, appendix B)."""
        return PUBLISHED
