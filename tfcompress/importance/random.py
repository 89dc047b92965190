"""Scores drawn by lot: what any other criterion has to beat."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

__all__ = ["RandomScores"]


@dataclass(frozen=True)
class RandomScores:
    """Uniform random numbers, the same whenever they are asked for.

    They depend on the seed and on the group's place in the graph, and on no name or weight.

    Attributes:
        seed: `None` for the seed of the evidence, which is the task's.
    """

    name: ClassVar[str] = "random"

    seed: int | None = None

    def __post_init__(self):
        whole = isinstance(self.seed, int) and not isinstance(self.seed, bool) and self.seed >= 0
        if self.seed is not None and not whole:
            raise ValueError(f"Expected `seed` to be None or a whole number, 0 or more. Received: seed={self.seed!r}")

    def __call__(self, group, evidence):
        """Scores of a group.

        Args:
            group: a `ChannelGroup`.
            evidence: `Evidence` on the model.

        Returns:
            float32 `[size]`, in [0, 1).
        """
        seed = evidence.seed if self.seed is None else self.seed
        return np.random.default_rng([seed, int(group.roots[0])]).random(group.size, dtype="float32")
