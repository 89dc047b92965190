"""Arguments that several subcommands have, and the types of arguments."""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Callable
from typing import Any

from tfcompress import expect

__all__ = ["add_model", "add_seed", "checked", "existing", "name_and_value", "number"]

_MODEL_SUFFIXES = (".keras", ".h5", ".hdf5")


def add_model(parser: argparse.ArgumentParser) -> None:
    """Adds the model file that a subcommand reads."""
    parser.add_argument("model", metavar="MODEL", type=_model_path, help="a .keras, .h5 or .hdf5 file")


def add_seed(parser: argparse.ArgumentParser) -> None:
    """Adds the seed."""
    text = "what all randomness comes from (default: 0)"
    parser.add_argument("--seed", type=checked(int, expect.seed, "seed"), default=0, help=text)


def checked(read: Callable[[str], Any], check: Callable[..., Any], name: str, **limits: Any) -> Callable[[str], Any]:
    """A type of arguments: read, then checked as the argument `name` of the function is; argparse ends with code 2."""

    def checked(text: str) -> Any:
        value = read(text)  # what it raises argparse puts into words of its own, with the name of the type
        try:
            return check(name, value, **limits)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    checked.__name__ = read.__name__
    return checked


def _model_path(text: str) -> pathlib.Path:
    path: pathlib.Path = checked(str, expect.path, "model")(text)
    if path.suffix not in _MODEL_SUFFIXES:
        raise argparse.ArgumentTypeError(f"Expected the path of a .keras or .h5 file. Received: {text!r}")
    return path


def number(text: str) -> int | float:
    """An int where the text is one, so that 1000000 is an absolute number and 0.5 a share."""
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            pass
    raise argparse.ArgumentTypeError(f"Expected a number. Received: {text!r}")


def name_and_value(text: str) -> tuple[str, str]:
    """Name and value of an argument `NAME=VALUE`."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"Expected NAME=VALUE, such as epochs=90. Received: {text!r}")
    return name, value


def existing(path: pathlib.Path) -> str:
    """The path of a model file. Raises FileNotFoundError where there is none."""
    if not path.exists():
        raise FileNotFoundError(f"Expected an existing .keras or .h5 file. Received: {str(path)!r}")
    return str(path)
