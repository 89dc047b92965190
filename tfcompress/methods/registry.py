"""Methods by name: built-in ones and those of other packages come through the same door."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import TypeVar

from tfcompress import expect
from tfcompress.methods.base import Method

__all__ = ["method_by_name", "register_method", "registered_methods"]

_METHODS: dict[str, type[Method]] = {}
_Class = TypeVar("_Class", bound=type[Method])


def register_method(name: str) -> Callable[[_Class], _Class]:
    """Class decorator that makes a method known by `name`.

    Raises:
        ValueError: another class has that name.
    """

    def register(cls: _Class) -> _Class:
        known = _METHODS.get(name)
        # The same class again: its module was loaded anew.
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(
                f"Expected a new method name. Received: {name!r}, which is {known.__module__}.{known.__qualname__}. "
                "Register the class under another name."
            )
        cls.name = name
        _METHODS[name] = cls
        return cls

    return register


def registered_methods() -> dict[str, type[Method]]:
    """All methods by name, those of installed packages (entry point group `tfcompress.methods`) included."""
    for entry in entry_points(group="tfcompress.methods"):
        if entry.name not in _METHODS:
            register_method(entry.name)(entry.load())
    return dict(sorted(_METHODS.items()))


def method_by_name(method: str | Method) -> Method:
    """A method from its name (with its defaults), or the instance itself.

    Raises:
        ValueError: an unknown name; the message lists the known ones.
        TypeError: neither a name nor a method.
    """
    if isinstance(method, Method):
        return method
    if not isinstance(method, str):
        is_class = isinstance(method, type) and issubclass(method, Method)
        hint = f"Write its parentheses: method={method.__name__}()." if is_class else ""
        expect.refuse("method", "a name or a Method", method, hint, wrong_type=True)
    known = registered_methods()
    if method not in known:
        expect.refuse("method", f"one of {sorted(known)}", method)
    return known[method]()
