"""Checks of objects of a class, and of functions."""

from __future__ import annotations

import inspect
from typing import Any, TypeVar

from tfcompress.expect.refusing import or_nothing, refuse

__all__ = ["function", "instance"]

_Value = TypeVar("_Value")


def function(
    name: str, value: Any, what: str = "a function", or_none: bool = False, arguments: int | None = None
) -> Any:
    """Expects a function or another callable.

    Args:
        name: name of the argument.
        value: the function.
        what: description of the function, with its arguments.
        or_none: whether `None` is allowed instead.
        arguments: number of positional arguments of a call, if that is to be checked.
    """
    if or_none and value is None:
        return None
    if not callable(value):
        refuse(name, or_nothing(what, or_none), value, wrong_type=True)
    if arguments is not None:
        try:
            inspect.signature(value).bind(*[None] * arguments)
        except TypeError as error:
            refuse(name, or_nothing(what, or_none), value, f"It is called with {arguments}: {error}.", wrong_type=True)
        except ValueError:  # a function written in C, which does not say
            pass
    return value


def instance(
    name: str, value: _Value, kinds: type | tuple[type, ...], what: str = "", or_none: bool = False, advice: str = ""
) -> _Value:
    """Expects an object of a class, or of one of several classes.

    Args:
        name: name of the argument.
        value: the object.
        kinds: the class or classes.
        what: description of the object.
        or_none: whether `None` is allowed instead.
        advice: as for `refuse`.
    """
    if not (or_none and value is None) and not isinstance(value, kinds):
        refuse(name, or_nothing(what, or_none), value, advice, wrong_type=True)
    return value
