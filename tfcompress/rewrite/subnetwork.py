"""Runs a model as its own sub-network without building one: for rewards and sensitivity.

The weights of the channels that stay are gathered inside one compiled function whose arguments are index vectors, so
that every sub-network runs through the same trace. Where a layer's static shape forbids that (`Reshape`, padding of
channels), the weights that read the removed channels are multiplied by zeros instead. Both give the outputs of the cut
model.

The trick rests on `keras.StatelessScope` taking tensors of other shapes than its variables have; the test
`tests/rewrite/test_subnetwork.py` notices when Keras changes that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfcompress.graph import ChannelGroups
from tfcompress.graph.labels import Ids
from tfcompress.plan import Plan
from tfcompress.rewrite.apply import kept_labels

__all__ = ["Subnetwork"]


class Subnetwork:
    """Evaluates sub-networks of a model on given samples.

    Args:
        model: the model whose current weights are used; its weights may change between calls.
        groups: its channel groups.
        prunable: names of the groups that plans will speak of; `None` for all.

    Attributes:
        traces: how often the compiled function was traced; it stays at 1 however many plans are evaluated on samples
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
        self._edits: list[tuple[Any, list[tuple[int, int]]]] = []
        self._collect_edits()
        self._run = tf.function(self._forward, input_signature=self._signature())

    def _groups_that_slice(self, count: int) -> npt.NDArray[np.bool_]:
        slices = np.ones(count, dtype=bool)
        for item in self.groups.analysis.values():
            if not item.handler.runs_on_slices:
                for labels in (*item.call.inputs, *item.outputs):
                    found = self._group_of[labels.ids]
                    slices[found[found >= 0]] = False
        return slices

    def _collect_edits(self) -> None:
        """For each weight: along which axes it is gathered, or multiplied by a mask, and by which argument."""
        for axes in self.groups.weight_axes().values():
            for weight in axes:
                edits = []
                for axis, ids in weight.axes.items():
                    found = np.unique(self._group_of[ids])
                    found = found[found >= 0]
                    if self._sliced[found].any():
                        edits.append((axis, self._argument(ids, mask=False)))
                    if not self._sliced[found].all() and axis in weight.reads:
                        edits.append((axis, self._argument(ids, mask=True)))
                if edits:
                    # Masks first: they have the length of the whole axis.
                    edits.sort(key=lambda edit: not self._is_mask[edit[1]])
                    self._edits.append((weight.variable, edits))

    def _signature(self) -> list[Any]:
        """Unknown batch and unknown lengths: one trace serves all, and layers see that a width is not known."""
        inputs = keras.tree.map_structure(
            lambda tensor: tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype), self.model.input
        )
        return [inputs, [tf.TensorSpec([None], tf.float32 if mask else tf.int32) for mask in self._is_mask]]

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

    def _forward(self, x: Any, arguments: list[tf.Tensor]) -> Any:
        self.traces += 1
        scope = keras.StatelessScope()
        for variable, edits in self._edits:
            value = tf.convert_to_tensor(variable.value)
            for axis, argument in edits:
                if self._is_mask[argument]:
                    shape = [1] * len(variable.shape)
                    shape[axis] = -1
                    value *= tf.cast(tf.reshape(arguments[argument], shape), value.dtype)
                else:
                    value = tf.gather(value, arguments[argument], axis=axis)
            # Not through the constructor, which wants the variable's own shape.
            scope.state_mapping[id(variable)] = value
        with scope:
            return self.model(x, training=False)

    def predict(self, plan: Plan, x: Any) -> Any:
        """Outputs of the sub-network that the plan describes for one batch `x`, as tensors.

        Raises:
            KeyError: the plan names a group that this evaluator was not made for.
        """
        self._check(plan)
        return self._run(x, self._arguments(plan))

    def _check(self, plan: Plan) -> None:
        strange = sorted({edit.group for edit in plan} - set(self.prunable))
        if strange:
            raise KeyError(f"Expected groups among those this sub-network was made for. Received: {strange}")

    def mean(self, plan: Plan, x: Any, y: Any, score: Callable[[Any, Any], Any], batch_size: int = 250) -> float:
        """The mean of `score(y, outputs)` (`[batch]` numbers) over samples.

        Args:
            plan: which channels stay.
            x: structure of arrays or tensors `[samples, ...]`.
            y: labels, likewise.
            score: one number a sample, such as `keras.metrics.sparse_categorical_accuracy`.
            batch_size: samples that run at once.

        Returns:
            A mean over the samples.
        """
        self._check(plan)
        arguments = self._arguments(plan)
        samples = len(keras.tree.flatten(x)[0])
        total = 0.0
        for start in range(0, samples, batch_size):
            part = keras.tree.map_structure(lambda a: a[start : start + batch_size], (x, y))  # noqa: B023
            scores = score(part[1], self._run(part[0], arguments))
            total += float(keras.ops.sum(keras.ops.cast(scores, "float32")))
        return total / samples
