"""The protocol of replacements, the parts of a network that they replace, and their registry."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import keras
import numpy.typing as npt

from tfcompress import expect
from tfcompress.graph import LayerGraph, Node, TensorRef
from tfcompress.graph.regions import calls_of, is_called_outside
from tfcompress.replacements.masks import with_mask

__all__ = ["Layers", "Part", "Replacement", "Shape", "by_name", "fitting", "names", "register_replacement"]

Shape: TypeAlias = tuple[int | None, ...]
Layers: TypeAlias = "list[keras.layers.Layer] | keras.Model"

_CONVOLUTIONS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
)
_REGION_KERNEL = 3  # of a region of several layers, which has none of its own


@dataclass(frozen=True, eq=False)
class Part:
    """A part of a network that can be replaced: a call of a layer, or a single-entry, single-exit region.

    Attributes:
        nodes: names of its nodes, in the order of the graph.
        layer: the layer, if the part is one call of one layer.
        input_shapes: shapes of the input tensors, the batch first (`None` for an unknown size).
        mask_shape: `[batch, steps]` of the input mask; `None` if there is none.
        output_shape: shape of the single output tensor, likewise.
        name: name of the first node's layer.
        rank: number of axes besides batch and channels.
        convolves: whether a convolution over `rank` axes can replace it: it is a convolution, or a region that
            keeps the size of its maps or divides it. These sizes have to be known.
        kernel_size, strides, dilation_rate: those of the layer, a number for each of the `rank` axes. For a region 3,
            the ratio of its sizes, and 1; for a layer that is not a convolution all are one.
        padding: "same", "valid" or "causal"; for a region "same".
        groups: groups of a convolution; 1 for everything else.
        use_bias: whether it adds a bias; for a region True.
        activation: the Keras function that its last layer applies.
        data_format: "channels_last" or "channels_first".
        channels_in, channels_out: number of channels of the first input tensor, and of the output tensor.
        kernel_regularizer, bias_regularizer, activity_regularizer: those of the layer, or `None`.
        dtype: the layer's dtype policy; for a region that of its last layer.
    """

    nodes: tuple[str, ...]
    layer: keras.layers.Layer | None
    input_shapes: tuple[Shape, ...]
    mask_shape: Shape | None
    output_shape: Shape
    name: str
    rank: int
    convolves: bool
    kernel_size: tuple[int, ...]
    strides: tuple[int, ...]
    dilation_rate: tuple[int, ...]
    padding: str
    groups: int
    use_bias: bool
    activation: Any
    data_format: str
    channels_in: int
    channels_out: int
    kernel_regularizer: Any
    bias_regularizer: Any
    activity_regularizer: Any
    dtype: Any

    @classmethod
    def of(cls, graph: LayerGraph, nodes: Sequence[str]) -> Part:
        """Returns the part that consists of some nodes of a graph.

        Args:
            graph: the graph.
            nodes: names of nodes, in any order: one call of a layer, or all nodes of a region.

        Raises:
            KeyError: a name is not a node of the graph.
            ValueError: an input of the model, a layer that is also called outside of the part, or nodes that are not a
                region; the message says which tensors enter and leave.
        """
        inside, read, mask, written = _ends(
            graph, expect.each("nodes", nodes, expect.text, "names of nodes", empty=False)
        )
        operations = [node.operation for node in inside]
        layer = operations[0] if len(inside) == 1 and isinstance(operations[0], keras.Layer) else None
        last = operations[-1]
        shapes = tuple(graph.shape(ref) for ref in read)
        output = graph.shape(written)
        rank = max(len(output) - 2, 0)
        data_format = next(filter(None, (getattr(o, "data_format", None) for o in operations)), "channels_last")
        axis = 1 if data_format == "channels_first" and rank else -1
        ratios = _ratios(shapes[0], output, axis)
        is_region = layer is None
        convolves = ratios is not None and rank in (1, 2) if is_region else type(layer) in _CONVOLUTIONS
        convolves = convolves and (rank == 2 or data_format == "channels_last")  # Cropping1D knows no other
        kernel = (_REGION_KERNEL,) * rank if is_region else _sizes(layer, "kernel_size", rank)
        return cls(
            nodes=tuple(node.name for node in inside),
            layer=layer,
            input_shapes=shapes,
            mask_shape=None if mask is None else graph.shape(mask),
            output_shape=output,
            name=inside[0].layer_name,
            rank=rank,
            convolves=convolves,
            kernel_size=kernel,
            strides=(ratios or (1,) * rank) if is_region else _sizes(layer, "strides", rank),
            dilation_rate=(1,) * rank if is_region else _sizes(layer, "dilation_rate", rank),
            padding="same" if is_region else getattr(layer, "padding", "same"),
            groups=getattr(layer, "groups", 1),
            use_bias=bool(getattr(layer, "use_bias", is_region)),
            activation=_activation(last),
            data_format=data_format,
            channels_in=shapes[0][axis] or 0,
            channels_out=output[axis] or 0,
            kernel_regularizer=getattr(layer, "kernel_regularizer", None),
            bias_regularizer=getattr(layer, "bias_regularizer", None),
            activity_regularizer=getattr(layer, "activity_regularizer", None),
            dtype=getattr(last, "dtype_policy", None),
        )

    @property
    def extents(self) -> tuple[int, ...]:
        """Number of places that the kernel spans on each axis, including its dilation."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel_size, self.dilation_rate, strict=True))

    @property
    def last_settings(self) -> dict[str, Any]:
        """Arguments of a replacement's last layer with a bias: the operations of the part after its sums."""
        return {
            "use_bias": self.use_bias,
            "activation": self.activation,
            "bias_regularizer": self.bias_regularizer,
            "activity_regularizer": self.activity_regularizer,
        }


