"""RLAL's agent as a search on fixed weights plays it."""

from __future__ import annotations

import numpy as np

from tfcompress.agents.sac import PruningAgent
from tfcompress.methods.episodes import Episode, learned

__all__ = ["SacPlayer"]

_EPOCH = 0  # weights that stay are one epoch


class SacPlayer:
    """Fills the replay buffer for some episodes, and then learns after each.

    Args:
        agent: the agent, without an environment model, as weights that stay are an environment that does.
        filling: episodes before it learns.
    """

    names: tuple[str, ...] = ("critic_loss", "actor_loss")

    def __init__(self, agent: PruningAgent, filling: int) -> None:
        self._agent, self._filling = agent, filling
        self.episodes = 0
        self.act = agent.act
        agent.start_epoch(_EPOCH)

    def take(self, episode: Episode, reward: float) -> dict[str, float]:
        """Remembers an episode, and learns; returns the losses where there are any."""
        self._agent.remember(episode.states, episode.actions, reward, _EPOCH)
        self.episodes += 1
        return learned(lambda: self._agent.learn_from(1), [reward]) if self.episodes > self._filling else {}

    def state_dict(self) -> dict[str, np.ndarray]:
        """The agent, and how many episodes it took."""
        return {**self._agent.state_dict(), "episodes": np.array(self.episodes, "int64")}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Takes up where `state_dict` was called."""
        self._agent.load_state_dict({name: value for name, value in state.items() if name != "episodes"})
        self.episodes = int(state["episodes"])
