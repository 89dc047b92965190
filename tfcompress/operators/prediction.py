"""Predicts the latency of any plan for a network from the latencies of its operators."""

from __future__ import annotations

import functools
import hashlib
import json
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from tfcompress.costs.lookups import Lookup, Lookups
from tfcompress.network import Network
from tfcompress.operators.grids import between
from tfcompress.operators.measuring import measured_grid, milliseconds, overhead_ns, share_of
from tfcompress.operators.shapes import FileOfWidths, WidthOperator
from tfcompress.operators.table import Correction, OperatorTable

__all__ = ["LatencyPrediction", "MissingFromTable"]

_Int = npt.NDArray[np.int64]
_Float = npt.NDArray[np.float64]
_LETTERS = "abcdefgh"
_FITTED, _HELD_OUT = 24, 8  # whole networks that are measured
_KINDS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")  # with a factor of their own, if the network has them
_LESS_NS = np.arange(0, 2001, 200)
_GROWTH = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)  # by all weights, of which one is chosen
_PRIOR = 0.15  # weight of a factor of 1 beside a measured network
_WHOLE = 3.0  # weight of the whole network beside one of other widths: budgets are shares of it
# By model, then by batch size and groups.
_FILES: weakref.WeakKeyDictionary[keras.Model, dict[tuple[Any, ...], FileOfWidths]] = weakref.WeakKeyDictionary()


class MissingFromTable(ValueError):
    """A table of another device lacks an operator of the network."""


