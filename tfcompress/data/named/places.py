"""Data that a string stands for: the name of a set, a place on the disk, or a function of a module."""

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
    """Whether a string is a name, a path, or a function of a module.

    The name of a known set is a name, also where there is a folder that is called so. Whatever looks like a path
    (`./photos`, `/data/photos`, `photos/`, `set.npz`) is one, and so is everything else that there is on the disk.
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
    """The path of a folder or of an .npz file. Raises ValueError where there is none."""
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
        argument: that it was given as.

    Raises:
        ValueError: no such module, no such function in it, or nothing that it returns.
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
        raise ValueError(f"Expected data from the function {function!r}. Received: None. Let it return what it makes.")
    return data
