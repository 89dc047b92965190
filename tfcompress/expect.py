"""Checks of settings and arguments, in one place: each says what it expected and received, and returns plain values.

A check takes the name of an argument and its value. It returns the value in the plain form in which it is worked with
and stored (numpy's numbers as Python's, lists as tuples), or raises with the same words everywhere:

    Expected `epochs` to be a whole number, 0 or more. Received: epochs='many'

`settings` runs a check over fields of a frozen dataclass. Nothing here needs Keras.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import os
import pathlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from numbers import Integral, Real
from typing import Any, NoReturn, TypeVar

__all__ = [
    "WrongType",
    "each",
    "flag",
    "function",
    "instance",
    "number",
    "one_of",
    "path",
    "received",
    "refuse",
    "seed",
    "settings",
    "share_or_count",
    "some_of",
    "text",
    "unused",
    "whole",
]

_Value = TypeVar("_Value")
_LONGEST = 200  # characters of a value that a message shows
# What fits into int64; of seeds with room for the constants that tell streams apart.
_GREATEST = 2**63 - 1
_GREATEST_SEED = 2**63 - 1_001
_PATH_BYTES, _NAME_BYTES = 4095, 255


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


def settings(owner: Any, check: Callable[..., Any], /, *names: str, **limits: Any) -> None:
    """Checks fields of a frozen dataclass, which hold the plain values afterwards.

    Args:
        owner: an instance, in its `__post_init__`.
        check: one of the checks of this module.
        names: of the fields.
        limits: further arguments of the check.
    """
    for name in names:
        object.__setattr__(owner, name, check(name, getattr(owner, name), **limits))


def unused(owner: Any, names: Iterable[str], why: str) -> None:
    """Refuses settings other than their defaults, where they do nothing.

    Args:
        owner: an instance of a dataclass.
        names: of fields that have defaults.
        why: to follow "Expected no `name`", such as "with optimizer='adam', which has its own betas".

    Raises:
        ValueError: one of them was set.
    """
    fields = {field.name: field for field in dataclasses.fields(owner)}
    for name in names:
        field, value = fields[name], getattr(owner, name)
        default = field.default_factory() if callable(field.default_factory) else field.default
        if value != default:
            raise ValueError(f"Expected no `{name}` {why}. Received: {name}={received(value)}. Leave it out.")


def whole(
    name: str,
    value: Any,
    least: int = 0,
    most: int | None = None,
    or_none: bool = False,
    advice: str = "",
    what: str = "",
) -> Any:
    """A whole number: an int, or one of numpy's.

    Args:
        name: of the argument.
        value: the number.
        least, most: limits; `most` is 2**63 - 1 without one.
        or_none: whether `None` may stand in its place.
        advice: as for `refuse`.
        what: it in words, where the limits alone do not say it.

    Returns:
        An int, or `None` where that is allowed.
    """
    if or_none and value is None:
        return None
    what = what or (f"a whole number, {least} or more" if most is None else f"a whole number from {least} to {most}")
    is_whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not is_whole or not least <= int(value) <= (_GREATEST if most is None else most):
        too_large = is_whole and most is None and int(value) > _GREATEST
        refuse(name, _or_none(what + " and below 2**63" * too_large, or_none), value, advice, wrong_type=not is_whole)
    return int(value)


def seed(name: str, value: Any, or_none: bool = False) -> Any:
    """A seed: a whole number that fits the random streams made of it.

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
    """A finite number within limits: an int, a float, or one of numpy's; no bool, NaN or array.

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
        refuse(name, _or_none(what, or_none), value, advice, wrong_type=not is_number)
    return plain


def _as_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:  # an int beyond all floats
        return math.inf


def _range(
    above: float | None, at_least: float | None, below: float | None, at_most: float | None, finite: bool
) -> str:
    """Limits in words: "a number from 0 to 1", "a number above 0 and at most 1"."""
    noun = "a finite number" if finite else "a number"
    if at_least is not None and at_most is not None:
        return f"{noun} from {at_least:g} to {at_most:g}"
    if at_least is not None and below is None:
        return f"{noun}, {at_least:g} or more"
    bounds = (("above", above), ("of at least", at_least), ("below", below), ("at most", at_most))
    words = [f"{word} {limit:g}" for word, limit in bounds if limit is not None]
    return " ".join([noun, " and ".join(words)]) if words else "a finite number"


def share_or_count(name: str, value: Any, of: str) -> Any:
    """A share of the whole as a float (0 < share <= 1), or an absolute count as a whole number above 1.

    Args:
        name: of the argument.
        value: a number.
        of: what is counted, such as "FLOPs".

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
            f"For so many {of} write a whole number without a point." if math.isfinite(plain) else "",
        )  # fmt: skip
    return plain


def flag(name: str, value: Any) -> bool:
    """True or False; numpy's too, but no other value that Python takes for one."""
    if type(value).__module__ == "numpy" and type(value).__name__ in ("bool", "bool_"):
        return bool(value)
    if not isinstance(value, bool):
        refuse(name, "True or False", value, wrong_type=True)
    return value