class LatencyPrediction:
    """The latency of a network with any widths, as a sum over its operators in LiteRT.

    Operators that the table lacks are measured, and 32 whole networks of random widths, to which the sum is fitted and
    compared: both once, and kept in the table.

    Args:
        network: the network.
        table: the table; one of another device is only read.
        say: is told what is being done.

    Attributes:
        table: as given.
        file: the network's file for any widths.
        lookups: the latency by operator, in nanoseconds.
        correction: how the sum was fitted, and its error.

    Raises:
        MissingFromTable: a table of another device lacks an operator; the message names its layer.
        MissingOperatorError, Unresolved: as for `FileOfWidths`.
    """

    def __init__(self, network: Network, table: OperatorTable, say: Callable[[str], None] = lambda text: None) -> None:
        self._costs, self._sizes, self.table = network.costs, network.costs.sizes, table
        say("converting the model, to predict its latency")
        self.file = _file_of(network, table.batch)
        grids = self._grids(say)
        known = table.correction(self.digest)
        if known is None:
            known = self._fitted(grids, say) if table.is_of_this_device else Correction({}, 0.0, 0.0, 0, ())
        if table.is_of_this_device:
            table.correct(self.digest, known)
            table.save()
        self.correction = known
        once = np.array(round(table.overhead_ns or 0.0), np.int64)
        entry = next(iter(network.graph.nodes.values()))  # an input: what any invocation takes belongs to no layer
        overhead = Lookup(entry.name, entry.layer_name, np.zeros((0, 1 + len(self._sizes)), np.int64), (), once)
        each = [overhead, *(self._lookup(each, known) for each in grids)]
        self.lookups = Lookups(each, len(self._sizes), known.per_byte)

    @property
    def digest(self) -> str:
        """Digest of the network's operators and of how their widths hang together."""
        operators = [
            [each.operator.kind, each.operator.settings, [rows.tolist() for rows in each.shapes]]
            for each in self.file.operators
        ]
        return hashlib.sha256(json.dumps([operators, self._sizes.tolist()]).encode()).hexdigest()[:32]

    def predicted_ms(self, kept: npt.ArrayLike) -> _Float:
        """Returns milliseconds float64 `[...]` for what groups keep `[..., groups]`."""
        growth = self.lookups.growth(self._costs.count("bytes", kept))
        ms: _Float = growth * self.lookups.products(kept).sum(axis=-1) / 1e6
        return ms

    @functools.cached_property
    def whole_ms(self) -> float:
        """Milliseconds of the whole network on this device, measured once: the other measurements are shares of it."""
        return milliseconds(self._whole_file, self.table.threads, runs=200, seconds=2.0)

    def measured_ms(self, kept: _Int, seconds: float = 1.0) -> float:
        """Measures the network's file of these widths, on this device."""
        return self.whole_ms * self.share_of_whole(self.file.content(kept), seconds)

    def share_of_whole(self, content: bytes, seconds: float = 1.0) -> float:
        """Measures a file as a share of the whole network's latency, both in turn."""
        return share_of(content, self._whole_file, self.table.threads, seconds=seconds)

    @functools.cached_property
    def _whole_file(self) -> bytes:
        return self.file.content(self._sizes)

    def _grids(self, say: Callable[[str], None]) -> list[tuple[WidthOperator, Any]]:
        table, known = self.table, {}
        for number, operator in enumerate(self.file.operators, start=1):
            description = _description(operator)
            key = json.dumps(description)
            if key in known:
                continue
            grid = table.find(description, _most(operator, self._sizes))
            if grid is None:
                if not table.is_of_this_device:
                    raise MissingFromTable(
                        f"Expected a latency table with every operator of the model up to its widths. Received: one of "
                        f"{table.device.get('cpu', 'another device')} without {operator.operator.kind} of layer "
                        f"{operator.node!r}, {description['inputs']} to {description['outputs']}. Measure the model "
                        "on that device with the same tfcompress (docs/latency.md), or leave latency_table out."
                    )
                say(f"measuring the latency of operator {number} of {len(self.file.operators)} over its widths")
                if table.overhead_ns is None:
                    table.overhead_ns = overhead_ns(table.threads)
                table.add(description, measured_grid(operator, self._sizes, table.overhead_ns, self._time))
                grid = table.find(description, _most(operator, self._sizes))  # with the digits that are kept
            known[key] = grid
        return [(operator, known[json.dumps(_description(operator))]) for operator in self.file.operators]

    def _time(self, content: bytes) -> float:
        return 1e6 * milliseconds(content, self.table.threads)

    def _lookup(self, entry: tuple[WidthOperator, Any], correction: Correction) -> Lookup:
        """Returns the latency of an operator in its network."""
        operator, (axes, ns) = entry
        rows = operator.letters if operator.is_free else operator.letters[-1:]
        if not len(operator.letters):
            rows = operator.letters
        if len(axes):
            last, ns = between(axes[-1], ns)
            axes = (*axes[:-1], last)
        factor = correction.factors.get(operator.operator.kind, correction.factors.get("rest", 1.0))
        values = factor * np.maximum(ns - correction.less_ns, 0) + correction.byte_ns * _bytes(operator, axes)
        layer = operator.node
        return Lookup(operator.node, layer, rows, axes, np.rint(values).astype(np.int64))

    def _fitted(self, grids: Sequence[tuple[WidthOperator, Any]], say: Callable[[str], None]) -> Correction:
        """Fits the sum over operators to whole networks: by kind a factor, fewer nanoseconds each, and more a byte.

        An operator alone finds its weights in the core's cache, from the invocation before. In a network it does the
        less the more weights there are: so all take longer in proportion to the bytes of all weights.
        """
        plans = self._random_plans(_FITTED + _HELD_OUT)
        # Beside the whole network, as the speed of a machine changes from one second to the next.
        overhead = self.table.overhead_ns or 0.0
        measured = []
        for number, kept in enumerate(plans, start=1):
            say(f"measuring whole network {number} of {len(plans)} of random widths")
            measured.append(1e6 * self.measured_ms(kept, seconds=0.5))
        ns, many = np.array(measured), np.stack(plans)
        kinds = [operator.operator.kind for operator, _ in grids]
        names = [*(kind for kind in _KINDS if kind in kinds), "rest"]
        own = np.array([names.index(kind if kind in names else "rest") for kind in kinds])
        plain = Lookups([self._lookup(each, Correction({}, 0, 0, 0, ())) for each in grids], len(self._sizes))
        bytes_ = Lookups(
            [self._lookup(each, Correction({"rest": 0.0}, 0, 1.0, 0, ())) for each in grids], len(self._sizes)
        )
        alone, moved = plain.products(many), bytes_.products(many).sum(axis=1)
        fitted = np.arange(len(plans)) < _FITTED
        weights = np.where(np.arange(len(plans)) == 0, _WHOLE, 1.0)[fitted]
        size = self._costs.count("bytes", many).astype(np.float64)
        whole = max(float(size[0]), 1.0)
        best: tuple[float, float, float, _Float, _Float] | None = None
        for less in _LESS_NS.tolist():
            parts = np.maximum(alone - less, 0)
            sums = np.stack([*(parts[:, own == index].sum(axis=1) for index in range(len(names))), moved], axis=1)
            for growth in _GROWTH:
                more = 1 + growth * size / whole
                columns, goal = sums * more[:, None], np.maximum(1.0, ns - overhead * more)
                factors = _nonnegative(columns[fitted] / goal[fitted, None], weights, [1.0] * len(names) + [0.0])
                off = columns @ factors / goal - 1
                squares = float(((weights * off[fitted]) ** 2).sum())
                if best is None or squares < best[0]:
                    best = squares, float(less), growth / whole, factors, off
        assert best is not None
        _, fewer, growing, factors, off = best
        each = dict(zip(names, factors[:-1].tolist(), strict=True))
        return Correction(each, fewer, float(factors[-1]), len(plans), tuple(off[~fitted].tolist()), growing)

    def _random_plans(self, count: int) -> list[_Int]:
        """Returns the whole network, and others with shares of channels that are drawn in a range of their own."""
        rng = np.random.default_rng(0)
        plans = [self._sizes]
        for _ in range(count - 1):
            low, high = sorted(rng.uniform(0.1, 1, 2))
            shares = rng.uniform(low, high, len(self._sizes))
            plans.append(np.maximum(1, np.floor(self._sizes * shares)).astype(np.int64))
        return plans


