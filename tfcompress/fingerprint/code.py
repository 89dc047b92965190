"""The code of Python functions as data: bytecode without file names, line numbers and addresses."""

from __future__ import annotations

import dis
import functools
import importlib.util
import pathlib
import sys
import sysconfig
import types
from collections.abc import Iterator
from typing import Any

__all__ = [
    "code_data",
    "file_of",
    "imported_modules",
    "is_in_library",
    "is_installed",
    "names_of_attributes",
    "names_read",
]

_PACKAGE = __name__.partition(".")[0]


def code_data(code: types.CodeType) -> list[Any]:
    """Returns the code as JSON data: instructions, constants, and the names that it uses."""
    arguments = code.co_argcount + code.co_kwonlyargcount
    return [
        code.co_code.hex(),
        code.co_exceptiontable.hex(),
        [code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags],
        list(code.co_varnames[:arguments]),
        list(code.co_names),
        [_constant(value) for value in code.co_consts],
    ]


def _constant(value: Any) -> Any:
    if isinstance(value, types.CodeType):
        return code_data(value)
    if isinstance(value, tuple):
        return [_constant(entry) for entry in value]
    if isinstance(value, frozenset):  # in an order that is drawn anew in each process
        return sorted(repr(entry) for entry in value)
    return f"{type(value).__name__} {value!r}"


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for value in code.co_consts:
        if isinstance(value, types.CodeType):
            yield from _codes(value)


def _arguments(code: types.CodeType, *operations: str) -> list[Any]:
    values = (step.argval for part in _codes(code) for step in dis.get_instructions(part) if step.opname in operations)
    return sorted(set(values))


def names_read(code: types.CodeType) -> list[str]:
    """Returns the global names that a function, and the functions inside it, read."""
    return _arguments(code, "LOAD_GLOBAL", "LOAD_NAME")


def imported_modules(code: types.CodeType) -> list[str]:
    """Returns the modules that are imported when the function is called."""
    return _arguments(code, "IMPORT_NAME")


def names_of_attributes(code: types.CodeType) -> set[str]:
    """Returns all names in the code that may be attributes of a module."""
    return {name for part in _codes(code) for name in part.co_names}


@functools.cache
def _library_folders() -> tuple[pathlib.Path, ...]:
    paths = sysconfig.get_paths()
    return tuple({pathlib.Path(paths[name]).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")})


@functools.cache
def is_installed(module: str) -> bool:
    """Whether a module is Python's own, installed, or tfcompress', so that its name determines its content."""
    package = module.partition(".")[0]
    if package == "__main__":
        return False
    if package in sys.stdlib_module_names or package in sys.builtin_module_names or package == _PACKAGE:
        return True
    file = file_of(module) or file_of(package)
    if file is None:
        return False
    return is_in_library(str(file))


@functools.cache
def is_in_library(file: str) -> bool:
    """Whether a file belongs to Python, or to an installed package."""
    path = pathlib.Path(file).resolve()
    return any(folder in path.parents for folder in _library_folders()) or "dist-packages" in path.parts


def file_of(module: str) -> pathlib.Path | None:
    """Returns the file of a module, whether it is imported or not."""
    loaded = sys.modules.get(module)
    if loaded is not None:
        path = getattr(loaded, "__file__", None) or next(iter(getattr(loaded, "__path__", ())), None)
    else:
        try:
            spec = importlib.util.find_spec(module)
        except (ImportError, ValueError, AttributeError):
            return None
        path = None if spec is None else spec.origin
    return None if path is None else pathlib.Path(path)
