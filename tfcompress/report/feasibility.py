"""The table of reachable budgets, with the effect of each control."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from tfcompress.channels import Control, Widths, inside_units, pruning_units, reachable
from tfcompress.costs import CostModel
from tfcompress.costs.file_size import weights_in_file
from tfcompress.graph import ChannelGroups

__all__ = ["Feasibility"]

SHARES = tuple(n / 10 for n in range(9, 0, -1))
_MULTIPLE = 8


@dataclasses.dataclass(frozen=True)
class Feasibility:
    """The shares of a model's MACs that can be reached, and the smallest shares of its other costs.

    Reached is what `Uniform` does: one pruning ratio for all channels that may be pruned, and what is left spent
    channel by channel.

    Attributes:
        total_macs: of the model.
        reached: by name, for each of the shares 0.9 to 0.1 the MACs that are reached within it, or `None` where it
            cannot be reached: of all groups, inside blocks, for each setting of a control alone and for all of them.
        smallest: by the same names the smallest number of MACs.
        least: by metric, "params", "bytes", registered ones and "file" (the weights in a float32 TFLite file), by the
            same names the smallest share of the model's; empty for a metric of which the model has nothing.
    """

    total_macs: int
    reached: dict[str, tuple[int | None, ...]]
    smallest: dict[str, int]
    least: dict[str, dict[str, float]]

    @classmethod
    def of(cls, costs: CostModel, control: Control) -> Feasibility:
        """Works it out.

        Args:
            costs: of the model, whose groups are those of the control.
            control: what the user has chosen; each of its settings is looked at alone, and all of them together.
        """
        columns = list(_columns(costs, control))
        reached = {name: tuple(_reached(model, widths, share) for share in SHARES) for name, model, widths in columns}
        # The weights of a graph are looked through once for all columns: most have the costs that are given.
        ends = {"": costs.sizes, **{name: widths.least for name, model, widths in columns if model is costs}}
        files = dict(zip(ends, weights_in_file(costs, np.stack([*ends.values()])).tolist(), strict=True))
        files |= {
            name: int(weights_in_file(model, widths.least)) for name, model, widths in columns if model is not costs
        }
        lowest = {name: _others(model, widths.least, files[name]) for name, model, widths in columns}
        smallest = {name: int(reachable(model, widths).macs) for name, model, widths in columns}
        least = {
            metric: {name: of_control[metric] / whole for name, of_control in lowest.items()} if whole else {}
            for metric, whole in _others(costs, costs.sizes, files[""]).items()
        }
        return cls(costs.total.macs, reached, smallest, least)

    def rows(self) -> list[list[str]]:
        """Rows of a table, headings first; the last ones are the smallest shares, of the MACs and of other costs."""
        rows = [["share of the MACs", *self.reached]]
        for index, share in enumerate(SHARES):
            macs = [of_control[index] for of_control in self.reached.values()]
            rows.append([f"{share:.1f}", *("-" if number is None else self.said(number) for number in macs)])
        rows.append(["smallest", *map(self.said, self.smallest.values())])
        of_others = [
            [f"smallest {name}", *(f"{share:.4f}" for share in shares.values())]
            for name, shares in self.least.items()
            if shares
        ]
        return rows + of_others

    def said(self, macs: int) -> str:
        """A part of the model's MACs as text."""
        return f"{macs / self.total_macs:.4f}" if self.total_macs else "no MACs counted"

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data: shares of the model's MACs."""
        reached = {name: list(map(self._share, macs)) for name, macs in self.reached.items()}
        smallest = {name: self._share(macs) for name, macs in self.smallest.items()}
        return {"shares": list(SHARES), "reached": reached, "smallest": smallest, "least": self.least}

    def _share(self, macs: int | None) -> float | None:
        return None if macs is None or not self.total_macs else macs / self.total_macs


def _others(costs: CostModel, kept: np.ndarray, file: int) -> dict[str, int]:
    """Returns the costs beside MACs for kept channel counts, by metric; `file` as it was counted."""
    cost = costs.of_kept(kept)
    return {"params": cost.params, "bytes": cost.bytes, **cost.others, "file": file}


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


def _reached(costs: CostModel, widths: Widths, share: float) -> int | None:
    limit = share * costs.total.macs

    def fits(kept: np.ndarray) -> bool:
        return int(costs.count("macs", kept)) <= limit

    return int(costs.count("macs", widths.even(fits))) if fits(widths.least) else None
