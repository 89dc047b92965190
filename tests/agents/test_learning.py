"""Do the agents learn? A toy pruning problem with worthless layers, against random search with equal episodes.

As a script it prints the table that the docstring of `tfcompress.methods.rlal.AgentSettings` quotes, and a line of that
of `tfcompress.methods.amc.AgentSettings`:

    python tests/agents/test_learning.py
    python tests/agents/test_learning.py --amc --sigma-decay 0.95
"""

import argparse

import numpy as np
import pytest
import tensorflow as tf

from tfcompress.agents import DdpgAgent, PruningAgent
from tfcompress.methods.amc import AgentSettings as OfAMC
from tfcompress.methods.rlal import AgentSettings

EPOCHS, FILLING_EPOCHS, EPISODES_PER_EPOCH = 12, 2, 30
# The paper's agent, but for the number of updates.
PUBLISHED = {"updates_per_epoch": 128, "standardise_rewards": False, "first_policy": "middle"}
LAST_EPOCHS = 3
SEEDS = (0, 1, 2)
BUDGET = 0.5
# Layer by layer: share of the FLOPs, width, harm of pruning it whole (0: the layer is worthless).
SHARES = np.array([0.12, 0.20, 0.13, 0.20, 0.15, 0.20])
WIDTHS = np.array([0.25, 1.0, 0.25, 0.5, 0.25, 1.0])
HARM = np.array([0.0, 2.0, 0.0, 2.0, 0.0, 2.0])


def quality(actions):
    """How well the pruned network does beside the whole one, from 0 to 1; the same in every epoch."""
    return float(np.exp(-np.sum(HARM * np.square(actions))))


def accuracy(actions, epoch):
    """The reward: 0.1 is chance, and what the whole network reaches rises from 0.3 to 0.9 as it is trained."""
    return 0.1 + (0.8 - 0.6 * np.exp(-epoch / 3)) * quality(actions)


def bounds(layer, kept_before):
    """Equations (12) and (13) of RLAL; `kept_before` is the share of the FLOPs that earlier layers kept."""
    later = SHARES[layer + 1 :].sum()
    low = 1 - (BUDGET - kept_before) / SHARES[layer]
    high = 1 - (BUDGET - kept_before - later) / SHARES[layer]
    return np.clip([low, high], 0, 1)


def play(policy):
    """One episode, with actions clipped into their bounds. Returns states `[6, 9]` and actions `[6]`."""
    states, actions, kept = [], [], 0.0
    for layer, (share, width) in enumerate(zip(SHARES, WIDTHS, strict=True)):
        later = SHARES[layer + 1 :].sum()
        previous = actions[-1] if actions else 0.0
        states.append([layer / len(SHARES), width, width, 1.0, 0.5, share, kept, later, previous])
        actions.append(np.clip(policy(np.array(states[-1])), *bounds(layer, kept)))
        kept += share * (1 - actions[-1])
    return np.array(states), np.array(actions)


def train_agent(seed, learning=True, **settings):
    """Trains an agent. Returns the qualities `[epochs, episodes]` of its episodes, and the agent."""
    agent = PruningAgent(state_size=9, epochs=EPOCHS, settings=AgentSettings(**PUBLISHED | settings), seed=seed)
    qualities = np.zeros([EPOCHS, EPISODES_PER_EPOCH])
    for epoch in range(EPOCHS):
        agent.start_epoch(epoch)
        for episode in range(EPISODES_PER_EPOCH):
            states, actions = play(agent.act)
            agent.remember(states, actions, accuracy(actions, epoch), epoch)
            qualities[epoch, episode] = quality(actions)
        if learning and epoch >= FILLING_EPOCHS:
            agent.learn_from(EPISODES_PER_EPOCH)
    return qualities, agent


def train_ddpg(seed, episodes=360, exploring=90, **settings):
    """Trains AMC's agent, whose reward stays that of the trained network. Returns the qualities `[episodes]`."""
    agent = DdpgAgent(state_size=9, exploring=exploring, settings=OfAMC(**settings), seed=seed)
    qualities = []
    for _ in range(episodes):
        states, actions = play(agent.act)
        qualities.append(quality(actions))
        agent.remember(states, actions, 0.8 * qualities[-1] - 0.9)
        if agent.episodes > exploring:
            agent.learn_episode(len(actions))
    return np.array(qualities)


def random_search(seed):
    """Qualities `[epochs, episodes]` of as many episodes of uniformly random actions, clipped into the same bounds."""
    rng = np.random.default_rng(seed)
    episodes = [quality(play(lambda state: rng.random())[1]) for _ in range(EPOCHS * EPISODES_PER_EPOCH)]
    return np.reshape(episodes, [EPOCHS, EPISODES_PER_EPOCH])


