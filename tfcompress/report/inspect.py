"""`inspect`: what a model costs, layer by layer, and what of it can be pruned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from tfcompress.costs import CostModel
from tfcompress.graph import ChannelGroups, LayerGraph, pruning_units

__all__ = ["describe", "inspect"]


def describe(model: keras.Model, through_norms: bool = False) -> str:
    """The text that `inspect` prints."""
    groups = ChannelGroups.of(LayerGraph.from_keras(model), through_norms)
    costs = CostModel(groups)
    return "\n".join(
        [
            f"{model.name}: {costs.total.macs:,} MACs (one multiply-add = 1; FLOPs = 2 x MACs), "
            f"{costs.total.params:,} parameters, {costs.total.bytes:,} bytes of weights",
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
            *_reachable(costs, groups),
        ]
    )


def inspect(model: keras.Model, print_fn: Callable[[str], Any] = print, through_norms: bool = False) -> None:
    """Prints costs layer by layer, the channel groups, what cannot be pruned and why, and the smallest share of the
    MACs that can be reached.

    Args:
        model: a built Functional or Sequential model with static shapes.
        print_fn: what takes the text.
        through_norms: whether channels over which a layer takes a statistic count as prunable: see `ChannelGroups.of`.

    Raises:
        TypeError: not a model, or a subclassed one.
        ValueError: an unknown dimension other than the batch.
    """
    print_fn(describe(model, through_norms))


def _layers(costs: CostModel) -> list[str]:
    rows = [("layer", "type", "output", "MACs", "parameters")]
    rows += [
        (c.layer, c.type_name, str(tuple(c.output_shape[1:])), f"{c.macs:,}", f"{c.params:,}") for c in costs.by_layer()
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    return [
        "  ".join(
            cell.ljust(width) if i < 3 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _warnings(costs: CostModel) -> list[str]:
    if not costs.unknown:
        return []
    return [f"  MACs of these layers are not known, and not counted: {', '.join(costs.unknown)}"]


def _reachable(costs: CostModel, groups: ChannelGroups) -> list[str]:
    lines = [f"Smallest share of the MACs that can be reached: {_share(costs, costs.smallest.macs)} (all groups)"]
    kept = costs.sizes.copy()
    index = {name: i for i, name in enumerate(groups.groups)}
    for unit in pruning_units(groups):
        for group in unit.groups:
            kept[index[group.name]] = 1
    lines.append(f"  inside blocks only, as RLAL prunes: {_share(costs, int(costs.count('macs', kept)))}")
    return lines


def _share(costs: CostModel, macs: int) -> str:
    return f"{macs / costs.total.macs:.4f}" if costs.total.macs else "no MACs counted"
