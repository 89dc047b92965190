"""The flags that say which parts of a model may be pruned."""

from __future__ import annotations

import argparse
from typing import Any

from tfcompress import expect
from tfcompress.cli.arguments import checked, name_and_value

__all__ = ["add_control_flags", "control"]


def add_control_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags, as an argument group."""
    group = parser.add_argument_group("what may be pruned (PATTERN: a layer's name, or a pattern such as 'conv2_*')")
    for name, text in (("exclude", "layers whose channels are all kept"), ("only", "the layers that may be pruned")):
        group.add_argument(f"--{name}", action="append", metavar="PATTERN", help=f"{text}; may be repeated")
    group.add_argument(
        "--ratio-limits",
        action="append",
        default=[],
        metavar="PATTERN=LEAST:GREATEST",
        type=_limits,
        help="least and greatest share of the channels to remove, such as 'conv2_*=0.1:0.5', or only the greatest; "
        "may be repeated",
    )
    text = "channel counts are multiples of N; auto (compress): those that pay in latency"
    group.add_argument("--round-to", type=_round_to, default=1, metavar="N", help=text)
    group.add_argument(
        "--through-norms",
        action="store_true",
        help="also remove channels that enter a layer's statistic (LayerNormalization, keys of attention)",
    )


def control(args: argparse.Namespace) -> dict[str, Any]:
    """Returns the arguments of `inspect` and `compress` that the flags set."""
    return {
        "exclude": args.exclude or (),
        "only": args.only,
        "ratio_limits": dict(args.ratio_limits),
        "round_to": args.round_to,
        "through_norms": args.through_norms,
    }


def _round_to(text: str) -> int | str:
    return text if text == "auto" else checked(int, expect.whole, "round_to", least=1)(text)


def _limits(text: str) -> tuple[str, tuple[float, float]]:
    pattern, values = name_and_value(text)
    least, colon, greatest = values.rpartition(":")
    try:
        limits = (float(least) if colon else 0.0, float(greatest))
        if not 0 <= limits[0] <= limits[1] <= 1:
            raise ValueError
        return pattern, limits
    except ValueError:
        raise argparse.ArgumentTypeError(
            "Expected PATTERN=LEAST:GREATEST with 0 <= LEAST <= GREATEST <= 1, such as conv2_*=0.1:0.5. "
            f"Received: {text!r}"
        ) from None