class LearningTest(tf.test.TestCase):
    def test_the_toy_spends_the_budget_and_has_worthless_layers(self):
        # By hand: the worthless layers hold 0.40 of the FLOPs; the other 0.10 is half of the last layer's 0.20.
        _, actions = play(lambda state: 1.0 if state[1] == 0.25 else 0.0)
        self.assertAllClose(actions, [1, 0, 1, 0, 1, 0.5])
        self.assertAllClose(quality(actions), np.exp(-0.5))
        for rate in (0.0, 0.3, 1.0):
            self.assertAllClose(np.sum(SHARES * (1 - play(lambda state, rate=rate: rate)[1])), BUDGET)

    @pytest.mark.slow
    def test_beats_random_search_with_equal_episodes(self):
        for seed in SEEDS:
            with self.subTest(seed=seed):
                (agent, _), random = train_agent(seed), random_search(seed)
                self.assertGreater(agent.max(), random.max())
                self.assertGreater(agent[-LAST_EPOCHS:].mean(), 1.3 * random[-LAST_EPOCHS:].mean())
                # An agent that acts but never learns has better luck than random search, and no better mean.
                idle, _ = train_agent(seed, learning=False)
                self.assertGreater(agent[-LAST_EPOCHS:].mean(), 1.3 * idle[-LAST_EPOCHS:].mean())

    @pytest.mark.slow
    def test_standardised_rewards_weigh_more_beside_the_entropy(self):
        """As much as an entropy coefficient of 0.01 does; with rewards as they are, the mean is 0.25."""
        standardised, _ = train_agent(0, standardise_rewards=True)
        self.assertGreater(standardised[-LAST_EPOCHS:].mean(), 0.6)


class DdpgTest(tf.test.TestCase):
    def test_beats_random_search_with_a_third_of_the_episodes(self):
        """With a network and rates for so few episodes; 120 against 360."""
        small = {"hidden": (64, 64), "actor_learning_rate": 3e-4, "critic_learning_rate": 1e-3, "sigma_decay": 0.96}
        for seed in SEEDS:
            with self.subTest(seed=seed):
                qualities, random = train_ddpg(seed, episodes=120, exploring=40, **small), random_search(seed)
                self.assertGreater(qualities.max(), random.max())
                self.assertGreater(qualities[-20:].mean(), 2 * random.mean())
                self.assertGreater(qualities[-20:].mean(), 2 * qualities[:40].mean())


def print_line(name, seed, found, agent=None):
    """The mean quality of the last epochs, the best quality, and the mean actions with theirs."""
    actions = play(agent.mean_action)[1] if agent else None
    greedy = f"{quality(actions):.3f} {np.round(actions, 2)}" if agent else ""
    print(f"{name:>7} {seed:4d} | {found[-LAST_EPOCHS:].mean():11.3f} | {found.max():.3f} | {greedy}", flush=True)


def print_table(updates, **settings):
    """Prints one line for each number of updates an epoch and each seed."""
    print(f"updates seed | last {LAST_EPOCHS} epochs | best  | mean actions: quality, actions")
    for seed in SEEDS:
        print_line("random", seed, random_search(seed))
    for count in updates:
        for seed in SEEDS:
            print_line(count, seed, *train_agent(seed, learning=count > 0, updates_per_epoch=max(count, 1), **settings))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--updates", type=int, nargs="+", default=[0, 1, 4, 16, 64, 128, 256])
    parser.add_argument("--entropy-coefficient", type=float, default=AgentSettings.entropy_coefficient)
    parser.add_argument("--without-environment-model", action="store_true")
    parser.add_argument("--amc", action="store_true")
    parser.add_argument("--sigma-decay", type=float, default=OfAMC.sigma_decay)
    parser.add_argument("--baseline-decay", type=float, default=OfAMC.baseline_decay)
    flags = parser.parse_args()
    if flags.amc:
        decays = {"sigma_decay": flags.sigma_decay, "baseline_decay": flags.baseline_decay}
        for seed in SEEDS:
            qualities = train_ddpg(seed, episodes=400, exploring=100, **decays)
            print(f"amc, seed {seed}: last 100 {qualities[-100:].mean():.3f}, best {qualities.max():.3f}", flush=True)
        raise SystemExit
    print_table(
        flags.updates,
        entropy_coefficient=flags.entropy_coefficient,
        use_environment_model=not flags.without_environment_model,
    )
