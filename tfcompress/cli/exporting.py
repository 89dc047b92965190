"""`tfcompress export`."""

from __future__ import annotations

import argparse

from tfcompress import expect
from tfcompress.cli.arguments import add_run, checked
from tfcompress.cli.command import Command

__all__ = ["COMMAND"]

# The names of tfcompress.export, which needs TensorFlow.
_FORMATS = ("keras", "saved_model", "tflite")
_QUANTIZATIONS = ("float32", "float16", "dynamic", "int8", "sparse")


def _add_flags(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("--format", action="append", choices=_FORMATS, help="may be repeated (default: all of them)")
    parser.add_argument(
        "--quantize", action="append", choices=_QUANTIZATIONS, help="for tflite; may be repeated (default: float32)"
    )
    folder = checked(str, expect.path, "out", what="a folder")
    parser.add_argument("--out", metavar="DIR", type=folder, help="the folder to write to (default: RUN/export)")


def _check(args: argparse.Namespace) -> None:
    if args.quantize and args.format and "tflite" not in args.format:
        args.parser.error("Expected --quantize together with --format tflite, the only format that it changes")


def _run(args: argparse.Namespace) -> None:
    import tfcompress

    result = tfcompress.Result.load(args.run_dir)
    folder = args.out or args.run_dir / "export"
    report = result.export(folder, args.format or _FORMATS, args.quantize or (None,))
    print(report.summary())
    print(f"Written to {folder}")


COMMAND = Command(
    "export", "writes a compressed model for other runtimes, and checks each file", _run, _add_flags, _check
)
