"""Runs the command as `python -m tfcompress.cli`."""

from tfcompress.cli import main

main()
