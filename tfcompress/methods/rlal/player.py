"""RLAL's agent as a player of a search with fixed weights."""

from __future__ import annotations

import numpy as np

from tfcompress.agents.sac import PruningAgent
from tfcompress.methods.episodes import Episode, learned

__all__ = ["SacPlayer"]

_EPOCH = 0  # weights that stay are one epoch


class SacPlayer:
    """Fills the replay buffer for some episodes, then learns after each.

    Args:
        agent: the agent, without an environment model, because fixed weights are a stationary environment.
        filling: number of episodes before it learns.
    """

    names: tuple[str, ...] = ("critic_loss", "actor_loss")

    def __init__(self, agent: PruningAgent, filling: int) -> None:
        self._agent, self._filling = agent, filling
        self.episodes = 0
        self.act = agent.act
        agent.start_epoch(_EPOCH)

    def take(self, episode: Episode, reward: float) -> dict[str, float]:
        """Remembers an episode, and learns; returns the losses if there are any."""
        self._agent.remember(episode.states, episode.actions, reward, _EPOCH)
        self.episodes += 1
        return learned(lambda: self._agent.learn_from(1), [reward]) if self.episodes > self._filling else {}

    def state_dict(self) -> dict[str, np.ndarray]:
        """Returns the agent's state, and its number of episodes."""
        return {**self._agent.state_dict(), "episodes": np.array(self.episodes, "int64")}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Restores the state that `state_dict` returned."""
        self._agent.load_state_dict({name: value for name, value in state.items() if name != "episodes"})
        self.episodes = int(state["episodes"])
