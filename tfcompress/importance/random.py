"""Random scores: the baseline of every criterion."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tfcompress import expect

__all__ = ["RandomScores"]


@dataclass(frozen=True)
class RandomScores:
    """Uniform random numbers, which are the same each time.

    They depend only on the seed and on the group's place in the graph, not on names or weights.

    Attributes:
        seed: random seed; `None` for the seed of the evidence, which is the task's.
    """

    name: ClassVar[str] = "random"

    seed: int | None = None

    def __post_init__(self):
        expect.settings(self, expect.seed, "seed", or_none=True)

    def __call__(self, group, evidence):
        """Returns the scores of a group.

        Args:
            group: a `ChannelGroup`.
            evidence: `Evidence` on the model.

        Returns:
            float32 `[size]`, in [0, 1).
        """
        seed = evidence.seed if self.seed is None else self.seed
        return np.random.default_rng([seed, int(group.roots[0])]).random(group.size, dtype="float32")
