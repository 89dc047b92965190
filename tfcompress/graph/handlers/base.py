"""All that is known of each layer class, in one place: one handler a class.

A handler says how channel labels flow through a call, which axes of which weights carry them, how the call changes
when channels are gone, and its MACs. Nothing else in tfcompress asks for a layer's class. A class without a handler is
left whole, and the report says so. `@handles(...)` registers a handler of one's own.
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
    """The labels that a plan leaves: `width(ids)` is how many stay, `width.stays(ids)` which."""

    def __call__(self, ids: Ids) -> int:
        """How many of `ids` stay."""

    def stays(self, ids: Ids) -> npt.NDArray[np.bool_]:
        """bool `[len(ids)]`: which of them stay."""


@dataclass(frozen=True, eq=False)
class WeightAxes:
    """Which axes of one weight are indexed by channels.

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
    """One call of an operation with the labels of its tensors, as handlers see it.

    Attributes:
        node: the call.
        inputs: labels of its tensors, in the order of `node.inputs`.
        book: gives out labels, and keeps what is tied and what is fixed.
        written: what an earlier call of the same layer produces.
        graph: the graph, for handlers that choose by who reads their output.
        earlier: what that earlier call reads and gives, `(inputs, outputs)`.
        through_norms: whether streams are cut where that changes a statistic over their channels.
        inner: by name, what `inner_channels` gave out.
        elsewhere: what `input_along` gave out for axes that are no channel axes.
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
        """Forbids to remove channels, and says why."""
        self.book.fix(ids, self.node.name, reason)

    def new_output(self, count: int) -> Ids:
        """Labels for what the layer produces: fresh at its first call, the same ones at every later call."""
        if self.written is not None and len(self.written) == count:
            return self.written
        return self.book.new(count)

    def whole(self, reason: str) -> tuple[Labels, ...]:
        """Leaves the call whole: fixes all that it reads, and gives fixed channels on the last axis of each output."""
        for labels in self.inputs:
            self.fix(labels.ids, reason)
        return tuple(self.fixed(shape, len(shape) - 1, reason) for shape in self.node.output_shapes)

    def fixed(self, shape: tuple[int | None, ...], axis: int, reason: str) -> Labels:
        """New labels along an axis of a tensor, all fixed."""
        ids = self.book.new((shape[axis] if axis > 0 else 0) or 0)
        self.fix(ids, reason)
        return Labels(ids, max(axis, 0))

    def tie(self, first: Ids, second: Ids, reason: str) -> None:
        """Ties labels position by position; where their numbers differ, fixes all with the reason."""
        if len(first) == len(second):
            self.book.tie(first, second)
        else:
            self.fix(first, reason)
            self.fix(second, reason)

    def inner_channels(self, name: str, count: int) -> Ids:
        """Labels for channels that never leave the layer, such as heads: made when first asked for, then the same.

        Reports call them `layer:name`.
        """
        if name not in self.inner:
            self.inner[name] = self.book.new(count, name)
        return self.inner[name]

    def inputs_of(self, argument: str) -> list[int]:
        """Which of `inputs` stand in an argument of the layer's `call`; none where it is not given."""
        value = inspect.signature(self.layer.call).bind(*self.node.args, **self.node.kwargs).arguments.get(argument)
        return [self.node.inputs.index(ref) for ref in keras.tree.flatten(value) if isinstance(ref, TensorRef)]

    def input_along(self, axis: int, index: int = 0) -> Ids:
        """The input's labels along `axis`; where its channels lie on another axis they are fixed."""
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
    """Default behaviour of a handler: left whole."""

    known = True
    # Attributes of the layer by which its call reshapes weights; -1 stands for them where weights are sliced.
    width_attributes: tuple[str, ...] = ()
    # Whether every axis of the output is the same axis of the input.
    keeps_axes = False

    def channel_axes(self, layer: Any, rank: int) -> frozenset[int] | None:
        """The axes on which this layer leaves channels of a tensor of this rank free; `None` where it does not care."""
        return frozenset({channel_axis(layer, rank)}) if hasattr(layer, "data_format") else None

    def serves(self, operation: Any) -> bool:
        """Whether the handler describes this very operation; where not, the operation is left whole."""
        return True

    def runs_on_slices(self, call: Call) -> bool:
        """Whether sliced weights alone run the layer; not where a static shape or argument speaks of channels."""
        return True

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """The labels of the call's outputs; ties and fixes labels on the way."""
        raise NotImplementedError

    def weights(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[WeightAxes, ...]:
        """The weights with labelled axes; weights that are not named are kept as they are."""
        return ()

    def macs(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[MacTerm, ...]:
        """Multiply-adds for one sample."""
        return ()

    def counts_all(self, call: Call) -> bool:
        """Whether `macs` are all of the call's multiply-adds, as far as anyone can tell."""
        return True

    def config(self, call: Call, outputs: tuple[Labels, ...], width: Width) -> dict[str, Any]:
        """Entries of the layer's config that change; `width(ids)` is how many of `ids` stay."""
        return {}

    def arguments(
        self, call: Call, outputs: tuple[Labels, ...], width: Width
    ) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        """Arguments of the call in the new model, in terms of the old references."""
        return call.node.args, call.node.kwargs

    def create(self, call: Call, config: dict[str, Any]) -> Any:
        """The operation anew, from its changed config."""
        return made(call.layer, config)

    def finish(self, layer: Any, call: Call) -> None:
        """Called with a new layer when its weights are in place; `call` is that of the layer it was made from."""

    def masked_call(self, call: Call, layer: Any, kept: Any) -> Callable[..., Any] | None:
        """How `layer` is called where removed channels of its first input are still there, but must not count.

        Args:
            call: the call that was analysed.
            layer: its layer, or a copy of it.
            kept: float `[channels]`: one where a channel of the first input stays, zero where it is removed.

        Returns:
            What stands for `layer.call`; `None` where removed channels do not touch the others anyway.
        """
        return None

    def describe(self, call: Call) -> dict[str, Any]:
        """Kernel size and stride, for states and reports."""
        layer = call.layer
        kernel = getattr(layer, "kernel_size", None)
        strides = getattr(layer, "strides", None)
        return {
            "type": call.node.type_name,
            "kernel_size": kernel[0] if isinstance(kernel, (tuple, list)) else 1,
            "stride": strides[0] if isinstance(strides, (tuple, list)) else 1,
        }


class Unknown(Handler):
    """An operation nobody has described: what it reads and what it gives stays whole.

    Its multiply-adds are counted in the graph that TensorFlow makes of it.
    """

    known = False

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Fixes all inputs and outputs."""
        return call.whole(f"no handler for {call.node.type_name}")

    def macs(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[MacTerm, ...]:
        """A number, as nothing of it can go."""
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
    """The handler of an operation; `Unknown` where there is none."""
    handler = _BY_CLASS.get(type(operation))
    if handler is None and not isinstance(operation, keras.layers.Layer):
        handler = _BY_OPERATION_NAME.get(type(operation).__name__)
    return handler if handler is not None and handler.serves(operation) else _UNKNOWN


def adapted(layer: Any, kernel: WeightAxes) -> tuple[WeightAxes, ...]:
    """A kernel, and what LoRA adds to it: of the shape `[..., last]` a product of `[..., rank]` and `[rank, last]`.

    `layer.kernel` is then their sum, and no weight.
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
    """Product of the dimensions; MACs need every one of them.

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
    """The axis of the channels of a layer with a data format."""
    return 1 if getattr(layer, "data_format", None) == "channels_first" else rank - 1
