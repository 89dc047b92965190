"""The networks of the agents and tf-agents' SacAgent, in a form whose saved runs continue bit for bit."""

import contextlib
import functools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tfcompress.agents import _tf_agents

__all__ = [
    "actor",
    "begin_around",
    "critic",
    "deterministic_actor",
    "draw_weights",
    "repeatable_sac_agent",
    "zeros_as_samples",
]


def actor(observation: Any, action: Any, hidden: tuple[int, ...]) -> Any:
    """Returns an ActorDistributionNetwork: a normal distribution squashed by tanh; the deviation depends on the input.

    Args:
        observation: the specification of the input, float32 `[width]`.
        action: the bounded specification of the action, float32 `[1]`.
        hidden: the widths of the hidden layers.
    """
    lib = _tf_agents.load()

    def projection(spec: Any) -> Any:
        return lib.NormalProjectionNetwork(
            spec,
            mean_transform=None,
            std_transform=lib.std_clip_transform,
            state_dependent_std=True,
            scale_distribution=True,  # tanh, then into the bounds of the specification
            seed=0,  # draw_weights draws the weights; without a seed, global random state would be used up
        )

    return lib.ActorDistributionNetwork(
        observation,
        action,
        fc_layer_params=hidden,
        kernel_initializer="zeros",
        continuous_projection_net=projection,
        name="actor",
    )


def deterministic_actor(observation: Any, action: Any, hidden: tuple[int, ...], name: str) -> Any:
    """Returns an ActorNetwork: one action per input, squashed into the bounds of its specification.

    Args:
        observation: the specification of the input, float32 `[width]`.
        action: the bounded specification of the action, float32 `[1]`.
        hidden: the widths of the hidden layers.
        name: actor and target need different names to be separate networks.
    """
    lib = _tf_agents.load()
    return lib.ActorNetwork(
        observation,
        action,
        fc_layer_params=hidden,
        kernel_initializer="zeros",
        last_kernel_initializer="zeros",
        name=name,
    )


def critic(observation: Any, action: Any, hidden: tuple[int, ...], name: str) -> Any:
    """Returns a CriticNetwork over input and action, concatenated.

    Args:
        observation: the specification of the input, float32 `[width]`.
        action: the specification of the action, float32 `[1]`.
        hidden: the widths of the hidden layers.
        name: critics of one agent need different names to be separate networks.
    """
    lib = _tf_agents.load()
    return lib.CriticNetwork(
        (observation, action),
        joint_fc_layer_params=hidden,
        kernel_initializer="zeros",
        last_kernel_initializer="zeros",
        name=name,
    )


@contextlib.contextmanager
def zeros_as_samples() -> Iterator[None]:
    """Makes tf-agents build networks on zeros inside the `with`.

    Otherwise it draws inputs to build on from TensorFlow's global random state: that would change the user's random
    numbers, and with `enable_op_determinism` and no global seed it is an error.
    """
    tensor_spec = _tf_agents.load().specs.tensor_spec
    before = tensor_spec.sample_spec_nest
    tensor_spec.sample_spec_nest = tensor_spec.zero_spec_nest
    try:
        yield
    finally:
        tensor_spec.sample_spec_nest = before


def draw_weights(network: Any, rng: np.random.Generator) -> None:
    """Draws Glorot-uniform kernels, the last ones near 0: Q starts near 0, the policy near the middle, deviation 1.

    Args:
        network: an actor or a critic, built.
        rng: the random generator to draw with.
    """
    for variable in network.variables:
        if len(variable.shape) == 2:
            limit = 3e-3 if variable.shape[-1] == 1 else math.sqrt(6 / sum(variable.shape))
            variable.assign(rng.uniform(-limit, limit, variable.shape).astype("float32"))


def begin_around(network: Any, action: float, deviation: float) -> None:
    """Makes a policy start around an action, in any state.

    Args:
        network: an actor, built and drawn.
        action: the middle of its actions in [0, 1].
        deviation: deviation of the normal distribution that tanh squashes.
    """
    action = min(max(action, 0.01), 0.99)
    first = {"means_projection_layer": math.atanh(2 * action - 1), "stddev_projection_layer": math.log(deviation)}
    for variable in network.variables:
        *_, layer, name = variable.name.split("/")
        if layer in first and name.startswith("bias"):
            variable.assign([first[layer]])


@functools.cache
def repeatable_sac_agent() -> type:
    """Returns tf-agents' SacAgent, changed to draw actions with given seeds: a saved run continues bit for bit."""
    lib = _tf_agents.load()

    class RepeatableSacAgent(lib.SacAgent):  # type: ignore[name-defined, misc]
        def train_with_seed(self, transition: Any, seed: tf.Tensor) -> Any:
            # Actions are drawn three times an update: for the critics' targets, the actor, and the entropy.
            self._action_seeds = iter(tf.unstack(tf.random.split(seed, 3)))
            return self.train(transition)

        def _actions_and_log_probs(self, time_steps: Any, training: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
            policy = self._train_policy if training else self._policy
            distribution = policy.distribution(time_steps).action
            actions = distribution.sample(seed=next(self._action_seeds))
            return actions, lib.common.log_probability(distribution, actions, self.action_spec)

    return RepeatableSacAgent
