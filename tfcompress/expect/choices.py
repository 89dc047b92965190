"""Choices: yes or no, one of a few, some of a few, and several values of one kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from numbers import Integral
from typing import Any

from tfcompress.expect.refusing import or_nothing, refuse

__all__ = ["each", "flag", "one_of", "some_of"]


def flag(name: str, value: Any) -> bool:
    """Expects True or False; numpy's too, but nothing else that Python treats as true or false."""
    if type(value).__module__ == "numpy" and type(value).__name__ in ("bool", "bool_"):
        return bool(value)
    if not isinstance(value, bool):
        refuse(name, "True or False", value, wrong_type=True)
    return value


def one_of(name: str, value: Any, options: Sequence[Any], advice: str = "", what: str = "") -> Any:
    """Expects one of several strings or numbers, which may include `None`.

    Args:
        name: name of the argument.
        value: the value.
        options: the allowed values.
        advice: as for `refuse`.
        what: the options in words.

    Returns:
        The option that equals the value.
    """
    for option in options:
        if value is option:
            return option
        if isinstance(value, str) and isinstance(option, str) and value == option:
            return option
        if isinstance(value, Integral) and isinstance(option, int) and int(value) == option:
            return option
    kinds = {str if isinstance(option, str) else Integral for option in options if option is not None}
    refuse(name, what or f"one of {options}", value, advice, wrong_type=not isinstance(value, tuple(kinds)))


def some_of(name: str, value: Any, options: Sequence[Any]) -> tuple[Any, ...]:
    """Expects one or several of several names, in any order.

    Returns:
        The given names, in the order of `options`.
    """
    given = (value,) if value is None or isinstance(value, str) else _entries(value)
    what = f"one or several of {tuple(options)}"
    if given is None or not all(entry is None or isinstance(entry, str) for entry in given):
        refuse(name, what, value, "Use these names.", wrong_type=True)
    if not given or any(entry not in options for entry in given):
        refuse(name, what, value, "Use these names.")
    return tuple(option for option in options if option in given)


def each(
    name: str,
    value: Any,
    check: Callable[..., Any],
    what: str,
    *,
    length: int | None = None,
    empty: bool = True,
    unique: bool = False,
    or_none: bool = False,
    **limits: Any,
) -> Any:
    """Expects several values of one kind: a tuple, a list, or an array with one axis.

    Args:
        name: name of the argument.
        value: the values.
        check: check of each value.
        what: description of the values, such as "numbers above 0".
        length: required number of values.
        empty: whether there may be none.
        unique: whether each value may occur only once.
        or_none: whether `None` is allowed instead.
        limits: further arguments of the check.

    Returns:
        A tuple of plain values, or `None` where that is allowed.
    """
    if or_none and value is None:
        return None
    what = or_nothing(what, or_none)
    entries = _entries(value)
    if entries is None:
        refuse(name, what, value, "Write a single value in brackets too: (value,).", wrong_type=True)
    try:
        plain = tuple(check(name, entry, **limits) for entry in entries)
    except ValueError as error:
        refuse(name, what, value, wrong_type=isinstance(error, TypeError))
    wrong_length = (not plain and not empty) or (length is not None and len(plain) != length)
    if wrong_length or (unique and len(set(plain)) < len(plain)):
        refuse(name, what, value)
    return plain


def _entries(value: Any) -> tuple[Any, ...] | None:
    """Returns the entries of a sequence; `None` for anything else, including strings and dictionaries."""
    if isinstance(value, (str, bytes, bytearray, Mapping, Set)) or not isinstance(value, Iterable):
        return None
    shape = getattr(value, "shape", None)
    if shape is not None and len(shape) != 1:
        return None
    try:
        return tuple(value)
    except TypeError:  # a symbolic tensor
        return None
