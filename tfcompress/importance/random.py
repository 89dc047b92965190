"""Scores drawn by lot: what any other criterion has to beat."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tfcompress import expect

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
        expect.settings(self, expect.seed, "seed", or_none=True)

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