def _file_of(network: Network, batch: int) -> FileOfWidths:
    """Returns the file of a network, which takes conversions: made once for a model in a process."""
    files = _FILES.setdefault(network.model, {})
    key = batch, network.through_norms, tuple(network.costs.sizes.tolist())
    if key not in files:
        files[key] = FileOfWidths(network, batch)
    return files[key]


def _nonnegative(columns: _Float, weights: _Float, prior: Sequence[float]) -> _Float:
    """Returns the factors of columns of shares that add up to 1, near those of `prior` where columns do not tell.

    Args:
        columns: float64 `[networks, factors]`.
        weights: float64 `[networks]`, by which a network counts.
        prior: a value for each factor.
    """
    from scipy.optimize import nnls  # a slow import that few calls need

    size = np.maximum(np.median(columns, axis=0), 1e-9)
    weight = _PRIOR * np.sqrt(len(columns) / 10)
    rows = np.concatenate([weights[:, None] * columns, weight * np.diag(size)])
    factors: _Float = nnls(rows, np.concatenate([weights, weight * size * np.array(prior)]))[0]
    return factors


def _most(operator: WidthOperator, sizes: _Int) -> list[int]:
    """Returns the greatest width of each axis of an operator."""
    rows = operator.letters if operator.is_free else operator.letters[-1:]
    most: list[int] = (rows @ np.concatenate([[1], sizes])).tolist() if len(operator.letters) else []
    return most


def _description(operator: WidthOperator) -> dict[str, Any]:
    """Returns an operator as plain data, with letters for the widths that vary."""
    letters = {tuple(row): _LETTERS[index] for index, row in enumerate(operator.letters.tolist()[-len(_LETTERS) :])}

    def written(rows: _Int | None) -> list[Any] | None:
        return None if rows is None else [letters.get(tuple(row), row[0]) for row in rows.tolist()]

    count = len(operator.operator.inputs)
    return {
        "operator": operator.operator.kind,
        "settings": json.loads(operator.operator.settings) if operator.operator.settings else {},
        "inputs": [written(rows) for rows in operator.shapes[:count]],
        "outputs": [written(rows) for rows in operator.shapes[count:]],
        "integers": [written(rows) for rows in operator.integers],
    }


def _bytes(operator: WidthOperator, axes: tuple[_Int, ...]) -> _Float:
    """Returns the bytes of first input and outputs `[widths of each axis]`, in float32."""
    letters = operator.letters if operator.is_free else operator.letters[-1:]
    grids = np.meshgrid(*axes, indexing="ij")
    places = {tuple(row): index for index, row in enumerate(letters.tolist())}

    def size(rows: _Int) -> Any:
        factor: Any = 1.0
        for row in rows.tolist():
            factor = factor * (grids[places[tuple(row)]] if tuple(row) in places else max(row[0], 1))
        return factor

    tensors = [operator.shapes[0], *operator.outputs]
    return np.asarray(sum(4.0 * size(rows) for rows in tensors)) + np.zeros([len(axis) for axis in axes])
