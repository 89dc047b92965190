"""`tfcompress report`."""

from __future__ import annotations

import argparse

from tfcompress import expect
from tfcompress.cli.arguments import add_run, checked, in_existing_folder
from tfcompress.cli.command import Command

__all__ = ["COMMAND"]


def _add_flags(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    file = checked(str, expect.path, "out", what="a file")
    parser.add_argument("--out", metavar="FILE", type=file, help="the page to write (default: RUN/report.html)")


def _run(args: argparse.Namespace) -> None:
    in_existing_folder(args.out)
    import tfcompress

    result = tfcompress.Result.load(args.run_dir)
    page = args.out or args.run_dir / "report.html"
    result.report(page)
    print(f"Written to {page}")


COMMAND = Command("report", "writes everything about a finished run into one HTML page", _run, _add_flags)
