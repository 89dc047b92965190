"""AMC's agent as a player of the search."""

from __future__ import annotations

from tfcompress.agents import DdpgAgent
from tfcompress.methods.episodes import Episode, learned

__all__ = ["DdpgPlayer"]


class DdpgPlayer:
    """Explores first, then learns after each episode, once for each of its steps.

    Args:
        agent: the agent.
    """

    names: tuple[str, ...] = ("sigma", "critic_loss", "actor_loss")

    def __init__(self, agent: DdpgAgent) -> None:
        self._agent = agent
        self.act, self.state_dict, self.load_state_dict = agent.act, agent.state_dict, agent.load_state_dict

    @property
    def episodes(self) -> int:
        """Number of remembered episodes."""
        return self._agent.episodes

    def take(self, episode: Episode, reward: float) -> dict[str, float]:
        """Remembers an episode, and learns; returns its sigma, and the losses if there are any."""
        agent, sigma = self._agent, self._agent.sigma
        agent.remember(episode.states, episode.actions, reward)
        losses: dict[str, float] = {}
        if agent.episodes > agent.exploring:
            losses = learned(lambda: agent.learn_episode(len(episode.actions)), [reward])
        return {"sigma": sigma, **losses}
