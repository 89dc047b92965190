"""Values by their contents and functions by their code, as JSON data that is equal if they do the same."""

from __future__ import annotations

import copyreg
import dataclasses
import enum
import functools
import inspect
import json
import math
import pathlib
import re
import sys
import threading
import types
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from tfcompress.fingerprint import code as code_lib
from tfcompress.fingerprint.hashing import array_digest, digest
from tfcompress.fingerprint.keras_objects import KERAS_OBJECTS, held_besides_config

__all__ = ["Contents"]

_MOST = 20_000  # values that are looked at for one fingerprint
_LONGEST = 400  # characters of JSON that stand in a run folder as they are
_SPELT_OUT = 3  # levels of functions within functions
_C_FUNCTIONS = (types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType)
_STATELESS = (type(threading.Lock()), type(threading.RLock()), threading.local, type(Ellipsis), type(NotImplemented))
# Of a class, what the interpreter adds, and what dataclasses and abstract classes note.
_NOT_MEMBERS = {
    *("__dict__", "__weakref__", "__doc__", "__module__", "__qualname__", "__annotations__", "__firstlineno__"),
    *("__static_attributes__", "__abstractmethods__", "_abc_impl", "__dataclass_fields__", "__dataclass_params__"),
    *("__match_args__", "__parameters__", "__orig_bases__", "__slots__", "__type_params__", "__classcell__"),
    *("__hash__", "__annotate_func__", "__annotations_cache__"),
}


