"""Base of handlers: everything known about a layer class is in its handler.

A handler says how channel labels pass through a call, which axes of which weights carry them, how the call changes when
channels are removed, and its MACs. Nothing else in tfcompress asks for a layer's class. A class without a handler is
left whole, and the report says so. `@handles(...)` registers your own handler.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import keras
import numpy as np
import numpy.typing as npt

from tfcompress.graph.arithmetic import arithmetic_of
from tfcompress.graph.copying import made
from tfcompress.graph.labels import Ids, LabelBook, Labels
from tfcompress.graph.layer_graph import LayerGraph, Node, TensorRef

__all__ = ["Call", "Handler", "MacTerm", "WeightAxes", "Width", "adapted", "handler_of", "handles"]


class Width(Protocol):
    """The labels that a plan keeps: `width(ids)` is their number, `width.stays(ids)` says which ones stay."""

    def __call__(self, ids: Ids) -> int:
        """Returns how many of `ids` stay."""

    def stays(self, ids: Ids) -> npt.NDArray[np.bool_]:
        """Returns bool `[len(ids)]`: whether each one stays."""


@dataclass(frozen=True, eq=False)
class WeightAxes:
    """The axes of one weight that are indexed by channels.

    Attributes:
        variable: the weight.
        reads: `{axis: ids}`: slices here read a channel of the input.
        writes: `{axis: ids}`: slices here produce a channel of the output.
        carries: `{axis: ids}`: slices here belong to a channel that passes through (a BatchNormalization's scale).
        is_parameter: False for running statistics, which published parameter counts leave out.
        momentum: of a running statistic that training updates: new = momentum * old + (1 - momentum) * batch.
    """

    variable: Any
    reads: Mapping[int, Ids] = field(default_factory=dict)
    writes: Mapping[int, Ids] = field(default_factory=dict)
    carries: Mapping[int, Ids] = field(default_factory=dict)
    is_parameter: bool = True
    momentum: float | None = None

    @property
    def axes(self) -> dict[int, Ids]:
        """All labelled axes of the weight."""
        return {**self.reads, **self.writes, **self.carries}


@dataclass(frozen=True, eq=False)
class MacTerm:
    """A part of a call's multiply-adds for one sample: `factor * product of the widths of the labels`."""

    factor: int
    widths: tuple[Ids, ...]


@dataclass(frozen=True, eq=False)
class Call:
    """One call of an operation with the labels of its tensors: the input of handlers.

    Attributes:
        node: the call.
        inputs: labels of its tensors, in the order of `node.inputs`.
        book: creates labels, and records which are tied and which are fixed.
        written: output labels of an earlier call of the same layer.
        graph: the graph, for handlers that depend on the readers of their output.
        earlier: input and output labels of that earlier call, `(inputs, outputs)`.
        through_norms: whether streams may be cut if that changes a statistic over their channels.
        inner: labels that `inner_channels` created, by name.
        elsewhere: labels that `input_along` created for axes that are not channel axes.
    """

    node: Node
    inputs: tuple[Labels, ...]
    book: LabelBook
    written: Ids | None = None
    graph: LayerGraph | None = None
    earlier: tuple[tuple[Labels, ...], tuple[Labels, ...]] | None = None
    through_norms: bool = False
    inner: dict[str, Ids] = field(default_factory=dict)
    elsewhere: dict[tuple[int, int, int], Ids] = field(default_factory=dict)

    @property
    def layer(self) -> Any:
        """The operation that is called."""
        return self.node.operation

    def fix(self, ids: Ids, reason: str) -> None:
        """Fixes channels, so that they cannot be removed, for a reason."""
        self.book.fix(ids, self.node.name, reason)

    def new_output(self, count: int) -> Ids:
        """Returns labels for the layer's output: new ones at its first call, the same ones at every later call."""
        if self.written is not None and len(self.written) == count:
            return self.written
        return self.book.new(count)

    def whole(self, reason: str) -> tuple[Labels, ...]:
        """Leaves the call whole: fixes all of its inputs, and the channels on the last axis of each output."""
        for labels in self.inputs:
            self.fix(labels.ids, reason)
        return tuple(self.fixed(shape, len(shape) - 1, reason) for shape in self.node.output_shapes)

    def fixed(self, shape: tuple[int | None, ...], axis: int, reason: str) -> Labels:
        """Returns new labels along an axis of a tensor, all fixed."""
        ids = self.book.new((shape[axis] if axis > 0 else 0) or 0)
        self.fix(ids, reason)
        return Labels(ids, max(axis, 0))

    def tie(self, first: Ids, second: Ids, reason: str) -> None:
        """Ties labels position by position; if their numbers differ, fixes all of them for the reason."""
        if len(first) == len(second):
            self.book.tie(first, second)
        else:
            self.fix(first, reason)
            self.fix(second, reason)

    def inner_channels(self, name: str, count: int) -> Ids:
        """Returns labels for channels that never leave the layer, such as heads: created once, then always the same.

        Reports call them `layer:name`.
        """
        if name not in self.inner:
            self.inner[name] = self.book.new(count, name)
        return self.inner[name]

    def inputs_of(self, argument: str) -> list[int]:
        """Returns which of `inputs` belong to an argument of the layer's `call`; empty if it is not given."""
        value = inspect.signature(self.layer.call).bind(*self.node.args, **self.node.kwargs).arguments.get(argument)
        return [self.node.inputs.index(ref) for ref in keras.tree.flatten(value) if isinstance(ref, TensorRef)]

    def input_along(self, axis: int, index: int = 0) -> Ids:
        """Returns the input's labels along `axis`; if its channels lie on another axis, they are fixed."""
        labels = self.inputs[index]
        rank = len(self.node.input_shapes[index])
        axis %= rank
        if labels.axis == axis:
            return labels.ids
        self.fix(labels.ids, f"{self.node.type_name} reads axis {axis}, the channels lie on axis {labels.axis}")
        width = self.node.input_shapes[index][axis] or 0
        # The same ones whenever they are asked for: handlers do so again when all labels have been counted.
        key = id(labels.ids), axis, width
        if key not in self.elsewhere:
            self.elsewhere[key] = self.book.new(width)
            self.fix(self.elsewhere[key], f"{self.node.type_name} reads axis {axis}, which is not a channel axis")
        return self.elsewhere[key]


class Handler:
    """Default behaviour of a handler: the layer is left whole."""

    known = True
    # Attributes of the layer by which its call reshapes weights; -1 stands for them where weights are sliced.
    width_attributes: tuple[str, ...] = ()
    # Whether every axis of the output is the same axis of the input.
    keeps_axes = False

    def channel_axes(self, layer: Any, rank: int) -> frozenset[int] | None:
        """Returns the axes on which the layer leaves channels of such a tensor free; `None` for any axis."""
        return frozenset({channel_axis(layer, rank)}) if hasattr(layer, "data_format") else None

    def serves(self, operation: Any) -> bool:
        """Whether the handler describes this operation; if not, the operation is left whole."""
        return True

    def runs_on_slices(self, call: Call) -> bool:
        """Whether the layer runs with sliced weights; False if a static shape or argument depends on channels."""
        return True

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Returns the labels of the call's outputs, and ties and fixes labels."""
        raise NotImplementedError

    def weights(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[WeightAxes, ...]:
        """Returns the weights with labelled axes; other weights are kept unchanged."""
        return ()

    def macs(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[MacTerm, ...]:
        """Returns the multiply-adds for one sample."""
        return ()

    def counts_all(self, call: Call) -> bool:
        """Whether `macs` are all of the call's multiply-adds, as far as is known."""
        return True

    def config(self, call: Call, outputs: tuple[Labels, ...], width: Width) -> dict[str, Any]:
        """Returns changed entries of the layer's config; `width(ids)` is how many of `ids` stay."""
        return {}

    def arguments(
        self, call: Call, outputs: tuple[Labels, ...], width: Width
    ) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        """Returns the arguments of the call in the new model, in terms of the old references."""
        return call.node.args, call.node.kwargs

    def create(self, call: Call, config: dict[str, Any]) -> Any:
        """Returns a new operation from the changed config."""
        return made(call.layer, config)

    def finish(self, layer: Any, call: Call) -> None:
        """Finishes a new layer after its weights are set; `call` belongs to the layer it was made from."""

    def masked_call(self, call: Call, layer: Any, kept: Any) -> Callable[..., Any] | None:
        """Returns how to call `layer` when removed channels of its first input are still there, but must not count.

        Args:
            call: the call that was analysed.
            layer: its layer, or a copy of it.
            kept: float `[channels]`: one for a channel of the first input that stays, zero for a removed one.

        Returns:
            A replacement of `layer.call`; `None` if removed channels do not affect the others anyway.
        """
        return None

    def describe(self, call: Call) -> dict[str, Any]:
        """Returns kernel size and stride, for states and reports."""
        layer = call.layer
        kernel = getattr(layer, "kernel_size", None)
        strides = getattr(layer, "strides", None)
        return {
            "type": call.node.type_name,
            "kernel_size": kernel[0] if isinstance(kernel, (tuple, list)) else 1,
            "stride": strides[0] if isinstance(strides, (tuple, list)) else 1,
        }


class Unknown(Handler):
    """An operation without a handler: its inputs and outputs stay whole.

    Its multiply-adds are counted in TensorFlow's graph of it.
    """

    known = False

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Fixes all inputs and outputs."""
        return call.whole(f"no handler for {call.node.type_name}")

    def macs(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[MacTerm, ...]:
        """Returns a constant, because none of its channels can be removed."""
        assert call.graph is not None  # of a call inside a wrapper nobody asks, as the wrapper is unknown then too
        macs = arithmetic_of(call.node, call.graph).macs
        return (MacTerm(macs, ()),) if macs else ()

    def counts_all(self, call: Call) -> bool:
        """Whether TensorFlow's graph shows all of them."""
        return call.graph is not None and arithmetic_of(call.node, call.graph).is_known


_UNKNOWN = Unknown()
_BY_CLASS: dict[type, Handler] = {}
_BY_OPERATION_NAME: dict[str, Handler] = {}


def handles(*targets: type | str) -> Callable[[type[Handler]], type[Handler]]:
    """Registers a handler for Keras layer classes, or for operations of `keras.ops` by their class name.

    A subclass of a class with a handler does not inherit it: its `call` may do anything.
    """

    def register(cls: type[Handler]) -> type[Handler]:
        handler = cls()
        for target in targets:
            if isinstance(target, str):
                _BY_OPERATION_NAME[target] = handler
            else:
                _BY_CLASS[target] = handler
        return cls

    return register


def handler_of(operation: Any) -> Handler:
    """Returns the handler of an operation; `Unknown` if there is none."""
    handler = _BY_CLASS.get(type(operation))
    if handler is None and not isinstance(operation, keras.layers.Layer):
        handler = _BY_OPERATION_NAME.get(type(operation).__name__)
    return handler if handler is not None and handler.serves(operation) else _UNKNOWN


def adapted(layer: Any, kernel: WeightAxes) -> tuple[WeightAxes, ...]:
    """Returns a kernel, and LoRA's additions: for `[..., last]` a product of `[..., rank]` and `[rank, last]`.

    `layer.kernel` is then their sum, not a weight.
    """
    if not getattr(layer, "lora_enabled", False):
        return (kernel,)
    name = "kernel" if hasattr(layer, "lora_kernel_a") else "embeddings"
    variable = getattr(layer, f"_{name}", None)
    variable = getattr(layer, name) if variable is None else variable
    last = len(variable.shape) - 1

    def factor(letter: str, kept: Callable[[int], bool], at: Callable[[int], int]) -> WeightAxes:
        kinds = (kernel.reads, kernel.writes, kernel.carries)
        reads, writes, carries = ({at(a): ids for a, ids in kind.items() if kept(a)} for kind in kinds)
        return WeightAxes(getattr(layer, f"lora_{name}_{letter}"), reads, writes, carries)

    return (
        replace(kernel, variable=variable),
        factor("a", lambda a: a != last, lambda a: a),
        factor("b", lambda a: a == last, lambda a: 1),
    )


def sizes(shape: tuple[int | None, ...], node: Node) -> int:
    """Returns the product of the dimensions; MACs need all of them.

    Raises:
        ValueError: a dimension is unknown.
    """
    if any(size is None for size in shape):
        raise ValueError(
            f"Expected static shapes, to count the MACs of {node.name!r}. Received: shape {(None, *shape)}. "
            "Give the size that costs are counted for: input_shape=(height, width, channels). The result takes any "
            "size, as the model does."
        )
    return math.prod(size for size in shape if size is not None)


def channel_axis(layer: Any, rank: int) -> int:
    """Returns the axis of the channels of a layer with a data format."""
    return 1 if getattr(layer, "data_format", None) == "channels_first" else rank - 1
