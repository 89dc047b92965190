"""The reinforcement-learning agents of tfcompress; the only package that knows tf-agents."""

from tfcompress.agents._tf_agents import load as load_tf_agents
from tfcompress.agents.ddpg import DdpgAgent, DdpgSettings
from tfcompress.agents.environment_model import EnvironmentModel
from tfcompress.agents.reinforce import ReinforceSettings, RemovalLearner, Rollout, ShrinkageLearner
from tfcompress.agents.replay import Batch, ReplayBuffer
from tfcompress.agents.sac import PruningAgent, SacSettings

__all__ = [
    "Batch",
    "DdpgAgent",
    "DdpgSettings",
    "EnvironmentModel",
    "PruningAgent",
    "ReinforceSettings",
    "RemovalLearner",
    "ReplayBuffer",
    "Rollout",
    "SacSettings",
    "ShrinkageLearner",
    "load_tf_agents",
]
