"""REINFORCE around a policy over sequences: the common part of the two learners of `tfcompress.agents.reinforce`."""

import dataclasses
import enum
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from tfcompress.agents import _networks, _policy_files, _sequence_networks, _tf_agents
from tfcompress.agents._rollouts import Rollout, Shapes
from tfcompress.agents._saved import check_shapes, copies, numbered

__all__ = ["Learner", "ReinforceSettings"]


class _Stream(enum.IntEnum):
    """The independent random streams of a learner's seed."""

    NETWORKS = 0
    ROLLOUTS = 1


@dataclasses.dataclass(frozen=True)
class ReinforceSettings:
    """Settings of both learners; defaults are the paper's for removal, or marked as decided if it leaves them open.

    They are not checked here: the code that makes a learner checks them.

    Attributes:
        units: units of each LSTM layer, in each direction if it is bidirectional.
        layers: number of LSTM layers.
        learning_rate: learning rate of Adam.
        baseline_decay: decay of the moving average of rewards that is subtracted in Equation (2). Decided.
        actor_critic: whether a value network replaces the moving average (Appendix 6): an LSTM of the same sizes as the
            policy's, while the paper adds one layer to the policy's own.
        value_loss_weight: weight of the value network's squared error. Decided, as in tf-agents.
    """

    units: int = 30
    layers: int = 2
    learning_rate: float = 0.003
    baseline_decay: float = 0.95
    actor_critic: bool = False
    value_loss_weight: float = 0.2


class _MovingAverage(tf.Module):
    """The baseline b of Equation (2): the exponential moving average of earlier rewards.

    After the updates 1 ... n with mean rewards r it is sum d^(n-k) r_k / sum d^(n-k): divided by the sum of its
    weights, as in Adam, so that it is not biased towards 0 at first. Before the first update there are no earlier
    rewards and it is 0.
    """

    def __init__(self, decay: float):
        super().__init__(name="baseline")
        self._decay = decay
        self.total = tf.Variable(0.0, trainable=False, name="total")
        self.weight = tf.Variable(0.0, trainable=False, name="weight")

    def value(self) -> tf.Tensor:
        return tf.math.divide_no_nan(self.total, self.weight)

    def add(self, rewards: tf.Tensor) -> None:
        self.total.assign(self._decay * self.total + (1 - self._decay) * tf.reduce_mean(rewards))
        self.weight.assign(self._decay * self.weight + (1 - self._decay))


