"""Data given by a string: the name of a dataset, a place on disk, or a function of a module."""

from __future__ import annotations

import importlib
import os
import pathlib
import re
from typing import Any, Literal

from tfcompress import expect
from tfcompress.data.named.builders import is_known

__all__ = ["FORMS", "given_by", "kind_of", "path_of"]

FORMS = (
    "the name of a dataset ('cifar10', 'digits'), the path of a folder of images (a folder in it for each class) or of "
    "an .npz file, 'package.module:function' that returns data"
)
_FUNCTION = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")

Kind = Literal["name", "path", "function"]


def kind_of(data: str | os.PathLike[str]) -> Kind:
    """Returns whether a string is a name, a path, or a function of a module.

    The name of a known dataset counts as a name, even if a folder has the same name. Everything that looks like a path
    (`./photos`, `/data/photos`, `photos/`, `set.npz`) counts as a path, and so does everything that exists on disk.
    """
    text = os.fspath(data)
    if not isinstance(data, str) or text.endswith((".npz", "/", os.sep)) or text.startswith((".", "~")):
        return "path"
    if _FUNCTION.fullmatch(text) and not os.path.exists(text):
        return "function"
    if os.path.isabs(text) or (os.path.exists(text) and not is_known(text)):
        return "path"
    return "name"


def path_of(data: str | os.PathLike[str], argument: str = "data") -> pathlib.Path:
    """Returns the path of a folder or of an .npz file. Raises ValueError if it does not exist."""
    path = pathlib.Path(os.fspath(data)).expanduser()
    if path.is_dir() or (path.is_file() and path.suffix == ".npz"):
        return path
    if path.is_file():
        raise ValueError(
            f"Expected `{argument}` to be a folder of images or an .npz file. Received: {argument}={str(data)!r}, "
            "another file. Read it in a function of your own, and give the function: 'package.module:function'."
        )
    expect.refuse(argument, FORMS, str(data), "There is no such path.")


def given_by(function: str, argument: str = "data") -> Any:
    """Calls a function of a module, without arguments, and returns its data.

    Args:
        function: "package.module:function".
        argument: name of the argument that it was given as.

    Raises:
        ValueError: the module or the function does not exist, or the function returns nothing.
    """
    module, _, name = function.partition(":")
    received = f"Received: {argument}={function!r}"
    try:
        value: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # of what the module imports
        raise ValueError(
            f"Expected `{argument}` to name a module that can be imported, and a function in it. {received}, and there "
            f"is no module {error.name!r}. Run it from the folder that the module lies in, or add that to PYTHONPATH."
        ) from None
    for part in name.split("."):
        value = getattr(value, part, None)
    if not callable(value):
        there = "no such function" if value is None else f"an object of the class {type(value).__name__}"
        raise ValueError(
            f"Expected `{argument}` to name a function without arguments, 'package.module:function', that returns "
            f"data. {received}, and the module has {there}."
        )
    data = value()
    if data is None:
        raise ValueError(f"Expected data from the function {function!r}. Received: None. Return the data at its end.")
    return data
