"""The flags that describe the data."""

from __future__ import annotations

import argparse
import os
import re
import sys
from typing import Any

from tfcompress import expect
from tfcompress.cli.arguments import checked

__all__ = ["add_data_flags", "given_data"]

_FORMS = (
    "digits, a name of tensorflow-datasets, the path of a folder of images (a folder in it for each class) or of an "
    ".npz file, or package.module:function, which is called and returns data"
)
_SCALINGS = ("auto", "keras.applications", "unit_interval", "plus_minus_one", "none", "caffe", "torch")


def add_data_flags(parser: argparse.ArgumentParser, test: bool = False) -> None:
    """Adds the dataset, the share to hold out, and the data to measure on.

    Args:
        parser: the parser to add them to.
        test: whether to add test data.
    """
    group = parser.add_argument_group("data")
    named = checked(str, expect.text, "data")
    group.add_argument("--data", required=True, metavar="DATA", type=named, help=_FORMS)
    kinds = [("validation", "that choices are made by")] + [("test", "for the report, read once")] * test
    for name, text in kinds:
        single = checked(str, expect.text, f"{name}_data")
        more = f"data {text}: a path or package.module:function"
        group.add_argument(f"--{name}-data", metavar="DATA", type=single, help=more)
    share = checked(float, expect.number, "validation_split", above=0, below=1)
    text = "share of the training data to hold out for validation (default: 0.1)"
    group.add_argument("--validation-split", type=share, metavar="SHARE", help=text)
    text = "height and width to resize images to, such as 224 or 192x256 (default: the model's input size)"
    group.add_argument("--size", metavar="PIXELS", type=_size, help=text)
    text = (
        f"scaling of images for the model: one of {', '.join(_SCALINGS)}, or package.module:function of a "
        "batch of uint8 images (default: auto, which measures the scaling that the model was trained with)"
    )
    group.add_argument("--preprocess", metavar="NAME", default="auto", type=_preprocess, help=text)


def _size(text: str) -> tuple[int, int]:
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)?", text):
        raise argparse.ArgumentTypeError(
            f"Expected pixels such as 224, or height and width as 192x256. Received: {text!r}"
        )
    height, _, width = text.partition("x")
    return int(height), int(width or height)


def _preprocess(text: str) -> str:
    if text not in _SCALINGS and ":" not in text:
        raise argparse.ArgumentTypeError(
            f"Expected one of {', '.join(_SCALINGS)}, or package.module:function. Received: {text!r}"
        )
    return text


def given_data(args: argparse.Namespace) -> dict[str, Any]:
    """Returns the arguments of `compress` and `sensitivity` that the flags set.

    Raises:
        ValueError: a size or a scaling is given for data from a function, which has to return what the model reads.
    """
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # as `python -m` has it: functions are those of the user's own modules
    given = {name: getattr(args, name, None) for name in ("data", "validation_data", "test_data")}
    read = {name: _loaded(value, args) if value is not None else None for name, value in given.items()}
    return {**{name: value for name, value in read.items() if name in args}, "validation_split": args.validation_split}


def _loaded(data: str, args: argparse.Namespace) -> Any:
    if args.size is None and args.preprocess == "auto":
        return data
    from tfcompress import data as data_lib
    from tfcompress.data.elsewhere import imported

    if data_lib.kind_of(data) == "function":
        raise ValueError(
            f"Expected no --size and no --preprocess for data from a function. Received: {data!r}. Let the function "
            "return what the model reads, or tfcompress.data.load(..., size=..., preprocess=...)."
        )
    if ":" in args.preprocess:
        function = imported(args.preprocess)
        if not callable(function):
            raise ValueError(f"Expected a function of a module for --preprocess. Received: {args.preprocess!r}")
        return data_lib.load(data, preprocess=function, size=args.size)
    return data_lib.load(data, preprocess=None if args.preprocess == "none" else args.preprocess, size=args.size)
