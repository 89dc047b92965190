"""`Call`: the checked arguments of `compress`, as each stage of a flow is given them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras

from tfcompress.channels import Control
from tfcompress.data import Splits
from tfcompress.graph import LayerGraph
from tfcompress.input_shapes import InputShape
from tfcompress.network import Network
from tfcompress.operators import OperatorTable
from tfcompress.training import Objective, Progress, Score

__all__ = ["Call"]


@dataclasses.dataclass(frozen=True, eq=False)
class Call:
    """The arguments of a call of `compress`, checked, or those of one stage of a flow.

    Attributes:
        model: the user's own model, by what it is compiled with.
        original: the network to compress, of one input size: the user's, or what the stage before left.
        as_given: its graph with any input size.
        notes: remarks on the file of the model.
        data: the arguments of `given_splits` on data, by name.
        control: what may be pruned.
        seed: the random seed.
        progress: the display.
        objective: the user's objective; in a stage that of the flow.
        monitor: name of the metric that choices are made by.
        callbacks: the user's, which see every epoch of the recovery.
        time_s: seconds that the run may take.
        input_shape: as for `compress`.
        latency_table: the table that latency is planned by, if one was given.
        splits: the data, if it was read for the whole flow.
        first_of_flow: in a later stage the network that the first stage was given.
        turn: in a flow the place of the stage, such as "2 of 3: rlal"; "" for a run of one method.
        shown: warnings that earlier stages have shown.
    """

    model: keras.Model
    original: Network
    as_given: LayerGraph
    notes: tuple[str, ...]
    data: Mapping[str, Any]
    control: Control
    seed: int
    progress: Progress
    objective: Objective | Score | None = None
    monitor: str | None = None
    callbacks: tuple[keras.callbacks.Callback, ...] = ()
    time_s: float | None = None
    input_shape: InputShape | None = None
    latency_table: OperatorTable | None = None
    splits: Splits | None = None
    first_of_flow: Network | None = None
    turn: str = ""
    shown: frozenset[str] = frozenset()
