"""The settings of a method as text: lists them with defaults and meanings, and reads them from `NAME=VALUE`."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from tfcompress.methods.base import Method

__all__ = ["Setting", "as_text", "check_known", "configured", "settings_of"]


class Setting(NamedTuple):
    """A setting with its command line name: `agent.gamma` is the field `gamma` of the field `agent`."""

    name: str
    hint: Any
    default: Any
    description: str


def settings_of(owner: Any) -> list[Setting]:
    """Returns all fields of a dataclass instance, including those of nested dataclasses."""
    hints, descriptions = typing.get_type_hints(type(owner)), _descriptions(type(owner))
    settings = []
    for field in dataclasses.fields(owner):
        value = getattr(owner, field.name)
        if dataclasses.is_dataclass(value):
            settings += [inner._replace(name=f"{field.name}.{inner.name}") for inner in settings_of(value)]
        else:
            settings.append(Setting(field.name, hints[field.name], value, descriptions.get(field.name, "")))
    return settings


def _descriptions(cls: type) -> dict[str, str]:
    """Returns the first sentence on each field from `Attributes:` in the docstrings of a class and its bases."""
    sentences: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        _, _, section = inspect.cleandoc(base.__doc__ or "").partition("\nAttributes:\n")
        section = re.split(r"^\S", section, maxsplit=1, flags=re.M)[0]  # the next section is not indented
        for name, text in re.findall(r"^    (\w+): (.*(?:\n {5,}.*)*)", section, re.M):
            text = " ".join(text.split())
            sentences[name] = re.split(r"(?<=\.)\s", text, maxsplit=1)[0]
    return sentences


def configured(method: Method, given: Mapping[str, str]) -> Method:
    """Returns a method with some settings changed.

    Raises:
        ValueError: a name is unknown (the message lists the known ones), or a value has another type.
    """
    settings = {setting.name: setting for setting in settings_of(method)}
    check_known(method.name, settings, {name: f"--set {name}={text}" for name, text in given.items()})
    return _replaced(method, {name: _value(settings[name], text) for name, text in given.items()})


def check_known(method: str, known: Iterable[str], given: Mapping[str, str]) -> None:
    """Refuses settings that a method does not have.

    Args:
        method: name of the method.
        known: names of its settings.
        given: by name the settings that were given, as they were written.

    Raises:
        ValueError: a name is unknown; the message lists the known ones.
    """
    known = list(known)
    if unknown := [text for name, text in given.items() if name not in known]:
        raise ValueError(
            f"Expected settings of the method {method!r}, which are {', '.join(known)}. Received: {unknown[0]}. "
            "Leave it out."
        )


def _replaced(owner: Any, values: Mapping[str, Any]) -> Any:
    """Applies `dataclasses.replace` for all names at once, including names such as `agent.gamma`."""
    changes: dict[str, Any] = {}
    inner: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        field, _, rest = name.partition(".")
        if rest:
            inner.setdefault(field, {})[rest] = value
        else:
            changes[field] = value
    changes |= {field: _replaced(getattr(owner, field), more) for field, more in inner.items()}
    return dataclasses.replace(owner, **changes)


def _value(setting: Setting, text: str) -> Any:
    names = tuple(part.strip() for part in text.removesuffix(",").split(","))
    for value in (*_read(text), text, names):
        fitted = _fitted(value, setting.hint)
        if fitted is not _MISFIT:
            return fitted
    raise ValueError(
        f"Expected `{setting.name}` to be of type {_type_name(setting.hint)}, such as "
        f"{setting.name}={as_text(setting.default)}. Received: --set {setting.name}={text}"
    )


def _read(text: str) -> list[Any]:
    """Reads the text as JSON (`true`, `[1, 2]`) or Python (`True`, `1, 2`); returns a list, empty on failure."""
    for read in (json.loads, ast.literal_eval):
        try:
            return [read(text)]
        except (ValueError, TypeError, SyntaxError):
            pass
    return []


_MISFIT = object()


def _fitted(value: Any, hint: Any) -> Any:
    """Converts the value to its type hint, or returns `_MISFIT`. Functions cannot be given on a command line."""
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        fits = (_fitted(value, option) for option in options)
        return next((fit for fit in fits if fit is not _MISFIT), _MISFIT)
    if origin is typing.Literal:
        return value if value in options else _MISFIT
    if origin is tuple and isinstance(value, (list, tuple)):
        if options[-1] is Ellipsis:
            options = options[:1] * len(value)
        entries = [_fitted(entry, option) for entry, option in zip(value, options, strict=False)]
        return tuple(entries) if len(value) == len(options) and _MISFIT not in entries else _MISFIT
    if hint is float and type(value) is int:
        return float(value)
    return value if hint is Any or (isinstance(hint, type) and type(value) is hint) else _MISFIT


def _type_name(hint: Any) -> str:
    options = typing.get_args(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(_type_name(option) for option in options if not _is_function(option))
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(map(repr, options))
    if hint is type(None):
        return "None"
    return hint.__name__ if isinstance(hint, type) and not options else str(hint)


def _is_function(hint: Any) -> bool:
    return typing.get_origin(hint) is Callable


def as_text(value: Any) -> str:
    """Returns a value in the form that `--set` reads."""
    if isinstance(value, tuple):
        return ",".join(map(str, value)) + ("," if len(value) == 1 else "")
    return value.__qualname__ if inspect.isroutine(value) else str(value)
