"""The replay buffer of RLAL and AMC: plain numpy arrays, with the epoch in which a reward was earned, never z."""

from typing import NamedTuple

import numpy as np

__all__ = ["Batch", "ReplayBuffer"]


class Batch(NamedTuple):
    """Transitions drawn from a replay buffer.

    Attributes:
        states: float32 `[batch, state_size]`.
        actions: float32 `[batch]`, the pruning rates that were applied.
        rewards: float32 `[batch]`.
        next_states: float32 `[batch, state_size]`; zeros after the last step of an episode.
        terminals: float32 `[batch]`, 1 at the last step of an episode, else 0 (the d of Equation (8) of RLAL).
        epochs: int32 `[batch]`, the epoch in which the episode was played, from 0.
    """

    states: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    next_states: np.ndarray
    terminals: np.ndarray
    epochs: np.ndarray


class ReplayBuffer:
    """The last `capacity` transitions, the oldest overwritten first.

    The epoch index is stored rather than z, because z must be computed with the present GRU when a batch is drawn
    (Section 3.2.2 of RLAL); a stored z would belong to a GRU that no longer exists.

    Args:
        capacity: the number of transitions kept.
        state_size: the length of a state.
    """

    def __init__(self, capacity: int, state_size: int):
        if capacity < 1:
            raise ValueError(
                f"Expected room for at least one transition. Received: capacity={capacity}. Give a larger one."
            )
        self.capacity = capacity
        self._columns = Batch(
            states=np.zeros((capacity, state_size), "float32"),
            actions=np.zeros(capacity, "float32"),
            rewards=np.zeros(capacity, "float32"),
            next_states=np.zeros((capacity, state_size), "float32"),
            terminals=np.zeros(capacity, "float32"),
            epochs=np.zeros(capacity, "int32"),
        )
        self._size = 0
        self._cursor = 0

    def __len__(self) -> int:
        return self._size

    @property
    def rewards(self) -> np.ndarray:
        """float32 `[transitions]`: the reward of each transition in the buffer."""
        return self._columns.rewards[: self._size]

    def add_episode(self, states: np.ndarray, actions: np.ndarray, reward: float, epoch: int) -> None:
        """Stores one episode; each of its steps gets the episode's reward, as in Section 3.2 of RLAL.

        Args:
            states: float `[steps, state_size]`, in the order of the episode.
            actions: float `[steps]`, the action carried out in each state.
            reward: the accuracy of the network that the episode ended with.
            epoch: the epoch in which it was measured, from 0.

        Raises:
            ValueError: the shapes do not fit, or the episode is empty or longer than the buffer.
        """
        states, actions = np.asarray(states, "float32"), np.asarray(actions, "float32")
        steps, state_size = len(states), self._columns.states.shape[1]
        if states.shape != (steps, state_size) or actions.shape != (steps,):
            raise ValueError(
                f"Expected states [steps, {state_size}] and actions [steps]. Received: states of shape "
                f"{states.shape}, actions of shape {actions.shape}. Give one row and one action for each step."
            )
        if not 1 <= steps <= self.capacity:
            raise ValueError(
                f"Expected an episode of 1 to {self.capacity} steps. Received: steps={steps}. "
                "Give the buffer a larger capacity."
            )
        rows = (self._cursor + np.arange(steps)) % self.capacity
        self._columns.states[rows] = states
        self._columns.actions[rows] = actions
        self._columns.rewards[rows] = reward
        self._columns.next_states[rows] = np.vstack([states[1:], np.zeros_like(states[:1])])
        self._columns.terminals[rows] = np.arange(steps) == steps - 1
        self._columns.epochs[rows] = epoch
        self._cursor = int((self._cursor + steps) % self.capacity)
        self._size = min(self._size + steps, self.capacity)

    def sample(self, batch_size: int, rng: np.random.Generator) -> Batch:
        """Draws transitions uniformly, with replacement, so that a batch has its full size from the first episode on.

        Args:
            batch_size: the number of transitions.
            rng: the random generator to draw with.

        Raises:
            ValueError: the buffer is empty.
        """
        if not self._size:
            raise ValueError("Expected a buffer with transitions. Received: an empty one. Add an episode first.")
        rows = rng.integers(0, self._size, batch_size)
        return Batch(*(column[rows] for column in self._columns))

    def state_dict(self) -> dict[str, np.ndarray]:
        """Returns the filled part of the columns and the position of the next write, as copies."""
        state = {name: column[: self._size].copy() for name, column in self._columns._asdict().items()}
        state["cursor"] = np.array(self._cursor, "int64")
        return state

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Restores the state that `state_dict` of a buffer of the same capacity and state size returned.

        Raises:
            ValueError: the state belongs to a buffer of another size. Nothing is changed then.
        """
        columns = self._columns._asdict()
        shapes = {name: np.shape(value) for name, value in state.items()}
        size = len(state.get("epochs", ()))
        cursor = int(state.get("cursor", -1))
        # Until the buffer is full, the next write goes right after the last row.
        in_place = 0 <= cursor < self.capacity if size == self.capacity else cursor == size < self.capacity
        expected = {name: (size, *column.shape[1:]) for name, column in columns.items()} | {"cursor": ()}
        if shapes != expected or not in_place:
            raise ValueError(
                f"Expected the state of a buffer with capacity={self.capacity}, its arrays of shapes {expected}. "
                f"Received: shapes={shapes}, cursor={cursor}. "
                "Make the buffer with the settings that the state was saved with."
            )
        for name, column in columns.items():
            column[:size] = state[name]
        self._size, self._cursor = size, cursor
