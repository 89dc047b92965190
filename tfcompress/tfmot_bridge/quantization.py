"""Quantization-aware training on a bridged model, with quantize configurations for what tfmot's registry lacks."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal
from unittest import mock

import keras
import numpy as np
import tensorflow as tf

from tfcompress.export.saved_model import SIGNATURE
from tfcompress.export.tflite import signature_names
from tfcompress.graph import LayerGraph, Node, TensorRef
from tfcompress.process import ignored_warnings, quiet
from tfcompress.tfmot_bridge._tfmot import load
from tfcompress.tfmot_bridge.bridge import Legacy, Pair, legacy_of
from tfcompress.tfmot_bridge.carrying import is_shell, shell_class, shell_for

__all__ = ["DECAY", "Preserve", "calibrated", "quantized", "ranges_following", "tflite_of"]

Preserve = Literal["none", "sparsity", "clusters", "both"]

# The activations that tfmot quantizes inside a layer; any other becomes a layer of its own.
_INSIDE = ("linear", "relu", "softmax", "sigmoid", "tanh")
# What only moves numbers keeps the range that they have.
_MOVES = frozenset(
    (
        *(
            "GetItem",
            "Reshape",
            "Transpose",
            "ExpandDims",
            "Squeeze",
            "Split",
            "Flip",
            "Repeat",
            "Tile",
            "Roll",
            "Take",
        ),
        *("MaxPooling1D", "MaxPooling3D", "RepeatVector", "ZeroPadding3D", "UpSampling1D", "UpSampling3D"),
        *("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "GaussianDropout", "GaussianNoise"),
        *("AlphaDropout", "Identity"),
    )
)
DECAY = 0.999
"""The share of a range of activations that a step leaves, in tfmot."""

_BEFORE_NORM = ("Conv2D", "DepthwiseConv2D", "Dense")


def quantized(graph: LayerGraph, preserve: Preserve = "none") -> Legacy:
    """Returns the bridged model that computes as an int8 model would: weights and activations are rounded.

    Args:
        graph: the graph of the Keras 3 model.
        preserve: what training leaves as it is: zeros of weights, the number of their values, both, or nothing.
    """
    lib = load()
    quantize = lib.tfmot.quantization.keras
    owners: dict[str, list[tuple[str, Any]]] = {}

    def annotated(layer: Any, config: Any) -> Any:
        return quantize.quantize_annotate_layer(layer, config)

    def wrap(node: Node, layer: Any) -> Callable[[Any], Any]:
        if is_shell(layer):
            return layer if _has_integers(graph, node) else annotated(layer, _config_of_shell(node))
        if _has_integers(graph, node):
            owners[layer.name] = _named(layer, node.operation.weights)
            return layer
        parts = _parts(node, layer, owners)
        ready = [annotated(part, _config(graph, node, part, preserve)) for part in parts]

        def call(tensor: Any) -> Any:
            for part in ready:
                tensor = part(tensor)
            return tensor

        return call

    carried = legacy_of(graph, wrap)
    combine = lib.tfmot.experimental.combine
    scheme: dict[str, Any] = {}
    if preserve == "sparsity":
        scheme["scheme"] = combine.Default8BitPrunePreserveQuantizeScheme()
    elif preserve != "none":
        scheme["scheme"] = combine.Default8BitClusterPreserveQuantizeScheme(preserve_sparsity=preserve == "both")
    with lib.keras.utils.custom_object_scope({"Shell": shell_class()}), quantize.quantize_scope():
        model = quantize.quantize_apply(carried.model, **scheme)
    shells = [pair for pair in carried.pairs if pair.own.value is pair.carried]
    pairs = (*shells, *_pairs(model, owners))
    constraints = _keeping_zeros(pairs) if preserve in ("sparsity", "both") else {}
    if preserve in ("clusters", "both"):
        constraints |= _keeping_clusters(model, pairs)
    return Legacy(model, carried.layers, pairs, constraints)


def _keeping_clusters(model: Any, pairs: Sequence[Pair]) -> dict[int, Callable[[Any], Any]]:
    """Returns constraints that give kernels their clusters again after each step; tfmot does so before the next."""
    known = {id(pair.carried): pair.own for pair in pairs}
    constraints = {}
    for layer in model.layers:
        for weight, _, state in getattr(layer, "_weight_vars", ()):
            if "cluster_centroids_tf" in state and id(weight) in known:
                constraints[id(known[id(weight)])] = _clusters_of(state)
    return constraints


def _clusters_of(state: dict[str, Any]) -> Callable[[Any], Any]:
    """Returns a constraint that computes a clustered weight from the state that tfmot keeps for it."""
    clusters, free = state["clst_impl"], state["ori_weights_vars_tf"]

    def clustered(weight: Any) -> Any:
        if state.get("centroids_mask") is not None:  # zero is one of the values, and stays one
            clusters.cluster_centroids.assign(clusters.cluster_centroids * state["centroids_mask"])
            free.assign(free * state["sparsity_mask"])
        return clusters.get_clustered_weight(clusters.get_pulling_indices(free), free)

    return clustered


def _keeping_zeros(pairs: Sequence[Pair]) -> dict[int, Callable[[Any], Any]]:
    """Returns constraints for layers that tfmot's preserving scheme does not know, and for weights under momentum."""

    def keeping(mask: np.ndarray) -> Callable[[Any], Any]:
        return lambda weight: weight * mask

    masks = {id(pair.own): (pair.own, keras.ops.convert_to_numpy(pair.own) != 0) for pair in pairs}
    return {
        key: keeping(mask.astype("float32"))
        for key, (own, mask) in masks.items()
        if len(own.shape) > 1 and own.trainable and not mask.all()
    }


