"""`Inspection`: what a model costs, layer by layer, and what of it can be made smaller, as text and as plain data."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from tfcompress.channels import Control
from tfcompress.costs import Cost, LayerCost
from tfcompress.graph import ChannelGroup, FixedChannels
from tfcompress.network import Network
from tfcompress.report.feasibility import Feasibility
from tfcompress.report.inspected_groups import fixed_lines, group_lines
from tfcompress.report.inspected_layers import layer_rows
from tfcompress.report.structure import Shallower, Shrinking
from tfcompress.report.table import WIDTH, fitted, wrapped

__all__ = ["Inspection"]

_FORMAT = 1


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Inspection:
    """The answer of `tfcompress.inspect`. `print(inspection)` shows it, 100 columns wide, with repeated blocks as one.

    Attributes:
        model: name of the model.
        total: its cost.
        units: of the metrics that were registered, by name, the words for them.
        layers: the cost of each layer, in the order of the graph.
        not_counted: the layers whose multiply-adds are not known.
        groups: the channel groups: channels that live and die together.
        fixed: the channels that cannot be pruned, and why.
        shrinking: what method="n2n" decides on.
        shallower: the sections, and the students that method="lit", "kd", "hint" and "scratch" can make of them.
        feasibility: the shares of the MACs that can be reached, and the smallest shares of other costs.
    """

    model: str
    total: Cost
    units: dict[str, str]
    layers: tuple[LayerCost, ...]
    not_counted: tuple[str, ...]
    groups: tuple[ChannelGroup, ...]
    fixed: tuple[FixedChannels, ...]
    shrinking: Shrinking
    shallower: Shallower
    feasibility: Feasibility

    @classmethod
    def of(cls, network: Network, control: Control) -> Inspection:
        """Looks at a network, under a control with the same `through_norms`."""
        groups, costs = network.groups, network.costs
        feasibility = Feasibility.of(costs, control)  # first, because it says what is wrong with a control
        return cls(
            model=network.model.name,
            total=costs.total,
            units={name: costs.metrics[name].unit for name in costs.total.others},
            layers=costs.by_layer(),
            not_counted=tuple(dict.fromkeys((*costs.unknown, *costs.unmeasured))),
            groups=tuple(groups),
            fixed=tuple(groups.fixed),
            shrinking=Shrinking.of(costs),
            shallower=Shallower.of(costs),
            feasibility=feasibility,
        )

    def __repr__(self) -> str:
        return f"<Inspection of {self.model}: {self.total.macs:,} MACs, {len(self.groups)} channel groups>"

    def __str__(self) -> str:
        total, smallest = self.total, self.feasibility.smallest["all groups"]
        lines = [
            f"{self.model}: {total.macs:,} MACs (one multiply-add = 1; FLOPs = 2 x MACs), "
            f"{total.params:,} parameters, {total.bytes:,} bytes of weights"
            + "".join(f", {number:,} {self.units[name]}" for name, number in total.others.items()),
            "",
            *fitted(layer_rows(self.layers), left=3),
            "",
            f"Channel groups ({len(self.groups)}): channels that live and die together",
            *(f"  {line}" for line in group_lines(self.groups)),
            "",
            "What cannot be pruned, and why",
            *(f"  {line}" for line in fixed_lines(self.fixed)),
            *self._warnings(),
            "",
            'What method="n2n" decides on (docs/methods/n2n.md)',
            *self.shrinking.lines(),
            "",
            'What method="lit", "kd", "hint" and "scratch" can leave (docs/methods/distillation.md)',
            *self.shallower.lines(),
            "",
            f"Smallest share of the MACs that can be reached: {self.feasibility.said(smallest)} (all groups)",
            "Share of the MACs that is reached with one pruning ratio for all channels that may be pruned, and what is "
            "left spent channel by channel; - where the row's share is out of reach ('inside blocks': where RLAL, AMC "
            "and Random prune). Last, the smallest share of each cost; of the file only the weights count, beside "
            "which operators and names stay",
            *(f"  {line}".rstrip() for line in fitted(self.feasibility.rows(), left=1, width=WIDTH - 2)),
            "Latency has to be measured: compress(..., latency_budget=) makes a table of this machine's operators "
            "first, and refuses what that puts out of reach (docs/latency.md)",
        ]
        return "\n".join(part for line in lines for part in wrapped(line))

    def _warnings(self) -> list[str]:
        layers = ", ".join(self.not_counted)
        return [f"  MACs of these layers are not known, and not counted: {layers}"] if layers else []

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data, layer by layer; docs/command_line.md says what each key holds."""
        return {
            "format": _FORMAT,
            "model": self.model,
            "total": _cost(self.total),
            "layers": [
                {"name": layer.layer, "type": layer.type_name, "output_shape": list(layer.output_shape), **_cost(layer)}
                for layer in self.layers
            ],
            "not_counted": list(self.not_counted),
            "groups": [
                {
                    "name": group.name,
                    "channels": group.size,
                    "written_by": list(group.producers),
                    "through": list(group.carriers),
                    "read_by": list(group.readers),
                }
                for group in self.groups
            ],
            "fixed": [dataclasses.asdict(fixed) for fixed in self.fixed],
            "n2n": self.shrinking.to_dict(),
            "lit": self.shallower.to_dict(),
            "feasibility": self.feasibility.to_dict(),
        }

    def to_json(self) -> str:
        """`to_dict` as JSON."""
        return json.dumps(self.to_dict(), indent=2)


def _cost(cost: Cost | LayerCost) -> dict[str, int]:
    return {"macs": cost.macs, "params": cost.params, "bytes": cost.bytes, **cost.others}
