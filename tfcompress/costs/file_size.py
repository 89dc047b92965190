"""The size of a model's TFLite file: measured, and predicted for plans from the weights that the file holds.

A file holds the weights, and beside them operators, tensors and their names, whose number a plan that only narrows
layers does not change. So what the original's file has beside its weights is a constant. The weights differ from those
of the model: the converter folds a normalization into the convolution or dense layer before it, and leaves one offset a
channel of its four numbers; behind anything else it becomes a scale and an offset. In an int8 file a number of a kernel
is a byte and an offset four, and a convolution has for each channel a scale and a zero point of its kernel and of its
offset.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from tfcompress.costs.counts import CostModel
from tfcompress.costs.metrics import GraphTerms, Term, register_measured_column, register_planned_column
from tfcompress.export import MissingOperatorError, convert
from tfcompress.export.file_content import subgraphs_of
from tfcompress.graph import ChannelGroups
from tfcompress.graph.channel_groups import NodeAnalysis
from tfcompress.graph.labels import Ids

__all__ = [
    "FILE",
    "FLOAT32",
    "INT8",
    "INT8_FILE",
    "FileForm",
    "FileSize",
    "file_size",
    "vary_vectors",
    "weights_in_file",
]

FILE = "file_bytes"
"""The metric's name."""

INT8_FILE = "int8_bytes"
"""The name of the column that a flow plans by whose last stage leaves an int8 file."""

_PADDING = 12  # bytes, at most, before a tensor's numbers, which lie at multiples of 16
_FOLDING = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
    keras.layers.Dense,
)
_BY_CHANNEL = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)
_IN_INT8 = (*_FOLDING, keras.layers.Conv2DTranspose)


@dataclass(frozen=True)
class FileForm:
    """A form of TFLite file.

    Attributes:
        name: as `tfcompress.export.convert` names it.
        matrix: bytes of each number of a kernel or another weight of several axes.
        vector: bytes of each number of an offset or another weight of one axis.
        others: `matrix` of layers that are neither convolutions nor dense; in an int8 file these may stay float32.
        channel: bytes for each channel of a convolution beside its kernel and its offset, such as scales.
    """

    name: str
    matrix: int
    vector: int
    others: int
    channel: int = 0


FLOAT32 = FileForm("float32", 4, 4, 4)
"""The form that a size budget limits."""

INT8 = FileForm("int8", 1, 4, 4, channel=2 * (4 + 8))
"""The form that quantization leaves: of the kernel and of the offset a scale of 4 bytes and a zero point of 8."""


@dataclass(frozen=True)
class FileSize:
    """The file of an original model, and the terms that predict those of its students.

    Attributes:
        measured: bytes of the original's file.
        terms: the terms of any graph that comes of the original.
        reserve: bytes by which the file of a student may be larger than its terms: tensors are aligned, and the
            original's may share numbers.
        form: the form of the file.
    """

    measured: int
    terms: GraphTerms
    reserve: int
    form: FileForm = FLOAT32

    @classmethod
    def of(
        cls,
        model: keras.Model,
        groups: ChannelGroups,
        form: FileForm = FLOAT32,
        make: Callable[[keras.Model], bytes] | None = None,
    ) -> FileSize:
        """Measures the file of a model, and works out what it has beside its weights.

        Args:
            model: a copy of the original. Its vectors are changed where several are equal, such as offsets that are all
                zero: a file holds these once, and after training they differ.
            groups: channel groups of the original.
            form: the form of the file.
            make: makes the file of a model in this form, which then is made once, of changed vectors; the float32 file
                by default.

        Raises:
            MissingOperatorError, ExportError: LiteRT lacks an operator; the model cannot be converted.
        """
        if make is not None:
            vary_vectors(model)
            content = varied = make(model)
            form = form if _has_float_matrices(content) else replace(form, others=form.matrix)
        else:
            content = varied = converted(model, form)
            if _shares_vectors(content):
                vary_vectors(model)
                varied = converted(model, form)
        return cls.known(groups, form, len(content), len(varied))

    @classmethod
    def known(cls, groups: ChannelGroups, form: FileForm, measured: int, varied: int | None = None) -> FileSize:
        """Returns the same for a file that was made before.

        Args:
            groups: channel groups of the original.
            form: the form of the file.
            measured: bytes of the original's file.
            varied: bytes of its file when no two vectors are equal; the same by default.
        """
        varied = measured if varied is None else varied
        held = list(_weights(groups, form))
        weights = sum(term.factor * math.prod(len(ids) for ids in term.widths) for _, term in held)
        nodes = len({node for node, _ in held}) or 1
        beside = max(0, varied - weights)
        each, rest = divmod(beside, nodes)
        first = next((node for node, _ in held), next(iter(groups.analysis)))

        def terms(any_groups: ChannelGroups) -> Iterator[tuple[str, Term]]:
            seen = set()
            for node, term in _weights(any_groups, form):
                if node not in seen:
                    yield node, Term(each + rest * (node == first))
                seen.add(node)
                yield node, term
            if not held and first in any_groups.analysis:
                yield first, Term(beside)

        return cls(measured, terms, _PADDING * len(held) + max(0, varied - measured), form)


def converted(model: keras.Model, form: FileForm = FLOAT32) -> bytes:
    """Returns the file of a model.

    Raises:
        MissingOperatorError: LiteRT lacks an operator; the message names it and the layer.
        ExportError: the model cannot be converted.
    """
    try:
        return convert(model, form.name)
    except MissingOperatorError as error:
        raise error.said_for(
            "Expected a model that TensorFlow Lite can hold, for a size budget.",
            "an operator that it lacks",
            "Use another layer in its place, or limit 'bytes' or 'params' instead.",
        ) from error


