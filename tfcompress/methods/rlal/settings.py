"""The settings of RLAL's agent, checked."""

from __future__ import annotations

import dataclasses

from tfcompress import expect
from tfcompress.agents import SacSettings

__all__ = ["AgentSettings"]


@dataclasses.dataclass(frozen=True)
class AgentSettings(SacSettings):
    """Settings of RLAL's agent; defaults are the paper's, or marked as decided if the paper leaves them open.

    One batch per epoch, as Algorithm 1 shows it, does not learn. Tried on the toy problem of
    tests/agents/test_learning.py, which prints this as a script: six layers, three of them worthless, 12 epochs of 30
    episodes, learning in the last ten. Quality ranges from 0 to 1, and 0.846 is the best that the budget allows:

        updates an epoch   mean of the last 3 epochs   best of 360 episodes     (seeds 0, 1, 2)
        random search      0.117  0.151  0.148         0.563  0.572  0.560
        none               0.174  0.137  0.142         0.650  0.734  0.634
        1                  0.175  0.137  0.142         0.650  0.735  0.634
        4                  0.176  0.139  0.144         0.648  0.737  0.634
        16                 0.183  0.146  0.151         0.632  0.740  0.634
        64                 0.213  0.192  0.205         0.641  0.745  0.670
        128                0.252  0.251  0.265         0.692  0.758  0.713
        256                0.327  0.342  0.394         0.740  0.780  0.786

    The mean shows learning; the best alone does not, because the untrained policy draws more extreme actions than
    random search and reaches higher maxima. 128 without the environment model: 0.249, 0.267, 0.280. The agent is
    limited most by the paper's entropy coefficient together with a reward in [0, 1]: with 0.01 instead of 0.1, 128
    updates reach 0.782 (seed 0). Standardized rewards, the default, do the same for any reward: 0.745, with 0.1
    unchanged. The table is for rewards that are not standardized and the policy "middle", as in the paper.

    Raises:
        TypeError, ValueError: a setting has another type, or is out of range.
    """

    def __post_init__(self) -> None:
        rates = ("actor_learning_rate", "critic_learning_rate", "environment_learning_rate")
        expect.settings(self, expect.number, *rates, "entropy_coefficient", above=0)
        expect.settings(self, expect.number, "gamma", at_least=0, at_most=1)
        expect.settings(self, expect.number, "tau", above=0, at_most=1)
        expect.settings(self, expect.whole, "batch_size", "buffer_capacity", least=1)
        expect.settings(self, expect.whole, "updates_per_epoch", least=1, or_none=True)
        widths = "widths of layers such as (300, 300)"
        expect.settings(self, expect.each, "hidden", check=expect.whole, what=widths, least=1)
        expect.settings(self, expect.flag, "use_environment_model", "standardise_rewards")
        expect.settings(self, expect.one_of, "first_policy", options=("uniform", "middle"))
        expect.settings(self, expect.number, "first_deviation", above=0)
        if self.first_policy != "uniform":
            expect.unused(self, ["first_deviation"], "with first_policy='middle', whose deviation is 1")
        if not self.use_environment_model:
            expect.unused(self, ["environment_learning_rate"], "with use_environment_model=False")
