"""Counts MACs, parameters, bytes and registered metrics of a model, or of a plan for it, without building anything.

Every count is a sum of products `factor * width * width`, where a width is the number of channels of certain labels in
an operation or a weight. A plan changes only widths, so its cost takes two matrix products.

Units: one multiply-add is one MAC (FLOPs = 2 x MACs). Convolutions and dense layers, recurrent layers (the products of
all steps) and attention (its projections, and the products with keys and values) are counted; they are all but a few
percent of a network's arithmetic, and what the papers count. Normalization, activations, gates, pooling, sums and
biases are not counted. For a layer without a handler, or with layers inside, the MACs in TensorFlow's graph of it are
counted; if that shows none, `ModelCost` names the layer. Parameters are weights without running statistics, as in
published figures; bytes are all weights, as in a file.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from tfcompress import expect
from tfcompress.costs.lookups import Lookup, Lookups, carried
from tfcompress.costs.metrics import BUILT_IN, LOOKED_UP, Metric, columns, metric_of
from tfcompress.costs.parts import CostPart, parts_of_products
from tfcompress.costs.terms import Terms
from tfcompress.graph import ChannelGroups, LayerGraph, bypasses, groups_after
from tfcompress.graph.labels import Ids
from tfcompress.input_shapes import InputShape, with_input_shape
from tfcompress.model_files import read_model
from tfcompress.plan import Plan, RemoveLayers

__all__ = ["Cost", "CostModel", "LayerCost", "ModelCost", "cost"]

_Int = npt.NDArray[np.int64]
_BYTES = "bytes"
HEAVY = 0.1


@dataclass(frozen=True, eq=False)
class Cost:
    """The cost of a model; equal if all columns are. `cost["macs"]` is a column by name.

    Attributes:
        macs: multiply-adds of one forward pass of one sample (one multiply-add = 1; FLOPs = 2 x MACs).
        params: number of learned weights (without running statistics).
        bytes: size of all weights in memory, in bytes.
        others: the columns of registered metrics (`tfcompress.costs.register_metric`), by name.
    """

    macs: int
    params: int
    bytes: int
    others: Mapping[str, int] = field(default_factory=dict)

    def __getitem__(self, metric: str) -> int:
        if metric in BUILT_IN:
            number: int = getattr(self, metric)
            return number
        if metric not in self.others:
            raise KeyError(f"Expected one of {(*BUILT_IN, *self.others)}. Received: {metric!r}")
        return self.others[metric]

    @property
    def counted(self) -> Cost:
        """The cost without the column that is looked up, which only the network has that it was measured for."""
        return Cost(self.macs, self.params, self.bytes, {n: v for n, v in self.others.items() if n != LOOKED_UP})

    def __eq__(self, other: object) -> bool:
        return self._columns() == other._columns() if isinstance(other, Cost) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._columns())

    def _columns(self) -> tuple[int | tuple[str, int], ...]:
        return self.macs, self.params, self.bytes, *sorted(self.others.items())


@dataclass(frozen=True, eq=False)
class ModelCost(Cost):
    """The cost of a whole model, and the names of the layers that its MACs leave out.

    Attributes:
        uncounted: layers and operations without counted multiply-adds, in the order of the graph and without the
            inputs: operations left out by definition (normalization, activations, pooling, sums), operations that only
            move data, and `unknown`.
        unknown: those of them without a handler for which TensorFlow's graph shows no multiply-adds.
        unmeasured: layers without a handler for which that graph is incomplete: it cannot be made, has sizes or numbers
            of steps that are not known beforehand, or contains code that TensorFlow does not see; or the layer
            multiplies its weights elementwise. They may have any number of multiply-adds.
    """

    uncounted: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    unmeasured: tuple[str, ...] = ()


@dataclass(frozen=True)
class LayerCost:
    """The cost of one layer: `macs` (multiply-adds of one sample) and `others` over all calls; `params` and `bytes`."""

    layer: str
    type_name: str
    output_shape: tuple[int | None, ...]
    macs: int
    params: int
    bytes: int
    others: Mapping[str, int] = field(default_factory=dict, hash=False)


class CostModel:
    """The cost of any plan for one model, computed from the number of channels that each group keeps.

    Attributes:
        groups: the model's channel groups.
        uncounted: layers and operations without counted multiply-adds, as in `ModelCost`.
        unknown, unmeasured: as in `ModelCost`.
        metrics: the columns, by name: all metrics registered when this was made, and those of `look_up`.
    """

    def __init__(self, groups: ChannelGroups) -> None:
        self.groups = groups
        self._after: tuple[Any, CostModel] | None = None
        self._owner = groups.group_of_labels()
        self._width_of: dict[int, int] = {}
        self._fixed: list[int] = [1]
        self._multiplicity: list[_Int] = [np.zeros(len(groups), np.int64)]
        self._keep_alive: list[Ids] = []
        self._counted: set[int] = set()
        self.metrics: dict[str, Metric] = dict(columns())
        self._terms: dict[str, Terms] = {metric: Terms() for metric in self.metrics}
        self._lookups: dict[str, Lookups] = {}
        self._alternatives: dict[str, dict[str, Terms]] = {metric: {} for metric in self.metrics}
        self._names = {name: i for i, name in enumerate(groups.groups)}
        self.sizes = np.array([group.size for group in groups], np.int64)
        for item in groups.analysis.values():
            for mac in item.macs:
                widths = tuple(self._width(ids) for ids in mac.widths)
                self._terms["macs"].add(item.node.layer_name, item.node.name, mac.factor, widths)
        for item in groups.layers.values():
            self._add_weights(item)
        for metric in self.metrics.values():
            self._add_registered(metric)
        counted = set(self._terms["macs"].layers)
        self.uncounted = tuple(
            layer for layer, item in groups.layers.items() if layer not in counted and not item.node.is_input
        )
        self.unknown = tuple(layer for layer in self.uncounted if not groups.layers[layer].handler.known)
        calls = groups.analysis.values()
        self.unmeasured = tuple(dict.fromkeys(i.node.layer_name for i in calls if not i.handler.counts_all(i.call)))
        self._fixed_widths = np.array(self._fixed, np.int64)
        self._widths = np.stack(self._multiplicity).T

    def _width(self, ids: Ids) -> int:
        """Returns the index of the width of these labels: a constant plus a multiple of what each group keeps."""
        if id(ids) not in self._width_of:
            self._keep_alive.append(ids)
            self._width_of[id(ids)] = len(self._fixed)
            fixed, *multiplicity = self.width_of(ids)
            self._fixed.append(int(fixed))
            self._multiplicity.append(np.array(multiplicity, np.int64))
        return self._width_of[id(ids)]

    def _add_weights(self, item: Any) -> None:
        layer, node, operation = item.node.layer_name, item.node.name, item.node.operation
        labelled = {id(weight.variable): weight for weight in item.weights}
        for variable in getattr(operation, "weights", ()):
            if id(variable) in self._counted:  # layers may share a weight
                continue
            self._counted.add(id(variable))
            weight = labelled.get(id(variable))
            axes = weight.axes if weight else {}
            rest = math.prod(size for axis, size in enumerate(variable.shape) if axis not in axes)
            widths = tuple(self._width(ids) for ids in axes.values())
            is_parameter = weight.is_parameter if weight else (variable.trainable or not operation.trainable)
            if is_parameter:
                self._terms["params"].add(layer, node, rest, widths)
            itemsize = np.dtype(keras.backend.standardize_dtype(variable.dtype).replace("bfloat16", "float16")).itemsize
            self._terms["bytes"].add(layer, node, rest * itemsize, widths)

    def _add_registered(self, metric: Metric) -> None:
        """Adds the terms of one registered metric, node by node."""
        for name, term in metric.terms_of(self.groups):
            factor = expect.whole(f"factor of a term of {metric.name!r} at {name!r}", term.factor)
            terms = self._terms[metric.name]
            if term.alternative is not None:
                terms = self._alternatives[metric.name].setdefault(term.alternative, Terms())
            layer = self.groups.analysis[name].node.layer_name
            terms.add(layer, name, factor, tuple(self._width(ids) for ids in term.widths))

    def kept(self, plan: Plan) -> _Int:
        """Returns int64 `[groups]`: how many channels each group keeps under a plan.

        Raises:
            KeyError: the plan names an unknown group.
            ValueError: an index is beyond the group's size.
        """
        kept = self.sizes.copy()
        for edit in plan.channels:
            group = self.groups[edit.group]
            if edit.indices[-1] >= group.size:
                raise ValueError(
                    f"Expected indices below {group.size}, the size of group {edit.group!r}. "
                    f"Received: {edit.indices[-1]}"
                )
            kept[self._names[edit.group]] = len(edit.indices)
        return kept

    def count(self, metric: str, kept: npt.ArrayLike) -> _Int:
        """Returns a cost for kept channel counts `[..., groups]`: int64 `[...]`, in the unit of `Cost`."""
        total: _Int = self._products(metric, kept).sum(axis=-1)
        return total

    def parts(self, metric: str, near: npt.ArrayLike | None = None) -> list[CostPart]:
        """Returns the parts of a cost, whose sum is `count`, each depending on the widths of few groups.

        Args:
            metric: its name.
            near: int64 `[groups]`, kept channel counts, all by default. Only near these is the sum that of lookups that
                grow with the bytes of the weights: it is the tangent there.
        """
        if metric in self._lookups:
            return self._parts_of_lookups(metric, self.sizes if near is None else np.asarray(near, np.int64))
        terms = self._terms[metric]
        widths = [
            (fixed, {int(group): int(of_group[group]) for group in np.flatnonzero(of_group)})
            for fixed, of_group in zip(self._fixed, self._multiplicity, strict=True)
        ]
        products = zip(terms.nodes, terms.factors, terms.widths, strict=True)
        return parts_of_products((node, factor, [widths[i] for i in indices]) for node, factor, indices in products)

    def _parts_of_lookups(self, metric: str, near: _Int) -> list[CostPart]:
        """Returns the tangent of lookups * (1 + per_byte * bytes) at kept channel counts `[groups]`."""
        column = self._lookups[metric]
        parts = [CostPart(each.node, each.groups, each.of) for each in column.lookups]
        if not column.per_byte:
            return parts
        alone, size = float(column.products(near).sum()), float(self.count(_BYTES, near))
        slope = column.per_byte * alone
        constant = round(-slope * size)
        return [
            *(part.scaled(float(column.growth(size))) for part in parts),
            *(part.scaled(slope) for part in self.parts(_BYTES)),
            CostPart("", (), lambda widths: np.full(len(widths), constant, np.int64)),
        ]

    def _products(self, metric: str, kept: npt.ArrayLike, size: npt.ArrayLike | None = None) -> _Int:
        """Returns the parts of a metric, int64 `[..., parts]`, for kept channel counts `[..., groups]`.

        Args:
            metric: its name.
            kept: the counts.
            size: bytes of the weights `[...]`, where they are not those of all nodes.
        """
        if metric in self._lookups:
            column = self._lookups[metric]
            products = column.products(kept)
            if column.per_byte:
                growth = column.growth(self.count(_BYTES, kept) if size is None else size)
                products = np.rint(products * growth[..., None]).astype(np.int64)
            return products
        widths = self._fixed_widths + np.asarray(kept, np.int64) @ self._widths
        return self._terms[metric].products(widths)

    def _parts(self, metric: str) -> Terms | Lookups:
        """Returns what a metric is a sum of."""
        return self._lookups[metric] if metric in self._lookups else self._terms[metric]

    def look_up(self, metric: str, lookups: Sequence[Lookup] | Lookups) -> None:
        """Adds a column that is a sum of lookups, or replaces it.

        Args:
            metric: name of the column, such as "latency_ns".
            lookups: its parts.
        """
        self._lookups[metric] = lookups if isinstance(lookups, Lookups) else Lookups(lookups, len(self.sizes))
        self.metrics[metric] = metric_of(metric)
        self._after = None
        for name in ("total", "smallest"):
            self.__dict__.pop(name, None)

    def lookups(self, metric: str) -> Lookups | None:
        """Returns what a column of `look_up` is made of; `None` for other metrics."""
        return self._lookups.get(metric)

    def width_of(self, ids: Ids) -> _Int:
        """Returns int64 `[1 + groups]`: the width of labels as a constant and a multiple of what each group keeps."""
        owners = self._owner[ids]
        counts = np.bincount(owners[owners >= 0], minlength=len(self.sizes))
        row: _Int = np.concatenate([[(owners < 0).sum()], counts // np.maximum(self.sizes, 1)])
        return row

    def known_widths(self) -> _Int:
        """Returns int64 `[widths, 1 + groups]`: the widths of all terms, in the form of `width_of`."""
        rows: _Int = np.concatenate([self._fixed_widths[:, None], self._widths.T], axis=1)
        return rows

    def of_kept(self, kept: npt.ArrayLike) -> Cost:
        """Returns the cost when group i keeps `kept[i]` channels."""
        return self._cost(int(self._products(metric, kept).sum()) for metric in self.metrics)

    def _cost(self, numbers: Iterable[int]) -> Cost:
        """Returns a cost from one number per metric, in their order."""
        macs, params, size, *others = numbers
        return Cost(macs, params, size, dict(zip(list(self.metrics)[len(BUILT_IN) :], others, strict=True)))

    def of(self, plan: Plan) -> Cost:
        """Returns the cost of the model that `rewrite.apply` would build from the plan, without building it.

        Raises:
            KeyError, ValueError: as for `kept`; as for `tfcompress.graph.restructured`.
        """
        if not plan.structural:
            return self.of_kept(self.kept(plan))
        removed = set(plan.removed)
        if plan.channels or len(plan.structural) > sum(isinstance(edit, RemoveLayers) for edit in plan.structural):
            return self.after(plan).of(Plan(plan.channels))
        try:
            bypasses(self.groups.graph, plan.removed)
        except ValueError:  # another width after these layers than before them
            return self.after(plan).total
        # Nothing around them changes: their terms are left out.
        return self.of_nodes(self.groups.graph.nodes.keys() - removed)

    def of_nodes(self, names: Iterable[str]) -> Cost:
        """Returns the cost of some unchanged nodes. Weights are counted at the first call of their layer."""
        inside = set(names)

        def total(metric: str, size: int | None = None) -> int:
            of_inside = [node in inside for node in self._parts(metric).nodes]
            return int(self._products(metric, self.sizes, size)[of_inside].sum())

        size = total(_BYTES)
        return self._cost(total(metric, size) for metric in self.metrics)

    def by_node(self, metric: str, kept: npt.ArrayLike | None = None) -> dict[str, dict[str, int]]:
        """Returns a metric node by node: `{node: {alternative: number}}`, for all alternatives of a node.

        The present layer is the alternative with its own name; it comes first, and only it is in `count` and in every
        `Cost`. Weights are counted at the first call of their layer.

        Args:
            metric: its name.
            kept: int64 `[groups]`, the channels that each group keeps; all by default.
        """
        counts = np.asarray(self.sizes if kept is None else kept, np.int64)
        widths: _Int = self._fixed_widths + counts @ self._widths
        table: dict[str, dict[str, int]] = {}
        for name, item in self.groups.analysis.items():
            table[name] = {item.node.layer_name: 0}
        for alternative, terms in ((None, self._parts(metric)), *self._alternatives.get(metric, {}).items()):
            products = self._products(metric, counts) if isinstance(terms, Lookups) else terms.products(widths)
            for node, layer, product in zip(terms.nodes, terms.layers, products.tolist(), strict=True):
                name = layer if alternative is None else alternative
                table[node][name] = table[node].get(name, 0) + product
        return table

    def after(self, plan: Plan) -> CostModel:
        """Returns the cost model of the graph after a plan's structural edits, to which its channel edits apply.

        It builds no model; the latest one is kept.

        Raises:
            KeyError, ValueError: as for `tfcompress.graph.restructured`.
        """
        if not plan.structural:
            return self
        key = plan.structural, plan.weights
        if self._after is None or self._after[0] != key:
            self._after = key, CostModel(groups_after(self.groups, plan)[0])
            for metric, known in self._lookups.items():
                self._after[1].look_up(metric, carried(known, self, self._after[1]))
        return self._after[1]

    def heavy_unmeasured(self) -> dict[str, float]:
        """Returns the `unmeasured` layers that hold more than a tenth of the parameters, with their shares."""
        if not self.unmeasured:
            return {}
        params = {row.layer: row.params for row in self.by_layer()}
        whole = sum(params.values())
        return {name: params[name] / whole for name in self.unmeasured if params[name] > HEAVY * whole}

    @cached_property
    def total(self) -> Cost:
        """The cost of the unchanged model."""
        return self.of_kept(self.sizes)

    @cached_property
    def smallest(self) -> Cost:
        """The cost with one channel in each group, the lowest possible."""
        return self.of_kept(np.minimum(self.sizes, 1))

    def by_layer(self) -> tuple[LayerCost, ...]:
        """Returns each layer's share, in the order of the graph."""
        sums: dict[str, dict[str, int]] = {metric: {} for metric in self.metrics}
        for metric in self.metrics:
            products = self._products(metric, self.sizes).tolist()
            for layer, product in zip(self._parts(metric).layers, products, strict=True):
                sums[metric][layer] = sums[metric].get(layer, 0) + product
        rows = []
        for layer, item in self.groups.layers.items():
            share = self._cost(sums[metric].get(layer, 0) for metric in self.metrics)
            numbers = share.macs, share.params, share.bytes, share.others
            rows.append(LayerCost(layer, item.node.type_name, item.node.output_shapes[0], *numbers))
        return tuple(rows)


