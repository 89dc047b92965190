"""`tfcompress benchmark`."""

from __future__ import annotations

import argparse
import sys

from tfcompress import expect
from tfcompress.cli.arguments import checked
from tfcompress.cli.command import Command

__all__ = ["COMMAND"]


def _add_flags(parser: argparse.ArgumentParser) -> None:
    file = checked(str, expect.path, "files", what="a file, or the folder of a SavedModel")
    text = "a .tflite, .keras, .h5 or .hdf5 file, or the folder of a SavedModel"
    parser.add_argument("files", metavar="FILE", nargs="+", type=file, help=text)
    original = checked(str, expect.path, "against", what="a file, or the folder of a SavedModel")
    parser.add_argument(
        "--against", metavar="ORIGINAL", type=original, help="the original, whose numbers the others' are shares of"
    )
    batch, threads = checked(int, expect.whole, "batch", least=1), checked(int, expect.whole, "threads", least=1)
    parser.add_argument(
        "--batch", metavar="N", type=batch, default=8, help="samples in an invocation, beside one (default: 8)"
    )
    parser.add_argument(
        "--threads", metavar="N", type=threads, help="threads, beside one (default: as many as the process may use)"
    )
    runs, seconds = checked(int, expect.whole, "runs", least=1), checked(float, expect.number, "seconds", above=0)
    parser.add_argument("--runs", metavar="N", type=runs, default=50, help="invocations in a round (default: 50)")
    parser.add_argument(
        "--seconds", metavar="S", type=seconds, default=2.0, help="time limit of each measurement (default: 2)"
    )
    parser.add_argument("--json", action="store_true", help="print all of it as JSON")


def _run(args: argparse.Namespace) -> None:
    import tfcompress

    measured = tfcompress.benchmark(
        *args.files,
        against=args.against,
        batch=args.batch,
        threads=args.threads,
        runs=args.runs,
        seconds=args.seconds,
        show=lambda line: print(line, file=sys.stderr),
    )
    print(measured.to_json() if args.json else measured)
    if measured.failures:
        count = f"{len(measured.failures)} of {len(measured.files)}"
        raise ValueError(
            f"Expected files that can be measured. Received: {count} that cannot; the reasons stand above."
        )


_TEXT = "measures files side by side: latency, memory, size, and what XNNPACK leaves"
COMMAND = Command("benchmark", _TEXT, _run, _add_flags)
