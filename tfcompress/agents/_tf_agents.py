"""The only module of the agents that imports tf_agents, tensorflow_probability and tf_keras; see `_keras_2`."""

import functools
import importlib
import sys
import threading
import types

from tfcompress._keras_2 import importing_on_keras_2

__all__ = ["load"]

_lock = threading.RLock()

# Loaded on first access by tensorflow_probability; that access must fall while the stand-ins are in place.
_LAZY_PARTS_OF_TFP = ("bijectors", "distributions", "math", "random", "stats", "util")


def _silent_notices() -> dict[str, types.ModuleType]:
    """Returns a stand-in for what gym prints on standard error when it is imported: it is no longer maintained."""
    silent = types.ModuleType("gym_notices.notices")
    silent.notices = {}  # type: ignore[attr-defined]
    return {"gym_notices.notices": silent}


def _how_to_install() -> str:
    line = "pip install 'tfcompress[rl]'"  # as expect.install_line has it, which is above this package
    return f"{line} && pip install --no-deps tf-agents==0.18.0" if sys.version_info >= (3, 12) else line


@functools.cache
def _import_all() -> types.SimpleNamespace:
    try:
        with importing_on_keras_2(_silent_notices()):
            tfp = importlib.import_module("tensorflow_probability")
            for part in _LAZY_PARTS_OF_TFP:
                dir(getattr(tfp, part))
            tf_agents = importlib.import_module("tf_agents")
            sac_agent = importlib.import_module("tf_agents.agents.sac.sac_agent")
            ddpg_agent = importlib.import_module("tf_agents.agents.ddpg.ddpg_agent")
            actor_network = importlib.import_module("tf_agents.agents.ddpg.actor_network")
            critic_network = importlib.import_module("tf_agents.agents.ddpg.critic_network")
            reinforce_agent = importlib.import_module("tf_agents.agents.reinforce.reinforce_agent")
            dynamic_unroll = importlib.import_module("tf_agents.keras_layers.dynamic_unroll_layer")
            networks = importlib.import_module("tf_agents.networks")
            normal = importlib.import_module("tf_agents.networks.normal_projection_network")
            categorical = importlib.import_module("tf_agents.networks.categorical_projection_network")
            lstm = importlib.import_module("tf_agents.networks.lstm_encoding_network")
            specs = importlib.import_module("tf_agents.specs")
            trajectories = importlib.import_module("tf_agents.trajectories")
            common = importlib.import_module("tf_agents.utils.common")
            keras = importlib.import_module("tf_keras.api._v2.keras")
    except ImportError as error:
        raise ImportError(
            f"Expected tf-agents 0.18, which the reinforcement-learning methods (RLAL, AMC, N2N) are built on. "
            f"Received: {type(error).__name__}: {error}. "
            f"Install it with `{_how_to_install()}`. The other methods work without it."
        ) from error
    return types.SimpleNamespace(
        tf_agents=tf_agents,
        tfp=tfp,
        keras=keras,
        common=common,
        specs=specs,
        trajectories=trajectories,
        SacAgent=sac_agent.SacAgent,
        ReinforceAgent=reinforce_agent.ReinforceAgent,
        std_clip_transform=sac_agent.std_clip_transform,
        DdpgAgent=ddpg_agent.DdpgAgent,
        ActorNetwork=actor_network.ActorNetwork,
        ActorDistributionNetwork=networks.actor_distribution_network.ActorDistributionNetwork,
        ActorDistributionRnnNetwork=networks.actor_distribution_rnn_network.ActorDistributionRnnNetwork,
        CategoricalProjectionNetwork=categorical.CategoricalProjectionNetwork,
        CriticNetwork=critic_network.CriticNetwork,
        DistributionNetwork=networks.network.DistributionNetwork,
        DynamicUnroll=dynamic_unroll.DynamicUnroll,
        LSTMEncodingNetwork=lstm.LSTMEncodingNetwork,
        Network=networks.network.Network,
        NormalProjectionNetwork=normal.NormalProjectionNetwork,
    )


def load() -> types.SimpleNamespace:
    """Imports tf-agents on tf_keras, once; the user's `tf.keras`, `sys.modules` and `os.environ` do not change.

    While it runs (some seconds, the first time), other threads that import tensorflow would see the stand-ins, and
    warning filters that others add meanwhile are lost: code that shares the process with such threads needs a lock.

    Returns:
        A namespace with the modules `tf_agents`, `tfp`, `keras` (tf_keras, Keras 2), `common`, `specs`,
        `trajectories` and the classes and functions `SacAgent`, `DdpgAgent`, `ReinforceAgent`, `std_clip_transform`,
        `ActorNetwork`, `ActorDistributionNetwork`, `ActorDistributionRnnNetwork`, `CategoricalProjectionNetwork`,
        `CriticNetwork`, `DistributionNetwork`, `DynamicUnroll`, `LSTMEncodingNetwork`, `Network`,
        `NormalProjectionNetwork`.

    Raises:
        ImportError: tf-agents or a package that it needs is missing; the message has the command to run.
    """
    with _lock:
        return _import_all()
