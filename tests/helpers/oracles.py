"""Independent routes to what the core computes: masks in the original, multiply-adds by a walk, snapshots."""

import contextlib
import functools
import json
import math
import zlib

import keras
import numpy as np
import processor
import profiler
import topologies

from tfcompress.plan import Plan
from tfcompress.rewrite import apply
from tfcompress.rewrite.apply import kept_labels


def some_channels(groups, rng):
    """A plan that keeps 40% to 80% of each group, another share of each, and never all of a group of two or more."""
    kept = {}
    for group in groups:
        count = min(max(1, round(rng.uniform(0.4, 0.8) * group.size)), max(1, group.size - 1))
        kept[group.name] = tuple(sorted(rng.choice(group.size, count, replace=False).tolist()))
    return Plan.keeping(kept)


def one_channel(groups, rng):
    """A plan that keeps one random channel of each group."""
    return Plan.keeping({group.name: (int(rng.integers(group.size)),) for group in groups})


PLANS = {"some": some_channels, "one": one_channel}


def plan_of(name, kind):
    """The plan of this kind for a topology, the same in every process."""
    return PLANS[kind](topologies.build(name).groups, np.random.default_rng(zlib.crc32(f"{name} {kind}".encode())))


@functools.cache
def student_of(name, kind):
    """The topology cut by its plan of this kind; built once in a process."""
    built = topologies.build(name)
    return apply(built.model, plan_of(name, kind), built.groups)


def call(model, inputs):
    """The outputs as a flat list of float arrays; skips the test where TensorFlow cannot run the model here."""
    try:
        outputs = model(inputs)
    except Exception:
        processor.skip_where_it_cannot_run(model)  # reads the model's graph: not before each call
        raise
    return flat(outputs)


def flat(outputs):
    """Outputs as a flat list of float arrays."""
    return [keras.ops.convert_to_numpy(keras.ops.cast(t, "float32")) for t in keras.tree.flatten(outputs)]


@contextlib.contextmanager
def consumers_masked(groups, plan):
    """In the original, every weight that reads a removed channel is zero; afterwards all is as it was."""
    kept = kept_labels(groups, plan)
    before = []
    try:
        for axes in groups.weight_axes().values():
            for weight in axes:
                value = keras.ops.convert_to_numpy(weight.variable)
                before.append((weight.variable, value))
                for axis, ids in weight.reads.items():
                    shape = [1] * value.ndim
                    shape[axis] = len(ids)
                    value = value * kept[ids].reshape(shape).astype(value.dtype)
                weight.variable.assign(value)
        yield
    finally:
        for variable, value in reversed(before):  # layers may share it
            variable.assign(value)


def masked_outputs(model, groups, plan, inputs):
    """Outputs of the original whose consumers do not see the removed channels."""
    with consumers_masked(groups, plan):
        return call(model, inputs)


@functools.cache
def expected_of(name, kind):
    """Masked outputs of a topology under its plan of this kind."""
    model, groups, inputs = topologies.build(name)
    return masked_outputs(model, groups, plan_of(name, kind), inputs)


def relative_error(actual, expected):
    """Largest difference relative to the largest number expected, over all outputs."""
    assert len(actual) == len(expected)
    errors = []
    for a, e in zip(actual, expected, strict=True):
        assert a.shape == e.shape, (a.shape, e.shape)
        errors.append(float(np.max(np.abs(a - e)) / max(np.max(np.abs(e)), 1e-6)))
    return max(errors)


def calls_of(model):
    """Every call of a layer or an operation that leads to the model's outputs, in nested models too.

    Yields `(operation, input shapes, output shape)`; found by following Keras' own history from the outputs.
    """
    if isinstance(model, keras.Sequential):
        model = keras.Model(model.inputs, model.outputs)
    pending, seen = list(model.outputs), set()
    stop = {id(tensor) for tensor in model.inputs}
    while pending:
        tensor = pending.pop()
        history = tensor._keras_history
        node = history.operation._inbound_nodes[history.node_index]
        if id(node) in seen or id(tensor) in stop:
            continue
        seen.add(id(node))
        pending.extend(node.input_tensors)
        if hasattr(history.operation, "operations") or isinstance(history.operation, keras.Sequential):
            yield from calls_of(history.operation)
        elif node.input_tensors:
            shapes = [tuple(tensor.shape) for tensor in node.input_tensors]
            yield history.operation, shapes, tuple(node.output_tensors[0].shape)


def walked_macs(model):
    """Multiply-adds of convolutions, dense and recurrent layers and attention, from the shapes of kernels and tensors.

    Those of layers of one's own are TensorFlow's.
    """
    return sum(_macs_of_call(*item) for item in calls_of(model))


