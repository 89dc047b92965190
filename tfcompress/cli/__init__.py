"""The `tfcompress` command: its subcommands, one file each.

Each subcommand is the function of the same name, with its arguments as flags. TensorFlow takes seconds to load, so
only the subcommands load it: help and usage errors come at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from tfcompress.cli.interrupts import Interrupts

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command and ends the process.

    Args:
        argv: arguments without the program's name; those of the process by default.

    Raises:
        SystemExit: always, with code 0 (done), 1 (refused or failed), 2 (wrong usage) or 130 (interrupted).
    """
    with Interrupts() as interrupts:  # before anything that takes time to load
        from tfcompress.cli.entry import run

        run(argv, interrupts)