def _named(layer: Any, weights: Sequence[Any]) -> list[tuple[str, Any]]:
    """Returns the Keras 3 weights of a tf_keras layer, each with its name there."""
    names = [variable.name.partition(":")[0].rpartition("/")[2] for variable in layer.weights]
    return list(zip(names, weights, strict=True))


def _parts(node: Node, layer: Any, owners: dict[str, list[tuple[str, Any]]]) -> list[Any]:
    """Returns the layers that stand for a layer: itself, a separable convolution's two, its activation apart."""
    lib, weights = load(), list(node.operation.weights)
    parts = [layer]
    if node.type_name == "SeparableConv2D":
        settings = {name: getattr(layer, name) for name in ("strides", "padding", "depth_multiplier", "dilation_rate")}
        depthwise = lib.keras.layers.DepthwiseConv2D(
            layer.kernel_size, use_bias=False, name=f"{layer.name}_depthwise", **settings
        )
        pointwise = lib.keras.layers.Conv2D(
            layer.filters, 1, use_bias=layer.use_bias, activation=layer.activation, name=f"{layer.name}_pointwise"
        )
        depthwise.build(node.input_shapes[0])
        pointwise.build(depthwise.compute_output_shape(node.input_shapes[0]))
        depthwise.set_weights(layer.get_weights()[:1])
        pointwise.set_weights(layer.get_weights()[1:])
        owners[depthwise.name] = [("depthwise_kernel", weights[0])]
        owners[pointwise.name] = list(zip(("kernel", "bias"), weights[1:], strict=False))
        parts = [depthwise, pointwise]
    else:
        owners[layer.name] = _named(layer, weights)
    name = getattr(getattr(node.operation, "activation", None), "__name__", "linear")
    if name in _INSIDE or node.type_name in ("LSTM", "GRU", "SimpleRNN"):
        return parts
    if name == "relu6":
        apart = lib.keras.layers.ReLU(6.0, name=f"{layer.name}_relu6")
    else:
        ref = TensorRef(node.name)
        operation = keras.layers.Activation(node.operation.activation)
        shapes: dict[str, Any] = {"input_shapes": node.output_shapes, "output_shapes": node.output_shapes}
        called = f"{node.layer_name}_{name}"
        apart = shell_for(Node(called, called, operation, (ref,), {}, (ref,), **shapes))
    if node.type_name == "Activation":
        return [apart]
    parts[-1].activation = lib.keras.activations.linear
    return [*parts, apart]


def _config(graph: LayerGraph, node: Node, layer: Any, preserve: Preserve) -> Any:
    """Returns the quantize configuration of a layer; `None` where that of tfmot's registry is right."""
    lib = load()
    if is_shell(layer):
        return lib.configs.Default8BitOutputQuantizeConfig()
    kind = type(layer).__name__
    if kind == "BatchNormalization":
        return None if _follows_alone(graph, node) else lib.configs.Default8BitOutputQuantizeConfig()
    if kind == "Conv1D":
        # One range for the kernel: the converter does not take one for each channel of three axes.
        return lib.registry.Default8BitQuantizeConfig(["kernel"], ["activation"], False)
    if kind == "Conv2DTranspose" and preserve != "none":  # which tfmot's preserving scheme does not know
        return lib.registry.Default8BitConvTransposeQuantizeConfig(["kernel"], ["activation"], False)
    if lib.registry.Default8BitQuantizeRegistry().supports(layer):
        return None
    return lib.configs.NoOpQuantizeConfig() if kind in _MOVES else lib.configs.Default8BitOutputQuantizeConfig()


