"""The only module that imports tf_agents, tensorflow_probability and tf_keras.

tf-agents is written for Keras 2 and finds it as `tf.keras`, which is Keras 3 today. Switching the whole process to
Keras 2 would change the user's own `tf.keras`; so tf-agents is imported while `sys.modules` holds stand-ins for the
tensorflow modules, which pass every attribute on to the real ones but have tf_keras as their `keras`.
"""

import contextlib
import functools
import importlib
import os
import sys
import threading
import types
import warnings
from collections.abc import Iterator
from typing import Any

__all__ = ["load"]

_lock = threading.RLock()

# What the packages set when they are imported. Other names are left to other threads.
_VARIABLES = ("PYGAME_HIDE_SUPPORT_PROMPT", "TF_USE_LEGACY_KERAS")
_WARNING = "(tf_agents|tensorflow|tf_keras|gym|pygame|gin|numpy|google|pkg_resources|flatbuffers)"

# Loaded on first access by tensorflow_probability; that access must fall while the stand-ins are in place.
_LAZY_PARTS_OF_TFP = ("bijectors", "distributions", "math", "random", "stats", "util")


class _StandIn(types.ModuleType):
    """A module that forwards all attributes to another one, except a few of its own."""

    def __init__(self, real: types.ModuleType, **own: types.ModuleType):
        super().__init__(real.__name__, real.__doc__)
        for name in ("__file__", "__loader__", "__package__", "__path__", "__spec__"):
            if hasattr(real, name):
                own[name] = getattr(real, name)
        self.__dict__.update(own, _real=real)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_real"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.__dict__["_real"], name, value)

    def __dir__(self) -> list[str]:
        return dir(self.__dict__["_real"])


def _stand_ins() -> dict[str, types.ModuleType]:
    """Returns stand-ins by the names of the real modules in `sys.modules`."""
    import tensorflow as tf

    keras_v1 = importlib.import_module("tf_keras.api._v1.keras")
    keras_v2 = importlib.import_module("tf_keras.api._v2.keras")
    v1 = _StandIn(tf.compat.v1, keras=keras_v1)
    v2 = _StandIn(tf.compat.v2, keras=keras_v2)
    compat = _StandIn(tf.compat, v1=v1, v2=v2)
    silent = types.ModuleType("gym_notices.notices")  # gym prints them on standard error: it is no longer maintained
    silent.notices = {}  # type: ignore[attr-defined]
    return {
        "tensorflow": _StandIn(tf, compat=compat, keras=keras_v2),
        "tensorflow.compat": compat,
        "tensorflow.compat.v1": v1,
        "tensorflow.compat.v2": v2,
        "tensorflow.keras": keras_v2,
        "tensorflow.compat.v1.keras": keras_v1,
        "tensorflow.compat.v2.keras": keras_v2,
        "gym_notices.notices": silent,
    }


@contextlib.contextmanager
def _unchanged_environment() -> Iterator[None]:
    """Restores the variables and the warning filters that some packages change when they are imported."""
    before = {name: os.environ.get(name) for name in _VARIABLES}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=_WARNING)
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _keras_2_for_tensorflow() -> Iterator[None]:
    """Makes modules that are imported inside see tf_keras as `tf.keras`; `sys.modules` is restored afterwards."""
    stand_ins = _stand_ins()
    before = {name: sys.modules.get(name) for name in stand_ins}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module


def _how_to_install() -> str:
    line = "pip install 'tfcompress[rl]'"  # as expect.install_line has it, which is above this package
    return f"{line} && pip install --no-deps tf-agents==0.18.0" if sys.version_info >= (3, 12) else line


@functools.cache
def _import_all() -> types.SimpleNamespace:
    try:
        with _unchanged_environment(), _keras_2_for_tensorflow():
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
