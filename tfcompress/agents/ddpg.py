"""The agent of AMC: deep deterministic policy gradient with truncated-normal exploration and a baseline."""

from __future__ import annotations

import dataclasses
import enum
from statistics import NormalDist
from typing import Any

import numpy as np
import tensorflow as tf

from tfcompress.agents import _networks, _tf_agents
from tfcompress.agents._saved import SavedAgent, as_graph, means, numbered
from tfcompress.agents.replay import Batch

__all__ = ["DdpgAgent", "DdpgSettings", "truncated_normal"]

_LEAST, _GREATEST = 1e-300, 1 - 2**-53  # probabilities that have quantiles in floats


class _Stream(enum.IntEnum):
    """The independent random streams of an agent's seed."""

    NETWORKS = 1
    ACT = 2
    SAMPLE = 3


@dataclasses.dataclass(frozen=True)
class DdpgSettings:
    """Settings of `DdpgAgent`; defaults are AMC's, or marked as decided if the paper leaves them open.

    They are not checked here: `tfcompress.methods.amc.AgentSettings` checks them.

    Attributes:
        actor_learning_rate: Adam's learning rate for the policy. Decided: that of the authors' code.
        critic_learning_rate: Adam's learning rate for the critic. Decided: that of the authors' code.
        hidden: widths of the hidden layers of actor and critic.
        gamma: discount of later rewards.
        tau: share by which the targets move towards the networks at each update.
        batch_size: transitions in one update.
        buffer_capacity: maximum number of transitions kept.
        updates_per_step: updates for each step of an episode, made at its end. Decided: one, as in the authors' code.
        sigma: deviation of the exploration before it decays.
        sigma_decay: factor of sigma after each later episode. Decided.
        baseline_decay: decay of the moving average of rewards that is subtracted from them. Decided.
    """

    actor_learning_rate: float = 1e-4
    critic_learning_rate: float = 1e-3
    hidden: tuple[int, ...] = (300, 300)
    gamma: float = 1.0
    tau: float = 0.01
    batch_size: int = 64
    buffer_capacity: int = 2000
    updates_per_step: int = 1
    sigma: float = 0.5
    sigma_decay: float = 0.99
    baseline_decay: float = 0.95


