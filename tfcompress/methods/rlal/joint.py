"""The agent's part of RLAL's joint training: a Keras callback that plays and learns between epochs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tfcompress.agents.sac import PruningAgent
from tfcompress.methods.base import Candidate
from tfcompress.methods.episodes import Episode, Episodes, learned
from tfcompress.methods.rlal.alignment import Alignment
from tfcompress.plan import Plan, Trail
from tfcompress.task import Task

__all__ = ["AgentEpochs", "Timetable"]

_CANDIDATES = 5


@dataclass(frozen=True)
class Timetable:
    """The epochs in which the agent acts and learns, counted from 0.

    Attributes:
        start: first epoch with episodes; before it only weights are trained.
        learn: first epoch in which the agent learns; before it the replay buffer is filled.
        end: first epoch without the agent; from then on the weights align with its best plan.
    """

    start: int
    learn: int
    end: int


@dataclass
class _Best:
    """The plan that the weights align with, and the other best plans."""

    reward: float = float("-inf")
    kept: list[int] | None = None
    plan: str = ""
    candidates: list[tuple[float, int, list[int]]] | None = None


class AgentEpochs(keras.callbacks.Callback):
    """Before each epoch of the weights: P episodes of the agent, and its updates (Algorithm 1 of RLAL).

    Args:
        task: the task.
        episodes: plays episodes on the model's current weights.
        agent: the agent.
        alignment: the penalty whose plan follows the best episode.
        timetable: when the agent acts and learns.
        episodes_per_epoch: P of Algorithm 1.
        rescore_best: whether to measure the best plan again with the epoch's weights before comparing.
    """

    def __init__(
        self,
        task: Task,
        episodes: Episodes,
        agent: PruningAgent,
        alignment: Alignment,
        timetable: Timetable,
        episodes_per_epoch: int,
        rescore_best: bool,
    ) -> None:
        super().__init__()
        self._task, self._episodes, self._agent, self._alignment = task, episodes, agent, alignment
        self._timetable, self._per_epoch, self._rescore = timetable, episodes_per_epoch, rescore_best
        self._best = _Best(candidates=[])
        self._logs: dict[str, float] = {}

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Plays and learns, within the timetable."""
        self._logs = {}
        if not self._timetable.start <= epoch < self._timetable.end:
            return
        self._episodes.rank()
        self._agent.start_epoch(epoch)
        if self._best.kept is not None and self._rescore:
            self._best.reward = self._episodes.reward(np.array(self._best.kept))
        rewards = []
        for index in range(self._per_epoch):
            shown = "-" if self._best.kept is None else f"{self._best.reward:.4f}"
            self._task.progress.doing(f"episode {index + 1} of {self._per_epoch}, best reward {shown}")
            episode = self._episodes.play(self._agent.act)
            self._agent.remember(episode.states, episode.actions, episode.reward, epoch)
            self._compare(episode, epoch)
            rewards.append(episode.reward)
        if epoch >= self._timetable.learn:
            self._logs.update(learned(lambda: self._agent.learn_from(len(rewards)), rewards))
        self._follow_best()
        self._logs |= {"reward": float(np.mean(rewards)), "reward_max": float(np.max(rewards))}

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the agent's results to the logs of the epoch."""
        if logs is None:
            return
        logs.update(self._logs)
        if self._best.kept is not None and self._alignment.followed is not None:
            followed, removed = self._alignment.followed, self._alignment.removed_norm()
            logs.update(removed_norm=float(removed), reward_followed=self._episodes.measured(followed))
        if self._best.kept is not None:
            share = int(self._task.costs.count("macs", self._best.kept)) / self._task.costs.total.macs
            logs.update(reward_best=self._best.reward, flops=share)

    def _compare(self, episode: Episode, epoch: int) -> None:
        best, kept = self._best, episode.kept.tolist()
        if best.kept is None or episode.reward > best.reward:
            best.reward, best.kept = episode.reward, kept
        assert best.candidates is not None
        others = [entry for entry in best.candidates if list(entry[2]) != kept]
        best.candidates = sorted([*others, (episode.reward, epoch, kept)], key=lambda entry: -entry[0])[:_CANDIDATES]

    def _follow_best(self) -> None:
        plan = self._episodes.plan(np.array(self._best.kept))
        self._best.plan = plan.to_json()
        self._alignment.set_plan(plan)

    def says(self, history: Mapping[str, Sequence[Any]]) -> str:
        """Returns a sentence on whether the followed plan came closer to the whole model while weights aligned with it.

        Args:
            history: history of the joint training, by epoch.
        """
        rewards = [
            value for value in history.get("reward_followed", ())[self._timetable.end - 1 :] if value is not None
        ]
        whole = self._episodes.whole()
        if len(rewards) < 2:
            return "RLAL: there are no epochs in which the weights align with the agent's plan (agent_epochs)."
        first, last = rewards[0], rewards[-1]
        numbers = f"from {first:.4f} to {last:.4f} in {len(rewards) - 1} epochs; the whole model has {whole:.4f}"
        if last > first or last >= whole:
            return f"RLAL: the weights align: the metric of the plan that they follow went {numbers}."
        return (
            f"RLAL: the weights do not align: the metric of the plan that they follow went {numbers}. Raise alignment=."
        )

    @property
    def plan(self) -> Plan:
        """Returns the plan of the best episode, with the channels that ranked highest when the agent last acted."""
        return Plan.from_json(self._best.plan)

    @property
    def reward(self) -> float:
        """Returns the reward of the best episode when it was last measured."""
        return self._best.reward

    def candidates(self) -> tuple[Candidate, ...]:
        """Returns the best plan and the other best plans, each with its reward at the time."""
        self._episodes.rank()
        plan = self.plan
        candidates = [Candidate(Trail((plan,)), self._task.costs.of(plan), self._best.reward, "best episode")]
        for reward, epoch, kept in self._best.candidates or []:
            if kept != self._best.kept:
                plan = self._episodes.plan(np.array(kept))
                trail, cost = Trail((plan,)), self._task.costs.of(plan)
                candidates.append(Candidate(trail, cost, reward, f"episode of epoch {epoch + 1}"))
        return tuple(candidates)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Returns the best plan and the candidates, for a checkpoint."""
        best = self._best
        plan = best.plan and self._task.run.plan_to_json(Plan.from_json(best.plan))
        text = json.dumps([best.reward, best.kept, plan, best.candidates])
        return {"json": np.frombuffer(text.encode(), np.uint8)}

    def load_state_dict(self, tensors: dict[str, np.ndarray]) -> None:
        """Restores the state that `state_dict` returned."""
        reward, kept, plan, candidates = json.loads(tensors["json"].tobytes().decode())
        plan = plan and self._task.run.plan_from_json(plan).to_json()
        self._best = _Best(reward, kept, plan, [tuple(entry) for entry in candidates])
        if plan:
            self._alignment.set_plan(Plan.from_json(plan))
