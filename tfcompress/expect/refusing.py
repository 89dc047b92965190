"""Refusals: the words of every message, and the error for a wrong type."""

from __future__ import annotations

from typing import Any, NoReturn

__all__ = ["WrongType", "or_nothing", "received", "refuse"]

_LONGEST = 200  # characters of a value that a message shows


class WrongType(TypeError, ValueError):
    """A value of a wrong type; also a ValueError, so that one `except ValueError` catches every refused setting."""


def received(value: Any) -> str:
    """Returns the value as a message shows it: in one line, cut if it is long, even if its own `repr` fails."""
    try:
        shown = " ".join(repr(value).split())
    except Exception:  # an int of more digits than Python writes, an object whose repr is broken
        shown = f"a value of type {type(value).__name__}"
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."


def refuse(name: str, what: str, value: Any, advice: str = "", wrong_type: bool = False) -> NoReturn:
    """Raises an error for a value.

    Args:
        name: name of the argument.
        what: description of the expected value, to follow "Expected `name` to be".
        value: the received value.
        advice: a sentence on what to do, to follow the value.
        wrong_type: whether the type is wrong, so that no value of it would be valid.

    Raises:
        WrongType: the type is wrong.
        ValueError: the value is wrong.
    """
    message = f"Expected `{name}` to be {what}. Received: {name}={received(value)}"
    raise (WrongType if wrong_type else ValueError)(f"{message}. {advice}" if advice else message)


def or_nothing(what: str, or_none: bool) -> str:
    """Returns a description of what is expected, with `None` added if that is allowed."""
    return f"None, or {what}" if or_none else what
