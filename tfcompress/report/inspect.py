"""`inspect`: what a model costs, layer by layer, what of it can be pruned, and which layers may go or be smaller."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras

from tfcompress import expect
from tfcompress.channels import Control, Pattern
from tfcompress.costs import CostModel
from tfcompress.given import read_model
from tfcompress.input_shapes import InputShape, with_input_shape
from tfcompress.network import Network
from tfcompress.report.feasibility import feasibility, share_of
from tfcompress.report.structure import section_lines, structure_lines
from tfcompress.report.table import in_columns

__all__ = ["describe", "inspect"]


def describe(model: keras.Model | Network, control: Control | None = None) -> str:
    """The text that `inspect` prints."""
    control = control or Control()
    network = Network.of(model, control.through_norms)
    groups, costs = network.groups, network.costs
    table = feasibility(costs, control)  # first, because it says what is wrong with a control
    return "\n".join(
        [
            f"{network.model.name}: {costs.total.macs:,} MACs (one multiply-add = 1; FLOPs = 2 x MACs), "
            f"{costs.total.params:,} parameters, {costs.total.bytes:,} bytes of weights"
            + "".join(f", {number:,} {costs.metrics[name].unit}" for name, number in costs.total.others.items()),
            "",
            *_layers(costs),
            "",
            f"Channel groups ({len(groups)}): channels that live and die together",
            *(f"  {group}" for group in groups),
            "",
            "What cannot be pruned, and why",
            *([f"  {fixed}" for fixed in groups.fixed] or ["  nothing"]),
            *_warnings(costs),
            "",
            'What method="n2n" decides on (docs/methods/n2n.md)',
            *structure_lines(costs),
            "",
            'What method="lit", "kd", "hint" and "scratch" can leave (docs/methods/distillation.md)',
            *section_lines(costs),
            "",
            f"Smallest share of the MACs that can be reached: {share_of(costs, costs.smallest.macs)} (all groups)",
            "Share of the MACs that is reached with one pruning ratio for all channels that may be pruned, and what is "
            "left spent channel by channel; - where the row's share is out of reach ('inside blocks': where RLAL, AMC "
            "and Random prune)",
            *(f"  {line}" for line in in_columns(table, left=1)),
        ]
    )


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
) -> None:
    """Prints costs layer by layer, the channel groups, what cannot be pruned and why, which layers N2N may remove and
    what of the others it may make smaller, the sections and which students LIT can make of them, and which shares of
    the MACs can be reached, under each control alone and under all of them together.

    Args:
        model: a built Functional or Sequential model, or the path of a .keras, .h5 or .hdf5 file.
        print_fn: what takes the text.
        input_shape: of a model that takes inputs of any size the one that is counted for; see `tfcompress.cost`.
        exclude, only, ratio_limits, round_to, through_norms: as in `compress`; see `tfcompress.Control`.

    Raises:
        TypeError: not a model, or a subclassed one; a control of another type.
        ValueError: an unknown dimension other than the batch; a control that cannot be meant, or that names no layer.
    """
    control = Control.of(exclude, only, ratio_limits, round_to, through_norms)
    expect.function("print_fn", print_fn, "a function of a text", arguments=1)
    given = read_model(model)
    network = Network(given.model, control.through_norms, given.graph)
    if input_shape is not None:
        network = Network(with_input_shape(given.model, input_shape), control.through_norms)
    print_fn(describe(network, control))


def _layers(costs: CostModel) -> list[str]:
    rows = [("layer", "type", "output", "MACs", "parameters")]
    rows += [
        (c.layer, c.type_name, str(tuple(c.output_shape[1:])), f"{c.macs:,}", f"{c.params:,}") for c in costs.by_layer()
    ]
    return in_columns(rows, left=3)


def _warnings(costs: CostModel) -> list[str]:
    not_known = dict.fromkeys((*costs.unknown, *costs.unmeasured))
    return [f"  MACs of these layers are not known, and not counted: {', '.join(not_known)}"] if not_known else []
