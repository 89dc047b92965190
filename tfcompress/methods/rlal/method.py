"""The method RLAL: its settings, and how its parts are put together."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras

from tfcompress import expect
from tfcompress.agents import PruningAgent, load_tf_agents
from tfcompress.channels import INSIDE_BLOCKS, Control, reachable_inside
from tfcompress.channels.environment import STATE_SIZE
from tfcompress.costs import Cost, CostModel
from tfcompress.importance import Criterion, by_name
from tfcompress.methods import phases
from tfcompress.methods.base import Search
from tfcompress.methods.episodes import Episodes, check_budget, images_of_a_reward
from tfcompress.methods.registry import register_method
from tfcompress.methods.rlal.alignment import Alignment
from tfcompress.methods.rlal.joint import AgentEpochs, Timetable
from tfcompress.methods.rlal.settings import AgentSettings
from tfcompress.methods.trained import TrainedMethod
from tfcompress.plan import Trail
from tfcompress.process import lock
from tfcompress.task import Task
from tfcompress.training import PhasePlan, scaled

__all__ = ["RLAL"]


@register_method("rlal")
@dataclasses.dataclass(frozen=True)
class RLAL(TrainedMethod):
    """A soft actor-critic agent prunes the channels inside each block while the weights train.

    Ganjdanesh, Gao and Huang (2024), "Jointly Training and Pruning CNNs via Learnable Agent Guidance and Alignment".
    Defaults are the paper's for CIFAR-10 (appendix B): 200 epochs of joint training and 200 of fine-tuning. A shorter
    run scales every milestone. The ablations of the paper are one setting each: `agent=AgentSettings(
    use_environment_model=False)` (Table 3, "w/o EE"), `alignment=0` ("w/o SR"), `episodes_per_epoch` (Figure 2).

    A model that comes trained is a warm start: the learning rate begins at 0.01 and the weights-only epochs are left
    out, which the paper, whose models start fresh, does not speak of.

    Attributes:
        epochs: joint training, at least 4.
        finetune_epochs: fine-tuning of the pruned model, with the same settings; `None` for as many as `epochs`.
        agent_epochs: `(start, learn, end)` for a run of `reference_epochs`: episodes from `start`, learning from
            `learn`,
            the agent stops at `end`, and only weights are trained and aligned from there on.
        episodes_per_epoch: P of Algorithm 1.
        alignment: beta of Equation (11); 0 leaves the soft regularization out.
        reward_images: validation samples that a reward is measured on; `None` for all.
        recalibrate_batches: BatchNormalization statistics are taken anew from so many batches of 128 training images
            before each reward; 0 as in the paper.
        rescore_best: measure the incumbent plan again at each epoch before a new one is compared with it; False is the
            paper's letter, which compares rewards earned with different weights. Decided.
        criterion: ranks channels, anew in each epoch of the agent: a name such as `"l1_norm"` or `"taylor"`
            (docs/criteria.md lists them), an instance with settings, or a function `(group, evidence) -> one number a
            channel`.
        agent: settings of SAC and of the environment model.
    """

    finetune_epochs: int | None = None
    agent_epochs: tuple[int, int, int] = (10, 20, 90)
    episodes_per_epoch: int = 10
    alignment: float = 1e-4
    reward_images: int | None = 5000
    recalibrate_batches: int = 0
    rescore_best: bool = True
    criterion: str | Criterion = "l1_norm"
    agent: AgentSettings = dataclasses.field(default_factory=AgentSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        each_phase = "The joint training has four parts, of an epoch or more."
        expect.settings(self, expect.whole, "epochs", least=4, advice=each_phase)
        expect.settings(self, expect.whole, "finetune_epochs", or_none=True)
        rising = f"three rising epochs from 0 to {self.reference_epochs} (reference_epochs)"
        expect.settings(self, expect.each, "agent_epochs", check=expect.whole, what=rising, length=3)
        start, learn, end = self.agent_epochs
        if not start < learn < end <= self.reference_epochs:
            expect.refuse("agent_epochs", rising, self.agent_epochs)
        expect.settings(self, expect.whole, "episodes_per_epoch", least=1)
        expect.settings(self, expect.number, "alignment", at_least=0)
        expect.settings(self, expect.whole, "reward_images", least=1, or_none=True)
        expect.settings(self, expect.whole, "recalibrate_batches")
        expect.settings(self, expect.flag, "rescore_best")
        expect.settings(self, expect.instance, "agent", kinds=AgentSettings, what="AgentSettings(...)")
        by_name(self.criterion)

    advice = INSIDE_BLOCKS

    def least(self, costs: CostModel, control: Control) -> Cost:
        """The cost with the least channels inside blocks, and all that lie between them."""
        return reachable_inside(costs, control.widths(costs.groups))

    def check_model(self, task: Task) -> None:
        """Refuses a model without channels inside blocks, and least ratios for channels between them; also without
        tf-agents.
        """
        check_budget(task)
        with lock:  # it changes the warning filters and `sys.modules` for a while
            load_tf_agents()

    def timetable(self, task: Task) -> Timetable:
        """The agent's epochs, scaled to the length of this run; a warm start needs no weights-only epochs."""
        start, learn, end = scaled(self.agent_epochs, of=self.reference_epochs, to=self.epochs)
        # A short run has at least one epoch to fill the buffer and one to learn, and ends no earlier.
        start = min(start, self.epochs - 2)
        learn = min(max(learn, start + 1), self.epochs - 1)
        end = max(end, learn + 1)
        shift = start if task.is_trained else 0
        return Timetable(start - shift, learn - shift, end - shift)

    @property
    def epochs_of_finetuning(self) -> int:
        """Length of the fine-tuning."""
        return self.epochs if self.finetune_epochs is None else self.finetune_epochs

    def phases(self, task: Task) -> tuple[PhasePlan, ...]:
        """Joint training and fine-tuning."""
        share = task.limits.get("macs", task.costs.total.macs) / task.costs.total.macs
        timetable, teacher = self.timetable(task), phases.cost_of_teacher(self.teaching)
        images = (timetable.end - timetable.start) * self.episodes_per_epoch
        images *= images_of_a_reward(task, self.reward_images, self.recalibrate_batches)
        # A training step costs about three forward passes, and a reward is measured on the pruned network.
        episodes = images * share / 3 / (task.splits.train.num_samples or images)
        return (
            PhasePlan("joint training", self.epochs, 1.0 + teacher, extra=episodes),
            PhasePlan("fine-tuning", self.epochs_of_finetuning, max(share, 0.1) + teacher),
        )

    def search(self, task: Task) -> Search:
        """Trains weights and agent jointly (Algorithm 1)."""
        episodes = Episodes(task, by_name(self.criterion), self.reward_images, self.recalibrate_batches)
        prunable = tuple(group.name for unit in episodes.environment.units for group in unit.groups)
        alignment = Alignment(self.alignment, task.groups, prunable)
        agent = PruningAgent(STATE_SIZE, self.epochs, self.agent, seed=task.seed)
        timetable = self.timetable(task)
        joint = AgentEpochs(task, episodes, agent, alignment, timetable, self.episodes_per_epoch, self.rescore_best)
        notes = self._notes(task, timetable)
        for note in notes:
            task.progress.note(note)
        history = phases.train_student(
            task.model,
            task,
            self.training,
            "joint training",
            teaching=self.teaching,
            penalties=[alignment] if self.alignment else [],
            callbacks=[joint],
            stateful={"agent": agent, "joint": joint},
        )
        return Search(task.model, Trail((joint.plan,)), candidates=joint.candidates(), history=history, notes=notes)

    def _notes(self, task: Task, timetable: Timetable) -> tuple[str, ...]:
        rate = self.training.first_learning_rate(task.is_trained)
        if not task.is_trained:
            return (
                f"RLAL: joint training from the start (learning rate {rate}, weights only before epoch "
                f"{timetable.start + 1})",
            )
        return (
            f"RLAL: the model is trained (validation metric {task.accuracy:.4f}): warm start with learning rate "
            f"{rate}, no weights-only epochs",
        )

    def recover(self, student: keras.Model, task: Task) -> dict[str, list[Any]]:
        """Fine-tunes the pruned model with the settings of the joint training."""
        training = dataclasses.replace(self.training, epochs=self.epochs_of_finetuning)
        how: dict[str, Any] = {"teaching": self.teaching, "keep": self.keep}
        return phases.train_student(student, task, training, "fine-tuning", **how)
