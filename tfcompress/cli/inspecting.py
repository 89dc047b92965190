"""`tfcompress inspect`."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from tfcompress.cli.arguments import add_input_shape, add_model, existing
from tfcompress.cli.command import Command
from tfcompress.cli.control_flags import add_control_flags, control

__all__ = ["COMMAND"]


def _add_flags(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    add_input_shape(parser)
    parser.add_argument("--json", action="store_true", help="print all of it as JSON, layer by layer")
    add_control_flags(parser)


def _run(args: argparse.Namespace) -> None:
    path = existing(args.model)
    import tfcompress

    show: Callable[[str], object] = (lambda text: None) if args.json else print
    inspection = tfcompress.inspect(path, show, input_shape=args.input_shape, **control(args))
    if args.json:
        print(inspection.to_json())


COMMAND = Command("inspect", "what a model costs, layer by layer, and what of it can be made smaller", _run, _add_flags)
