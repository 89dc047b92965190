"""The `tfcompress` command: `inspect`, `sensitivity`, `compress`, `export` and `methods`.

Each subcommand is the function of the same name, with its arguments as flags; each has a file here. TensorFlow takes
seconds to load, so only the subcommands load it: help and usage errors come at once.
"""

from tfcompress.cli.entry import main

__all__ = ["main"]
