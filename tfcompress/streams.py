"""The independent random streams of a run's seed."""

from __future__ import annotations

import enum

__all__ = ["Stream"]


class Stream(enum.IntEnum):
    """Random streams of a run, each drawn from `[seed, stream, ...]`; the numbers after the stream separate its parts.

    A number must never change: seeded runs come out the same only as long as it stays. Data is drawn from the seed of
    its source and the place (epoch, batch), and an agent has streams of its own (`tfcompress.agents.sac`).

    Attributes:
        RATES: the pruning rates that the method Random tries.
        WORKING_COPY: random numbers of the working copy's layers in training (dropout, noise, augmentation).
        STUDENT: the same for the layers of a student; a stream of its own, because its source may come from a file.
        STEP: the same for the layers of an intermediate model; the number of the step follows, after the number of the
            run if there are several.
        FRESH_WEIGHTS: initial weights of a student that does not inherit them; a number made of the phase's name
            follows.
        REGRESSOR: initial weights of the layer that widens a hint; added to the seed.
        FRESH_LAYERS: initial weights of new layers of a plan: layers that are replaced or get weights of another shape,
            and all layers of a plan with fresh weights.
        STUDENTS: the students that N2N draws at random; the number of the stage follows.
        MOVES: the moves of channels that a local search tries.
    """

    RATES = 1
    WORKING_COPY = 101
    STUDENT = 102
    STEP = 103
    FRESH_WEIGHTS = 104
    REGRESSOR = 106
    FRESH_LAYERS = 107
    STUDENTS = 108
    MOVES = 109
