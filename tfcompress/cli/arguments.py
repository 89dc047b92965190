"""Arguments that several subcommands share, and types of arguments."""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Callable
from typing import Any

from tfcompress import expect

__all__ = [
    "add_input_shape",
    "add_model",
    "add_run",
    "add_seed",
    "checked",
    "drawn",
    "existing",
    "in_existing_folder",
    "name_and_value",
    "number",
    "plot_path",
]

_PLOTS = (".png", ".svg", ".pdf", ".jpg")
_MODEL_SUFFIXES = (".keras", ".h5", ".hdf5")


def add_model(parser: argparse.ArgumentParser) -> None:
    """Adds the model file that a subcommand reads."""
    parser.add_argument("model", metavar="MODEL", type=_model_path, help="a .keras, .h5 or .hdf5 file")


def add_input_shape(parser: argparse.ArgumentParser) -> None:
    """Adds the input size, for a model that takes inputs of any size."""
    text = "for a model that takes images of any size: the size that costs are counted for, such as 224,224,3"
    parser.add_argument("--input-shape", metavar="SIZES", type=_sizes, help=text)


def _sizes(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(size) for size in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"Expected sizes such as 224,224,3. Received: {text!r}") from None


def add_run(parser: argparse.ArgumentParser, several: bool = False) -> None:
    """Adds the folder of a finished run as `run_dir`, or several folders as `run_dirs`."""
    folder = checked(str, expect.path, "run_dir", what="a folder")
    text = "the run folder of a finished run, or the folder of a saved result"
    if several:
        parser.add_argument("run_dirs", metavar="RUN", nargs="+", type=folder, help=text)
    else:
        parser.add_argument("run_dir", metavar="RUN", type=folder, help=text)


def add_seed(parser: argparse.ArgumentParser) -> None:
    """Adds the seed."""
    text = "random seed (default: 0)"
    parser.add_argument("--seed", type=checked(int, expect.seed, "seed"), default=0, help=text)


def checked(read: Callable[[str], Any], check: Callable[..., Any], name: str, **limits: Any) -> Callable[[str], Any]:
    """Returns an argument type: reads the text, then checks it like the function's argument `name`; exit code 2."""

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


def plot_path(text: str) -> str:
    """Checks the path of a plot; its ending gives the format."""
    if pathlib.Path(text).suffix not in _PLOTS:
        raise argparse.ArgumentTypeError(f"Expected a file that ends with one of {_PLOTS}. Received: {text!r}")
    return str(checked(str, expect.path, "plot")(text))


def in_existing_folder(*files: str | pathlib.Path | None) -> None:
    """Refuses files in folders that do not exist, before the work. Raises FileNotFoundError."""
    for file in files:
        if file is not None and not pathlib.Path(file).parent.is_dir():
            raise FileNotFoundError(f"Expected a file in an existing folder. Received: {str(file)!r}")


def drawn(plot: str | None) -> None:
    """Refuses a plot where nothing can be drawn, before the work. Raises ImportError."""
    if plot is not None:
        from tfcompress.report.plots import load_matplotlib

        load_matplotlib()


def number(text: str) -> int | float:
    """Reads a number: an int if the text is a whole number, so that 1000000 is absolute and 0.5 a share."""
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            pass
    raise argparse.ArgumentTypeError(f"Expected a number. Received: {text!r}")


def name_and_value(text: str) -> tuple[str, str]:
    """Splits an argument `NAME=VALUE` into name and value."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"Expected NAME=VALUE, such as epochs=90. Received: {text!r}")
    return name, value


def existing(path: pathlib.Path) -> str:
    """Returns the path of a model file. Raises FileNotFoundError if it does not exist."""
    if not path.exists():
        raise FileNotFoundError(f"Expected an existing .keras or .h5 file. Received: {str(path)!r}")
    return str(path)
