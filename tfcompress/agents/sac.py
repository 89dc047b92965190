"""The agent of RLAL: soft actor-critic on states joined with a representation of the changing environment."""

import dataclasses
import enum
import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from tfcompress.agents import _networks, _tf_agents
from tfcompress.agents._saved import SavedAgent, as_graph, means, numbered
from tfcompress.agents.environment_model import EnvironmentModel

__all__ = ["UPDATES_PER_EPISODE", "PruningAgent", "SacSettings"]

UPDATES_PER_EPISODE = 12
"""Updates of an agent per episode, if no number of updates is set."""


class _Stream(enum.IntEnum):
    """The independent random streams of an agent's seed."""

    ENVIRONMENT = 0
    NETWORKS = 1
    ACT = 2
    SAMPLE = 3
    LEARN = 4


@dataclasses.dataclass(frozen=True)
class SacSettings:
    """Settings of `PruningAgent`; defaults are the paper's, or marked as decided if it leaves them open.

    They are not checked here: `tfcompress.methods.rlal.AgentSettings` checks them.

    Attributes:
        actor_learning_rate: Adam's learning rate for the policy.
        critic_learning_rate: Adam's learning rate for both critics.
        environment_learning_rate: Adam's learning rate for epoch embeddings, GRU and decoder.
        hidden: widths of the hidden layers of actor, critics and decoder.
        entropy_coefficient: the fixed alpha of Equations (8) and (9).
        gamma: discount of later rewards. Decided.
        tau: share by which the targets move towards the critics at each update. Decided.
        batch_size: transitions in one update. Decided.
        updates_per_epoch: updates that `learn` makes after the episodes of an epoch; one in Algorithm 1. `None` for
            `UPDATES_PER_EPISODE` per episode, so that an agent learns from few episodes as much as its buffer allows.
            Decided, by the table in `AgentSettings`.
        buffer_capacity: maximum number of transitions kept. Decided.
        use_environment_model: False is the ablation without epoch embeddings (Table 3): the agent sees only S.
        standardise_rewards: whether SAC sees rewards standardized by their mean and spread over the buffer, so that the
            entropy coefficient has the same weight on every problem; False for unchanged rewards, as in the paper.
        first_policy: the initial policy: "uniform" for actions around `first_action` of the agent, which is the rate
            that all layers would have at the budget; "middle" for actions around 0.5 over nearly all of [0, 1].
        first_deviation: initial standard deviation of the policy "uniform", before tanh squashes it.
    """

    actor_learning_rate: float = 1e-4
    critic_learning_rate: float = 1e-3
    environment_learning_rate: float = 1e-3
    hidden: tuple[int, ...] = (300, 300)
    entropy_coefficient: float = 0.1
    gamma: float = 0.99
    tau: float = 0.005
    batch_size: int = 64
    updates_per_epoch: int | None = None
    buffer_capacity: int = 100_000
    use_environment_model: bool = True
    standardise_rewards: bool = True
    first_policy: Literal["uniform", "middle"] = "uniform"
    first_deviation: float = 0.3


