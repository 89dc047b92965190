"""`tfcompress export`."""

from __future__ import annotations

import argparse
import pathlib

from tfcompress import expect
from tfcompress.cli.arguments import add_run, checked
from tfcompress.cli.command import Command

__all__ = ["COMMAND"]

# The names of tfcompress.export, which needs TensorFlow.
_DEFAULT_FORMATS = ("keras", "saved_model", "tflite")
_FORMATS = (*_DEFAULT_FORMATS, "onnx")
_QUANTIZATIONS = ("float32", "float16", "dynamic", "int8", "int16x8", "int4", "mixed", "sparse")
_IO_TYPES = ("int8", "uint8")
_ON_MISMATCH = ("error", "warn")


def _add_flags(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("--format", action="append", choices=_FORMATS, help="may be repeated (default: all but onnx)")
    parser.add_argument(
        "--quantize", action="append", choices=_QUANTIZATIONS, help="for tflite; may be repeated (default: float32)"
    )
    parser.add_argument(
        "--integer-io", choices=_IO_TYPES, help="inputs and outputs of int8, int16x8 and mixed files (default: float32)"
    )
    recipe = checked(str, expect.path, "recipe", what="a JSON file")
    text = "rules of ai-edge-quantizer for --quantize mixed, in place of tfcompress' own"
    parser.add_argument("--recipe", metavar="FILE", type=recipe, help=text)
    labels = checked(str, expect.path, "labels", what="a text file")
    text = "names of the classes, one a line, for the metadata of TFLite files"
    parser.add_argument("--labels", metavar="FILE", type=labels, help=text)
    parser.add_argument(
        "--on-mismatch",
        choices=_ON_MISMATCH,
        default="error",
        help="what follows where a file does not compute what the model computes: exit code 1, or only a warning",
    )
    folder = checked(str, expect.path, "out", what="a folder")
    parser.add_argument("--out", metavar="DIR", type=folder, help="the folder to write to (default: RUN/export)")


def _check(args: argparse.Namespace) -> None:
    if args.quantize and args.format and "tflite" not in args.format:
        args.parser.error("Expected --quantize together with --format tflite, the only format that it changes")
    if args.integer_io and not {"int8", "int16x8", "mixed"} & set(args.quantize or ()):
        args.parser.error("Expected --integer-io together with --quantize int8, int16x8 or mixed")
    if args.recipe and "mixed" not in (args.quantize or ()):
        args.parser.error("Expected --recipe together with --quantize mixed")


def _run(args: argparse.Namespace) -> None:
    import tfcompress
    from tfcompress.export import ExportMismatch, Metadata

    labels = () if args.labels is None else tuple(_lines(args.labels))
    result = tfcompress.Result.load(args.run_dir)
    folder = args.out or args.run_dir / "export"
    try:
        report = result.export(
            folder,
            args.format or _DEFAULT_FORMATS,
            args.quantize or (None,),
            integer_io=args.integer_io,
            recipe=args.recipe,
            metadata=Metadata(labels),
            on_mismatch=args.on_mismatch,
        )
    except ExportMismatch as error:
        print(error.report.summary())
        raise
    print(report.summary())
    print(f"Written to {folder}")


def _lines(path: pathlib.Path) -> list[str]:
    """Returns the lines of a text file that are not empty."""
    if not path.is_file():
        raise FileNotFoundError(f"Expected a text file of labels, one a line. Received: {str(path)!r}")
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip()]


COMMAND = Command(
    "export", "writes a compressed model for other runtimes, and checks each file", _run, _add_flags, _check
)
