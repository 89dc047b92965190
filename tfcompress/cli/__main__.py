"""Runs the command as `python -m tfcompress.cli`."""

from tfcompress.cli.entry import main

main()
