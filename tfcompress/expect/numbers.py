"""Checks of numbers: whole numbers, seeds, numbers within limits, and shares or counts."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

from tfcompress.expect.refusing import or_nothing, refuse

__all__ = ["number", "seed", "share_or_count", "whole"]

# What fits into int64; of seeds with room for the constants that tell streams apart.
_GREATEST = 2**63 - 1
_GREATEST_SEED = 2**63 - 1_001


def whole(
    name: str,
    value: Any,
    least: int = 0,
    most: int | None = None,
    or_none: bool = False,
    advice: str = "",
    what: str = "",
) -> Any:
    """Expects a whole number: an int, or one of numpy's.

    Args:
        name: name of the argument.
        value: the number.
        least, most: limits; `most` is 2**63 - 1 by default.
        or_none: whether `None` is allowed instead.
        advice: as for `refuse`.
        what: description of the number, if the limits alone do not give it.

    Returns:
        An int, or `None` where that is allowed.
    """
    if or_none and value is None:
        return None
    what = what or (f"a whole number, {least} or more" if most is None else f"a whole number from {least} to {most}")
    is_whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not is_whole or not least <= int(value) <= (_GREATEST if most is None else most):
        too_large = is_whole and most is None and int(value) > _GREATEST
        refuse(name, or_nothing(what + " and below 2**63" * too_large, or_none), value, advice, wrong_type=not is_whole)
    return int(value)


def seed(name: str, value: Any, or_none: bool = False) -> Any:
    """Expects a seed: a whole number that fits the random streams made from it.

    Returns:
        An int, or `None` where that is allowed.
    """
    if isinstance(value, Integral) and not isinstance(value, bool) and int(value) > _GREATEST_SEED:
        return whole(name, value, 0, _GREATEST_SEED, or_none)
    return whole(name, value, 0, or_none=or_none)


def number(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
    or_none: bool = False,
    advice: str = "",
) -> Any:
    """Expects a finite number within limits: an int, a float, or one of numpy's; no bool, NaN or array.

    Returns:
        A float, or `None` where that is allowed.
    """
    if or_none and value is None:
        return None
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    plain = _as_float(value) if is_number else math.nan
    fits = (
        math.isfinite(plain)
        and (above is None or plain > above)
        and (at_least is None or plain >= at_least)
        and (below is None or plain < below)
        and (at_most is None or plain <= at_most)
    )
    if not fits:
        what = _range(above, at_least, below, at_most, finite=is_number and math.isinf(plain))
        refuse(name, or_nothing(what, or_none), value, advice, wrong_type=not is_number)
    return plain


def _as_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:  # an int beyond all floats
        return math.inf


def _range(
    above: float | None, at_least: float | None, below: float | None, at_most: float | None, finite: bool
) -> str:
    """Returns limits in words: "a number from 0 to 1", "a number above 0 and at most 1"."""
    noun = "a finite number" if finite else "a number"
    if at_least is not None and at_most is not None:
        return f"{noun} from {at_least:g} to {at_most:g}"
    if at_least is not None and below is None:
        return f"{noun}, {at_least:g} or more"
    bounds = (("above", above), ("of at least", at_least), ("below", below), ("at most", at_most))
    words = [f"{word} {limit:g}" for word, limit in bounds if limit is not None]
    return " ".join([noun, " and ".join(words)]) if words else "a finite number"


def share_or_count(name: str, value: Any, of: str) -> Any:
    """Expects a share of the whole as a float (0 < share <= 1), or a count as a whole number above 1.

    Args:
        name: name of the argument.
        value: the number.
        of: the counted things, such as "FLOPs".

    Returns:
        A float for a share, an int for a count.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        refuse(name, "a number", value, wrong_type=True)
    is_whole = isinstance(value, Integral)
    plain: int | float = int(value) if isinstance(value, Integral) else _as_float(value)
    if not plain > 0:  # NaN too
        refuse(name, "above 0", value)
    if is_whole and plain == 1:
        refuse(
            name,
            f"a share of the original as a float, such as 1.0 for all of it, or a number of {of} above 1",
            value,
            f"The whole number 1 may mean either: write {name}=1.0 if the whole is meant.",
        )
    if not is_whole and plain > 1:
        refuse(
            name, "a share of the original, above 0 and at most 1, or an absolute number as an int", value,
            f"For this number of {of} write a whole number without a point." if math.isfinite(plain) else "",
        )  # fmt: skip
    return plain