def file_size(model: keras.Model) -> float:
    """Returns the bytes of a model's float32 file."""
    return float(len(converted(model)))


register_measured_column(FILE, unit="bytes of the TFLite file", measure=file_size)
register_planned_column(INT8_FILE, unit="bytes of the int8 TFLite file")


def weights_in_file(costs: CostModel, kept: np.ndarray, form: FileForm = FLOAT32) -> np.ndarray:
    """Returns the bytes of the weights in students' files, int64 `[...]`, for kept channel counts `[..., groups]`.

    It makes no file. A file is larger by operators, tensors and their names.
    """

    def width(ids: Ids) -> np.ndarray:
        row = costs.width_of(ids)
        return np.asarray(row[0] + kept @ row[1:], np.int64)

    total = np.zeros(kept.shape[:-1], np.int64)
    for _, term in _weights(costs.groups, form):
        total += term.factor * math.prod(map(width, term.widths))
    return total


def _weights(groups: ChannelGroups, form: FileForm) -> Iterator[tuple[str, Term]]:
    """Yields the weights in a file as terms, each with its node."""
    readers: dict[str, list[str]] = {}
    for item in groups.analysis.values():
        for ref in item.node.inputs:
            readers.setdefault(ref.node, []).append(item.node.name)
    outputs = {ref.node for ref in groups.graph.output_refs}
    norms = [i for i in groups.layers.values() if isinstance(i.node.operation, keras.layers.BatchNormalization)]
    before = {item.node.name: _layer_before(groups, item, readers, outputs) for item in norms}
    with_offset = {id(layer) for layer in before.values()}
    counted: set[int] = set()
    for item in groups.layers.values():
        node, operation = item.node, item.node.operation
        axes = {id(weight.variable): weight.axes for weight in item.weights}
        if isinstance(operation, keras.layers.BatchNormalization):
            yield from _of_normalization(item, axes, before[node.name], form)
            continue
        matrix = form.matrix if isinstance(operation, _IN_INT8) else form.others
        for variable in getattr(operation, "weights", ()):
            if id(variable) in counted or "float" not in str(variable.dtype):  # states of random numbers are not in it
                continue
            counted.add(id(variable))
            labelled = axes.get(id(variable), {})
            each = matrix if len(variable.shape) > 1 else form.vector
            yield node.name, _term(variable, labelled, range(len(variable.shape)), each)
            if form.channel and len(variable.shape) > 1 and isinstance(operation, _BY_CHANNEL):
                yield node.name, _of_channels(operation, variable, labelled, id(operation) in with_offset, form)


def _term(variable: Any, labelled: dict[int, Ids], axes: Iterable[int], each: int) -> Term:
    """Returns the term of so many bytes for each place along some axes of a weight."""
    axes = tuple(axes)
    rest = math.prod(variable.shape[axis] for axis in axes if axis not in labelled)
    return Term(rest * each, tuple(ids for axis, ids in labelled.items() if axis in axes))


def _of_channels(operation: Any, kernel: Any, labelled: dict[int, Ids], has_norm: bool, form: FileForm) -> Term:
    """Returns what a form has for each channel that a convolution's kernel writes, and an offset where there is none.

    A depthwise kernel writes a channel for each place of its last two axes.
    """
    is_separable = isinstance(operation, keras.layers.SeparableConv2D)
    is_first = is_separable and kernel is operation.depthwise_kernel
    is_depthwise = is_first or isinstance(operation, keras.layers.DepthwiseConv2D)
    has_offset = not is_first and (operation.use_bias or has_norm)
    axes = (2, 3) if is_depthwise else (3,)
    return _term(kernel, labelled, axes, form.channel + (0 if has_offset else form.vector))


def _layer_before(
    groups: ChannelGroups, item: NodeAnalysis, readers: dict[str, list[str]], outputs: Iterable[str]
) -> Any:
    """Returns the layer that a normalization is folded into; `None` if there is none."""
    (ref, *_) = item.node.inputs
    before = groups.graph.nodes[ref.node]
    if readers[ref.node] != [item.node.name] or ref.node in outputs or not isinstance(before.operation, _FOLDING):
        return None
    activation = getattr(before.operation, "activation", None)
    return before.operation if activation in (None, keras.activations.linear) else None


def _of_normalization(
    item: NodeAnalysis, axes: dict[int, dict[int, Ids]], before: Any, form: FileForm
) -> Iterator[tuple[str, Term]]:
    layer = item.node.operation
    labelled = axes.get(id(layer.moving_variance), {})
    rest = math.prod(s for axis, s in enumerate(layer.moving_variance.shape) if axis not in labelled)
    numbers = 2 if before is None else int(not before.use_bias)
    if numbers:
        yield item.node.name, Term(numbers * rest * form.vector, tuple(labelled.values()))


def _shares_vectors(content: bytes) -> bool:
    """Whether operators of a file read the same vector of numbers."""
    for graph in subgraphs_of(content):
        times = Counter(index for _, read, _ in graph.operators() for index in read)
        several = [graph.tensors[index] for index, count in times.items() if count > 1]
        if any(each.rank == 1 and each.type == "FLOAT32" and each.is_constant for each in several):
            return True
    return False


def _has_float_matrices(content: bytes) -> bool:
    """Whether a file holds float32 numbers of several axes, such as the weights of a layer that is not quantized."""
    tensors = (tensor for graph in subgraphs_of(content) for tensor in graph.tensors)
    return any(each.rank > 1 and each.type == "FLOAT32" and each.is_constant for each in tensors)


def vary_vectors(model: keras.Model) -> None:
    """Gives every weight of one axis different numbers: of equal ones the converter makes a single number."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if len(weight.shape) == 1 and "float" in str(weight.dtype):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