def _config_of_shell(node: Node) -> Any:
    """Returns the configuration of an operator or another layer that runs as itself: its output, if it has one."""
    moves = node.type_name in _MOVES or len(node.output_shapes) > 1
    return load().configs.NoOpQuantizeConfig() if moves else load().configs.Default8BitOutputQuantizeConfig()


def _follows_alone(graph: LayerGraph, node: Node) -> bool:
    """Whether a normalisation alone reads a layer that TFLite fuses it with."""
    (ref,) = node.inputs
    before = graph.nodes[ref.node]
    linear = getattr(getattr(before.operation, "activation", None), "__name__", "") == "linear"
    return before.type_name in _BEFORE_NORM and linear and len(graph.readers.get(ref, ())) == 1


def _has_integers(graph: LayerGraph, node: Node) -> bool:
    """Whether a node reads or gives whole numbers, which are not rounded."""
    return any("float" not in str(graph.tensors[ref].dtype) for ref in (*node.inputs, *node.outputs))


def _pairs(model: Any, owners: dict[str, list[tuple[str, Any]]]) -> Iterator[Pair]:
    """Yields the weights on both sides, found by their names in the quantized model."""
    for layer in model.layers:
        inner = getattr(layer, "layer", layer)
        wanted = owners.get(inner.name, [])
        if len(inner.weights) == len(wanted):
            yield from (Pair(own, carried) for (_, own), carried in zip(wanted, inner.weights, strict=True))
            continue
        # A weight that is rounded is not the inner layer's any more.
        known = {variable.name.partition(":")[0]: variable for variable in layer.weights}
        yield from (Pair(own, known[f"{inner.name}/{name}"]) for name, own in wanted)


@contextlib.contextmanager
def ranges_following(decay: float) -> Iterator[None]:
    """Makes ranges of activations follow with this decay in steps that are traced inside the `with`.

    Args:
        decay: the share of a range that a step leaves; tfmot's own is `DECAY`.
    """
    follow = load().quant_ops.MovingAvgQuantize

    def quantize(*args: Any, **options: Any) -> Any:
        return follow(*args, **{**options, "ema_decay": decay})

    with mock.patch.object(load().quant_ops, "MovingAvgQuantize", quantize):
        yield


def calibrated(legacy: Legacy, batches: Sequence[Sequence[np.ndarray]]) -> None:
    """Sets the ranges of activations to those of some inputs; tfmot begins with -6 to 6, and follows slowly.

    Args:
        legacy: the model of `quantized`.
        batches: batches of inputs, each a list in the order of the model's inputs; the last one counts.
    """
    layers = legacy.model.layers
    norms = [inner for inner in (getattr(layer, "layer", layer) for layer in layers) if "Norm" in type(inner).__name__]
    flags = [norm.trainable for norm in norms]
    try:
        for norm in norms:
            norm.trainable = False  # it uses its statistics, and keeps them
        with ranges_following(0.0):
            for batch in batches:
                legacy.model(list(batch) if len(batch) > 1 else batch[0], training=True)
    finally:
        for norm, flag in zip(norms, flags, strict=True):
            norm.trainable = flag


def tflite_of(legacy: Legacy, student: keras.Model) -> bytes:
    """Returns the int8 TFLite file of a quantized model; inputs and outputs are float32, named as the student's.

    Args:
        legacy: the model of `quantized`.
        student: the Keras 3 model that it stands for.
    """
    inputs, outputs = signature_names(student)
    signature = [
        tf.TensorSpec((1, *tensor.shape[1:]), tensor.dtype, name=name)
        for tensor, name in zip(student.inputs, inputs, strict=True)
    ]
    model = legacy.model

    def serve(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        values = keras.tree.flatten(model(list(tensors) if len(tensors) > 1 else tensors[0], training=False))
        return dict(zip(outputs, values, strict=True))

    module = tf.Module()
    module.held = list(model.weights)  # not the model, which would be saved layer by layer
    function = tf.function(serve, input_signature=signature).get_concrete_function()
    with tempfile.TemporaryDirectory() as folder, quiet(), ignored_warnings():
        tf.saved_model.save(module, folder, signatures={SIGNATURE: function})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        content: bytes = converter.convert()
    return content
