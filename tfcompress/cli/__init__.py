"""The `tfcompress` command: its subcommands, one file each.

Each subcommand is the function of the same name, with its arguments as flags. TensorFlow takes seconds to load, so
only the subcommands load it: help and usage errors come at once.
"""

from tfcompress.cli.entry import main

__all__ = ["main"]
