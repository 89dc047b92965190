"""The methods of a call: one, or those of the stages of a flow."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras

from tfcompress import expect
from tfcompress.methods import Method, method_by_name
from tfcompress.methods.order import check_order

__all__ = ["label_of", "methods_of", "name_of"]

_WHAT = 'a name, a Method, or several of them in the order of their stages, such as ["lit", "rlal"]'


def methods_of(
    method: Any,
    preset: str | None = None,
    epochs: int | None = None,
    learning_rate: float | None = None,
    optimizer: str | keras.optimizers.Optimizer | None = None,
) -> tuple[Method, ...]:
    """Returns the methods of a call, with the settings of its short forms.

    In a flow the preset goes to all methods given by name that have it, and the other settings to all methods that have
    them.

    Args:
        method: a name or an instance, or a sequence of these.
        preset: the preset for methods given by name.
        epochs, learning_rate, optimizer: settings with other values.

    Raises:
        TypeError, ValueError: as for `method_by_name`; no method at all, a setting that no stage has, or an order that
            cannot work.
    """
    changes = {"epochs": epochs, "learning_rate": learning_rate, "optimizer": optimizer}
    if not isinstance(method, (tuple, list)):
        return (method_by_name(method, preset, **changes),)
    if len(method) == 1:
        return (method_by_name(method[0], preset, **changes),)
    if not method:
        expect.refuse("method", _WHAT, method)
    plain = [method_by_name(each) for each in method]
    check_order(plain)
    given = {name: value for name, value in changes.items() if value is not None}
    for name, value in given.items():
        if not any(_has(each, name) for each in plain):
            expect.refuse(name, "None for stages that have no such setting", value, "Leave it out.")
    known = isinstance(preset, str)
    pairs = zip(method, plain, strict=True)
    by_name = [known and isinstance(each, str) and preset in made.presets() for each, made in pairs]
    if preset is not None and not any(by_name):
        method_by_name(method[0], preset)  # says why not
    return tuple(
        method_by_name(each, preset if takes else None, **{n: v for n, v in given.items() if _has(made, n)})
        for each, made, takes in zip(method, plain, by_name, strict=True)
    )


def _has(method: Method, setting: str) -> bool:
    return setting in {field.name for field in dataclasses.fields(method)}  # type: ignore[arg-type]


def name_of(methods: Sequence[Method]) -> str:
    """Returns the name of a flow, such as "lit+rlal"."""
    return "+".join(method.name for method in methods)


def label_of(number: int, method: Method) -> str:
    """Returns the name of a stage, which its folder has too: "1-lit"."""
    return f"{number}-{method.name}"
