"""The independent random streams of a run's seed."""

from __future__ import annotations

import enum

__all__ = ["Stream"]


class Stream(enum.IntEnum):
    """Random streams of a run, each drawn from `[seed, stream, ...]`; what follows the stream tells its parts apart.

    A number once given stays: seeded runs come out the same only as long as it does. Data is drawn from the seed of its
    source and the place (epoch, batch), and an agent has streams of its own (`tfcompress.agents.sac`).

    Attributes:
        RATES: the pruning rates that the method Random tries.
        WORKING_COPY: what the layers of the working copy draw in training (dropout, noise, augmentation).
        STUDENT: what the layers of a student draw: a stream of its own, as its source may come from a file.
        STEP: what the layers of an intermediate model draw; the step follows, behind the number of the run
            where there are several.
        FRESH_WEIGHTS: weights of a student that does not inherit them; a number made of the phase's name follows.
        REGRESSOR: weights of what widens a hint's layer; added to the seed.
        FRESH_LAYERS: weights of what a plan makes anew: layers that are replaced or get weights of another shape, and
            all layers of a plan with fresh weights.
        STUDENTS: the students that N2N draws at random; the stage follows.
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