class Contents:
    """Converts values to JSON data that is equal in two processes if, and only if, the values do the same.

    Functions are compared by their code, and by everything that they read: defaults, closures, globals, the object that
    they are bound to. Functions of Python, Keras, TensorFlow and other installed packages are compared by name.

    Attributes:
        unknown: for each value whose content cannot be read, its place and its kind.
    """

    def __init__(self) -> None:
        self.unknown: list[str] = []
        self._open: list[int] = []
        self._keep_alive: list[Any] = []  # ids must not be reused while we read
        self._known: dict[int, Any] = {}
        self._seen = 0
        self._level = 0
        self._kinds = self._by_kind()

    def of(self, value: Any, where: str) -> Any:
        """Returns the content of a value.

        Args:
            value: anything.
            where: its place, such as "objective", for `unknown`.
        """
        if value is None or (isinstance(value, (bool, int, str)) and type(value) in (bool, int, str)):
            return value
        if isinstance(value, float) and type(value) is float:
            return value if math.isfinite(value) else repr(value)
        if id(value) in self._open:  # it holds itself
            return {"again": len(self._open) - 1 - self._open[::-1].index(id(value))}
        if id(value) in self._known:
            return self._known[id(value)]
        self._seen += 1
        if self._seen > _MOST:
            return self._unknown(value, where, "which holds too much to compare")
        self._open.append(id(value))
        self._keep_alive.append(value)
        try:
            content = self._of(value, where)
        except Exception as error:  # of the object's own code, which is asked for its state
            content = self._unknown(value, where, f"whose state cannot be read ({type(error).__name__})")
        finally:
            self._open.pop()
        if not self._open or not _mentions_again(content):
            self._known[id(value)] = content
        return content

    def _unknown(self, value: Any, where: str, why: str) -> Any:
        text = f"{where} is an object of the class {_name(type(value))}, {why}"
        if text not in self.unknown and self._seen <= _MOST + 1:
            self.unknown.append(text)
        return {"unknown": _name(type(value))}

    def _of(self, value: Any, where: str) -> Any:
        for kinds, describe in self._kinds:
            if isinstance(value, kinds):
                return describe(value, where)
        if type(value).__name__ == "Function" and callable(getattr(value, "python_function", None)):  # a tf.function
            return self.of(value.python_function, where)
        if isinstance(value, functools._lru_cache_wrapper):
            return self.of(value.__wrapped__, where)
        if _is_dataset(value):
            return self._unknown(value, where, "whose contents cannot be compared")
        if dataclasses.is_dataclass(value):
            names = dict.fromkeys([*(field.name for field in dataclasses.fields(value)), *_state(value)])
            held = {name: self.of(getattr(value, name), f"{where}.{name}") for name in names if hasattr(value, name)}
            return {"object": self.of(type(value), where), **held}
        if hasattr(value, "__array__") and hasattr(value, "dtype"):
            return self._array(np.asarray(value), where)
        return self._object(value, where)

    def _by_kind(self) -> tuple[tuple[Any, Callable[[Any, str], Any]], ...]:
        return (
            (enum.Enum, lambda value, where: {"enum": f"{_name(type(value))} {value!r}"}),
            (np.longdouble, lambda value, where: {"longdouble": repr(value)}),
            (np.generic, lambda value, where: self.of(value.item(), where)),
            (np.ma.MaskedArray, lambda value, where: [self._array(part, where) for part in (value.data, value.mask)]),
            (np.ndarray, self._array),
            (np.ufunc, self._ufunc),
            (np.dtype, lambda value, where: str(value)),
            ((int, float, str), lambda value, where: {"class": _name(type(value)), "value": value.__repr__()}),
            ((bytes, bytearray, complex, range, slice, types.MappingProxyType, pathlib.PurePath), self._plain),
            (re.Pattern, lambda value, where: {"pattern": repr(value.pattern), "flags": value.flags}),
            ((tuple, list), self._sequence),
            ((set, frozenset), self._set),
            (dict, self._mapping),
            (type, self._class),
            (types.ModuleType, self._module),
            (functools.partial, self._partial),
            (types.MethodType, self._method),
            (types.FunctionType, self._function),
            ((staticmethod, classmethod), lambda value, where: self.of(value.__func__, where)),
            (property, lambda value, where: [self.of(part, where) for part in (value.fget, value.fset, value.fdel)]),
            (functools.cached_property, lambda value, where: self.of(value.func, where)),
            (_C_FUNCTIONS, self._c_function),
            ((*_STATELESS, types.MemberDescriptorType, types.GetSetDescriptorType), self._stateless),
            (keras.Model, self._model),
            (keras.Variable, lambda value, where: self._array(keras.ops.convert_to_numpy(value), where)),
            (keras.random.SeedGenerator, self._seed_generator),
            (keras.Layer, self._layer),
            (KERAS_OBJECTS, self.of_keras),
        )

    def _plain(self, value: Any, where: str) -> Any:
        if isinstance(value, types.MappingProxyType):
            return self._mapping(dict(value), where)
        return _short(repr(bytes(value)) if isinstance(value, bytearray) else str(value))

    def _stateless(self, value: Any, where: str) -> Any:
        del where
        return {"object": _name(type(value))}

    def _array(self, array: np.ndarray, where: str) -> Any:
        try:
            return {"array": f"{array.dtype}{list(array.shape)}", "content": array_digest(array)}
        except TypeError:
            if array.size < _MOST:
                return {"array": list(array.shape), "content": self.of(array.ravel().tolist(), where)}
            return self._unknown(array, where, "which holds objects")

    def _ufunc(self, value: np.ufunc, where: str) -> Any:
        if getattr(np, value.__name__, None) is value:
            return f"numpy.{value.__name__}"
        return self._unknown(value, where, "whose code cannot be read")

    def _sequence(self, value: Any, where: str) -> Any:
        if all(type(entry) in (int, float, str, bool, type(None)) for entry in value):
            return _short([repr(entry) if isinstance(entry, float) and entry != entry else entry for entry in value])
        return _short([self.of(entry, f"{where}[{index}]") for index, entry in enumerate(value)])

    def _set(self, value: Any, where: str) -> Any:
        entries = [self.of(entry, where) for entry in value]
        return _short({"set": sorted(entries, key=lambda entry: json.dumps(entry, sort_keys=True))})

    def _mapping(self, value: Mapping[Any, Any], where: str) -> Any:
        entries = {}
        for key, entry in value.items():
            text = key if isinstance(key, str) else f"({json.dumps(self.of(key, where), sort_keys=True)})"
            entries[text] = self.of(entry, f"{where}[{key!r}]")
        return _short(entries)

    def _partial(self, value: functools.partial[Any], where: str) -> Any:
        parts = (value.func, value.args, value.keywords)
        return {"partial": [self.of(part, where) for part in parts]}

    def _method(self, value: types.MethodType, where: str) -> Any:
        return {"function": self.of(value.__func__, where), "of": self.of(value.__self__, where)}

    def _c_function(self, value: Any, where: str) -> Any:
        owner = getattr(value, "__self__", None)
        if owner is None or isinstance(owner, (types.ModuleType, type)):
            return _name(value)
        return {"function": value.__name__, "of": self.of(owner, where)}

    def _function(self, function: types.FunctionType, where: str) -> Any:
        installed = code_lib.is_installed(function.__module__ or "")
        if installed and "<locals>" not in function.__qualname__:
            return _name(function)
        wrapped = getattr(function, "__wrapped__", None)
        if wrapped is not None and code_lib.is_in_library(function.__code__.co_filename):
            return {"wrapper": function.__code__.co_qualname, "function": self.of(wrapped, where)}
        self._level += 1
        try:
            content = self._function_in_full(function, where, installed)
        finally:
            self._level -= 1
        return content if self._level < _SPELT_OUT else {"function": function.__name__, "content": digest(content)}

    def _function_in_full(self, function: types.FunctionType, where: str, installed: bool) -> Any:
        code = function.__code__
        reads = {} if installed else self._globals(function, where)
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            try:
                value = cell.cell_contents
            except ValueError:  # nothing was put there yet
                continue
            reads[name] = self._read(value, f"{where}: {name}", code)
        content: dict[str, Any] = {
            "function": function.__name__,
            "python": f"{sys.version_info.major}.{sys.version_info.minor}",  # the bytecode of another one is another
            "code": digest(code_lib.code_data(code)),
            "reads": reads,
            "defaults": self.of([function.__defaults__, function.__kwdefaults__], f"{where}: a default"),
        }
        attributes = {name: value for name, value in vars(function).items() if name != "__wrapped__"}
        if attributes and not installed:
            content["attributes"] = self.of(attributes, where)
        return content

    def _globals(self, function: types.FunctionType, where: str) -> dict[str, Any]:
        code = function.__code__
        names = [name for name in code_lib.names_read(code) if name in function.__globals__]
        reads = {name: self._read(function.__globals__[name], f"{where}: {name}", code) for name in names}
        for name in code_lib.imported_modules(code):
            file = None if code_lib.is_installed(name) else code_lib.file_of(name)
            if file is not None and file.is_file():  # whether it was imported already or not
                reads[f"import {name}"] = digest(file.read_text(encoding="utf-8", errors="replace"))
        return reads

    def _read(self, value: Any, where: str, code: types.CodeType) -> Any:
        """Returns the value that a function reads by name; for a user's module, the attributes that its code names."""
        if not isinstance(value, types.ModuleType) or code_lib.is_installed(value.__name__):
            return self.of(value, where)
        names = sorted(code_lib.names_of_attributes(code) & vars(value).keys())
        if not names:  # it is handed on
            return self.of(value, where)
        parts = {name: self._read(vars(value)[name], f"{where}.{name}", code) for name in names}
        return {"module": value.__name__, "reads": parts}

    def _module(self, value: types.ModuleType, where: str) -> Any:
        if code_lib.is_installed(value.__name__):
            return {"module": value.__name__}
        held = {name: part for name, part in vars(value).items() if not name.startswith("__")}
        return {"module": value.__name__, "holds": self.of(held, where)}

    def _class(self, value: type, where: str) -> Any:
        if code_lib.is_installed(value.__module__):
            return _name(value)
        self._level += 1
        try:
            members = {
                name: self.of(member, f"{where}.{name}")
                for name, member in sorted(vars(value).items())
                if name not in _NOT_MEMBERS and not _is_generated(member)
            }
            bases = [self.of(base, where) for base in value.__bases__ if base is not object]
        finally:
            self._level -= 1
        return {"class": value.__name__, "content": digest([members, bases])}

    def _model(self, model: keras.Model, where: str) -> Any:
        from tfcompress.fingerprint.models import model_contents

        content = model_contents(model, self, where)
        return {"model": digest(content["architecture"]), "weights": digest(content["weights"])}

    def _layer(self, layer: keras.Layer, where: str) -> Any:
        from tfcompress.fingerprint.models import weights_digest

        return {**self.of_keras(layer, where), "weights": weights_digest(layer)}

    def _seed_generator(self, value: keras.random.SeedGenerator, where: str) -> Any:
        return {"seed": self.of(value.get_config()["seed"], where), "state": self.of(value.state, where)}

    def of_keras(self, value: Any, where: str) -> Any:
        """Returns the content of a Keras object: class, config, and further contents of a user's own class."""
        from tfcompress.fingerprint.models import config_of

        content = {"class": self.of(type(value), where), "config": self.of(config_of(value), where)}
        parts = held_besides_config(value)
        if parts:
            content["holds"] = self.of(parts, where)
        return content

    def _object(self, value: Any, where: str) -> Any:
        cls = type(value)
        why = "whose state cannot be read"
        if inspect.isgenerator(value) or hasattr(value, "__next__") or hasattr(value, "fileno"):
            return self._unknown(value, where, why)
        if type(value).__module__ == "logging":
            return {"object": _name(cls)}
        own = cls.__reduce_ex__ is object.__reduce_ex__ and cls.__reduce__ is object.__reduce__
        if own and not code_lib.is_installed(cls.__module__) and cls.__flags__ & (1 << 9):  # made by `class`
            return {"object": self.of(cls, where), "holds": self.of(_state(value), where)}
        try:
            parts = value.__reduce_ex__(4)
        except Exception:
            return self._unknown(value, where, why)
        if isinstance(parts, str):
            return f"{cls.__module__}.{parts}"
        maker, arguments, state, items, pairs = (*parts, None, None, None)[:5]
        makers = (copyreg.__newobj__, getattr(copyreg, "__newobj_ex__", None), copyreg._reconstructor)  # type: ignore[attr-defined]
        made = None if maker in makers else self.of(maker, where)
        rest = [list(part) if part is not None else None for part in (items, pairs)]
        return {"object": self.of(cls, where), "made": made, "holds": self.of([list(arguments), state, *rest], where)}


