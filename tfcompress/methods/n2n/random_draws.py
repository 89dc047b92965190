"""Students drawn at random: the baseline of a search with the same number of students (section 4.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Draw", "RandomDraws"]


@dataclass(frozen=True, eq=False)
class Draw:
    """One student.

    Attributes:
        actions: one entry of `choices` for each step.
    """

    actions: npt.NDArray[np.generic]


class RandomDraws:
    """Draws each action with the same probability, like a policy that has learned nothing.

    Args:
        steps: number of actions of a student.
        choices: the possible actions.
        rng: the random generator.
    """

    def __init__(self, steps: int, choices: Sequence[bool] | Sequence[float], rng: np.random.Generator) -> None:
        self._steps, self._choices, self._rng = steps, np.array(choices), rng

    def rollouts(self, count: int) -> list[Draw]:
        """Draws the next `count` students."""
        return [Draw(self._rng.choice(self._choices, self._steps)) for _ in range(count)]