def text(name: str, value: Any, what: str = "a string", empty: bool = False) -> str:
    """A string that can be written in UTF-8.

    Args:
        name: of the argument.
        value: the string.
        what: it in words.
        empty: whether it may be empty.
    """
    if not isinstance(value, str):
        refuse(name, what, value, wrong_type=True)
    if not value and not empty:
        refuse(name, what, value, "Give one that is not empty.")
    if "\0" in value or not _is_encodable(value):
        refuse(name, what, value, "It holds a zero byte, or half a character, which no file can store.")
    return str(value)


def _is_encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


def one_of(name: str, value: Any, options: Sequence[Any], advice: str = "", what: str = "") -> Any:
    """One of a few strings or numbers, among which may be `None`.

    Args:
        name: of the argument.
        value: the value.
        options: what it may be.
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
    """One or several of a few names, in any order.

    Returns:
        Those given, in the order of `options`.
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
    """Several values of one kind: a tuple, a list, or an array with one axis.

    Args:
        name: of the argument.
        value: the values.
        check: of each value.
        what: all of them in words, such as "numbers above 0".
        length: how many there are to be.
        empty: whether there may be none.
        unique: whether each may be there only once.
        or_none: whether `None` may stand in their place.
        limits: further arguments of the check.

    Returns:
        A tuple of plain values, or `None` where that is allowed.
    """
    if or_none and value is None:
        return None
    what = _or_none(what, or_none)
    entries = _entries(value)
    if entries is None:
        refuse(name, what, value, "Write a single one in brackets too: (value,).", wrong_type=True)
    try:
        plain = tuple(check(name, entry, **limits) for entry in entries)
    except ValueError as error:
        refuse(name, what, value, wrong_type=isinstance(error, TypeError))
    wrong_length = (not plain and not empty) or (length is not None and len(plain) != length)
    if wrong_length or (unique and len(set(plain)) < len(plain)):
        refuse(name, what, value)
    return plain


def _entries(value: Any) -> tuple[Any, ...] | None:
    """The entries of a sequence; `None` for everything else, strings and dictionaries among them."""
    if isinstance(value, (str, bytes, bytearray, Mapping, Set)) or not isinstance(value, Iterable):
        return None
    shape = getattr(value, "shape", None)
    if shape is not None and len(shape) != 1:
        return None
    try:
        return tuple(value)
    except TypeError:  # a symbolic tensor
        return None


def path(name: str, value: Any, what: str = "a path", or_none: bool = False) -> Any:
    """A path that a file system can hold, with the home folder in the place of "~".

    Args:
        name: of the argument.
        value: a string or `os.PathLike`.
        what: it in words.
        or_none: whether `None` may stand in its place.

    Returns:
        A `pathlib.Path`, or `None` where that is allowed.
    """
    if or_none and value is None:
        return None
    what = _or_none(f"{what}, a string or pathlib.Path", or_none)
    try:
        plain = os.fspath(value) if isinstance(value, os.PathLike) else value
    except Exception:  # of the object's own
        plain = None
    if not isinstance(plain, str):
        refuse(name, what, value, wrong_type=True)
    if not plain.strip():
        refuse(name, what, value, "Give one that is not empty; '.' is the folder of the process.")
    if "\0" in plain or not _is_encodable(plain):
        refuse(name, what, value, "No name of a file holds a zero byte or half a character.")
    try:
        os.fsencode(plain)
    except UnicodeEncodeError:
        encoding = sys.getfilesystemencoding()
        hint = f"This process writes names in {encoding}: start Python with PYTHONUTF8=1, or name it in ASCII."
        refuse(name, what, ascii(plain), hint)
    too_long = any(len(part.encode()) > _NAME_BYTES for part in plain.split(os.sep))
    if too_long or len(plain.encode()) > _PATH_BYTES:
        refuse(name, what, value, f"A file system holds names of up to {_NAME_BYTES} bytes.")
    try:
        return pathlib.Path(plain).expanduser()
    except RuntimeError:
        refuse(name, what, value, "No home folder is known for it; write the path in full.")


def function(
    name: str, value: Any, what: str = "a function", or_none: bool = False, arguments: int | None = None
) -> Any:
    """Expects something that can be called.

    Args:
        name: of the argument.
        value: the function.
        what: it in words, with its arguments.
        or_none: whether `None` may stand in its place.
        arguments: with how many arguments by position it is called, where that is to be checked.
    """
    if or_none and value is None:
        return None
    if not callable(value):
        refuse(name, _or_none(what, or_none), value, wrong_type=True)
    if arguments is not None:
        try:
            inspect.signature(value).bind(*[None] * arguments)
        except TypeError as error:
            refuse(name, _or_none(what, or_none), value, f"It is called with {arguments}: {error}.", wrong_type=True)
        except ValueError:  # a function written in C, which does not say
            pass
    return value


def instance(
    name: str, value: _Value, kinds: type | tuple[type, ...], what: str = "", or_none: bool = False, advice: str = ""
) -> _Value:
    """An object of a class, or of one of several.

    Args:
        name: of the argument.
        value: the object.
        kinds: the class or classes.
        what: it in words.
        or_none: whether `None` may stand in its place.
        advice: as for `refuse`.
    """
    if not (or_none and value is None) and not isinstance(value, kinds):
        refuse(name, _or_none(what, or_none), value, advice, wrong_type=True)
    return value


def _or_none(what: str, or_none: bool) -> str:
    return f"None, or {what}" if or_none else what
