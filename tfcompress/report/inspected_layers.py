"""Layers in the text of an inspection: a block that is repeated is shown once, and its repetitions are one row."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from tfcompress.costs import LayerCost
from tfcompress.report.table import shortened

__all__ = ["layer_rows"]

_LONGEST = 150  # layers of a block
_TYPE = 24  # characters of a class name


def layer_rows(layers: Sequence[LayerCost]) -> list[tuple[str, ...]]:
    """Rows of a table, headings first: layer, type, output, MACs, parameters."""
    rows: list[tuple[str, ...]] = [("layer", "type", "output", "MACs", "parameters")]
    kinds = [(layer.type_name, layer.output_shape, layer.macs, layer.params) for layer in layers]
    at = 0
    while at < len(layers):
        period, count = _repeated(kinds, at)
        rows += map(_row, layers[at : at + period])
        at += period * count
        if count > 1:
            rows.append(_repetitions(layers[at - period * (count - 1) : at], count - 1))
    return rows


def _row(layer: LayerCost) -> tuple[str, ...]:
    return layer.layer, shortened(layer.type_name, _TYPE), _output(layer), f"{layer.macs:,}", f"{layer.params:,}"


def _repetitions(layers: Sequence[LayerCost], count: int) -> tuple[str, ...]:
    """The row of so many blocks more, with their sums."""
    name = f"  {count} more, to {layers[-1].layer}"
    macs, params = sum(layer.macs for layer in layers), sum(layer.params for layer in layers)
    return name, f"{len(layers)} layers", _output(layers[-1]), f"{macs:,}", f"{params:,}"


def _output(layer: LayerCost) -> str:
    return str(tuple(layer.output_shape[1:]))


def _repeated(kinds: Sequence[Hashable], at: int) -> tuple[int, int]:
    """The length of the block that begins here, and how often it stands there, one after the other; (1, 1) for none.

    Of several the one that saves most rows counts. A run is not begun as long as one that begins with the next layer
    is no shorter: so a block ends where the pattern does, and what stands before the first block is not part of it.
    """
    best = _best(kinds[at:])
    if best[1] > 1 and at + 1 < len(kinds):
        period, count = _best(kinds[at + 1 :])
        if period * count >= best[0] * best[1]:
            return 1, 1
    return best


def _best(kinds: Sequence[Hashable]) -> tuple[int, int]:
    best, saved = (1, 1), 0
    for period in range(1, min(_LONGEST, len(kinds) // 2) + 1):
        if kinds[0] != kinds[period]:
            continue
        count = 1
        while kinds[period * count : period * (count + 1)] == kinds[:period]:
            count += 1
        if period * (count - 1) - 1 > saved:
            best, saved = (period, count), period * (count - 1) - 1
    return best
