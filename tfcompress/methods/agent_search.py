"""The search of an agent on a model with fixed weights: episodes, learning after each, and checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np

from tfcompress.methods.base import Candidate
from tfcompress.methods.episodes import Episode, Episodes
from tfcompress.plan import Trail
from tfcompress.task import Task
from tfcompress.training.state import join, select

__all__ = ["PHASE", "ROUND", "AgentSearch", "Player"]

PHASE = "search"
ROUND = 10
"""Episodes in a round; a checkpoint is written after each round."""

_CANDIDATES = 5


class Player(Protocol):
    """An agent that plays on fixed weights.

    Attributes:
        episodes: number of episodes that it has learned from, or remembered.
        names: names of the values that `take` returns.
    """

    names: tuple[str, ...]

    @property
    def episodes(self) -> int:
        """Number of episodes that it was given."""

    def act(self, state: np.ndarray) -> float:
        """Returns an action, from 0 to 1."""

    def take(self, episode: Episode, reward: float) -> dict[str, float]:
        """Remembers an episode, and learns; returns losses and other values for the history."""

    def state_dict(self) -> dict[str, np.ndarray]:
        """Returns everything that acting and learning depend on."""

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Restores the state that `state_dict` returned."""


class AgentSearch:
    """Plays all episodes, and keeps the best.

    An interrupted search continues after its last finished round, with the agent, its buffer and all rewards as they
    were then.

    Args:
        task: the task.
        episodes: plays episodes on the task's model.
        agent: acts and learns.
        count: number of episodes to play.
        reward: the agent's reward, a function of the metric and the widths `[groups]`; the metric itself by default.
        cost: the cost of widths; of two plans with equal reward, the cheaper one is preferred.

    Attributes:
        history: for each episode its reward, the metric, the share of the FLOPs, and the agent's values, such as the
            losses of the updates after it (`None` if there are none).
    """

    def __init__(
        self,
        task: Task,
        episodes: Episodes,
        agent: Player,
        count: int,
        reward: Callable[[float, np.ndarray], float] | None = None,
        cost: Callable[[np.ndarray], int] | None = None,
    ) -> None:
        self._task, self._episodes, self._agent, self._count = task, episodes, agent, count
        self._reward, self._cost_of = reward or (lambda metric, kept: metric), cost or (lambda kept: 0)
        names = ("reward", "metric", "flops", *agent.names)
        self.history: dict[str, list[float | None]] = {name: [] for name in names}
        self._best: list[tuple[float, int, list[int]]] = []

    def run(self) -> None:
        """Plays the remaining episodes."""
        checkpoints, progress = self._task.run.checkpoints(PHASE), self._task.progress
        rounds = -(-self._count // ROUND)
        last = None if checkpoints is None else checkpoints.latest()
        for message in () if checkpoints is None else checkpoints.skipped:
            progress.note(message)
        if last is not None:
            self._agent.load_state_dict(select(last.tensors, "agent"))
            self.history = last.info["history"]
            self._best = [(reward, number, kept) for reward, number, kept in last.info["best"]]
            if last.finished:
                progress.skip(PHASE)
                return
        done = -(-self._agent.episodes // ROUND)
        progress.begin(PHASE, rounds, done=done)
        for number in range(done, rounds):
            for _ in range(min(ROUND, self._count - self._agent.episodes)):
                self._play()
            recent = _mean(self.history["reward"][number * ROUND :])
            progress.epoch_done(number + 1, {"reward": recent, "best": self._best[0][0]})
            if checkpoints is not None:
                checkpoints.save(number + 1, *self._state())
        progress.end()
        if checkpoints is not None:
            checkpoints.finish(rounds, *self._state())

    def _state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Returns the tensors and the JSON data of a checkpoint."""
        return join({"agent": self._agent.state_dict()}), {"history": self.history, "best": self._best}

    def _play(self) -> None:
        """Plays one episode, and makes the updates after it."""
        agent = self._agent
        self._task.progress.doing(f"episode {agent.episodes + 1} of {self._count}")
        episode = self._episodes.play(agent.act)
        reward = self._reward(episode.reward, episode.kept)
        self._compare(episode, reward, agent.episodes)
        share = int(self._task.costs.count("macs", episode.kept)) / self._task.costs.total.macs
        values = {"reward": reward, "metric": episode.reward, "flops": share, **agent.take(episode, reward)}
        for name, column in self.history.items():
            column.append(values.get(name))

    def _compare(self, episode: Episode, reward: float, number: int) -> None:
        """Adds the episode to the best ones; of equal rewards the lower cost is better, then the earlier episode."""
        kept = episode.kept.tolist()
        if all(kept != known for _, _, known in self._best):
            entries = [*self._best, (reward, number, kept)]
            self._best = sorted(entries, key=lambda entry: (-entry[0], self._cost(entry[2])))[:_CANDIDATES]

    def _cost(self, kept: list[int]) -> int:
        return self._cost_of(np.array(kept))

    @property
    def best(self) -> tuple[float, np.ndarray]:
        """The highest reward, and the widths `[groups]` that earned it."""
        reward, _, kept = self._best[0]
        return reward, np.array(kept)

    def candidates(self) -> tuple[Candidate, ...]:
        """The plans of the best episodes, each with its reward, best first."""
        return tuple(self._candidate(*entry) for entry in self._best)

    def _candidate(self, reward: float, number: int, kept: list[int]) -> Candidate:
        plan = self._episodes.plan(np.array(kept))
        return Candidate(Trail((plan,)), self._task.costs.of(plan), reward, f"episode {number + 1}")


def _mean(values: Iterable[Any]) -> float:
    return float(np.mean(list(values)))