class DdpgAgent(SavedAgent):
    """Deep deterministic policy gradient (tf-agents' DdpgAgent), as AMC uses it.

    The policy mu gives one action in [0, 1] for a state; exploration draws from a normal distribution around it that is
    truncated to [0, 1]. All steps of an episode have the episode's reward R. The critic regresses to
    R - b + gamma Q'(s', mu'(s')), as in Block-QNN, where b is a moving average of the rewards so far and Q', mu' are
    targets that follow slowly; after the last step the target is R - b.

    An episode is: `act` in each state, `remember` at its end, and `learn_episode`. The same seed and the same calls
    give the same actions and the same learning: every random number depends only on the seed and on counters in
    `state_dict`, and no global random state is read or changed.

    Args:
        state_size: the length of a state.
        exploring: the number of episodes with the initial sigma.
        settings: a `DdpgSettings`.
        seed: random seed of initial weights, actions and batches.

    Raises:
        ImportError: tf-agents is missing; the message has the command to run.
    """

    def __init__(self, state_size: int, exploring: int, settings: DdpgSettings | None = None, seed: int = 0):
        self.exploring = exploring
        self.settings = settings or DdpgSettings()
        super().__init__(state_size, self.settings.buffer_capacity, seed)
        self._baseline = 0.0
        self._episodes = 0
        self._actions_drawn = 0
        self._updates_made = 0
        with _networks.zeros_as_samples():
            self._build()
        self._compile()

    # Acting.

    @property
    def episodes(self) -> int:
        """Number of remembered episodes."""
        return self._episodes

    @property
    def sigma(self) -> float:
        """The deviation of the exploration in the present episode."""
        decays = max(0, self._episodes - self.exploring + 1)
        return self.settings.sigma * self.settings.sigma_decay**decays

    def act(self, state: np.ndarray) -> float:
        """Draws an action around the policy's action.

        Args:
            state: float `[state_size]`.

        Returns:
            The action, from 0 to 1.
        """
        quantile = np.random.default_rng([self._seed, _Stream.ACT, self._actions_drawn]).random()
        self._actions_drawn += 1
        return truncated_normal(self.mean_action(state), self.sigma, quantile)

    def mean_action(self, state: np.ndarray) -> float:
        """Returns the action mu(s) of the policy, without random numbers.

        Args:
            state: float `[state_size]`.

        Returns:
            The action, from 0 to 1.
        """
        return self._bounded(self._action(self._checked(state)))

    # Learning.

    @property
    def baseline(self) -> float:
        """b, the moving average of the rewards of all episodes so far; 0 before the first."""
        return self._baseline

    def remember(self, states: np.ndarray, actions: np.ndarray, reward: float) -> None:
        """Stores one episode; its reward is the reward of each of its steps, and moves the baseline.

        Args:
            states: float `[steps, state_size]`, in the order of the episode.
            actions: float `[steps]`, the actions that were carried out, after bounding.
            reward: reward of the network at the end of the episode.

        Raises:
            ValueError: shapes do not fit, a number is not finite, or an action is not in [0, 1].
        """
        actions = np.asarray(actions, "float32")
        self._check_episode(states, actions, reward)
        self._buffer.add_episode(states, actions, reward, self._episodes)
        decay = self.settings.baseline_decay if self._episodes else 0.0
        self._baseline = decay * self._baseline + (1 - decay) * float(reward)
        self._episodes += 1

    def learn(self) -> dict[str, float]:
        """Makes one update of critic, actor and targets on one batch.

        Returns:
            `critic_loss` and `actor_loss` of the batch, before the update.

        Raises:
            ValueError: nothing was remembered yet.
        """
        rng = np.random.default_rng([self._seed, _Stream.SAMPLE, self._updates_made])
        batch = self._buffer.sample(self.settings.batch_size, rng)
        losses = self._update(*self._used(batch))
        self._updates_made += 1
        return {name: float(loss) for name, loss in losses.items()}

    def learn_episode(self, steps: int) -> dict[str, float]:
        """Calls `learn` once for each step of an episode, and returns the mean losses."""
        return means([self.learn() for _ in range(steps * self.settings.updates_per_step)])

    @property
    def traces(self) -> dict[str, int]:
        """Number of traces of each compiled function: one each, however long the run."""
        return {name: function.experimental_get_tracing_count() for name, function in self._compiled.items()}

    def _used(self, batch: Batch) -> tuple[np.ndarray, ...]:
        """Returns the parts of a batch for an update, with the present baseline subtracted from the rewards."""
        advantages = (batch.rewards - self._baseline).astype("float32")
        return batch.states, batch.actions, advantages, batch.next_states, batch.terminals

    # Saving.

    def _numbers(self) -> dict[str, np.ndarray]:
        counters = [self._seed, self._episodes, self._actions_drawn, self._updates_made]
        return {"baseline": np.array(self._baseline, "float64"), "counters": np.array(counters, "int64")}

    def _take_numbers(self, numbers: dict[str, np.ndarray]) -> None:
        self._baseline = float(numbers["baseline"])
        counters = (int(count) for count in numbers["counters"])
        self._seed, self._episodes, self._actions_drawn, self._updates_made = counters

    def _variables(self) -> dict[str, Any]:
        parts = {
            "actor": self._actor.variables,
            "critic": self._critic.variables,
            "target_actor": self._target_actor.variables,
            "target_critic": self._target_critic.variables,
            "actor_optimizer": self._actor_optimizer.variables(),
            "critic_optimizer": self._critic_optimizer.variables(),
            "ddpg": [self._ddpg.train_step_counter],
        }
        return numbered(parts)

    # Building.

    def _build(self) -> None:
        lib = _tf_agents.load()
        settings = self.settings
        observation = lib.specs.TensorSpec([self.state_size], tf.float32, "state")
        action = lib.specs.BoundedTensorSpec([1], tf.float32, 0.0, 1.0, "pruning_rate")
        self._actor, self._target_actor = (
            _networks.deterministic_actor(observation, action, settings.hidden, name)
            for name in ("actor", "target_actor")
        )
        self._critic, self._target_critic = (
            _networks.critic(observation, action, settings.hidden, name) for name in ("critic", "target_critic")
        )
        self._actor_optimizer = lib.keras.optimizers.legacy.Adam(settings.actor_learning_rate)
        self._critic_optimizer = lib.keras.optimizers.legacy.Adam(settings.critic_learning_rate)
        self._ddpg = lib.DdpgAgent(
            lib.trajectories.time_step_spec(observation),
            action,
            actor_network=self._actor,
            critic_network=self._critic,
            actor_optimizer=self._actor_optimizer,
            critic_optimizer=self._critic_optimizer,
            target_actor_network=self._target_actor,
            target_critic_network=self._target_critic,
            target_update_tau=settings.tau,
            td_errors_loss_fn=lib.common.element_wise_squared_loss,
            gamma=settings.gamma,
            train_step_counter=tf.Variable(0, dtype=tf.int64, name="train_step"),
        )
        rng = np.random.default_rng([self._seed, _Stream.NETWORKS])
        for network in (self._actor, self._critic):
            _networks.draw_weights(network, rng)
        self._ddpg.initialize()  # copies actor and critic into their targets
        # Made now: a fresh agent has slots to load into, and the first update is not traced twice.
        self._actor_optimizer._create_all_weights(self._actor.trainable_variables)
        self._critic_optimizer._create_all_weights(self._critic.trainable_variables)

    def _compile(self) -> None:
        def spec(*shape: int) -> tf.TensorSpec:
            return tf.TensorSpec(shape, tf.float32)

        size, batch = self.state_size, self.settings.batch_size
        transitions = (spec(batch, size), spec(batch), spec(batch), spec(batch, size), spec(batch))
        # Without autograph: there is nothing for it to convert, and it doubles the time of tracing.
        action = tf.function(self._action_graph, (spec(size),), autograph=False)
        update = tf.function(self._update_graph, transitions, autograph=False)
        self._compiled = {"action": action, "update": update}
        self._action, self._update = as_graph(action), as_graph(update)

    # The two functions that are compiled.

    def _action_graph(self, state: tf.Tensor) -> tf.Tensor:
        return self._actor(state[tf.newaxis], step_type=None, network_state=(), training=False)[0][0, 0]

    def _update_graph(
        self, states: tf.Tensor, actions: tf.Tensor, rewards: tf.Tensor, next_states: tf.Tensor, terminals: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        lib = _tf_agents.load().trajectories
        unused = tf.zeros_like(rewards, tf.int32)
        transition = lib.Transition(
            time_step=lib.TimeStep(unused, tf.zeros_like(rewards), tf.ones_like(rewards), states),
            action_step=lib.PolicyStep(actions[:, tf.newaxis]),
            next_time_step=lib.TimeStep(unused, rewards, 1.0 - terminals, next_states),
        )
        extra = self._ddpg.train(transition).extra
        return {"critic_loss": extra.critic_loss, "actor_loss": extra.actor_loss}


def truncated_normal(mean: float, deviation: float, quantile: float) -> float:
    """Returns a quantile of a normal distribution that is truncated to [0, 1].

    Args:
        mean: mean of the distribution before truncation, in [0, 1].
        deviation: deviation of the distribution before truncation; 0 gives the mean.
        quantile: a number in [0, 1), drawn uniformly for a random draw.
    """
    if deviation <= 0:
        return mean
    normal = NormalDist(mean, deviation)
    low, high = normal.cdf(0.0), normal.cdf(1.0)
    probability = min(max(low + quantile * (high - low), _LEAST), _GREATEST)
    return min(1.0, max(0.0, normal.inv_cdf(probability)))