@runtime_checkable
class Replacement(Protocol):
    """A replacement for parts. A subclass has a name and `layers`, and further methods if it can use them.

    Attributes:
        name: its name in plans and tables.
        needs_inputs: whether `start_from` is called, with inputs of the part, instead of `start`.
    """

    name: str
    needs_inputs: bool = False

    def layers(self, part: Part) -> Layers | None:
        """Returns new unbuilt stock layers in sequence, or a Functional model, with the part's output shape.

        Args:
            part: the part to replace.

        Returns:
            The layers, with short names that are unique among them; `None` if the replacement does not apply to
            this part.
        """
        ...

    def start(self, part: Part, layers: Sequence[keras.layers.Layer]) -> bool:
        """Gives built layers initial weights computed from the part's own.

        Args:
            part: the part to replace, whose layer is built.
            layers: the result of `layers`, built; for a model its layers.

        Returns:
            Whether it did; otherwise they keep their initializers' weights. In both cases they then learn to imitate
            the part.
        """
        return False

    def start_from(self, part: Part, layers: Sequence[keras.layers.Layer], inputs: npt.NDArray[Any]) -> bool:
        """Does the same as `start`, with inputs of the part.

        Args:
            part: the part to replace.
            layers: as for `start`.
            inputs: float `[samples, ...]`, with the shape of the part's only input.
        """
        return self.start(part, layers)


_REPLACEMENTS: dict[str, Replacement] = {}


def register_replacement(replacement: Replacement) -> Replacement:
    """Registers a replacement by its name.

    Args:
        replacement: an instance.

    Returns:
        The same.

    Raises:
        TypeError: not a replacement.
        ValueError: another class has the name.
    """
    _check(replacement)
    known = _REPLACEMENTS.get(expect.text("name", replacement.name))
    # The same class again: its module was loaded anew.
    if known is not None and type(known).__qualname__ != type(replacement).__qualname__:
        expect.refuse("name", f"a name other than {names()}", replacement.name, "Give the class another name.")
    _REPLACEMENTS[replacement.name] = replacement
    return replacement


def names() -> tuple[str, ...]:
    """Returns the names of all registered replacements, in the order of registration."""
    return tuple(_REPLACEMENTS)


def by_name(replacement: str | Replacement) -> Replacement:
    """Returns a replacement by its name, or the instance itself.

    Raises:
        TypeError: neither a name nor a replacement.
        ValueError: an unknown name; the message lists the known ones.
    """
    if not isinstance(replacement, str):
        return _check(replacement)
    if replacement not in _REPLACEMENTS:
        expect.refuse("replacement", f"one of {names()}", replacement)
    return _REPLACEMENTS[replacement]


def _check(replacement: Any) -> Replacement:
    if isinstance(replacement, type) or not isinstance(replacement, Replacement):
        is_class = isinstance(replacement, type)
        hint = f"Write its parentheses: {replacement.__name__}()." if is_class else "Derive the class from Replacement."
        expect.refuse("replacement", "a name or a Replacement", replacement, hint, wrong_type=True)
    return replacement


def fitting(part: Part, replacement: Replacement) -> Layers | None:
    """Returns the layers of a replacement for a part, after checking that they give the part's output shape.

    Returns:
        As `Replacement.layers`, none of them built, with names that are the same in every call. If the part has a
        mask, a model that reads the mask last.

    Raises:
        TypeError: not layers, or two layers of one name.
        ValueError: layers do not fit the part's input, or give another shape; the message names replacement and
            part.
    """
    made = replacement.layers(part)
    if made is None:
        return None
    where = f"replacement {replacement.name!r} of {part.name!r}"
    chain = [made] if isinstance(made, keras.Model) else made
    if not isinstance(chain, list) or not all(isinstance(layer, keras.layers.Layer) for layer in chain) or not chain:
        expect.refuse("layers", "a list of layers, a Functional model or None", made, f"From {where}.", wrong_type=True)
    if len({layer.name for layer in chain}) < len(chain):
        taken = [layer.name for layer in chain]
        raise ValueError(f"Expected names unique in a replacement. Received: {taken}, from {where}")
    spec: Any = [keras.KerasTensor(shape, dtype="float32") for shape in part.input_shapes]
    if part.mask_shape is not None and isinstance(made, keras.Model) and len(made.inputs) > len(spec):
        spec.append(keras.KerasTensor(part.mask_shape, dtype="bool"))
    spec = spec[0] if len(spec) == 1 else spec
    try:
        for layer in chain:
            spec = layer.compute_output_spec(spec)
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(
            f"Expected a replacement that fits inputs {list(part.input_shapes)}. Received: {where}: {reason}"
        ) from error
    shape = tuple(getattr(spec, "shape", ()))
    if shape != part.output_shape:
        raise ValueError(
            f"Expected a replacement of output shape {part.output_shape}. Received: {shape}, from {where}. "
            "Return None if it does not fit."
        )
    if not isinstance(made, keras.Model):
        _name(made)
    return made if part.mask_shape is None else with_mask(part, made)


