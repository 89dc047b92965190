"""The two learners of network-to-network compression (N2N): REINFORCE over sequences of layers.

`RemovalLearner` decides which layers of a teacher are removed (Section 3.2.1), `ShrinkageLearner` by how much the
remaining ones shrink (Section 3.2.2). Both learn by Equation (2): tf-agents' ReinforceAgent, whose `advantage_fn`
subtracts the moving average of earlier rewards from each rollout's own reward. They know nothing of networks: a layer
is a row of numbers, a student a list of actions, and the reward comes from the caller.

A search makes one update at a time. All rollouts of an update are scored before the learner sees any reward, so they
may be scored in parallel and in any order; rollouts that could not be scored are left out:

    features = ("type", "kernel", "stride", "padding", "outputs", "skip_start", "skip_end")
    learner = RemovalLearner(features, length=len(sequence), seed=0)
    learner.load(path)                                   # only to start from the policy of another teacher (Table 5)
    for update in range(100):
        rollouts = learner.rollouts(sequence, count=5, allowed=removable)       # sequence float [L, 7]
        rewards = [reward_of(rollout.actions) for rollout in rollouts]          # actions bool [L], True: removed
        learner.update(rollouts, rewards)
    learner.save(path)

The sequence of a shrinkage learner has a row for each configurable variable (kernel size, padding, outputs) of each
remaining layer, and `actions` are the shares that are kept, float [L]. An interrupted search calls `load_state_dict`
with the state from before the rollouts of the lost update: the same rollouts are drawn again.

Features are read unchanged. A policy that settles too early stays there: on the toys of
tests/agents/test_reinforce.py, with 200 updates and 12 seeds, removal at 0.003 drew the best plan 12 times. Shrinkage
at 0.01 did so 9 times; of the other three seeds two were examined, and they took one share at all steps but the first
with probability 0.95 after 40 updates. At 0.005 these three drew the best plan too. These toys (features of +-3, four
shares) were chosen after others failed: with the ten shares of the paper and an arbitrary best plan it was drawn at 0
of 3 seeds, and with a reward like the paper's removal drew the best plan at 2 of 3.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfcompress.agents import _sequence_networks, _tf_agents
from tfcompress.agents._learner import Learner, ReinforceSettings
from tfcompress.agents._rollouts import Rollout

__all__ = ["ReinforceSettings", "RemovalLearner", "Rollout", "ShrinkageLearner"]


class RemovalLearner(Learner):
    """The learner of stage 1 of N2N: which layers of a teacher are removed (Section 3.2.1, Figure 2a).

    The policy is a bidirectional LSTM over the whole sequence. It reads no actions, so all actions of a rollout are
    drawn in one step: an episode has one step with L actions, and its log-probability is the sum over them.

    The same seed and the same calls give the same rollouts and the same updates: every random number depends only on
    the seed and on counters in `state_dict`, and no global random state is read or changed.

    Args:
        features: the names of the numbers that describe a layer, in the order of the sequences' columns. A saved
            policy is for features of the same names.
        length: maximum number of steps of a sequence. Shorter ones are padded; weights do not depend on it.
        settings: a `ReinforceSettings`; the paper's 2 layers of 30 units and Adam's 0.003 if left out.
        seed: random seed of initial weights and rollouts.

    Raises:
        ImportError: tf-agents is missing; the message has the command to run.
    """

    kind = "removal"
    defaults = ReinforceSettings()

    def __init__(
        self, features: Sequence[str], length: int, settings: ReinforceSettings | None = None, *, seed: int = 0
    ):
        super().__init__(features, length, settings, seed)

    def rollouts(self, sequence: np.ndarray, count: int = 5, allowed: np.ndarray | None = None) -> list[Rollout]:
        """Draws students from the policy.

        Args:
            sequence: float `[L, features]`, one row for each layer of the teacher.
            count: number of students.
            allowed: bool `[L]`, False for a layer that must stay; all may be removed if left out. The policy reads a
                layer that must stay like any other; it is kept with log-probability 0.

        Returns:
            Rollouts whose `actions` are bool `[L]`, True for removed layers.
        """
        return self._draw(sequence, count, allowed)

    def likeliest(self, sequence: np.ndarray, allowed: np.ndarray | None = None) -> Rollout:
        """Returns the student of the more probable action at each layer, without random numbers.

        Args:
            sequence: float `[L, features]`.
            allowed: bool `[L]`, as in `rollouts`.
        """
        return self._likeliest(sequence, allowed)

    def _specifications(self) -> tuple[Any, Any]:
        specs = _tf_agents.load().specs
        observation = {
            "sequence": specs.TensorSpec([self.length, len(self.features)], tf.float32, "sequence"),
            "steps": specs.TensorSpec([self.length], tf.bool, "steps"),
            "allowed": specs.TensorSpec([self.length], tf.bool, "allowed"),
        }
        return observation, specs.BoundedTensorSpec([self.length], tf.int32, 0, 1, "removals")

    def _make_networks(self, observation: Any, action: Any) -> tuple[Any, Any]:
        units, layers = self.settings.units, self.settings.layers
        value = _sequence_networks.removal_value(observation, units, layers) if self.settings.actor_critic else None
        return _sequence_networks.removal_actor(observation, action, units, layers), value

    def _trajectories(self, sequences: Any, steps: Any, allowed: Any, classes: Any, rewards: Any) -> Any:
        lib = _tf_agents.load().trajectories
        one_step = tf.zeros_like(rewards, tf.int32)[:, tf.newaxis]
        observation = {"sequence": sequences, "steps": steps, "allowed": allowed}
        return lib.Trajectory(
            step_type=one_step + lib.StepType.FIRST,
            observation={name: value[:, tf.newaxis] for name, value in observation.items()},
            action=classes[:, tf.newaxis],
            policy_info=(),
            next_step_type=one_step + lib.StepType.LAST,
            reward=rewards[:, tf.newaxis],
            discount=tf.zeros_like(rewards)[:, tf.newaxis],
        )

    def _sample_graph(self, sequence: Any, steps: Any, allowed: Any, uniforms: Any) -> tf.Tensor:
        observation = {"sequence": sequence, "steps": steps, "allowed": allowed}
        time_step = _tf_agents.load().trajectories.restart(
            {name: value[tf.newaxis] for name, value in observation.items()}, batch_size=1
        )
        return self._draws(self._agent.collect_policy.distribution(time_step).action, uniforms)

    def _actions(self, classes: np.ndarray) -> np.ndarray:
        return classes == 1


class ShrinkageLearner(Learner):
    """The learner of stage 2 of N2N: the share that each configurable variable keeps (Section 3.2.2, Figure 2b).

    The policy is an LSTM that reads a step's description together with the action of the step before: an episode has L
    steps, the reward comes at the last one, and with gamma = 1 it is the return of each step.

    The same seed and the same calls give the same rollouts and the same updates, as with `RemovalLearner`.

    Args:
        features: the names of the numbers that describe a step, in the order of the sequences' columns.
        length: maximum number of steps of a sequence. Shorter ones are padded; weights do not depend on it.
        settings: a `ReinforceSettings`; the paper's 2 layers of 50 units and Adam's 0.01 if left out.
        shares: the shares that the action classes keep. A share may occur several times: it is then drawn more often.
        previous_action: "appended", as in the paper: the share of the step before is one more feature, 0 at the first
            step. "multiplied", as in the authors' code: it multiplies all features, 1 at the first step.
        seed: random seed of initial weights and rollouts.

    Raises:
        ImportError: tf-agents is missing; the message has the command to run.
        ValueError: `previous_action` is neither of both, or there are not two shares above 0 and at most 1.
    """

    kind = "shrinkage"
    defaults = ReinforceSettings(units=50, learning_rate=0.01)

    def __init__(
        self,
        features: Sequence[str],
        length: int,
        settings: ReinforceSettings | None = None,
        *,
        shares: Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
        previous_action: str = "appended",
        seed: int = 0,
    ):
        if len(shares) < 2 or not all(0 < share <= 1 for share in shares):
            raise ValueError(
                f"Expected at least two shares above 0 and at most 1. Received: shares={tuple(shares)}. "
                "Give the share that each action keeps, e.g. (0.25, 0.5, 1.0)."
            )
        if previous_action not in ("appended", "multiplied"):
            raise ValueError(
                f"Expected previous_action 'appended' or 'multiplied'. Received: previous_action={previous_action!r}. "
                "Choose 'appended' for the paper's text, 'multiplied' for its authors' code."
            )
        self.shares = tuple(float(share) for share in shares)
        self.previous_action = previous_action
        super().__init__(features, length, settings, seed)

    def rollouts(self, sequence: np.ndarray, count: int = 5) -> list[Rollout]:
        """Draws students from the policy; each action depends on those before it.

        Args:
            sequence: float `[L, features]`, one row for each configurable variable of each layer.
            count: number of students.

        Returns:
            Rollouts whose `actions` are float32 `[L]`, the share that each variable keeps.
        """
        return self._draw(sequence, count, None)

    def likeliest(self, sequence: np.ndarray) -> Rollout:
        """Returns the student of the most probable action at each step, given those before, without random numbers.

        Args:
            sequence: float `[L, features]`.
        """
        return self._likeliest(sequence, None)

    def _specifications(self) -> tuple[Any, Any]:
        specs = _tf_agents.load().specs
        width = len(self.features) + (self.previous_action == "appended")
        action = specs.BoundedTensorSpec([], tf.int32, 0, len(self.shares) - 1, "share")
        return specs.TensorSpec([width], tf.float32, "step"), action

    def _make_networks(self, observation: Any, action: Any) -> tuple[Any, Any]:
        units, layers = self.settings.units, self.settings.layers
        value = _sequence_networks.shrinkage_value(observation, units, layers) if self.settings.actor_critic else None
        return _sequence_networks.shrinkage_actor(observation, action, units, layers), value

    def _description(self) -> dict[str, Any]:
        return super()._description() | {"shares": list(self.shares), "previous_action": self.previous_action}

    def _inputs(self, steps: tf.Tensor, previous: tf.Tensor) -> tf.Tensor:
        """Returns the policy's input `[..., width]`, from descriptions `[..., features]` and earlier shares `[...]`."""
        previous = previous[..., tf.newaxis]
        return tf.concat([steps, previous], axis=-1) if self.previous_action == "appended" else steps * previous

    def _first_previous(self, count: tf.Tensor) -> tf.Tensor:
        return tf.fill([count], 0.0 if self.previous_action == "appended" else 1.0)

    def _trajectories(self, sequences: Any, steps: Any, allowed: Any, classes: Any, rewards: Any) -> Any:
        lib = _tf_agents.load().trajectories
        count = tf.shape(sequences)[0]
        shares = tf.gather(tf.constant(self.shares), classes)
        previous = tf.concat([self._first_previous(count)[:, tf.newaxis], shares[:, :-1]], axis=1)
        first = tf.one_hot(tf.zeros([count], tf.int32), self.length, on_value=True, off_value=False)
        last = steps & ~tf.pad(steps[:, 1:], [[0, 0], [0, 1]])
        # tf-agents leaves out whatever comes after the last step of the last episode: the padding.
        return lib.Trajectory(
            step_type=tf.where(first, lib.StepType.FIRST, lib.StepType.MID),
            observation=self._inputs(sequences, previous),
            action=classes,
            policy_info=(),
            next_step_type=tf.where(last, lib.StepType.LAST, lib.StepType.MID),
            reward=tf.where(last, rewards[:, tf.newaxis], 0.0),
            discount=tf.where(last, 0.0, 1.0),
        )

    def _sample_graph(self, sequence: Any, steps: Any, allowed: Any, uniforms: Any) -> tf.Tensor:
        lib = _tf_agents.load().trajectories
        policy = self._agent.collect_policy
        count = tf.shape(uniforms)[0]
        state = policy.get_initial_state(batch_size=count)

        def step(carried: Any, inputs: Any) -> Any:
            _, previous, flat_state = carried
            description, uniform, step_type = inputs
            rows = tf.broadcast_to(description, [count, len(self.features)])
            unused = tf.zeros([count])
            time_step = lib.TimeStep(tf.fill([count], step_type), unused, unused, self._inputs(rows, previous))
            drawn = policy.distribution(time_step, policy_state=tf.nest.pack_sequence_as(state, flat_state))
            classes = self._draws(drawn.action, uniform)
            return classes, tf.gather(tf.constant(self.shares), classes), tf.nest.flatten(drawn.state)

        step_types = [int(lib.StepType.FIRST)] + [int(lib.StepType.MID)] * (self.length - 1)
        inputs = (sequence, tf.transpose(uniforms), tf.constant(step_types))
        start = (tf.zeros([count], tf.int32), self._first_previous(count), tf.nest.flatten(state))
        return tf.transpose(tf.scan(step, inputs, initializer=start)[0])

    def _scores_graph(self, sequences: Any, steps: Any, allowed: Any, classes: Any) -> tf.Tensor:
        return tf.where(steps, super()._scores_graph(sequences, steps, allowed, classes), 0.0)

    def _actions(self, classes: np.ndarray) -> np.ndarray:
        return np.asarray(self.shares, "float32")[classes]