class Learner:
    """The common part of both learners: the agent around a policy, rollouts, updates, files, and state.

    Graphs take a batch of padded rollouts as `sequences` float32 `[count, length, features]`, `steps` and `allowed`
    bool `[count, length]` and `classes` int32 `[count, length]`.
    """

    kind: ClassVar[str]
    defaults: ClassVar[ReinforceSettings]

    def __init__(self, features: Sequence[str], length: int, settings: ReinforceSettings | None, seed: int):
        if length < 1 or not features:
            raise ValueError(
                f"Expected sequences of at least one step with at least one feature. Received: length={length}, "
                f"features={tuple(features)}. Name the features of a layer, and give the longest sequence's length."
            )
        self.features = tuple(features)
        self.length = length
        self.settings = settings or self.defaults
        self._seed = seed
        self._rollouts_drawn = 0
        self._updates_made = 0
        self._baseline = _MovingAverage(self.settings.baseline_decay)
        with _networks.zeros_as_samples():
            self._build()
        self._compile()

    # What a learner fills in.

    def _specifications(self) -> tuple[Any, Any]:
        """Returns the specifications of an observation and of an action."""
        raise NotImplementedError

    def _make_networks(self, observation: Any, action: Any) -> tuple[Any, Any]:
        """Returns the actor and the value network, which is None without `actor_critic`."""
        raise NotImplementedError

    def _trajectories(self, sequences: Any, steps: Any, allowed: Any, classes: Any, rewards: Any) -> Any:
        """Returns the batch as tf-agents' Trajectory, `[count, time]`; `rewards` is float32 `[count]`."""
        raise NotImplementedError

    def _sample_graph(self, sequence: Any, steps: Any, allowed: Any, uniforms: Any) -> tf.Tensor:
        """Returns the classes `[count, length]` of rollouts of one sequence."""
        raise NotImplementedError

    def _actions(self, classes: np.ndarray) -> np.ndarray:
        """Converts classes to the actions of the method."""
        raise NotImplementedError

    def _description(self) -> dict[str, Any]:
        """Returns everything that must be equal in two policies so that one can load the other's weights."""
        names = {"units": self.settings.units, "layers": self.settings.layers}
        return {"kind": self.kind, "features": list(self.features), **names}

    # Acting.

    def _rollouts(self, sequence: np.ndarray, allowed: np.ndarray, uniforms: np.ndarray) -> list[Rollout]:
        steps = len(sequence)
        uniforms = np.pad(uniforms, ((0, 0), (0, self.length - steps)))
        classes = self._sample(*self._shapes.padded(sequence, allowed), uniforms).numpy()[:, :steps]
        return [Rollout(sequence, allowed, row, self._actions(row)) for row in classes]

    def _draw(self, sequence: np.ndarray, count: int, allowed: np.ndarray | None) -> list[Rollout]:
        if count < 1:
            raise ValueError(f"Expected at least one rollout. Received: count={count}. Ask for one or more.")
        sequence, allowed = self._shapes.checked(sequence, allowed)
        seeds = [[self._seed, _Stream.ROLLOUTS, self._rollouts_drawn + index] for index in range(count)]
        uniforms = [np.random.default_rng(seed).random(len(sequence), dtype="float32") for seed in seeds]
        rollouts = self._rollouts(sequence, allowed, np.stack(uniforms))
        self._rollouts_drawn += count
        return rollouts

    def _likeliest(self, sequence: np.ndarray, allowed: np.ndarray | None) -> Rollout:
        sequence, allowed = self._shapes.checked(sequence, allowed)
        return self._rollouts(sequence, allowed, np.full([1, len(sequence)], -1, "float32"))[0]

    def log_probabilities(self, rollouts: Sequence[Rollout]) -> np.ndarray:
        """Returns log-probabilities of the rollouts' actions under the present policy.

        Args:
            rollouts: rollouts of this learner, or of one of the same kind with the same features.

        Returns:
            float32 `[count, length]`; exactly 0 at padded steps and where a step had no choice. The sum over a row is
            the log-probability of the rollout.
        """
        return self._scores(*self._shapes.batch(rollouts)).numpy()

    # Learning.

    def update(self, rollouts: Sequence[Rollout], rewards: Sequence[float]) -> dict[str, float]:
        """Takes one step of Adam along the gradient of Equation (2), then adds the rewards to the moving average.

        Args:
            rollouts: all rollouts of the update that have a reward, drawn since the last update.
            rewards: one number per rollout, in the same order.

        Returns:
            `policy_loss`, `baseline` (the b that was subtracted; with `actor_critic` the moving average is kept but
            not subtracted) and, with `actor_critic`, `value_loss`: each before the update.

        Raises:
            ValueError: there is no rollout, not one reward per rollout, or a reward is not finite.
        """
        values = np.asarray(rewards, "float32")
        if not len(rollouts) or values.shape != (len(rollouts),) or not np.isfinite(values).all():
            raise ValueError(
                "Expected rollouts with one finite reward each. "
                f"Received: {len(rollouts)} rollouts, rewards={values}. Leave out rollouts that have no reward."
            )
        losses = self._update(*self._shapes.batch(rollouts), values)
        self._updates_made += 1
        return {name: float(loss) for name, loss in losses.items()}

    @property
    def baseline(self) -> float:
        """The moving average of the rewards so far, to be subtracted in the next update; 0 before the first."""
        return float(self._baseline.value())

    @property
    def updates_made(self) -> int:
        """Number of updates made."""
        return self._updates_made

    @property
    def traces(self) -> dict[str, int]:
        """Number of traces of each compiled function: at most one each, however long the search."""
        return {name: function.experimental_get_tracing_count() for name, function in self._compiled.items()}

    # Saving.

    def save(self, path: str) -> None:
        """Writes the policy into a folder: `policy.json`, which describes it, and a TensorFlow checkpoint.

        Only weights are saved: they do not depend on the length of sequences, and another search, on another teacher,
        has its own rewards and so its own baseline, optimizer and value network.

        Args:
            path: a folder; it is created if it is missing.
        """
        _policy_files.write(path, self._description(), self._actor.variables)

    def load(self, path: str) -> None:
        """Loads a saved policy to start from (Table 5 of N2N); nothing else of this learner is changed.

        Args:
            path: a folder written by `save` of a learner of the same kind with the same features and sizes, for
                sequences of any length.

        Raises:
            ValueError: there is no such policy, or it is of another kind or size. Nothing is changed then.
        """
        _policy_files.read(path, self._description(), self._actor.variables)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Returns everything that rollouts and updates depend on, as copies, under constant names.

        Returns:
            The networks, slots and step counter of the optimizer, the baseline, and the counters of the random streams.
        """
        return copies(self._variables()) | {
            "counters": np.array([self._seed, self._rollouts_drawn, self._updates_made], "int64")
        }

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Restores the state that `state_dict` returned; the learner then continues bit for bit.

        Args:
            state: state of a learner with the same features and settings. Its seed is adopted.

        Raises:
            ValueError: the state belongs to a learner with other features or settings. Nothing is changed then.
        """
        variables = self._variables()
        expected = {name: tuple(variable.shape) for name, variable in variables.items()} | {"counters": (3,)}
        received = {name: np.shape(value) for name, value in state.items()}
        check_shapes(expected, received, f"a {self.kind} learner", of_which="features")
        for name, variable in variables.items():
            variable.assign(state[name])
        self._seed, self._rollouts_drawn, self._updates_made = (int(value) for value in state["counters"])

    def _variables(self) -> dict[str, Any]:
        """Returns every variable by a constant name, e.g. `actor/00`."""
        parts = {
            "actor": self._actor.variables,
            "value": self._value.variables if self._value else [],
            "optimizer": self._optimizer.variables(),
            "agent": [self._agent.train_step_counter],
            "baseline": [self._baseline.total, self._baseline.weight],
        }
        return numbered(parts)

    # Building.

    def _build(self) -> None:
        lib = _tf_agents.load()
        observation, action = self._specifications()
        self._shapes = Shapes(self.length, len(self.features), choices=int(action.maximum) + 1)
        self._actor, self._value = self._make_networks(observation, action)
        self._optimizer = lib.keras.optimizers.legacy.Adam(self.settings.learning_rate)
        self._agent = lib.ReinforceAgent(
            lib.trajectories.time_step_spec(observation),
            action,
            actor_network=self._actor,
            optimizer=self._optimizer,
            value_network=self._value,
            value_estimation_loss_coef=self.settings.value_loss_weight,
            advantage_fn=self._advantages,
            gamma=1.0,
            normalize_returns=False,
            train_step_counter=tf.Variable(0, dtype=tf.int64, name="train_step"),
        )
        rng = np.random.default_rng([self._seed, _Stream.NETWORKS])
        networks = [self._actor, *([self._value] if self._value else [])]
        for network in networks:
            _sequence_networks.draw_weights(network, rng)
        # Made now: a fresh learner has slots to load into, and the first update is not traced twice.
        self._optimizer._create_all_weights([weight for network in networks for weight in network.trainable_weights])

    def _advantages(self, returns: tf.Tensor, values: tf.Tensor | None) -> tf.Tensor:
        """Returns R_k - b, or R_k - V.

        V learns only from its own error: without the stop, tf-agents would send it the policy's gradient too.
        """
        return returns - (self._baseline.value() if values is None else tf.stop_gradient(values))

    def _compile(self) -> None:
        length, width = self.length, len(self.features)
        sequence, flags = tf.TensorSpec([length, width]), tf.TensorSpec([length], tf.bool)
        batch_flags = tf.TensorSpec([None, length], tf.bool)
        batch = (
            tf.TensorSpec([None, length, width]),
            batch_flags,
            batch_flags,
            tf.TensorSpec([None, length], tf.int32),
        )
        signatures: dict[Callable[..., Any], tuple[tf.TensorSpec, ...]] = {
            self._sample_graph: (sequence, flags, flags, tf.TensorSpec([None, length])),
            self._scores_graph: batch,
            self._update_graph: (*batch, tf.TensorSpec([None])),
        }
        # Without autograph: there is nothing for it to convert, and it doubles the time of tracing.
        compiled = [tf.function(graph, signature, autograph=False) for graph, signature in signatures.items()]
        self._sample, self._scores, self._update = compiled
        self._compiled = dict(zip(("sample", "scores", "update"), compiled, strict=True))

    # What is compiled.

    def _scores_graph(self, sequences: Any, steps: Any, allowed: Any, classes: Any) -> tf.Tensor:
        batch = self._trajectories(sequences, steps, allowed, classes, tf.zeros_like(sequences[:, 0, 0]))
        unused = tf.zeros_like(batch.reward)
        time_steps = _tf_agents.load().trajectories.TimeStep(batch.step_type, unused, unused, batch.observation)
        policy = self._agent.collect_policy
        state = policy.get_initial_state(batch_size=tf.shape(sequences)[0])
        log_probabilities = policy.distribution(time_steps, policy_state=state).action.log_prob(batch.action)
        return tf.reshape(log_probabilities, tf.shape(steps))

    def _update_graph(self, sequences: Any, steps: Any, allowed: Any, classes: Any, rewards: Any) -> dict[str, Any]:
        baseline = self._baseline.value()
        extra = self._agent.train(self._trajectories(sequences, steps, allowed, classes, rewards)).extra
        self._baseline.add(rewards)
        losses = {"policy_loss": extra.policy_gradient_loss, "baseline": baseline}
        return losses | ({"value_loss": extra.value_estimation_loss} if self._value else {})

    # Small things.

    @staticmethod
    def _draws(distribution: Any, uniforms: tf.Tensor) -> tf.Tensor:
        """Returns classes of a Categorical by inversion of its distribution; the most probable if u is negative."""
        probabilities = distribution.probs_parameter()
        bounds = tf.cumsum(probabilities, axis=-1)[..., :-1]
        classes = tf.reduce_sum(tf.cast(uniforms[..., tf.newaxis] >= bounds, tf.int32), axis=-1)
        return tf.where(uniforms < 0, tf.argmax(probabilities, axis=-1, output_type=tf.int32), classes)
