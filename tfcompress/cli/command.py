"""The form of a subcommand."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Command"]


def _nothing(args: argparse.Namespace) -> None:
    del args


def _nothing_kept(args: argparse.Namespace) -> str:
    del args
    return "nothing is kept of what was begun"


@dataclass(frozen=True)
class Command:
    """A subcommand of `tfcompress`.

    Attributes:
        name: as it is typed.
        text: a line about it, for the help.
        run: does it.
        add_flags: gives a parser its arguments.
        check: looks at arguments together, once each is right by itself; ends with `args.parser.error`.
        interrupted: gives the words that follow "interrupted;": what is kept, and how to go on.
    """

    name: str
    text: str
    run: Callable[[argparse.Namespace], None]
    add_flags: Callable[[argparse.ArgumentParser], None] = lambda parser: None
    check: Callable[[argparse.Namespace], None] = _nothing
    interrupted: Callable[[argparse.Namespace], str] = _nothing_kept
