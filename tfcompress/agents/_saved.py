"""The common part of agents on tf-agents: the replay buffer, the state for a checkpoint, and checks of both."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

import numpy as np

from tfcompress.agents.replay import ReplayBuffer

__all__ = ["SavedAgent", "as_graph", "check_shapes", "copies", "means", "numbered"]


class SavedAgent(abc.ABC):
    """An agent whose future depends only on `state_dict`: variables, replay buffer, and some further numbers.

    Args:
        state_size: the length of a state.
        buffer_capacity: maximum number of transitions kept.
        seed: random seed of everything that is drawn.
    """

    def __init__(self, state_size: int, buffer_capacity: int, seed: int):
        self.state_size = state_size
        self._seed = seed
        self._buffer = ReplayBuffer(buffer_capacity, state_size)

    @abc.abstractmethod
    def _variables(self) -> dict[str, Any]:
        """Returns every variable by a constant name, e.g. `actor/00`."""

    @abc.abstractmethod
    def _numbers(self) -> dict[str, np.ndarray]:
        """Returns copies of the further numbers that acting and learning depend on, by name."""

    @abc.abstractmethod
    def _take_numbers(self, numbers: dict[str, np.ndarray]) -> None:
        """Restores the numbers that `_numbers` returned."""

    @property
    def transitions(self) -> int:
        """Number of transitions in the buffer."""
        return len(self._buffer)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Returns everything that acting and learning depend on, as copies, under constant names.

        Returns:
            Networks, targets, slots and step counters of the optimizers, the buffer, and the counters of the random
            streams; of RLAL's agent the environment model and z of the current epoch too.
        """
        state = copies(self._variables())
        state |= {f"buffer/{name}": value for name, value in self._buffer.state_dict().items()}
        return state | self._numbers()

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Restores the state that `state_dict` returned; the agent then continues bit for bit.

        Args:
            state: state of an agent with the same sizes and settings. Its seed is adopted.

        Raises:
            ValueError: the state belongs to an agent with other sizes or settings. Nothing is changed then.
        """
        variables, numbers = self._variables(), self._numbers()
        buffer = {name.removeprefix("buffer/"): value for name, value in state.items() if name.startswith("buffer/")}
        expected = {name: tuple(variable.shape) for name, variable in variables.items()}
        expected |= {name: value.shape for name, value in numbers.items()}
        received = {name: np.shape(value) for name, value in state.items() if not name.startswith("buffer/")}
        check_shapes(expected, received, "an agent", of_which="sizes")
        self._buffer.load_state_dict(buffer)
        for name, variable in variables.items():
            variable.assign(state[name])
        self._take_numbers({name: state[name] for name in numbers})

    def _checked(self, state: np.ndarray) -> np.ndarray:
        state = np.asarray(state, "float32")
        if state.shape != (self.state_size,):
            raise ValueError(
                f"Expected a state of shape ({self.state_size},). Received: shape={state.shape}. Give one state."
            )
        return state

    @staticmethod
    def _check_episode(states: np.ndarray, actions: np.ndarray, reward: float) -> None:
        if not (np.isfinite(states).all() and np.isfinite(reward) and ((actions >= 0) & (actions <= 1)).all()):
            raise ValueError(
                f"Expected finite states, a finite reward and actions from 0 to 1. Received: reward={reward}, "
                f"actions={actions}, states={states}. Bound the actions, and look for NaN in the network's weights."
            )

    @staticmethod
    def _bounded(action: Any) -> float:
        return min(1.0, max(0.0, float(action)))


def copies(variables: dict[str, Any]) -> dict[str, np.ndarray]:
    """Returns copies of the values of variables, by their names."""
    return {name: variable.numpy().copy() for name, variable in variables.items()}


def check_shapes(expected: dict[str, Any], received: dict[str, Any], what: str, of_which: str) -> None:
    """Refuses a state whose arrays have other names or shapes.

    Args:
        expected, received: shapes by name.
        what: what the state belongs to, such as "an agent".
        of_which: what has to be the same beside the settings, such as "sizes".

    Raises:
        ValueError: they differ; the message names the first array.
    """
    if expected != received:
        names = sorted(name for name in {*expected, *received} if expected.get(name) != received.get(name))
        raise ValueError(
            f"Expected the state of {what} with the same {of_which} and settings: {names[0]} of shape "
            f"{expected.get(names[0])}. Received: shape={received.get(names[0])}, and {len(names) - 1} more arrays "
            f"that differ. Make the {what.split()[-1]} with the settings that the state was saved with."
        )


def numbered(parts: dict[str, Any]) -> dict[str, Any]:
    """Returns the variables of all parts by constant names: part, a slash, and their number in it."""
    return {f"{part}/{i:02d}": variable for part, variables in parts.items() for i, variable in enumerate(variables)}


def means(updates: list[dict[str, float]]) -> dict[str, float]:
    """Returns the mean losses of some updates, by name."""
    return {name: float(np.mean([update[name] for update in updates])) for name in updates[0]}


def as_graph(function: Any) -> Callable[..., Any]:
    """Returns a `tf.function` that runs as a graph, even if TensorFlow is set to run functions eagerly."""
    graphs: list[Callable[..., Any]] = []

    def call(*arguments: Any) -> Any:
        if not graphs:
            graphs.append(function.get_concrete_function())
        return graphs[0](*arguments)

    return call
