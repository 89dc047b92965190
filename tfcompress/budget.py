"""`Budget`: upper limits on what the finished model may cost."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from fractions import Fraction

from tfcompress.costs import Cost

__all__ = ["ADVICE", "Budget"]

# What a message says of a limit below what can be reached, where a method says nothing else.
ADVICE = "tfcompress.inspect(model) shows what cannot be pruned, and why."


@dataclass(frozen=True)
class Budget:
    """Upper limits for a model's cost.

    Attributes:
        flops: a share of the original (a float, `0 < share <= 1`) or an absolute number of FLOPs (an int above 1; two
            FLOPs are one MAC), or `None`.
        params: a share of the original's parameters, or an absolute number, or `None`.
    """

    flops: float | int | None = None
    params: float | int | None = None

    def __post_init__(self) -> None:
        if self.flops is None and self.params is None:
            raise ValueError(
                "Expected a budget. Received neither `flops_budget` nor `params_budget`. "
                "Pass for example flops_budget=0.5 for half the FLOPs."
            )
        for name in ("flops", "params"):
            value = getattr(self, name)
            if value is not None:
                _check(f"{name}_budget", value)
                plain = int(value) if isinstance(value, numbers.Integral) else float(value)  # of numpy's numbers
                object.__setattr__(self, name, plain)

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
        for name, metric, unit in (("flops", "macs", 2), ("params", "params", 1)):
            value = getattr(self, name)
            if value is None:
                continue
            whole, least = getattr(total, metric), getattr(smallest, metric)
            is_share = not isinstance(value, numbers.Integral) or value == 1
            # As it is written: in floats, 0.29 * 100 is below 29.
            limit = math.floor(Fraction(str(float(value))) * whole) if is_share else int(value) // unit
            if limit < least:
                raise ValueError(
                    f"Expected a {name}_budget that can be reached: at least {_ceil(least / whole)} of the original "
                    f"({least:,} of {whole:,} {metric}). Received: {name}_budget={value!r}. {advice}"
                )
            limits[metric] = min(limit, whole)
        return limits


def _ceil(share: float) -> str:
    """The share as text, rounded up so that the number shown can be reached."""
    return f"{math.ceil(share * 1e4) / 1e4:.4f}"


def _check(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"Expected `{name}` to be a number. Received: {name}={value!r}")
    number = float(value)
    if math.isnan(number) or number <= 0:
        raise ValueError(f"Expected `{name}` to be above 0. Received: {name}={value!r}")
    if not isinstance(value, numbers.Integral) and number > 1:
        raise ValueError(
            f"Expected `{name}` to be a share of the original, above 0 and at most 1, or an absolute number as an int. "
            f"Received: {name}={value!r}"
        )
