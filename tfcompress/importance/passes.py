"""Runs a model over calibration samples, and reduces its tensors to a few numbers per channel, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfcompress.graph import ChannelGroups, LayerGraph, TensorRef
from tfcompress.graph.handlers import WeightAxes
from tfcompress.graph.labels import Ids
from tfcompress.graph.layer_graph import Node
from tfcompress.graph.run import Tensor, call, outputs_of, run

__all__ = ["Activations", "Gates", "Passes", "Place", "Products"]

Place = Literal["written", "read"]
Numbers = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class _PerChannel:
    """Fields with one number per channel."""

    def at(self, roots: Ids) -> Any:
        """Returns the numbers of some channels, given by their representatives."""
        return replace(self, **{field.name: getattr(self, field.name)[roots] for field in fields(self)})


@dataclass(frozen=True, eq=False)
class Products(_PerChannel):
    """Sums of g * w over the weights w of each channel; g is the gradient of the mean loss of one batch.

    All are float32 `[size]`, and means over the batches (weighted by their numbers of samples).

    Attributes:
        joint_squares: the square of the sum of g * w.
        joint_absolutes: the absolute value of the sum of g * w.
        squares: the sum of (g * w)^2.
        absolutes: the sum of |g * w|.
    """

    joint_squares: Numbers
    joint_absolutes: Numbers
    squares: Numbers
    absolutes: Numbers


@dataclass(frozen=True, eq=False)
class Activations(_PerChannel):
    """Activations of channels, all float32 `[size]` and means over samples and positions.

    Attributes:
        mean: mean of the activation a.
        absolute: mean of |a|.
        square: mean of a^2.
        nonzero: share of activations that are not zero.
    """

    mean: Numbers
    absolute: Numbers
    square: Numbers
    nonzero: Numbers


@dataclass(frozen=True, eq=False)
class Gates(_PerChannel):
    """Sums of g * z over the positions z of each channel's feature map, g the gradient of the loss of one sample.

    Both float32 `[size]`.

    Attributes:
        absolute: the mean over samples of the absolute value of the sum, divided by the number of positions.
        layers: number of layers that read the channel, over which `absolute` is a mean; 0 for a channel in no tensor.
    """

    absolute: Numbers
    layers: Numbers


class _Seen(NamedTuple):
    """A tensor with channels, and the layer that it is measured for."""

    layer: str
    tensor: TensorRef
    axis: int
    ids: Ids
    wanted: npt.NDArray[np.bool_]


class _Maps(NamedTuple):
    """The feature maps that one layer reads: `chosen` of all their channels belong to `labels[segments]`."""

    seen: tuple[_Seen, ...]
    chosen: Ids
    labels: Ids
    segments: Ids


class Passes:
    """Forward and backward passes of a model in inference mode, compiled once each, with the present weights.

    Args:
        groups: the model's channel groups.
        loss: `(y, outputs) -> numbers`, of which the mean is used.
    """

    def __init__(self, groups: ChannelGroups, loss: Callable[[Any, Any], Any] | None) -> None:
        self._groups, self._loss = groups, loss
        self._weights = [w for layer in groups.weight_axes().values() for w in layer if self.is_learned(w) and w.axes]
        self._compiled: dict[tuple[Any, ...], Any] = {}

    @staticmethod
    def is_learned(weight: WeightAxes) -> bool:
        """Whether a weight is a parameter of floating-point numbers, not a running statistic."""
        return weight.is_parameter and "float" in keras.backend.standardize_dtype(weight.variable.dtype)

    def activations(self, x: Any, y: Any, batch_size: int, at: Place) -> Activations:
        """Returns numbers for all channels: one per label, in the position of its representative."""
        seen = list(self._written() if at == "written" else self._read())
        run = self._compile("activations", at, body=lambda tensors, _: self._activation_means(tensors, seen))
        totals = [np.zeros((4, len(item.ids))) for item in seen]
        for tensors, _, share in self._batches(x, None, batch_size):
            for total, means in zip(totals, run(tensors, None), strict=True):
                total += share * means.numpy()
        return Activations(*self._by_layer(seen, totals))

    def products(self, x: Any, y: Any, batch_size: int) -> Products:
        """Returns numbers for all channels: one per label, in the position of its representative."""
        run = self._compile("products", body=self._gradient_products)
        roots = self._groups.roots
        where = [roots[ids] for weight in self._weights for ids in weight.axes.values()]
        totals = np.zeros((4, len(roots)))
        for tensors, labels, share in self._batches(x, y, batch_size):
            sums = np.zeros((len(roots), 3))
            for index, part in zip(where, run(tensors, labels), strict=True):
                np.add.at(sums, index, part.numpy())
            joint, squares, absolutes = sums.T
            totals += share * np.stack([np.square(joint), np.abs(joint), squares, absolutes])
        return Products(*totals.astype("float32"))

    def gates(self, x: Any, y: Any, batch_size: int) -> Gates:
        """Returns numbers for all channels: one per label, in the position of its representative."""
        layers = self._maps()
        run = self._compile("gates", body=lambda tensors, labels: self._gate_sums(tensors, labels, layers))
        sums, count = np.zeros(len(self._groups.roots)), np.zeros(len(self._groups.roots))
        for item in layers:
            count[item.labels] += 1
        for tensors, labels, share in self._batches(x, y, batch_size):
            for item, means in zip(layers, run(tensors, labels), strict=True):
                sums[item.labels] += share * means.numpy()
        return Gates((sums / np.maximum(count, 1)).astype("float32"), count.astype("float32"))

    def gradients(self, x: Any, y: Any, batch_size: int) -> dict[int, Numbers]:
        """Returns the gradient of the mean loss over all samples, by the id of the weight's variable."""
        run = self._compile("gradients", body=self._gradients)
        totals: list[Any] = [0.0] * len(self._weights)
        for tensors, labels, share in self._batches(x, y, batch_size):
            totals = [t + np.float32(share) * g.numpy() for t, g in zip(totals, run(tensors, labels), strict=True)]
        return {id(weight.variable): total for weight, total in zip(self._weights, totals, strict=True)}

    def _batches(self, x: Any, y: Any, batch_size: int) -> Iterator[tuple[list[tf.Tensor], Any, float]]:
        """Yields `(input tensors in the graph's order, labels, share of all samples)`."""
        inputs = _in_order(self._groups.graph, x)
        samples = len(inputs[0])
        if not samples:
            raise ValueError("Expected calibration samples. Received: none (0 samples).")
        for start in range(0, samples, batch_size):
            stop = min(start + batch_size, samples)
            part = None if y is None else keras.tree.map_structure(lambda array: array[start:stop], y)  # noqa: B023
            labels = None if y is None else keras.tree.map_structure(tf.convert_to_tensor, part)
            yield [tf.convert_to_tensor(array[start:stop]) for array in inputs], labels, (stop - start) / samples

    def _compile(self, *key: Any, body: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """Returns `body`, traced once for any number of samples."""

        def run(tensors: Any, labels: Any) -> Any:
            signature = tf.nest.map_structure(_any_length, (tensors, labels))
            whole = (*key, repr(signature))
            if whole not in self._compiled:
                # Whatever layers would update while they run is thrown away with the scope.
                def scoped(tensors: Any, labels: Any) -> Any:
                    with keras.StatelessScope():
                        return body(tensors, labels)

                self._compiled[whole] = tf.function(scoped).get_concrete_function(*signature)
            return self._compiled[whole](tensors, labels)

        return run

    def _activation_means(self, tensors: list[tf.Tensor], seen: list[_Seen]) -> list[tf.Tensor]:
        """Returns for each tensor float32 `[4, channels]`: means over samples and positions."""
        values = _run(self._groups.graph, tensors)
        means = []
        for item in seen:
            a = tf.cast(values[item.tensor], "float32")
            axes = [axis for axis in range(len(a.shape)) if axis != item.axis]
            parts = (a, tf.abs(a), tf.square(a), tf.cast(a != 0, "float32"))
            means.append(tf.stack([tf.reduce_mean(part, axes) for part in parts]))
        return means

    def _maps(self) -> list[_Maps]:
        """Returns the feature maps that each layer reads; calls, and positions of a flattened channel, count as one."""
        read: dict[str, list[_Seen]] = {}
        for item in self._read():
            read.setdefault(item.layer, []).append(item)
        maps = []
        for seen in read.values():
            roots = self._groups.roots[np.concatenate([item.ids for item in seen])]
            chosen = np.flatnonzero(seen[0].wanted[roots])
            labels, segments = np.unique(roots[chosen], return_inverse=True)
            maps.append(_Maps(tuple(seen), chosen, labels, segments))
        return maps

    def _gate_sums(self, tensors: list[tf.Tensor], labels: Any, layers: list[_Maps]) -> list[tf.Tensor]:
        """Returns for each layer float32 `[labels]`: means over the samples of |sum of g * z| / positions."""
        graph = self._groups.graph
        refs = list(dict.fromkeys(item.tensor for layer in layers for item in layer.seen))
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([tensor for tensor in tensors if tensor.dtype.is_floating])

            def step(node: Node, tensor: Tensor) -> list[Any]:
                outputs = _inferred(node, tensor)
                for output in outputs:
                    if output.dtype.is_floating:
                        tape.watch(output)
                return outputs

            values = run(graph, tensors, step)
            loss = self._mean_loss(labels, values)
        refs = [ref for ref in refs if values[ref].dtype.is_floating]
        gradients = tape.gradient(loss, [values[ref] for ref in refs], unconnected_gradients="zero")
        products_of = {
            ref: tf.cast(values[ref], "float32") * tf.cast(tf.convert_to_tensor(gradient), "float32")
            for ref, gradient in zip(refs, gradients, strict=True)
        }
        batch = tf.shape(tensors[0])[0]
        sums = []
        for layer in layers:
            parts = [_by_sample(products_of.get(item.tensor), item, batch) for item in layer.seen]
            products, positions = zip(*parts, strict=True)
            by_channel = tf.gather(tf.transpose(tf.concat(products, axis=1)), layer.chosen)
            count = tf.gather(tf.concat(positions, axis=0), layer.chosen)
            segments = {"segment_ids": layer.segments, "num_segments": len(layer.labels)}
            # The gradient of the mean loss is that of each sample's own, divided by their number.
            summed = tf.reduce_sum(tf.abs(tf.math.unsorted_segment_sum(by_channel, **segments)), axis=1)
            sums.append(summed / tf.math.unsorted_segment_sum(count, **segments))
        return sums

    def _mean_loss(self, labels: Any, values: dict[TensorRef, tf.Tensor]) -> tf.Tensor:
        assert self._loss is not None
        loss = self._loss(labels, outputs_of(self._groups.graph, values))
        return tf.reduce_mean(tf.cast(loss, "float32"))

    def _gradients(self, tensors: list[tf.Tensor], labels: Any) -> list[tf.Tensor]:
        graph, variables = self._groups.graph, [weight.variable.value for weight in self._weights]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            for variable in variables:
                tape.watch(variable)
            loss = self._mean_loss(labels, _run(graph, tensors))
        gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
        return [tf.cast(tf.convert_to_tensor(gradient), "float32") for gradient in gradients]

    def _gradient_products(self, tensors: list[tf.Tensor], labels: Any) -> list[tf.Tensor]:
        """Returns for each axis of each weight float32 `[channels, 3]`: sums of g * w, (g * w)^2 and |g * w|."""
        sums = []
        for weight, gradient in zip(self._weights, self._gradients(tensors, labels), strict=True):
            product = gradient * tf.cast(weight.variable.value, "float32")
            for kept in weight.axes:
                axes = [axis for axis in range(len(product.shape)) if axis != kept]
                parts = (product, tf.square(product), tf.abs(product))
                sums.append(tf.stack([tf.reduce_sum(part, axes) for part in parts], axis=-1))
        return sums

    def _written(self) -> Iterator[_Seen]:
        """Yields the outputs of each call of a layer that writes channels."""
        for item in self._groups.analysis.values():
            wanted = self._wanted(ids for weight in item.weights for ids in weight.writes.values())
            for labels, tensor in zip(item.outputs, item.node.outputs, strict=True):
                if wanted[self._groups.roots[labels.ids]].any():
                    yield _Seen(item.node.layer_name, tensor, labels.axis, labels.ids, wanted)

    def _read(self) -> Iterator[_Seen]:
        """Yields the inputs of each call of a layer that reads channels."""
        for item in self._groups.analysis.values():
            wanted = self._wanted(ids for weight in item.weights for ids in weight.reads.values())
            for labels, tensor in zip(item.call.inputs, item.node.inputs, strict=True):
                if wanted[self._groups.roots[labels.ids]].any():
                    yield _Seen(item.node.layer_name, tensor, labels.axis, labels.ids, wanted)

    def _wanted(self, vectors: Iterator[Ids]) -> npt.NDArray[np.bool_]:
        wanted = np.zeros(len(self._groups.roots), dtype=bool)
        for ids in vectors:
            wanted[self._groups.roots[ids]] = True
        return wanted

    def _by_layer(self, seen: list[_Seen], totals: list[npt.NDArray[np.float64]]) -> Numbers:
        """Returns float32 `[4, labels]`: in each layer the mean over its calls, and then the mean over the layers."""
        roots = self._groups.roots
        layers: dict[str, list[int]] = {}
        for index, item in enumerate(seen):
            layers.setdefault(item.layer, []).append(index)
        sums, count = np.zeros((len(roots), 4)), np.zeros(len(roots))
        for indices in layers.values():
            where = np.concatenate([roots[seen[i].ids] for i in indices])
            values = np.concatenate([totals[i].T for i in indices])
            chosen = seen[indices[0]].wanted[where]
            labels, position, times = np.unique(where[chosen], return_inverse=True, return_counts=True)
            local = np.zeros((len(labels), 4))
            np.add.at(local, position, values[chosen])
            sums[labels] += local / times[:, None]
            count[labels] += 1
        return (sums / np.maximum(count, 1)[:, None]).T.astype("float32")


def _by_sample(product: tf.Tensor | None, item: _Seen, batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns float32 `[batch, channels]`, the sums over positions, and `[channels]`, the number of positions."""
    channels = len(item.ids)
    if product is None:  # of integers
        return tf.zeros([batch, channels]), tf.ones([channels])
    sums = tf.reduce_sum(product, [axis for axis in range(1, len(product.shape)) if axis != item.axis])
    if item.axis == 0 or sums.shape[0] == 1:  # the same for all samples
        sums = tf.broadcast_to(tf.reshape(sums, [1, channels]), [batch, channels]) / tf.cast(batch, "float32")
        batch = tf.constant(1)
    return sums, tf.fill([channels], tf.cast(tf.size(product) // (batch * channels), "float32"))


def _any_length(tensor: tf.Tensor | None) -> tf.TensorSpec | None:
    return None if tensor is None else tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype)


def _in_order(graph: LayerGraph, x: Any) -> list[npt.NDArray[Any]]:
    """Returns the input arrays in the order of the graph's inputs, with their types and ranks, as Keras takes them."""
    refs = graph.input_refs
    if isinstance(x, dict):
        names = list(graph.inputs) if isinstance(graph.inputs, dict) else [ref.node for ref in refs]
        order = {ref: name for name, ref in graph.inputs.items()} if isinstance(graph.inputs, dict) else {}
        missing = [name for name in names if name not in x]
        if missing:
            raise ValueError(f"Expected calibration inputs {names}. Received: {list(x)}. Missing: {missing}")
        arrays = [x[order.get(ref, ref.node)] for ref in refs]
    else:
        arrays = keras.tree.flatten(x)
    if len(arrays) != len(refs):
        raise ValueError(f"Expected {len(refs)} calibration input(s), as the model has. Received: {len(arrays)}")
    ordered = []
    for array, ref in zip(arrays, refs, strict=True):
        node = graph.nodes[ref.node]
        array = np.asarray(array) if node.operation.dtype == "string" else np.asarray(array, node.operation.dtype)
        if array.ndim == len(graph.shape(ref)) - 1 and graph.shape(ref)[-1] == 1:
            array = array[..., None]
        ordered.append(array)
    return ordered


def _run(graph: LayerGraph, inputs: list[tf.Tensor]) -> dict[TensorRef, tf.Tensor]:
    """Returns every tensor of the graph in inference mode, as in `model(x, training=False)`, whatever its nodes say."""
    return run(graph, inputs, _inferred)


def _inferred(node: Node, tensor: Tensor) -> list[Any]:
    """Returns the outputs of a node in inference mode."""
    switch = {"training": False} if getattr(node.operation, "_call_has_training_arg", False) else {}
    return call(node, tensor, **switch)
