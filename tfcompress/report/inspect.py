"""`inspect`: what a model costs, layer by layer, what of it can be pruned, and which layers may go or be smaller."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras

from tfcompress import expect
from tfcompress.channels import Control, Pattern
from tfcompress.given import read_model
from tfcompress.input_shapes import InputShape, with_input_shape
from tfcompress.network import Network
from tfcompress.report.inspection import Inspection

__all__ = ["describe", "inspect"]


def describe(model: keras.Model | Network, control: Control | None = None) -> str:
    """The text that `inspect` prints."""
    control = control or Control()
    return str(Inspection.of(Network.of(model, control.through_norms), control))


def inspect(
    model: keras.Model | str | os.PathLike[str],
    print_fn: Callable[[str], Any] = print,
    *,
    input_shape: InputShape | None = None,
    exclude: Pattern | Iterable[Pattern] = (),
    only: Pattern | Iterable[Pattern] | None = None,
    ratio_limits: Mapping[Pattern, float | tuple[float, float]] | None = None,
    round_to: int = 1,
    through_norms: bool = False,
) -> Inspection:
    """Prints costs layer by layer, the channel groups, what cannot be pruned and why, which layers N2N may remove and
    what of the others it may make smaller, the sections and which students LIT can make of them, and which shares of
    the MACs, of the parameters and of the file can be reached, under each control alone and under all of them together.

    The text is 100 columns wide at most. A block that is repeated is shown once, with a line for its repetitions; the
    returned value has all of it.

    Args:
        model: a built Functional or Sequential model, or the path of a .keras, .h5 or .hdf5 file.
        print_fn: what takes the text.
        input_shape: of a model that takes inputs of any size the one that is counted for; see `tfcompress.cost`.
        exclude, only, ratio_limits, round_to, through_norms: as in `compress`; see `tfcompress.Control`.

    Returns:
        An `Inspection`: the same as values, `to_dict()` as plain data and `to_json()` as text.

    Raises:
        TypeError: not a model, or a subclassed one; a control of another type.
        ValueError: an unknown dimension other than the batch; a control that cannot be meant, or that names no layer.
    """
    control = Control.of(exclude, only, ratio_limits, round_to, through_norms)
    if control.is_auto:
        expect.refuse("round_to", "a whole number, because an inspection measures nothing", round_to)
    expect.function("print_fn", print_fn, "a function of a text", arguments=1)
    given = read_model(model)
    network = Network(given.model, control.through_norms, given.graph)
    if input_shape is not None:
        network = Network(with_input_shape(given.model, input_shape), control.through_norms)
    inspection = Inspection.of(network, control)
    print_fn(str(inspection))
    return inspection
