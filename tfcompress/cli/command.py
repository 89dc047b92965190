"""The class of subcommands."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Command"]


def _nothing(args: argparse.Namespace) -> None:
    del args


def _nothing_kept(args: argparse.Namespace) -> str:
    del args
    return "nothing of the unfinished work is kept"


@dataclass(frozen=True)
class Command:
    """A subcommand of `tfcompress`.

    Attributes:
        name: the name to type.
        text: one line about it, for the help.
        run: does the work.
        add_flags: adds its arguments to a parser.
        check: checks arguments in combination, after each has been checked alone; ends with `args.parser.error`.
        interrupted: returns the words that follow "interrupted;": what is kept, and how to continue.
    """

    name: str
    text: str
    run: Callable[[argparse.Namespace], None]
    add_flags: Callable[[argparse.ArgumentParser], None] = lambda parser: None
    check: Callable[[argparse.Namespace], None] = _nothing
    interrupted: Callable[[argparse.Namespace], str] = _nothing_kept
