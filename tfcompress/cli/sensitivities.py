"""`tfcompress sensitivity`."""

from __future__ import annotations

import argparse

from tfcompress import expect
from tfcompress.cli.arguments import (
    add_input_shape,
    add_model,
    add_seed,
    checked,
    drawn,
    existing,
    in_existing_folder,
    plot_path,
)
from tfcompress.cli.command import Command
from tfcompress.cli.data_flags import add_data_flags, given_data

__all__ = ["COMMAND"]


def _add_flags(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    add_input_shape(parser)
    add_data_flags(parser)
    text = "shares of the group's channels to keep (default: 0.75 0.5 0.25)"
    ratio = checked(float, expect.number, "keep_ratios", above=0, at_most=1)
    parser.add_argument("--keep-ratios", nargs="+", type=ratio, default=(0.75, 0.5, 0.25), metavar="RATIO", help=text)
    parser.add_argument("--criterion", default="l1_norm", metavar="NAME", help="ranks channels (default: l1_norm)")
    images = checked(int, expect.whole, "images", least=1)
    parser.add_argument("--images", type=images, default=1000, help="number of validation samples (default: 1000)")
    text = "batches of 128 training samples to compute BatchNormalization statistics anew from (default: 0)"
    batches = checked(int, expect.whole, "recalibrate_batches")
    parser.add_argument("--recalibrate-batches", type=batches, default=0, metavar="N", help=text)
    parser.add_argument("--plot", metavar="FILE", type=plot_path, help="file for a plot (.png, .svg, .pdf, .jpg)")
    file = checked(str, expect.path, "json", what="a file")
    parser.add_argument("--json", metavar="FILE", type=file, help="file for the numbers")
    add_seed(parser)


def _run(args: argparse.Namespace) -> None:
    path = existing(args.model)
    in_existing_folder(args.plot, args.json)  # before all is measured
    drawn(args.plot)
    import tfcompress

    measured = tfcompress.sensitivity(
        path,
        **given_data(args),
        input_shape=args.input_shape,
        keep_ratios=args.keep_ratios,
        criterion=args.criterion,
        images=args.images,
        recalibrate_batches=args.recalibrate_batches,
        seed=args.seed,
    )
    measured.summary()
    for file, write in ((args.json, measured.save), (args.plot, measured.plot)):
        if file:
            write(file)
            print(f"Written to {file}")


COMMAND = Command("sensitivity", "measures how accurate a model is with one channel group cut", _run, _add_flags)
