"""`tfcompress compare`."""

from __future__ import annotations

import argparse

from tfcompress import expect
from tfcompress.cli.arguments import add_run, checked, drawn, in_existing_folder, plot_path
from tfcompress.cli.command import Command

__all__ = ["COMMAND"]


def _add_flags(parser: argparse.ArgumentParser) -> None:
    add_run(parser, several=True)
    parser.add_argument("--plot", metavar="FILE", type=plot_path, help="file for a plot of the metric over a cost")
    name = checked(str, expect.text, "cost")
    parser.add_argument(
        "--cost", metavar="NAME", type=name, help="cost on the plot's axis: macs (default), params, bytes, latency_ms"
    )


def _check(args: argparse.Namespace) -> None:
    if args.cost and not args.plot:
        args.parser.error("Expected --cost together with --plot, the only output that it changes")


def _run(args: argparse.Namespace) -> None:
    in_existing_folder(args.plot)
    drawn(args.plot)
    import tfcompress

    comparison = tfcompress.compare(args.run_dirs)
    print(comparison)
    if args.plot:
        comparison.plot(args.plot, args.cost or "macs")
        print(f"Written to {args.plot}")


COMMAND = Command(
    "compare", "puts finished runs side by side: what they cost, and how good they are", _run, _add_flags, _check
)