def _short(content: Any) -> Any:
    """Returns JSON data, or its hash if it is long."""
    text = json.dumps(content, sort_keys=True)
    if len(text) <= _LONGEST or _mentions_again(content):
        return content
    what = f"{len(content)} entries" if isinstance(content, (list, dict)) else f"{len(text)} characters"
    return {"long": what, "content": digest(content)}


def _mentions_again(content: Any) -> bool:
    return '"again": ' in json.dumps(content)


def _name(thing: Any) -> str:
    """Returns module and name of a package's class or function; for a user's own only the name (not `__main__`)."""
    name = getattr(thing, "__qualname__", None) or getattr(thing, "__name__", type(thing).__name__)
    module = getattr(thing, "__module__", None) or "builtins"
    return f"{module}.{name}" if code_lib.is_installed(module) else str(name)


def _state(value: Any) -> dict[str, Any]:
    """Returns the attributes of an object, including those in slots."""
    attributes = dict(getattr(value, "__dict__", {}))
    for cls in type(value).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                attributes[name] = getattr(value, name)
    cached = {name for cls in type(value).__mro__ for name, member in vars(cls).items() if _is_cached(member)}
    return {name: part for name, part in attributes.items() if name not in cached}


def _is_cached(member: Any) -> bool:
    return isinstance(member, functools.cached_property)


def _is_generated(member: Any) -> bool:
    """Whether a method was generated by `dataclasses`, from fields in the object's state."""
    code = getattr(inspect.unwrap(member), "__code__", None) if isinstance(member, types.FunctionType) else None
    return code is not None and code.co_filename == "<string>"


def _is_dataset(value: Any) -> bool:
    tensorflow = sys.modules.get("tensorflow")
    return tensorflow is not None and isinstance(value, (tensorflow.data.Dataset, tensorflow.data.Iterator))