class PruningAgent(SavedAgent):
    """Soft actor-critic (tf-agents' SacAgent) on (S, z), with the environment model that computes z.

    Actor and critics see the state S joined with z of the epoch in which S was met, Equations (6) to (9) of RLAL.
    z reaches them without a gradient. The policy is a normal distribution squashed by tanh into [0, 1].

    An epoch of RLAL is: `start_epoch`; `act` for each layer of each episode and `remember` at the episode's end;
    `learn_from`. The same seed and the same calls give the same actions and the same learning: every random number
    depends only on the seed and on counters in `state_dict`, and no global random state is read or changed.

    Args:
        state_size: the length of a state S.
        epochs: the number of epochs T that the run may have.
        settings: a `SacSettings`.
        seed: random seed of initial weights, actions and batches.
        first_action: the action, between 0 and 1, around which the policy "uniform" starts.

    Raises:
        ImportError: tf-agents is missing; the message has the command to run.
    """

    def __init__(
        self,
        state_size: int,
        epochs: int,
        settings: SacSettings | None = None,
        seed: int = 0,
        first_action: float = 0.5,
    ):
        self.epochs = epochs
        self._first_action = first_action
        self.settings = settings or SacSettings()
        super().__init__(state_size, self.settings.buffer_capacity, seed)
        self._environment: EnvironmentModel | None = None
        if self.settings.use_environment_model:
            self._environment = EnvironmentModel(
                epochs,
                state_size,
                hidden=self.settings.hidden,
                learning_rate=self.settings.environment_learning_rate,
                seed=int(np.random.SeedSequence([seed, _Stream.ENVIRONMENT]).generate_state(1)[0]),
            )
        self._z_size = self._environment.width if self._environment else 0
        self._z = np.zeros(self._z_size, "float32")
        self._epoch = -1
        self._actions_drawn = 0
        self._updates_made = 0
        with _networks.zeros_as_samples():
            self._build_sac()
        self._compile()

    # Acting.

    def start_epoch(self, epoch: int) -> None:
        """Computes z of this epoch, which all of its episodes use (step 1 of Algorithm 1).

        Args:
            epoch: the epoch's index, from 0.

        Raises:
            ValueError: the agent was not made for that many epochs.
        """
        self._check_epoch(epoch)
        if self._environment:
            self._z = self._representation(np.int32(epoch)).numpy()
        self._epoch = epoch

    def act(self, state: np.ndarray) -> float:
        """Draws an action from the policy, Equation (6).

        Args:
            state: float `[state_size]`.

        Returns:
            The action, from 0 to 1.
        """
        seed = self._random_bits(_Stream.ACT, self._actions_drawn)
        self._actions_drawn += 1
        return self._bounded(self._sampled_action(self._checked(state), self._z, seed))

    def mean_action(self, state: np.ndarray) -> float:
        """Returns the action in the middle of the policy's distribution, without random numbers.

        Args:
            state: float `[state_size]`.

        Returns:
            The action, from 0 to 1.
        """
        return self._bounded(self._mean_action(self._checked(state), self._z))

    # Learning.

    def remember(self, states: np.ndarray, actions: np.ndarray, reward: float, epoch: int) -> None:
        """Stores one episode; its reward is the reward of each of its steps, as in Section 3.2 of RLAL.

        Args:
            states: float `[steps, state_size]`, in the order of the episode.
            actions: float `[steps]`, the actions that were carried out, after bounding.
            reward: the accuracy of the pruned network.
            epoch: the epoch in which it was measured, from 0.

        Raises:
            ValueError: shapes do not fit, a number is not finite, or an action is not in [0, 1].
        """
        self._check_epoch(epoch)
        actions = np.asarray(actions, "float32")
        self._check_episode(states, actions, reward)
        self._buffer.add_episode(states, actions, reward, epoch)

    def learn(self) -> dict[str, float]:
        """Makes one update on one batch (steps 5 to 7 of Algorithm 1): environment model, critics, actor, targets.

        z of the batch is computed with the present GRU inside the update.

        Returns:
            `critic_loss`, `actor_loss` and, with an environment model, `reconstruction_loss`: each of the batch,
            before the update.

        Raises:
            ValueError: nothing was remembered yet.
        """
        rng = np.random.default_rng([self._seed, _Stream.SAMPLE, self._updates_made])
        batch = self._buffer.sample(self.settings.batch_size, rng)
        losses = self._update(*batch, *self._reward_scale(), self._random_bits(_Stream.LEARN, self._updates_made))
        self._updates_made += 1
        return {name: float(loss) for name, loss in losses.items()}

    def learn_from(self, episodes: int) -> dict[str, float]:
        """Calls `learn` as often as the settings ask for this number of new episodes; returns the mean losses."""
        updates = self.settings.updates_per_epoch or UPDATES_PER_EPISODE * episodes
        return means([self.learn() for _ in range(updates)])

    def _reward_scale(self) -> tuple[np.float32, np.float32]:
        """Returns the mean and the spread by which SAC standardizes rewards."""
        if not self.settings.standardise_rewards:
            return np.float32(0), np.float32(1)
        rewards = self._buffer.rewards
        spread = rewards.std()
        return np.float32(rewards.mean()), np.float32(spread if spread > 1e-6 else 1)

    @property
    def traces(self) -> dict[str, int]:
        """Number of traces of each compiled function: one each, however long the run."""
        return {name: function.experimental_get_tracing_count() for name, function in self._compiled.items()}

    # Saving.

    def _numbers(self) -> dict[str, np.ndarray]:
        return {"z": self._z.copy(), "counters": np.array(self._counters(), "int64")}

    def _take_numbers(self, numbers: dict[str, np.ndarray]) -> None:
        self._z = np.array(numbers["z"], "float32")
        self._seed, self._epoch, self._actions_drawn, self._updates_made = (int(count) for count in numbers["counters"])

    def _counters(self) -> list[int]:
        return [self._seed, self._epoch, self._actions_drawn, self._updates_made]

    def _variables(self) -> dict[str, Any]:
        parts = {
            "actor": self._actor.variables,
            "critic_1": self._critics[0].variables,
            "critic_2": self._critics[1].variables,
            "target_critic_1": self._targets[0].variables,
            "target_critic_2": self._targets[1].variables,
            "actor_optimizer": self._actor_optimizer.variables(),
            "critic_optimizer": self._critic_optimizer.variables(),
            "sac": [self._sac.train_step_counter],
            "environment": self._environment.variables if self._environment else [],
        }
        return numbered(parts)

    # Building.

    def _build_sac(self) -> None:
        lib = _tf_agents.load()
        settings = self.settings
        observation = lib.specs.TensorSpec([self.state_size + self._z_size], tf.float32, "state_and_z")
        action = lib.specs.BoundedTensorSpec([1], tf.float32, 0.0, 1.0, "pruning_rate")
        self._actor = _networks.actor(observation, action, settings.hidden)
        names = ("critic_1", "critic_2", "target_critic_1", "target_critic_2")
        networks = [_networks.critic(observation, action, settings.hidden, name) for name in names]
        self._critics, self._targets = networks[:2], networks[2:]
        self._actor_optimizer = lib.keras.optimizers.legacy.Adam(settings.actor_learning_rate)
        self._critic_optimizer = lib.keras.optimizers.legacy.Adam(settings.critic_learning_rate)
        alpha_optimizer = lib.keras.optimizers.legacy.SGD(0.0)
        self._sac = _networks.repeatable_sac_agent()(
            lib.trajectories.time_step_spec(observation),
            action,
            critic_network=self._critics[0],
            critic_network_2=self._critics[1],
            target_critic_network=self._targets[0],
            target_critic_network_2=self._targets[1],
            actor_network=self._actor,
            actor_optimizer=self._actor_optimizer,
            critic_optimizer=self._critic_optimizer,
            alpha_optimizer=alpha_optimizer,
            initial_log_alpha=math.log(settings.entropy_coefficient),
            alpha_loss_weight=0.0,
            target_update_tau=settings.tau,
            gamma=settings.gamma,
            train_step_counter=tf.Variable(0, dtype=tf.int64, name="train_step"),
        )
        rng = np.random.default_rng([self._seed, _Stream.NETWORKS])
        for network in (self._actor, *self._critics):
            _networks.draw_weights(network, rng)
        if settings.first_policy == "uniform":
            _networks.begin_around(self._actor, self._first_action, settings.first_deviation)
        self._sac.initialize()  # copies the critics into their targets
        # Made now: a fresh agent has slots to load into, and the first update is not traced twice.
        alpha_optimizer._create_all_weights([])
        self._actor_optimizer._create_all_weights(self._actor.trainable_variables)
        critic_variables = [variable for critic in self._critics for variable in critic.trainable_variables]
        self._critic_optimizer._create_all_weights(critic_variables)

    def _compile(self) -> None:
        def spec(*shape: int, dtype: tf.DType = tf.float32) -> tf.TensorSpec:
            return tf.TensorSpec(shape, dtype)

        size, z, seed, batch = self.state_size, self._z_size, spec(2, dtype=tf.int32), self.settings.batch_size
        transitions = (spec(batch, size), spec(batch), spec(batch), spec(batch, size), spec(batch))
        signatures: dict[Callable[..., Any], tuple[tf.TensorSpec, ...]] = {
            self._representation_graph: (spec(dtype=tf.int32),),
            self._sampled_action_graph: (spec(size), spec(z), seed),
            self._mean_action_graph: (spec(size), spec(z)),
            self._update_graph: (*transitions, spec(batch, dtype=tf.int32), spec(), spec(), seed),
        }
        # Without autograph: there is nothing for it to convert, and it doubles the time of tracing.
        compiled = [tf.function(graph, signature, autograph=False) for graph, signature in signatures.items()]
        self._representation, self._sampled_action, self._mean_action, self._update = map(as_graph, compiled)
        names = ("representation", "sampled_action", "mean_action", "update")
        self._compiled = dict(zip(names, compiled, strict=True))

    # What is compiled.

    def _representation_graph(self, epoch: tf.Tensor) -> tf.Tensor:
        assert self._environment is not None
        return self._environment.representations(epoch + 1)[-1]

    def _policy(self, state: tf.Tensor, z: tf.Tensor) -> Any:
        observation = tf.concat([state, z], axis=0)[tf.newaxis]
        return self._actor(observation, step_type=None, network_state=(), training=False)[0]

    def _sampled_action_graph(self, state: tf.Tensor, z: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        return self._policy(state, z).sample(seed=seed)[0, 0]

    def _mean_action_graph(self, state: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
        return self._policy(state, z).mode()[0, 0]

    def _update_graph(
        self,
        states: tf.Tensor,
        actions: tf.Tensor,
        rewards: tf.Tensor,
        next_states: tf.Tensor,
        terminals: tf.Tensor,
        epochs: tf.Tensor,
        mean: tf.Tensor,
        spread: tf.Tensor,
        seed: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        losses, z = {}, tf.zeros([states.shape[0], 0])
        if self._environment:
            losses["reconstruction_loss"], z = self._environment.train_step(states, actions, rewards, epochs)
        steps, next_steps = tf.concat([states, z], axis=1), tf.concat([next_states, z], axis=1)  # one z, Equation (8)
        lib = _tf_agents.load().trajectories
        unused, rewards = tf.zeros_like(epochs), (rewards - mean) / spread
        transition = lib.Transition(
            time_step=lib.TimeStep(unused, tf.zeros_like(rewards), tf.ones_like(rewards), steps),
            action_step=lib.PolicyStep(actions[:, tf.newaxis]),
            next_time_step=lib.TimeStep(unused, rewards, 1.0 - terminals, next_steps),
        )
        extra = self._sac.train_with_seed(transition, seed).extra
        # critic_loss is the mean of Equation (7)'s two: tf-agents weighs their sum by 0.5.
        return losses | {"critic_loss": extra.critic_loss, "actor_loss": extra.actor_loss}

    # Small things.

    def _random_bits(self, stream: int, count: int) -> np.ndarray:
        """Returns two random int32, which depend only on the seed, the stream and the count."""
        return np.random.SeedSequence([self._seed, stream, count]).generate_state(2).view("int32")

    def _check_epoch(self, epoch: int) -> None:
        if not 0 <= epoch < self.epochs:
            raise ValueError(
                f"Expected an epoch from 0 to {self.epochs - 1}. Received: epoch={epoch}. "
                "Make the agent with as many epochs as the run has."
            )

    def _checked(self, state: np.ndarray) -> np.ndarray:
        if self._epoch < 0:
            raise ValueError("Expected an epoch to act in. Received: none yet. Call start_epoch(epoch) first.")
        return super()._checked(state)
