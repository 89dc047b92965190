"""The table of reachable budgets, with the effect of each control."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from tfcompress.channels import Control, Widths, inside_units, pruning_units, reachable
from tfcompress.costs import CostModel
from tfcompress.graph import ChannelGroups

__all__ = ["feasibility", "share_of"]

SHARES = tuple(n / 10 for n in range(9, 0, -1))
_MULTIPLE = 8


def feasibility(costs: CostModel, control: Control) -> list[list[str]]:
    """Returns, as rows of a table, the shares reached under each control for shares of the MACs from 0.9 to 0.1.

    A cell is the share that `Uniform` reaches within its row's share: with one pruning ratio for all channels that may
    be pruned, and the rest of the budget spent channel by channel; `-` if the share cannot be reached. The last row is
    the smallest share.

    Args:
        costs: costs of the model, with the groups of the control.
        control: the user's control; each of its settings gets a column, and all of them together another one.
    """
    columns = list(_columns(costs, control))
    rows = [["share of the MACs", *(name for name, _, _ in columns)]]
    rows += [[f"{share:.1f}", *(_reached(model, widths, share) for _, model, widths in columns)] for share in SHARES]
    return [*rows, ["smallest", *(share_of(model, reachable(model, widths).macs) for _, model, widths in columns)]]


def _columns(costs: CostModel, control: Control) -> Iterator[tuple[str, CostModel, Widths]]:
    groups = costs.groups
    anything = Control(through_norms=control.through_norms)
    yield "all groups", costs, anything.widths(groups)
    yield "inside blocks", costs, inside_units(anything.widths(groups), groups, pruning_units(groups))
    if control.round_to == 1:
        yield f"round_to={_MULTIPLE}", costs, dataclasses.replace(anything, round_to=_MULTIPLE).widths(groups)
    if not control.through_norms:
        further = CostModel(ChannelGroups.of(groups.graph, through_norms=True))
        if further.smallest != costs.smallest:
            yield "through_norms", further, Control(through_norms=True).widths(further.groups)
    given = [name for name in control.settings() if name != "through_norms"]
    for name in given:
        alone = dataclasses.replace(anything, **{name: getattr(control, name)})
        yield name if name != "round_to" else f"round_to={control.round_to}", costs, alone.widths(groups)
    if len(given) > 1:
        yield "all settings", costs, control.widths(groups)


def _reached(costs: CostModel, widths: Widths, share: float) -> str:
    limit = share * costs.total.macs

    def fits(kept: np.ndarray) -> bool:
        return int(costs.count("macs", kept)) <= limit

    return share_of(costs, int(costs.count("macs", widths.even(fits)))) if fits(widths.least) else "-"


def share_of(costs: CostModel, macs: int) -> str:
    """Returns a part of the model's MACs as text."""
    return f"{macs / costs.total.macs:.4f}" if costs.total.macs else "no MACs counted"
