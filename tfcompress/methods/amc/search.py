"""The search of AMC: episodes on a model whose weights stay, an agent that learns after each, and checkpoints."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tfcompress.agents import DdpgAgent
from tfcompress.methods.amc.rewards import AgentReward
from tfcompress.methods.base import Candidate
from tfcompress.methods.episodes import Episode, Episodes, learned
from tfcompress.plan import Trail
from tfcompress.task import Task
from tfcompress.training.state import join, select

__all__ = ["PHASE", "ROUND", "AgentSearch"]

PHASE = "search"
ROUND = 10
"""Episodes in a round; a checkpoint is written after each round."""

_CANDIDATES = 5
_NAMES = ("reward", "metric", "flops", "sigma", "critic_loss", "actor_loss")


class AgentSearch:
    """Plays all episodes, and keeps the best.

    An interrupted search goes on after its last finished round, where the agent, its buffer and all rewards are as they
    were then.

    Args:
        task: the task.
        episodes: plays episodes on the task's model.
        agent: acts and learns.
        reward: the agent's reward.
        count: how many episodes are played.

    Attributes:
        history: for each episode its reward, the metric, the share of the FLOPs, sigma, and the losses of the updates
            that follow it (`None` where none do).
    """

    def __init__(self, task: Task, episodes: Episodes, agent: DdpgAgent, reward: AgentReward, count: int) -> None:
        self._task, self._episodes, self._agent, self._reward, self._count = task, episodes, agent, reward, count
        self.history: dict[str, list[float | None]] = {name: [] for name in _NAMES}
        self._best: list[tuple[float, int, list[int]]] = []

    def run(self) -> None:
        """Plays what is left to play."""
        checkpoints, progress = self._task.run.checkpoints(PHASE), self._task.progress
        rounds = -(-self._count // ROUND)
        last = None if checkpoints is None else checkpoints.latest()
        for message in () if checkpoints is None else checkpoints.skipped:
            progress.note(message)
        if last is not None:
            self._agent.load_state_dict(select(last.tensors, "agent"))
            self.history = last.info["history"]
            self._best = [(reward, number, kept) for reward, number, kept in last.info["best"]]
        done = -(-self._agent.episodes // ROUND)
        if done == rounds:
            progress.skip(PHASE)
            return
        progress.begin(PHASE, rounds, done=done)
        for number in range(done, rounds):
            for _ in range(min(ROUND, self._count - self._agent.episodes)):
                self._play()
            recent = {name: _mean(self.history[name][number * ROUND :]) for name in ("reward", "sigma")}
            progress.epoch_done(number + 1, {**recent, "best": self._best[0][0]})
            if checkpoints is not None:
                tensors = join({"agent": self._agent.state_dict()})
                checkpoints.save(number + 1, tensors, {"history": self.history, "best": self._best})
        progress.end()
        if checkpoints is not None:
            tensors = join({"agent": self._agent.state_dict()})
            checkpoints.finish(rounds, tensors, {"history": self.history, "best": self._best})

    def _play(self) -> None:
        """One episode, and the updates that follow it."""
        agent = self._agent
        self._task.progress.doing(f"episode {agent.episodes + 1} of {self._count}")
        sigma = agent.sigma
        episode = self._episodes.play(agent.act)
        reward = self._reward(episode.reward, episode.kept)
        self._compare(episode, reward, agent.episodes)
        agent.remember(episode.states, episode.actions, reward)
        losses: dict[str, float] = {}
        if agent.episodes > agent.exploring:
            losses = learned(lambda: agent.learn_episode(len(episode.actions)), [reward])
        share = int(self._task.costs.count("macs", episode.kept)) / self._task.costs.total.macs
        values = {"reward": reward, "metric": episode.reward, "flops": share, "sigma": sigma, **losses}
        for name in _NAMES:
            self.history[name].append(values.get(name))

    def _compare(self, episode: Episode, reward: float, number: int) -> None:
        """Takes the episode in among the best; of equal rewards the lower cost is better, and then the earlier one."""
        kept = episode.kept.tolist()
        if all(kept != known for _, _, known in self._best):
            entries = [*self._best, (reward, number, kept)]
            self._best = sorted(entries, key=lambda entry: (-entry[0], self._cost(entry[2])))[:_CANDIDATES]

    def _cost(self, kept: list[int]) -> int:
        return self._reward.cost(np.array(kept))

    def candidates(self) -> tuple[Candidate, ...]:
        """The plans of the best episodes, each with its reward, the best first."""
        return tuple(self._candidate(*entry) for entry in self._best)

    def _candidate(self, reward: float, number: int, kept: list[int]) -> Candidate:
        plan = self._episodes.plan(np.array(kept))
        return Candidate(Trail((plan,)), self._task.costs.of(plan), reward, f"episode {number + 1}")


def _mean(values: Iterable[Any]) -> float:
    return float(np.mean(list(values)))