def _macs_of_call(layer, input_shapes, output_shape):
    kind, input_shape = type(layer).__name__, input_shapes[0]
    if type(layer).__module__.partition(".")[0] != "keras":
        return profiler.multiply_adds(layer, input_shapes)  # a layer of one's own may bear any name

    def positions(shape):
        channels_first = getattr(layer, "data_format", "") == "channels_first"
        return math.prod(shape[2:] if channels_first else shape[1:-1])

    if kind == "SpectralNormalization":
        return _macs_of_call(layer.layer, input_shapes, output_shape)
    if kind == "TimeDistributed" and isinstance(layer.layer, keras.Model):
        return input_shape[1] * walked_macs(layer.layer)
    if kind == "RNN":
        kernels = [(cell.kernel, cell.recurrent_kernel) for cell in getattr(layer.cell, "cells", [layer.cell])]
        return input_shape[1] * sum(math.prod(kernel.shape) for pair in kernels for kernel in pair)
    if kind == "TimeDistributed":
        inner = [(shape[0], *shape[2:]) for shape in (input_shape, output_shape)]
        return input_shape[1] * _macs_of_call(layer.layer, inner[:1], inner[1])
    if kind == "Bidirectional":
        return sum(
            _macs_of_call(one, input_shapes, output_shape) for one in (layer.forward_layer, layer.backward_layer)
        )
    if kind in ("LSTM", "GRU", "SimpleRNN") or kind.startswith("ConvLSTM"):
        places = math.prod(output_shape[2 if layer.return_sequences else 1 : -1]) if kind.startswith("Conv") else 1
        return (
            input_shape[1] * places * sum(math.prod(k.shape) for k in (layer.cell.kernel, layer.cell.recurrent_kernel))
        )
    if kind in ("MultiHeadAttention", "GroupedQueryAttention"):
        axes = getattr(layer, "_attention_axes", None) or range(1, len(input_shapes[1]) - 1)
        attended = math.prod(input_shapes[1][axis] for axis in axes)
        return _macs_of_attention(layer, *(math.prod(shape[1:-1]) for shape in input_shapes[:2]), attended)
    if kind in ("Attention", "AdditiveAttention"):
        query, value, *key = input_shapes
        return query[1] * value[1] * ((key or [value])[0][2] + value[2])
    if kind == "EinsumDense":
        named, kernel = layer.equation.split("->")[0].replace("...", "").split(",")
        positions = math.prod(input_shape[1 : len(input_shape) - len(named)]) if "..." in layer.equation else 1
        sizes = dict(zip(named, input_shape[len(input_shape) - len(named) :], strict=True))
        sizes.update(zip(kernel, layer.kernel.shape, strict=True))
        return positions * math.prod(size for size in sizes.values() if size is not None)
    if kind.startswith("Separable"):
        pointwise = math.prod(layer.pointwise_kernel.shape)
        return positions(output_shape) * (math.prod(layer.depthwise_kernel.shape) + pointwise)
    if kind.endswith("Transpose") and kind.startswith("Conv"):
        return positions(input_shape) * math.prod(layer.kernel.shape)
    if kind.startswith(("Conv", "DepthwiseConv")) or kind == "Dense":
        return positions(output_shape) * math.prod(layer.kernel.shape)
    return 0


def _macs_of_attention(layer, queries, values, attended):
    """Each projection at its positions; for each query and each position it looks at a product with key and value."""
    dense = {name: getattr(layer, f"_{name}_dense", None) for name in ("query", "key", "value", "gate", "output")}
    places = {"query": queries, "key": values, "value": values, "gate": queries, "output": queries}
    projections = sum(places[name] * math.prod(d.kernel.shape) for name, d in dense.items() if d is not None)
    heads, key_width = dense["query"].kernel.shape[1:]
    return projections + queries * attended * heads * (key_width + dense["value"].kernel.shape[2])


def walked_params(model):
    """Entries of all weights but running statistics."""
    statistics = ("moving_mean", "moving_variance", "mean", "variance", "count", "vector_u")
    return sum(math.prod(w.shape) for w in model.weights if w.name not in statistics)


def walked_bytes(model):
    """Bytes of all weights, by the size of one entry as arrays have it."""
    return sum(keras.ops.convert_to_numpy(w).nbytes for w in model.weights)


def operations_of(model):
    """All operations of a model and of the models in it, each once."""
    found = {}
    for operation in getattr(model, "operations", model.layers):
        found[id(operation)] = operation
        if isinstance(operation, keras.Model):
            found.update((id(inner), inner) for inner in operations_of(operation))
    return list(found.values())


def snapshot(model, inputs):
    """All of a model that a careless reader could change, ready for comparison."""
    weights = [keras.ops.convert_to_numpy(variable) for variable in model.variables]
    outputs = call(model, inputs)
    for variable, value in zip(model.variables, weights, strict=True):
        variable.assign(value)  # a BatchNormalization that is called in training mode changes its statistics
    return {
        "weights": [value.tobytes() for value in weights],
        "config": json.dumps(model.get_config(), default=str, sort_keys=True),
        "calls": [(op.name, len(op._inbound_nodes), len(op._outbound_nodes)) for op in [model, *operations_of(model)]],
        "trainable": [(v.path, v.trainable) for v in model.variables],
        "outputs": [array.tobytes() for array in outputs],
    }
