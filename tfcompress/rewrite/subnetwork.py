"""Runs a model as its own sub-network without building one: for rewards and sensitivity.

The weights of the remaining channels are gathered inside one compiled function whose arguments are index vectors, so
that every sub-network uses the same trace. If a layer's static shape forbids that (`Reshape`, padding of channels), the
weights that read the removed channels are multiplied by zeros instead. Both give the outputs of the cut
model.

This relies on `keras.StatelessScope` accepting tensors of other shapes than its variables have; the test
`tests/rewrite/test_subnetwork.py` fails if Keras changes that.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfcompress.graph import ChannelGroups
from tfcompress.graph.handlers import Handler
from tfcompress.graph.labels import Ids
from tfcompress.graph.layer_graph import map_refs
from tfcompress.plan import Plan
from tfcompress.rewrite.apply import kept_labels

__all__ = ["Subnetwork"]


class _Edit(NamedTuple):
    """How a variable is cut: by one of the arguments along each axis."""

    variable: Any
    axes: tuple[tuple[int, int], ...]
    momentum: float | None


class _Traced:
    """A function that is traced at its first call, and then always runs as that graph.

    This also holds if TensorFlow is set to run functions eagerly, because a graph does not check that.
    """

    def __init__(self, function: Callable[..., Any], signature: list[Any], autograph: bool = True) -> None:
        self._function = tf.function(function, input_signature=signature, autograph=autograph)
        self._graph: Any = None

    def __call__(self, *arguments: Any) -> Any:
        if self._graph is None:
            self._graph = self._function.get_concrete_function()
        return self._graph(*arguments)


class Subnetwork:
    """Evaluates sub-networks of a model on given samples.

    Args:
        model: the model whose current weights are used; its weights may change between calls.
        groups: its channel groups.
        prunable: names of the groups that plans will name; `None` for all.

    Attributes:
        traces: number of traces of the compiled function; it stays at 1 for any number of plans on samples
            of one shape.
    """

    def __init__(self, model: keras.Model, groups: ChannelGroups, prunable: tuple[str, ...] | None = None) -> None:
        self.model = model
        self.groups = groups
        self.prunable = tuple(groups.groups) if prunable is None else prunable
        self.traces = 0
        chosen = [groups[name] for name in self.prunable]
        label_group = np.full(len(groups.roots), -1, dtype=np.int64)
        for index, group in enumerate(chosen):
            label_group[group.roots] = index
        self._group_of = label_group[groups.roots]
        self._sliced = self._groups_that_slice(len(chosen))
        self._sources: list[Ids] = []
        self._index_of: dict[tuple[int, bool], int] = {}
        self._is_mask: list[bool] = []
        self._edits: list[_Edit] = []
        self._statistics: list[_Edit] = []
        self._collect_edits()
        # What a normalisation does where removed channels are still in its input: its statistics leave them out.
        self._masked_calls = [
            (item, self._argument(item.call.inputs[0].ids, mask=True))
            for item in groups.layers.values()
            if groups.through_norms and type(item.handler).masked_call is not Handler.masked_call
        ]
        x, arguments, statistics = self._signature()
        self._layers = [
            (item.node.operation, attribute)
            for item in groups.layers.values()
            for attribute in item.handler.width_attributes
            if chosen
        ]
        self._measures: dict[tuple[int, str], tuple[Any, keras.metrics.Metric, Any]] = {}
        self._run = _Traced(self._forward, [x, arguments, statistics])
        self._observe = _Traced(self._batch_statistics, [x, arguments])
        self._current_statistics = _Traced(
            lambda arguments: [self._edited(edit, arguments) for edit in self._statistics], [arguments]
        )

    @property
    def sliced(self) -> tuple[str, ...]:
        """Names of the groups whose weights are gathered rather than masked."""
        return tuple(name for name, slices in zip(self.prunable, self._sliced.tolist(), strict=True) if slices)

    def _groups_that_slice(self, count: int) -> npt.NDArray[np.bool_]:
        slices = np.ones(count, dtype=bool)
        for item in self.groups.analysis.values():
            if not item.handler.runs_on_slices(item.call):
                seen = [labels.ids for labels in (*item.call.inputs, *item.outputs)]
                seen += [ids for weight in item.weights for ids in weight.axes.values()]  # heads do not leave a layer
                for ids in seen:
                    groups = self._group_of[ids]
                    slices[groups[groups >= 0]] = False
        return slices

    def _collect_edits(self) -> None:
        """Collects for each weight the axes that are gathered, or multiplied by a mask, and the arguments for them."""
        for axes in self.groups.weight_axes().values():
            for weight in axes:
                edits = []
                for axis, ids in weight.axes.items():
                    groups = np.unique(self._group_of[ids])
                    groups = groups[groups >= 0]
                    if self._sliced[groups].any():
                        edits.append((axis, self._argument(ids, mask=False)))
                    if not self._sliced[groups].all() and axis in weight.reads:
                        edits.append((axis, self._argument(ids, mask=True)))
                # Masks first: they have the length of the whole axis.
                edits.sort(key=lambda edit: not self._is_mask[edit[1]])
                edit = _Edit(weight.variable, tuple(edits), weight.momentum)
                if weight.momentum is not None:
                    self._statistics.append(edit)
                elif edits:
                    self._add_edit(edit)

    def _add_edit(self, edit: _Edit) -> None:
        """Adds an edit; layers may share a weight, which then gets the edits of both."""
        for index, earlier in enumerate(self._edits):
            if earlier.variable is edit.variable:
                axes = sorted({*earlier.axes, *edit.axes}, key=lambda entry: not self._is_mask[entry[1]])
                self._edits[index] = earlier._replace(axes=tuple(axes))
                return
        self._edits.append(edit)

    def _signature(self) -> list[Any]:
        """Returns a signature with unknown batch and lengths: one trace serves all, and layers see unknown widths."""
        graph = self.groups.graph
        inputs = map_refs(
            lambda ref: tf.TensorSpec((None, *graph.shape(ref)[1:]), graph.nodes[ref.node].operation.dtype),
            graph.inputs,
        )
        arguments = [tf.TensorSpec([None], tf.float32 if mask else tf.int32) for mask in self._is_mask]
        statistics = []
        for edit in self._statistics:
            gathered = {axis for axis, argument in edit.axes if not self._is_mask[argument]}
            shape = [None if axis in gathered else size for axis, size in enumerate(edit.variable.shape)]
            statistics.append(tf.TensorSpec(shape, edit.variable.dtype))
        return [inputs, arguments, statistics]

    def _as_read(self, x: Any) -> Any:
        """Returns inputs in the structure and dtypes of the model's own, as Keras converts them in every call."""
        specs = self._signature()[0]
        if isinstance(x, dict) and not isinstance(specs, dict):
            x = [x[tensor._keras_history.operation.name] for tensor in self.model.inputs]
        arrays = [
            tf.cast(array, spec.dtype) if spec.dtype != tf.string else tf.convert_to_tensor(array)
            for array, spec in zip(keras.tree.flatten(x), keras.tree.flatten(specs), strict=True)
        ]
        return keras.tree.pack_sequence_as(specs, arrays)

    def _argument(self, ids: Ids, mask: bool) -> int:
        key = (id(ids), mask)
        if key not in self._index_of:
            self._index_of[key] = len(self._sources)
            self._sources.append(ids)
            self._is_mask.append(mask)
        return self._index_of[key]

    def _arguments(self, plan: Plan) -> list[tf.Tensor]:
        kept = kept_labels(self.groups, plan)
        arguments = []
        for ids, is_mask in zip(self._sources, self._is_mask, strict=True):
            stays = kept[ids]
            if is_mask:
                arguments.append(tf.constant(stays, tf.float32))
            else:
                owner = self._group_of[ids]
                sliced = self._sliced[owner] & (owner >= 0)
                arguments.append(tf.constant(np.flatnonzero(stays | ~sliced), tf.int32))
        return arguments

    def _edited(self, edit: _Edit, arguments: list[tf.Tensor]) -> tf.Tensor:
        value = tf.convert_to_tensor(edit.variable.value)
        for axis, argument in edit.axes:
            if self._is_mask[argument]:
                shape = [1] * len(edit.variable.shape)
                shape[axis] = -1
                value *= tf.cast(tf.reshape(arguments[argument], shape), value.dtype)
            else:
                value = tf.gather(value, arguments[argument], axis=axis)
        return value

    @contextlib.contextmanager
    def _scope(self, arguments: list[tf.Tensor], statistics: list[tf.Tensor]) -> Iterator[keras.StatelessScope]:
        """Makes layers see sliced weights, and not know their widths, while a function is traced inside."""
        scope = keras.StatelessScope()
        edited = [(edit.variable, self._edited(edit, arguments)) for edit in self._edits]
        edited += [(edit.variable, value) for edit, value in zip(self._statistics, statistics, strict=True)]
        # Keras' convolutions compare the input's width with the variable's, and where the two differ they run through
        # XLA, which would compile each of them anew for every new width: the variables must not know it either.
        hidden: list[tuple[Any, str, Any]] = [(variable, "_shape", tuple(value.shape)) for variable, value in edited]
        hidden += [(layer, attribute, -1) for layer, attribute in self._layers]
        shown = [(owner, attribute, getattr(owner, attribute)) for owner, attribute, _ in hidden]
        replaced = []
        for item, argument in self._masked_calls:
            masked = item.handler.masked_call(item.call, item.node.operation, arguments[argument])
            if masked is not None:
                replaced.append((item.node.operation, masked))
        # Not through the constructor, which wants the variables' own shapes.
        scope.state_mapping.update((id(variable), value) for variable, value in edited)
        try:
            for owner, attribute, value in hidden:
                setattr(owner, attribute, value)
            for layer, masked in replaced:
                layer.call = masked  # hides the method of its class
            with scope:
                yield scope
        finally:
            for layer, _ in replaced:
                del layer.call
            for owner, attribute, value in shown:
                setattr(owner, attribute, value)

    def _forward(self, x: Any, arguments: list[tf.Tensor], statistics: list[tf.Tensor]) -> Any:
        self.traces += 1
        with self._scope(arguments, statistics):
            return self.model(x, training=False)

    def _batch_statistics(self, x: Any, arguments: list[tf.Tensor]) -> list[tf.Tensor]:
        """Returns mean and variance of one batch in each normalization, as training adds to running statistics of zero.

        Statistics that training does not change, such as those of frozen layers, stay unchanged.
        """
        now = [self._edited(edit, arguments) for edit in self._statistics]
        zeros = [tf.zeros_like(value) for value in now]
        with self._scope(arguments, zeros) as scope:
            self.model(x, training=True)
        added = [scope.get_current_value(edit.variable) for edit in self._statistics]
        shares = [1.0 - float(edit.momentum or 0.0) for edit in self._statistics]
        return [
            value if share == 0 or more is zero else more / share
            for value, zero, more, share in zip(now, zeros, added, shares, strict=True)
        ]

    @property
    def statistics(self) -> tuple[keras.Variable, ...]:
        """The running statistics of the model, in the order of the result of `recalibrate`."""
        return tuple(edit.variable for edit in self._statistics)

    def recalibrate(self, plan: Plan, batches: Sequence[Any]) -> list[tf.Tensor]:
        """Returns the running statistics that the sub-network itself would have: means over some batches of inputs.

        Args:
            plan: the channels to keep.
            batches: batches of inputs.

        Returns:
            The value of `statistics` for `mean`. The model's own statistics are not changed.
        """
        self._check(plan)
        arguments = self._arguments(plan)
        observed = [self._observe(self._as_read(batch), arguments) for batch in batches]
        return [tf.add_n(values) / len(observed) for values in zip(*observed, strict=True)]

    def predict(self, plan: Plan, x: Any) -> Any:
        """Returns outputs of a plan's sub-network for one batch `x`, as tensors.

        Raises:
            KeyError: the plan names a group that this evaluator was not made for.
            ValueError: a plan with structural edits or fresh weights, which cannot be a sub-network of the model.
        """
        self._check(plan)
        arguments = self._arguments(plan)
        return self._run(self._as_read(x), arguments, self._current_statistics(arguments))

    def _check(self, plan: Plan) -> None:
        if plan.structural or plan.weights != "inherited":
            names = sorted({type(edit).__name__ for edit in plan.structural})
            raise ValueError(
                "Expected a plan that keeps channels of the model itself, to run it as a sub-network. Received: "
                f"weights={plan.weights!r} and {names or 'no structural edits'}. Build the student: "
                "tfcompress.rewrite.apply(model, plan)."
            )
        unknown = sorted({edit.group for edit in plan.channels} - set(self.prunable))
        if unknown:
            raise KeyError(f"Expected groups among those this sub-network was made for. Received: {unknown}")

    def mean(
        self,
        plan: Plan,
        x: Any,
        y: Any,
        score: Callable[[Any, Any], Any] | keras.metrics.Metric,
        batch_size: int = 250,
        statistics: list[tf.Tensor] | None = None,
    ) -> float:
        """Returns the mean of `score(y, outputs)` (`[batch]` numbers), or the result of a metric, over samples.

        Args:
            plan: the channels to keep.
            x: structure of arrays or tensors `[samples, ...]`.
            y: labels, likewise.
            score: one number per sample, such as `keras.metrics.sparse_categorical_accuracy`; or a metric, updated with
                `(y, outputs)` in the model's own structure, in the traced function.
            batch_size: samples in a batch.
            statistics: the result of `recalibrate`; `None` for the model's own running statistics.

        Returns:
            The mean, or the metric.
        """
        self._check(plan)
        arguments = self._arguments(plan)
        if statistics is None:
            statistics = self._current_statistics(arguments)
        metric, update = self._measuring(score, y)
        metric.reset_state()
        for start in range(0, len(keras.tree.flatten(x)[0]), batch_size):
            part = keras.tree.map_structure(lambda a: a[start : start + batch_size], (x, y))  # noqa: B023
            update(self._as_read(part[0]), part[1], arguments, statistics)
        result = float(keras.ops.convert_to_numpy(metric.result()))
        metric.reset_state()
        return result

    def _measuring(
        self, score: Callable[[Any, Any], Any] | keras.metrics.Metric, y: Any
    ) -> tuple[keras.metrics.Metric, Any]:
        """Returns a metric and the function that updates it with one batch; the same ones for the same score."""
        specs = keras.tree.map_structure(lambda a: tf.TensorSpec((None, *a.shape[1:]), a.dtype), y)
        key = id(score), str(specs)
        if key not in self._measures:
            metric = score if isinstance(score, keras.metrics.Metric) else keras.metrics.MeanMetricWrapper(score)

            def update(x: Any, y: Any, arguments: list[tf.Tensor], statistics: list[tf.Tensor]) -> None:
                metric.update_state(y, self._forward(x, arguments, statistics))

            inputs, *rest = self._signature()
            signature = [inputs, specs, *rest]
            self._measures[key] = score, metric, _Traced(update, signature, autograph=False)
        _, metric, update = self._measures[key]
        return metric, update