def _name(layers: list[keras.layers.Layer]) -> None:
    """Gives layers the names that they would have in a new process, as Keras numbers names differently each time."""
    taken: set[str] = set()
    for layer in layers:
        base = re.sub(r"_\d+$", "", layer.name)
        layer.name = next(name for name in (base, *(f"{base}_{i}" for i in range(1, len(layers)))) if name not in taken)
        taken.add(layer.name)


def _ends(graph: LayerGraph, nodes: Sequence[str]) -> tuple[list[Node], list[TensorRef], TensorRef | None, TensorRef]:
    """Returns the nodes in the order of the graph, their outside inputs, their mask, and their output tensor."""
    unknown = sorted(set(nodes) - graph.nodes.keys())
    if unknown:
        raise KeyError(f"Expected names of nodes of {graph.name!r}. Received: {unknown}")
    names_inside = set(nodes)
    inside = [node for name, node in graph.nodes.items() if name in names_inside]
    calls = calls_of(graph)
    for node in inside:
        if node.is_input:
            raise ValueError(f"Expected nodes that compute something. Received: {node.name!r}, an input of the model.")
        if is_called_outside(node, names_inside, calls):
            elsewhere = sorted(calls[node.layer_name] - names_inside)
            raise ValueError(
                f"Expected layers that are called only in the part. Received: {node.name!r}, of a layer that is also "
                f"called as {elsewhere}."
            )
    coming = list(dict.fromkeys(ref for node in inside for ref in node.inputs if ref.node not in names_inside))
    masks = [ref for ref in coming if _is_mask(ref, inside)]
    read = coming if len(masks) > 1 else [ref for ref in coming if ref not in masks]
    written = [
        ref
        for node in inside
        for ref in node.outputs
        if ref in graph.output_refs or any(name not in names_inside for name in graph.readers.get(ref, ()))
    ]
    dangling = [n.name for n in inside if not any(ref in written or graph.readers.get(ref) for ref in n.outputs)]
    is_region = len(written) == 1 and (len(read) == 1 or (len(inside) == 1 and read)) and not dangling
    if not is_region or (written[0].node != inside[-1].name):
        raise ValueError(
            "Expected nodes of one region, with one tensor coming in and one going out. Received: "
            f"{[node.name for node in inside]}, which read {[ref.node for ref in read]} and give "
            f"{[ref.node for ref in written]} to the rest."
        )
    return inside, read, masks[0] if masks and read != coming else None, written[0]


def _is_mask(ref: TensorRef, nodes: Sequence[Node]) -> bool:
    """Whether nodes read a tensor as their mask, and as nothing else."""
    readers = [node for node in nodes if ref in node.inputs]
    return all(node.kwargs.get("mask") == ref and node.inputs.count(ref) == 1 for node in readers)


def _sizes(layer: Any, name: str, rank: int) -> tuple[int, ...]:
    value = getattr(layer, name, 1)
    sizes = tuple(value) if isinstance(value, (tuple, list)) else (value,) * rank
    return tuple(map(int, sizes)) if len(sizes) == rank else (1,) * rank


def _ratios(before: Shape, after: Shape, channels: int) -> tuple[int, ...] | None:
    """Returns the strides with which padding "same" turns one size into the other; `None` if there are none."""
    if len(before) != len(after) or len(after) < 3:
        return None
    places = [axis for axis in range(1, len(after)) if axis != channels % len(after)]
    ratios = []
    for old, new in ((before[axis], after[axis]) for axis in places):
        if old is None or new is None:
            return None
        ratio = round(old / new) if new else 0
        if not ratio or -(-old // ratio) != new:
            return None
        ratios.append(ratio)
    return tuple(ratios)


def _activation(operation: Any) -> Any:
    """Returns the activation that an operation ends with; linear if it has none that a layer can be given."""
    if type(operation) is keras.layers.ReLU and operation.get_config().get("max_value") is None:
        slopes = operation.get_config()
        return keras.activations.relu if not slopes["negative_slope"] and not slopes["threshold"] else _LINEAR
    activation = getattr(operation, "activation", None)
    return activation if callable(activation) else _LINEAR


_LINEAR = keras.activations.linear
