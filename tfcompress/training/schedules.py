"""Learning rates as pure functions of the epoch, so that a resumed run needs no schedule state."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Protocol

from tfcompress import expect

__all__ = ["Constant", "Cosine", "Schedule", "StepDecay", "scaled"]


class Schedule(Protocol):
    """A learning rate for each epoch."""

    def __call__(self, epoch: int, epochs: int) -> float:
        """Returns the learning rate of epoch `epoch`, counted from 0, in a training of `epochs` epochs."""
        ...


@dataclasses.dataclass(frozen=True)
class Constant:
    """The same learning rate in all epochs."""

    initial: float

    def __post_init__(self):
        expect.settings(self, expect.number, "initial", above=0)

    def __call__(self, epoch: int, epochs: int) -> float:
        """Returns the learning rate of epoch `epoch`."""
        del epoch, epochs
        return self.initial


@dataclasses.dataclass(frozen=True)
class StepDecay:
    """Starts at `initial` and is multiplied by `factor` at each milestone.

    Args:
        initial: initial learning rate.
        milestones: epochs, counted from 0, that start with a lower learning rate. See `scaled`.
        factor: factor of the learning rate at a milestone.
    """

    initial: float
    milestones: tuple[int, ...]
    factor: float = 0.1

    def __post_init__(self):
        expect.settings(self, expect.number, "initial", "factor", above=0)
        expect.settings(self, expect.each, "milestones", check=expect.whole, what="epochs, counted from 0")

    def __call__(self, epoch: int, epochs: int) -> float:
        """Returns the learning rate of epoch `epoch`."""
        del epochs
        return self.initial * self.factor ** sum(epoch >= milestone for milestone in self.milestones)


@dataclasses.dataclass(frozen=True)
class Cosine:
    """Half a cosine from `initial` in the first epoch towards 0 after the last one (Loshchilov and Hutter, 2017)."""

    initial: float

    def __post_init__(self):
        expect.settings(self, expect.number, "initial", above=0)

    def __call__(self, epoch: int, epochs: int) -> float:
        """Returns the learning rate of epoch `epoch` of `epochs`."""
        return self.initial * 0.5 * (1 + math.cos(math.pi * epoch / epochs))


def scaled(milestones: Sequence[int], of: int, to: int) -> tuple[int, ...]:
    """Moves the milestones of a training of `of` epochs to the same share of one of `to` epochs.

    They are rounded up, so that a short training never starts behind a milestone: `scaled((100, 150), of=200, to=5)` is
    `(3, 4)`. A method's other numbers of epochs (warm-up, start and end of its agent) scale in the same way.

    Raises:
        ValueError: a number of epochs is not positive.
    """
    of, to = expect.whole("of", of, least=1), expect.whole("to", to, least=1)
    return tuple(-(-milestone * to // of) for milestone in milestones)
