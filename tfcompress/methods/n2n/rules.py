"""The differences between the paper of N2N and its authors' code, as two sets of values (docs/methods/n2n.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import keras

__all__ = ["RELEASED", "TEXT", "Rules"]


@dataclass(frozen=True)
class Rules:
    """The values of one source, by default the paper's text; decided if it leaves them open.

    Attributes:
        units: units of each LSTM layer of the removal policy and of the shrinkage policy.
        shrinkage_rate: Adam's learning rate of the shrinkage policy.
        shares: the share that each action of the shrinkage policy keeps; repeated ones are drawn more often.
        previous_action: how the shrinkage policy reads its last action: "appended" to the description of a layer, or
            "multiplied" with it.
        standardised: whether each number of the layers is scaled to mean 0 and deviation 1 over the sequence.
        constraint: "strict" or "relaxed", if the user does not say.
        relaxation: name in `RELAXATIONS` of the function for "relaxed".
        widths_from: minimum number of outputs that a layer is shrunk to.
        reads: minimum and maximum number of inputs of a dense layer in a student that is trained.
        soft: the loss on the teacher's logits when students are scored, see `Teaching`.
        score_decay: weight decay of that training.
        score_batch: its batch size; `None` for the method's.
        sequence_has_shortcuts: whether skip connections, and the sums that close them, are in the sequence.
        never_removed: classes of layers that stay, even if the graph could do without them.
        strided_stay: which layers with strides stay: "convolutions" or "all".
        width_of_a_block: the layer whose action sets the width inside a residual block: its "first" one, or its
            "last" one.
    """

    units: tuple[int, int] = (30, 50)
    shrinkage_rate: float = 0.01
    shares: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    previous_action: Literal["appended", "multiplied"] = "appended"
    standardised: bool = True
    constraint: Literal["strict", "relaxed"] = "strict"
    relaxation: str = "relaxed"
    widths_from: int = 1
    reads: tuple[int, int] = (1, 50_000)
    soft: Literal["logits", "mean_logits"] = "logits"
    score_decay: float = 0.0
    score_batch: int | None = None
    sequence_has_shortcuts: bool = True
    never_removed: tuple[type[keras.layers.Layer], ...] = ()
    strided_stay: Literal["convolutions", "all"] = "convolutions"
    width_of_a_block: Literal["first", "last"] = "first"


TEXT = Rules()
"""The paper's text."""

RELEASED = Rules(
    units=(30, 30),
    shrinkage_rate=0.1,
    shares=(0.25, 0.5, 0.5, 0.5, 0.5, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
    previous_action="multiplied",
    standardised=False,
    constraint="relaxed",
    relaxation="released",
    widths_from=10,
    reads=(10, 50_000),
    soft="mean_logits",
    score_decay=5e-4,
    score_batch=200,
    sequence_has_shortcuts=False,
    never_removed=(
        keras.layers.Dense,
        keras.layers.AveragePooling1D,
        keras.layers.AveragePooling2D,
        keras.layers.AveragePooling3D,
        keras.layers.GlobalAveragePooling1D,
        keras.layers.GlobalAveragePooling2D,
        keras.layers.GlobalAveragePooling3D,
    ),
    strided_stay="all",
    width_of_a_block="last",
)
"""The authors' released code, without its faults."""
