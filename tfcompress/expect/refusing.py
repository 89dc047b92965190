"""Refusals: the words of every message, and the error for a wrong type."""

from __future__ import annotations

from typing import Any, NoReturn

__all__ = ["WrongType", "or_nothing", "received", "refuse"]

_LONGEST = 200  # characters of a value that a message shows


class WrongType(TypeError, ValueError):
    """A value of a wrong type. A ValueError as well, so that one `except ValueError` sees every refused setting."""


def received(value: Any) -> str:
    """The value as a message shows it: on one line, cut where it is long, whatever its own `repr` does."""
    try:
        shown = " ".join(repr(value).split())
    except Exception:  # an int of more digits than Python writes, an object whose repr is broken
        shown = f"a value of type {type(value).__name__}"
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."


def refuse(name: str, what: str, value: Any, advice: str = "", wrong_type: bool = False) -> NoReturn:
    """Raises for a value.

    Args:
        name: of the argument.
        what: what was expected, to follow "Expected `name` to be".
        value: what came.
        advice: a sentence on what to do, to follow the value.
        wrong_type: whether no value of this type would do.

    Raises:
        WrongType: a value of a wrong type.
        ValueError: any other.
    """
    message = f"Expected `{name}` to be {what}. Received: {name}={received(value)}"
    raise (WrongType if wrong_type else ValueError)(f"{message}. {advice}" if advice else message)


def or_nothing(what: str, or_none: bool) -> str:
    """Words for what is expected, with `None` among them where that is allowed."""
    return f"None, or {what}" if or_none else what