def cost(model: keras.Model | str | os.PathLike[str], input_shape: InputShape | None = None) -> ModelCost:
    """Counts a model's multiply-adds, parameters, bytes and registered metrics, and names layers that MACs leave out.

    For layers that both count, `macs` is half of the "float operations" of the TensorFlow profiler; docs/macs.md has
    the comparison, and the cases where TensorFlow counts differently.

    Args:
        model: a built Functional or Sequential model, or the path of a .keras, .h5 or .hdf5 file.
        input_shape: for a model that takes inputs of any size, the size to count for, without the batch, such as
            `(224, 224, 3)`; for several inputs a dictionary by their names.

    Returns:
        A `ModelCost`: `macs` of one sample (one multiply-add = 1, FLOPs = 2 x MACs; convolutions, dense and recurrent
        layers, attention, and the multiply-adds in TensorFlow's graph of layers without a handler), `params` (number
        of weights without running statistics), `bytes` (all weights) and registered metrics; by name `uncounted`,
        `unknown` and `unmeasured` layers.

    Raises:
        TypeError: not a model, or a subclassed one.
        ValueError: an unknown dimension other than the batch.
    """
    given = read_model(model)
    graph = given.graph if input_shape is None else LayerGraph.from_keras(with_input_shape(given.model, input_shape))
    costs = CostModel(ChannelGroups.of(graph))
    total = costs.total
    names = costs.uncounted, costs.unknown, costs.unmeasured
    return ModelCost(total.macs, total.params, total.bytes, total.others, *names)
