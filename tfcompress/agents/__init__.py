"""The reinforcement-learning agents of tfcompress; the only package that knows tf-agents."""

from tfcompress.agents.environment_model import EnvironmentModel
from tfcompress.agents.replay import Batch, ReplayBuffer
from tfcompress.agents.sac import AgentSettings, PruningAgent

__all__ = ["AgentSettings", "Batch", "EnvironmentModel", "PruningAgent", "ReplayBuffer"]
