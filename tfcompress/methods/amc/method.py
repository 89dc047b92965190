"""The method AMC: its settings, and how its parts work together."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from tfcompress import expect
from tfcompress.agents import DdpgAgent, load_tf_agents
from tfcompress.channels import INSIDE_BLOCKS, Control, Widths, inside_units, pruning_units, reachable
from tfcompress.channels.amc_environment import AMC_STATE_SIZE, AmcEnvironment
from tfcompress.costs import Budget, Cost, CostModel
from tfcompress.importance import Criterion, by_name
from tfcompress.methods import phases
from tfcompress.methods.agent_search import PHASE, ROUND, AgentSearch
from tfcompress.methods.amc.player import DdpgPlayer
from tfcompress.methods.amc.rewards import AgentReward, RewardName, check_error
from tfcompress.methods.amc.settings import AgentSettings
from tfcompress.methods.base import Search
from tfcompress.methods.channel_pruner import PAPERS, ChannelPruner
from tfcompress.methods.episodes import Episodes, cost_of_rewards
from tfcompress.methods.registry import register_method
from tfcompress.process import lock
from tfcompress.task import Task
from tfcompress.training import PhasePlan

__all__ = ["AMC"]

_PAPER = 400  # episodes, of which a quarter explore with a constant sigma


@register_method("amc")
@dataclasses.dataclass(frozen=True)
class AMC(ChannelPruner):
    """A DDPG agent chooses the pruning ratio of each block of a trained network, whose weights stay fixed meanwhile.

    He, Lin, Liu, Wang, Li and Han (2018), "AMC: AutoML for Model Compression and Acceleration on Mobile Devices". The
    plan of the highest reward is cut and fine-tuned. With a budget the search is resource-constrained: the reward is
    -Error, and a ratio is raised if the budget could not be met otherwise. Without a budget it is accuracy-guaranteed:
    the reward, -Error log(FLOPs), weighs lost accuracy against saved cost.

    Decided, where the paper leaves it open or the other methods here set the frame: the agent acts on the same units as
    RLAL's, the channels inside each block, or each channel group of a network without blocks; and channels are ranked
    by `criterion`, where the paper selects and reconstructs them by feature maps. Numbers of the state are scaled by
    their largest. The action that is remembered is the one carried out. As in the authors' code the agent first learns
    after the episodes with a constant sigma, once for each of its steps, and sigma first falls in the episode after
    these.

    Attributes:
        epochs: epochs of fine-tuning.
        episodes: number of episodes, 400 in the paper. The default is as many plans as RLAL and Random measure on a
            trained model: with 1,000 images each they take as long as an epoch or two of CIFAR-10.
        exploring: episodes with a constant sigma, before the agent learns; `None` for a quarter, the paper's 100 of
            400.
        reward: `"error"` for -Error, which needs a budget; `"flops"` for -Error log(FLOPs), `"params"` for
            -Error log(#Param), with or without a budget. `None` for `"error"` with a budget, and `"flops"` without.
        max_rate: the largest share of its channels that a group may lose; with 1, all channels but one. The paper's 0.8
            makes the search shorter.
        reward_images: number of validation samples for one reward; `None` for all.
        recalibrate_batches: number of batches of 128 training images from which BatchNormalization statistics are
            computed anew before each reward; 0 for those of the trained network.
        criterion: criterion that ranks channels, once: a name such as `"l1_norm"` or `"taylor"` (docs/criteria.md lists
            them), an instance with settings, or a function `(group, evidence) -> one number per channel`.
        agent: settings of DDPG. Its `sigma_decay` is for a search of 400 episodes; in a search of another length sigma
            falls by the same amount in total.
    """

    episodes: int = 200
    exploring: int | None = None
    reward: RewardName | None = None
    max_rate: float = 0.8
    reward_images: int | None = 1000
    recalibrate_batches: int = 1
    criterion: str | Criterion = "next_layer_l1_norm"
    agent: AgentSettings = dataclasses.field(default_factory=AgentSettings)

    when: ClassVar[str] = (
        "a trained network and an evening, like rlal; without a budget it weighs accuracy against size by itself"
    )
    fast: ClassVar[Mapping[str, Any]] = {"episodes": 20, "reward_images": 500, "epochs": 5}

    def __post_init__(self) -> None:
        super().__post_init__()
        expect.settings(self, expect.whole, "episodes", least=1)
        expect.settings(self, expect.whole, "exploring", or_none=True)
        if self.exploring is not None and self.exploring >= self.episodes:
            what = f"fewer than the {self.episodes} episodes of the search, after which the agent learns"
            expect.refuse("exploring", what, self.exploring)
        expect.settings(self, expect.one_of, "reward", options=(None, "error", "flops", "params"))
        expect.settings(self, expect.number, "max_rate", above=0, at_most=1)
        expect.settings(self, expect.whole, "reward_images", least=1, or_none=True)
        expect.settings(self, expect.whole, "recalibrate_batches")
        expect.settings(self, expect.instance, "agent", kinds=AgentSettings, what="AgentSettings(...)")
        by_name(self.criterion)

    advice = f"A larger `max_rate` reaches more. {INSIDE_BLOCKS}"

    def budget(self, given: Budget) -> Budget:
        """Returns the budget; rewards that include the cost need none."""
        return given if not given and self.reward != "error" else super().budget(given)

    def least(self, costs: CostModel, control: Control) -> Cost:
        """Returns the cost with the fewest channels inside blocks, and all channels between them."""
        widths = self._widths(control.widths(costs.groups))
        return reachable(costs, inside_units(widths, costs.groups, pruning_units(costs.groups)))

    def _widths(self, widths: Widths) -> Widths:
        """Returns the widths with which no group loses more than `max_rate`."""
        kept = np.ceil(widths.sizes * (1 - self.max_rate) - 1e-9).astype(np.int64)
        least = np.minimum(np.maximum(widths.least, kept), widths.greatest)
        return Widths.between(widths.sizes, least, widths.greatest, widths.step)

    def _environment(self, task: Task) -> AmcEnvironment:
        return AmcEnvironment(task.costs, pruning_units(task.groups), task.budget, self._widths(task.widths))

    def widths(self, task: Task) -> Widths:
        """Returns the widths that the groups of a student may have: all channels between blocks stay."""
        return inside_units(self._widths(task.widths), task.groups, pruning_units(task.groups))

    def check_model(self, task: Task) -> None:
        """Refuses a model without channels inside blocks, minimum ratios for channels between them, and a buffer that
        cannot hold an episode; also if tf-agents is missing.
        """
        steps = len(self._environment(task))
        if self.agent.buffer_capacity < steps:
            what = f"room for an episode, of {steps} steps for this model"
            expect.refuse("buffer_capacity", what, self.agent.buffer_capacity)
        with lock:  # it changes the warning filters and `sys.modules` for a while
            load_tf_agents()

    def check(self, task: Task) -> None:
        """Refuses a teaching that does not fit, and a metric that the reward cannot turn into an error."""
        super().check(task)
        check_error(self._reward(task), task.objective)

    def _reward(self, task: Task) -> RewardName:
        return self.reward or ("error" if task.budget else "flops")

    @property
    def exploring_episodes(self) -> int:
        """Number of episodes with a constant sigma."""
        return self.episodes // 4 if self.exploring is None else self.exploring

    @classmethod
    def published(cls) -> Mapping[str, Mapping[str, Any]]:
        """The search of the paper's section 4.1. Decided: rewards are measured on 5,000 images, and fine-tuning, which
        the paper does not describe for CIFAR-10, is as long as RLAL's, with initial learning rate 0.01.
        """
        return {
            "resnet56-cifar10": {
                **PAPERS,
                "episodes": _PAPER,
                "exploring": 100,
                "max_rate": 0.8,
                "reward_images": 5000,
                "recalibrate_batches": 0,
                "criterion": "l1_norm",
                "agent": AgentSettings(
                    hidden=(300, 300), tau=0.01, batch_size=64, buffer_capacity=2000, gamma=1.0, sigma=0.5
                ),
                "epochs": 200,
                "batch_size": 128,
                "learning_rate": 0.01,
                "schedule": "step",
                "milestones": (100, 150),
                "reference_epochs": 200,
                "decay": 0.1,
            }
        }

    def agent_settings(self) -> AgentSettings:
        """The settings of DDPG for this number of episodes: sigma ends where it would end after 400."""
        decaying = self.episodes - self.exploring_episodes
        decay = self.agent.sigma_decay ** (0.75 * _PAPER / decaying)
        return dataclasses.replace(self.agent, sigma_decay=decay)

    def phases(self, task: Task) -> tuple[PhasePlan, ...]:
        """The search, in rounds of some episodes, and fine-tuning."""
        share = max(phases.share_of_macs(task), 0.1)
        cost = cost_of_rewards(task, ROUND, share, self.reward_images, self.recalibrate_batches)
        return (
            PhasePlan(PHASE, -(-self.episodes // ROUND), max(cost, 1e-6), unit="round"),
            self.finetuning_phase(task, self.epochs),
        )

    def search(self, task: Task) -> Search:
        """Plays all episodes on the unchanged model, and takes the plan of the highest reward."""
        environment = self._environment(task)
        how = (by_name(self.criterion), self.reward_images, self.recalibrate_batches)
        episodes = Episodes(task, *how, environment=environment, fixed_weights=True)
        agent = DdpgAgent(AMC_STATE_SIZE, self.exploring_episodes, self.agent_settings(), seed=task.seed)
        name = self._reward(task)
        reward = AgentReward(name, task.objective, task.costs)
        search = AgentSearch(task, episodes, DdpgPlayer(agent), self.episodes, reward, reward.cost)
        search.run()
        best, *others = search.candidates()
        note = f"AMC: reward {name!r}, best {best.score:.4f} in {best.origin} of {self.episodes}"
        return Search(task.model, best.trail, (best, *others), search.history, (note,))
