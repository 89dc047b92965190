"""Verifies that a student matches its plan: the source, run by the oracles of the edits, gives the same outputs.

The reference is always the model itself (see `oracles`), never a copy: an error in copying would be the same on both
sides.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from tfcompress.costs import CostModel
from tfcompress.graph import ChannelGroups, LayerGraph, check_runs_here
from tfcompress.graph.copying import CannotBeCopied
from tfcompress.graph.layer_graph import Node
from tfcompress.graph.run import Tensor, call, run
from tfcompress.network import Network
from tfcompress.plan import Plan
from tfcompress.rewrite.oracles import masked, reference
from tfcompress.rewrite.running import Differences, Runner, compare, one_seed, run_without

__all__ = ["check_copy", "masked", "run_without", "verify"]

_COPY_TOLERANCE = 1e-4
# Runs in which all weights and inputs are rounded otherwise; by how much more than they show rounding may explain.
_ROUNDINGS, _MARGIN = 8, 10.0
_PRECISION = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float64": 2.0**-52}


def verify(
    source: keras.Model | Network,
    plan: Plan,
    student: keras.Model | Network,
    inputs: Any,
    tolerance: float = 1e-4,
    groups: ChannelGroups | None = None,
) -> float:
    """Checks a freshly made student (before any training) against its source. Neither is changed.

    Its cost has to be the plan's, and its outputs those of the source by the oracles of the plan's edits. With fresh
    weights or changed settings only cost and shapes are checked.

    Args:
        source: the model that the plan was applied to.
        plan: the plan.
        student: the student from `apply`.
        inputs: one batch of inputs.
        tolerance: allowed difference, relative to the largest output of the masked source. More is allowed if the
            source's own outputs change by more when its weights and inputs are rounded differently.
        groups: the source's channel groups for the plan, if they are known already.

    Returns:
        The largest relative difference between the outputs of the masked source and of the student; for outputs that
        are not floats, 1 if an entry differs; 0 if only cost and shapes are checked.

    Raises:
        RuntimeError: outputs differ by more than `tolerance` or have other shapes, or the student's counted cost is
            not the plan's.
        ValueError: TensorFlow cannot run a layer on this machine.
    """
    source, student = Network.of(source), Network.of(student)
    check_runs_here(source.graph)
    costs = source.costs if groups is None else CostModel(groups)
    predicted, counted = costs.of(plan).counted, student.costs.total.counted
    if predicted != counted:
        raise RuntimeError(f"Expected a student of the plan's cost. Received: predicted {predicted}, counted {counted}")
    expected = reference(source, plan, costs.groups)
    if expected is None:
        _check_shapes(costs.after(plan).groups.graph, student.graph)
        return 0.0
    differences, explained = _compared(expected, Runner(student), inputs, tolerance)
    if not explained:
        raise RuntimeError(
            f"Expected the cut model to give the outputs of the masked one within {tolerance}. "
            f"Received: {differences.largest:.3g}"
        )
    return differences.largest


def _check_shapes(left: LayerGraph, student: LayerGraph) -> None:
    shapes = [[graph.shape(ref)[1:] for ref in graph.output_refs] for graph in (left, student)]
    if shapes[0] != shapes[1]:
        raise RuntimeError(f"Expected a student with outputs of the shapes {shapes[0]}. Received: {shapes[1]}")


def check_copy(original: keras.Model | Network, copy: keras.Model | Network, inputs: Any) -> None:
    """Checks that a copy computes the same as the model itself. Neither is changed.

    Args:
        original: the user's model.
        copy: the copy from `apply` without edits.
        inputs: one batch of inputs.

    Raises:
        CannotBeCopied: outputs differ; names the first layer whose copy differs.
    """
    reference, runner = Runner(original), Runner(copy)
    differences, explained = _compared(reference, runner, inputs, _COPY_TOLERANCE)
    if explained:
        return
    layer = _first_that_differs(reference, runner, inputs)
    where = "" if layer is None else f" by layer {layer.layer_name!r} ({layer.type_name})"
    raise CannotBeCopied(
        f"Expected a copy of the model that computes the same as the model. Received: outputs that differ by "
        f"{differences.largest:.3g} of the largest number, made so{where}. A layer is copied by "
        "from_config(get_config()) and its weights: give its class a get_config() that returns all arguments of its "
        "constructor, and keep whatever else it needs in weights, or in save_own_variables and load_own_variables."
    )


def _compared(source: Runner, student: Runner, inputs: Any, tolerance: float) -> tuple[Differences, bool]:
    """Returns the differences, and whether they are within a tolerance or explained by rounding."""
    student.values.update(one_seed(source.network, student.network))
    expected = source(inputs)
    differences = compare(expected, student(inputs))
    if differences.largest <= tolerance:
        return differences, True
    rng = np.random.default_rng(0)
    noise = [0.0] * len(expected)
    unstable = [np.zeros(array.shape, bool) for array in expected]
    for _ in range(_ROUNDINGS):
        rounded = compare(expected, _rounded_otherwise(source, inputs, rng))
        noise = [max(pair) for pair in zip(noise, rounded.absolute, strict=True)]
        unstable = [
            before if places is None else before | places
            for before, places in zip(unstable, rounded.places, strict=True)
        ]
        if all(
            relative <= tolerance or (absolute <= _MARGIN * much if places is None else not (places & ~moving).any())
            for relative, absolute, places, much, moving in zip(*differences, noise, unstable, strict=True)
            if math.isfinite(relative) or relative <= tolerance
        ) and math.isfinite(differences.largest):
            return differences, True
    return differences, False


def _rounded_otherwise(source: Runner, inputs: Any, rng: np.random.Generator) -> list[Any]:
    """Returns outputs of a model whose weights and inputs are off by one in the last digit, some up, some down."""
    used = {str(getattr(layer, "compute_dtype", "float32")) for layer in source.model._flatten_layers()}
    step = max(_PRECISION.get(dtype, 2.0**-23) for dtype in used or {"float32"})

    def off(value: Any) -> Any:
        signs = rng.choice([-step, step], size=tuple(value.shape))
        return value * keras.ops.cast(1.0 + signs, value.dtype) if step > 1e-12 else value

    values = {
        id(variable): off(source.values.get(id(variable), keras.ops.convert_to_tensor(variable)))
        for variable in source.model.weights
        if "float" in str(variable.dtype)
    }

    def off_input(leaf: Any) -> Any:
        if leaf is None or "float" not in str(getattr(leaf, "dtype", "")):
            return leaf
        return off(keras.ops.convert_to_tensor(leaf))

    return source(keras.tree.map_structure(off_input, inputs), values)


def _first_that_differs(original: Runner, copy: Runner, inputs: Any) -> Node | None:
    """Returns the first node whose copy gives another output for the original's input."""
    graph, copies = original.network.graph, copy.network.graph.nodes
    differing: list[Node] = []

    def step(node: Node, tensor: Tensor) -> list[Any]:
        with original.scope():
            expected = call(node, tensor)
        twin = copies.get(node.name)
        if twin is None:
            differing.append(node)
        elif not differing:
            with copy.scope():
                received = call(twin, tensor)
            arrays = [[np.asarray(keras.ops.convert_to_numpy(t)) for t in ts] for ts in (expected, received)]
            if not compare(*arrays).largest <= _COPY_TOLERANCE:
                differing.append(node)
        return expected

    run(graph, keras.tree.flatten(inputs), step)
    return differing[0] if differing else None
