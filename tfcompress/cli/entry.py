"""The command: its parser, how it runs a subcommand, and how it ends."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from absl import app, flags, logging
from absl.flags import argparse_flags

from tfcompress.cli import (
    benchmarking,
    comparing,
    compressing,
    exporting,
    inspecting,
    listing,
    reporting,
    sensitivities,
)
from tfcompress.cli.interrupts import Interrupts

__all__ = ["run"]

_COMMANDS = (
    inspecting.COMMAND,
    sensitivities.COMMAND,
    compressing.COMMAND,
    exporting.COMMAND,
    benchmarking.COMMAND,
    comparing.COMMAND,
    reporting.COMMAND,
    listing.COMMAND,
)

_EPILOG = """\
Answers go to standard output; logs, warnings and errors to standard error. Exit codes: 0 done, 1 refused or failed,
2 wrong usage, 130 interrupted (Ctrl-C). -v 1 (absl's verbosity) shows more of the logs, and tracebacks as --debug
does; --helpfull lists absl's other flags."""
_DEBUG = "show the traceback of an error"


def run(argv: Sequence[str] | None, interrupts: Interrupts) -> NoReturn:
    """Runs the command and ends the process.

    Args:
        argv: arguments without the program's name; those of the process by default.
        interrupts: learn here what to say of an interruption.

    Raises:
        SystemExit: always.
    """

    def parse(argv: Sequence[str]) -> argparse.Namespace:
        args = _parse(argv)
        interrupts.words = lambda: args.command.interrupted(args)
        interrupts.traceback = args.debug or logging.level_debug()
        return args

    def work(args: argparse.Namespace) -> int:
        return _run(args, interrupts)

    app.run(work, argv=["tfcompress", *(sys.argv[1:] if argv is None else argv)], flags_parser=parse)
    raise AssertionError("absl.app.run returned")


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = _parser()
    try:
        args = parser.parse_args(argv[1:])
    except flags.Error as error:  # a bad value of one of absl's flags, which argparse does not know
        parser.error(str(error))
    if flags.FLAGS["verbosity"].using_default_value:
        # absl's default for commands is INFO, at which tensorflow-datasets says where its files lie.
        flags.FLAGS.verbosity = logging.WARNING  # type: ignore[assignment]
    args.command.check(args)
    return args


def _run(args: argparse.Namespace, interrupts: Interrupts) -> int:
    """Runs the subcommand; returns the exit code."""
    debug = interrupts.traceback
    try:
        args.command.run(args)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:  # who reads the output, such as `head`, has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still to be flushed goes nowhere
        return 1
    except Exception as error:
        if debug or interrupts.came or not _is_expected(error):
            raise
        print(f"tfcompress: error: {error}", file=sys.stderr)
        return 1
    return 0


def _is_expected(error: Exception) -> bool:
    """Whether the message says all that a user needs: bad input, files, a missing package, a run that diverged."""
    known = isinstance(error, (ValueError, TypeError, OSError, ImportError))
    return known or type(error).__module__.startswith("tfcompress.")


def _parser() -> argparse.ArgumentParser:
    # "resolve": a library that was imported before may have defined an absl flag of the same name.
    options: dict[str, Any] = {"allow_abbrev": False, "conflict_handler": "resolve"}
    parser = argparse_flags.ArgumentParser(  # type: ignore[no-untyped-call]
        prog="tfcompress",
        description="Makes trained Keras networks smaller and faster.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **options,
    )
    # The default is this one's: a subcommand's would overwrite what stood before it.
    parser.add_argument("--debug", action="store_true", help=_DEBUG)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        text = f"{command.text[0].upper()}{command.text[1:]}."
        subparser = commands.add_parser(command.name, help=command.text, description=text, **options)
        subparser.set_defaults(command=command, parser=subparser)
        subparser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=_DEBUG)
        command.add_flags(subparser)
    return parser
