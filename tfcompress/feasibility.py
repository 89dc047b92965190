"""Feasibility: checks whether a method can reach a budget, before any data is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tfcompress.channels import Control
from tfcompress.costs import Budget, Cost, CostModel
from tfcompress.costs.budget import as_budget

__all__ = ["Cheapest", "check_budget"]


class Cheapest(Protocol):
    """Protocol: the cost of the cheapest student. Every method implements it."""

    @property
    def advice(self) -> str:
        """Advice for a budget below the cheapest student."""

    def least(self, costs: CostModel, control: Control) -> Cost:
        """Returns the lowest cost that a model can reach under a control."""

    def cheapest(self, costs: CostModel, control: Control, metrics: Sequence[str]) -> str:
        """Returns a sentence on the cheapest student by each metric, with a leading space; may be empty."""


def check_budget(method: Cheapest, budget: Budget, costs: CostModel, control: Control) -> None:
    """Refuses a budget that cannot be counted, or that the method cannot reach with the layers that may be pruned.

    Args:
        method: the method that has to reach it.
        budget: the limits.
        costs: costs of the original.
        control: what may be pruned.

    Raises:
        ValueError: the message names the share that would be accepted, and the other obstacles: layers with unknown
            multiply-adds, settings of the control, layers that are left whole.
    """
    _check_counted(budget, costs)
    least = method.least(costs, control)
    try:
        budget.check_reachable(costs.total, least, method.advice)
    except ValueError as too_low:
        error = f"{too_low}{method.cheapest(costs, control, budget.planned)}"
        if not control.settings():
            raise ValueError(f"{error}{_left_whole(costs)}") from None
        # Is control what stands in the way?
        budget.check_reachable(costs.total, method.least(costs, Control()), method.advice)
        given = ", ".join(f"{name}={value}" for name, value in control.settings().items())
        limits = as_budget(budget.limits(costs.total))
        raise ValueError(f"{error} Without {given} this budget ({limits}) could be reached.") from None


def _check_counted(budget: Budget, costs: CostModel) -> None:
    heavy = costs.heavy_unmeasured()
    if "macs" in budget and heavy:
        shown = ", ".join(f"{name!r} ({share:.0%} of the parameters)" for name, share in heavy.items())
        raise ValueError(
            "Expected a model whose multiply-adds are known, for a FLOPs budget. Received: "
            f"{budget.said('macs')}, for {costs.groups.graph.name!r} with {shown}, whose multiply-adds are known "
            "neither from a handler nor from TensorFlow's graph. Register a handler for its class "
            "(docs/guides/own_layer.md), or give a params_budget instead."
        )


def _left_whole(costs: CostModel) -> str:
    """Returns a sentence on the layers that are left whole, and why; empty if there are none."""
    whole = {layer: item.whole for layer, item in costs.groups.layers.items() if item.whole}
    if not whole:
        return ""
    named = "; ".join(f"{layer!r}: {reason}" for layer, reason in list(whole.items())[:3])
    more = f"; and {len(whole) - 3} more" if len(whole) > 3 else ""
    return f" {len(whole)} layers are left whole: {named}{more}."
