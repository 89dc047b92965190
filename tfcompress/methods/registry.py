"""Methods by name: built-in methods and those of other packages are registered in the same way."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from tfcompress import expect
from tfcompress.methods.base import Method
from tfcompress.methods.settings import check_known

__all__ = ["method_by_name", "register_method", "registered_methods"]

_GROUP = "tfcompress.methods"
# Written as entry points are: each is loaded when it is asked for.
_BUILT_IN = {
    "amc": "tfcompress.methods.amc.method:AMC",
    "born_again": "tfcompress.methods.distillation.baselines:BornAgain",
    "cluster": "tfcompress.methods.weights.cluster:Cluster",
    "darc": "tfcompress.methods.darc.method:DARC",
    "hint": "tfcompress.methods.distillation.hint:Hint",
    "kd": "tfcompress.methods.distillation.baselines:KD",
    "knapsack": "tfcompress.methods.knapsack:Knapsack",
    "lit": "tfcompress.methods.distillation.lit:LIT",
    "magnitude": "tfcompress.methods.weights.magnitude:Magnitude",
    "n2n": "tfcompress.methods.n2n.method:N2N",
    "qat": "tfcompress.methods.weights.qat:QAT",
    "random": "tfcompress.methods.random:Random",
    "replaced": "tfcompress.methods.darc.baselines:Replaced",
    "rlal": "tfcompress.methods.rlal.method:RLAL",
    "scratch": "tfcompress.methods.distillation.baselines:Scratch",
    "taylor": "tfcompress.methods.taylor.method:TaylorPruning",
    "uniform": "tfcompress.methods.uniform:Uniform",
}
_METHODS: dict[str, type[Method]] = {}
_Class = TypeVar("_Class", bound=type[Method])


def _home(cls: type[Method]) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def register_method(name: str) -> Callable[[_Class], _Class]:
    """Returns a class decorator that makes a method known as `name`.

    Raises:
        ValueError: another class has the name.
    """

    def register(cls: _Class) -> _Class:
        known = _home(_METHODS[name]) if name in _METHODS else _BUILT_IN.get(name)
        # The same class again: its module was loaded anew.
        if known is not None and known != _home(cls):
            raise ValueError(
                f"Expected a new method name. Received: {name!r}, which is {known.replace(':', '.')}. "
                "Register the class under another name."
            )
        cls.name = name
        _METHODS[name] = cls
        return cls

    return register


def _load_built_in(name: str) -> None:
    if name in _BUILT_IN and name not in _METHODS:
        register_method(name)(EntryPoint(name, _BUILT_IN[name], _GROUP).load())


def registered_methods() -> dict[str, type[Method]]:
    """Returns all methods by name, including those of installed packages (entry point group `tfcompress.methods`)."""
    for name in _BUILT_IN:
        _load_built_in(name)
    for entry in entry_points(group=_GROUP):
        if entry.name not in _METHODS:
            register_method(entry.name)(entry.load())
    return dict(sorted(_METHODS.items()))


def method_by_name(method: str | Method, preset: str | None = None, **changes: Any) -> Method:
    """Returns a method by its name, or the instance itself.

    Args:
        method: a name or an instance.
        preset: the preset for a method given by name; `None` for the defaults, which are "balanced".
        **changes: settings with other values, such as `epochs=10`; `None` keeps a setting.

    Raises:
        ValueError: an unknown name, or a preset or a setting that the method does not have; the message lists the known
            ones. Or a preset is given with an instance, which has its own settings.
        TypeError: neither a name nor a method.
    """
    changes = {name: value for name, value in changes.items() if value is not None}
    if isinstance(method, Method):
        if preset is not None:
            known = isinstance(preset, str) and preset in method.presets()
            call = f"{type(method).__name__}.with_preset({preset if known else 'fast'!r})"
            what = "None beside an instance, which has its settings"
            expect.refuse(
                "preset", what, preset, f"Write method={call}; settings in its brackets overrule the preset's."
            )
        _check_has(type(method), method.name, changes)
        return dataclasses.replace(method, **changes) if changes else method  # type: ignore[type-var]
    if not isinstance(method, str):
        is_class = isinstance(method, type) and issubclass(method, Method)
        hint = f"Write its parentheses: method={method.__name__}()." if is_class else ""
        expect.refuse("method", "a name or a Method", method, hint, wrong_type=True)
    _load_built_in(method)
    if method not in _METHODS and method not in registered_methods():
        expect.refuse("method", f"one of {sorted(_METHODS)}", method)
    _check_has(_METHODS[method], method, changes)
    return _METHODS[method](**changes) if preset is None else _METHODS[method].with_preset(preset, **changes)


def _check_has(cls: type[Method], name: str, changes: dict[str, Any]) -> None:
    """Refuses settings that a method does not have."""
    known: list[str] = [field.name for field in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else []
    check_known(name, known, {name: f"{name}={expect.received(value)}" for name, value in changes.items()})
