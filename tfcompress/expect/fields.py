"""Checks of fields of frozen dataclasses, and of fields that have no effect."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

from tfcompress.expect.refusing import received

__all__ = ["settings", "unused"]


def settings(owner: Any, check: Callable[..., Any], /, *names: str, **limits: Any) -> None:
    """Checks fields of a frozen dataclass, and replaces their values by plain ones.

    Args:
        owner: an instance, in its `__post_init__`.
        check: one of the checks of this module.
        names: names of the fields.
        limits: further arguments of the check.
    """
    for name in names:
        object.__setattr__(owner, name, check(name, getattr(owner, name), **limits))


def unused(owner: Any, names: Iterable[str], why: str) -> None:
    """Refuses settings that differ from their defaults although they have no effect.

    Args:
        owner: an instance of a dataclass.
        names: names of fields that have defaults.
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
