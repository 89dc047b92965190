"""`Budget`: upper limits on what the finished model may cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from tfcompress import expect
from tfcompress.costs.counts import Cost

__all__ = ["ADVICE", "Budget", "as_budget"]

# What a message says of a limit below what can be reached, where a method says nothing else.
ADVICE = "tfcompress.inspect(model) shows what cannot be pruned, and why."


@dataclass(frozen=True)
class Budget:
    """Upper limits for a model's cost.

    Attributes:
        flops: a share of the original (a float, `0 < share <= 1`) or an absolute number of FLOPs (an int above 1; two
            FLOPs are one MAC), or `None`.
        params: a share of the original's parameters, or an absolute number, or `None`.

    Raises:
        TypeError: no number.
        ValueError: neither of both, a number out of its range, or the whole number 1, which may mean either form.
    """

    flops: float | int | None = None
    params: float | int | None = None

    def __post_init__(self) -> None:
        if self.flops is None and self.params is None:
            raise ValueError(
                "Expected a budget. Received neither `flops_budget` nor `params_budget`. "
                "Pass for example flops_budget=0.5 for half the FLOPs."
            )
        for name, unit in (("flops", "FLOPs"), ("params", "parameters")):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, expect.share_or_count(f"{name}_budget", value, unit))

    def limits(self, total: Cost, smallest: Cost, advice: str = ADVICE) -> dict[str, int]:
        """The limits in the units of `Cost`.

        Args:
            total: cost of the original.
            smallest: the lowest cost that can be reached.
            advice: what a message says of a limit that cannot be reached.

        Returns:
            `{"macs": limit, "params": limit}`, with the entries that are limited.

        Raises:
            ValueError: a limit below what can be reached; the message gives the smallest reachable share.
        """
        limits = {}
        for name, metric, each, unit in (("flops", "macs", 2, "FLOPs"), ("params", "params", 1, "parameters")):
            value = getattr(self, name)
            if value is None:
                continue
            whole, least = getattr(total, metric), getattr(smallest, metric)
            # A share as it is written: in floats, 0.29 * 100 is below 29.
            limit = math.floor(Fraction(str(value)) * whole) if isinstance(value, float) else value // each
            if limit < least:
                raise ValueError(
                    f"Expected a {name}_budget that can be reached: at least {_ceil(least / whole)} of the original "
                    f"({each * least:,} of {each * whole:,} {unit}). Received: {name}_budget={value!r}. {advice}"
                )
            limits[metric] = min(limit, whole)
        return limits


def _ceil(share: float) -> str:
    """The share as text, rounded up so that the number shown can be reached."""
    return f"{math.ceil(share * 1e4) / 1e4:.4f}"


def as_budget(costs: Mapping[str, int]) -> str:
    """Limits or costs `{metric: number}` in the units of budgets, such as "1,334 FLOPs and 250 parameters"."""
    units = {"macs": (2, "FLOPs"), "params": (1, "parameters")}
    each = {metric: units.get(metric, (1, metric)) for metric in costs}
    return " and ".join(f"{factor * costs[metric]:,} {unit}" for metric, (factor, unit) in each.items())
