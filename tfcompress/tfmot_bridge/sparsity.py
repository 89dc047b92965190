"""Magnitude pruning by tensorflow-model-optimization on a bridged model, and masks that keep the zeros of a model."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, Literal

import keras
import numpy as np

from tfcompress.graph import LayerGraph, Node
from tfcompress.tfmot_bridge._tfmot import load
from tfcompress.tfmot_bridge.bridge import Legacy, legacy_of
from tfcompress.tfmot_bridge.carrying import is_shell

__all__ = ["KERNELS", "PATTERNS", "Pattern", "Pruning", "keeping_zeros", "policy_layers", "pruned", "sparse_in_fours"]

Pattern = Literal["any", "2:4", "block", "xnnpack"]
PATTERNS = ("any", "2:4", "block", "xnnpack")

KERNELS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("Dense", "Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose", "Conv3DTranspose"), ("kernel",)),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), ("pointwise_kernel",)),
    **dict.fromkeys(("LSTM", "GRU", "SimpleRNN"), ("kernel", "recurrent_kernel")),
    "Embedding": ("embeddings",),
}
"""The weights that are pruned, by the class of their layer."""

_NEVER = 2**62
_POWER = 3  # of the schedule, Equation (1) of Zhu and Gupta (2017)


@dataclasses.dataclass(frozen=True)
class Pruning:
    """How weights are pruned while a model is trained.

    Attributes:
        sparsity: share of zeros at the end; `"2:4"` has its own, one half.
        initial: share of zeros at the start.
        steps: training steps after which the final sparsity is reached.
        every: training steps between two changes of the masks; a divisor of `steps`.
        pattern: which weights become zero together.
        block: rows (inputs) and columns (outputs) of the blocks of Dense kernels, for `"block"`.
    """

    sparsity: float
    initial: float
    steps: int
    every: int
    pattern: Pattern = "any"
    block: tuple[int, int] = (4, 1)


def pruned(graph: LayerGraph, names: Collection[str], how: Pruning) -> Legacy:
    """Returns the bridged model whose named layers are pruned while it is trained.

    Args:
        graph: the graph of the Keras 3 model.
        names: names of layers whose class is in `KERNELS`.
        how: the schedule and the pattern.
    """
    sparsity = load().tfmot.sparsity.keras
    schedule = sparsity.PolynomialDecay(how.initial, how.sparsity, 0, how.steps, _POWER, how.every)

    def wrap(node: Node, layer: Any) -> Any:
        if node.layer_name not in names or is_shell(layer):
            return layer
        options: dict[str, Any] = {"pruning_schedule": schedule}
        if how.pattern == "2:4":
            options["sparsity_m_by_n"] = (2, 4)
        elif how.pattern == "block" and node.type_name == "Dense":
            options |= {"block_size": how.block, "block_pooling_type": "AVG"}
        return sparsity.prune_low_magnitude(layer, **options)

    legacy = legacy_of(graph, wrap)
    for wrapper in _wrappers(legacy):
        wrapper.pruning_step.assign(0)
    return legacy


def keeping_zeros(graph: LayerGraph, names: Collection[str]) -> Legacy:
    """Returns the bridged model in which the weights of the named layers that are zero stay zero.

    Args:
        graph: the graph of the Keras 3 model.
        names: names of layers whose class is in `KERNELS`.
    """
    sparsity = load().tfmot.sparsity.keras
    schedule = sparsity.ConstantSparsity(0.5, begin_step=_NEVER)

    def wrap(node: Node, layer: Any) -> Any:
        if node.layer_name not in names or is_shell(layer):
            return layer
        return sparsity.prune_low_magnitude(layer, pruning_schedule=schedule)

    legacy = legacy_of(graph, wrap)
    for wrapper in _wrappers(legacy):
        wrapper.pruning_step.assign(0)
        for weight, mask, _ in wrapper.pruning_vars:
            mask.assign(np.asarray(weight.numpy() != 0, mask.dtype.as_numpy_dtype))
    return legacy


def policy_layers(graph: LayerGraph) -> set[str]:
    """Returns the layers that XNNPACK computes sparsely: pointwise convolutions of a network that it takes so.

    Raises:
        ValueError: XNNPACK would not run the network sparsely; the message is tensorflow-model-optimization's.
    """
    policy = load().tfmot.sparsity.keras.PruneForLatencyOnXNNPack()
    legacy = legacy_of(graph)
    policy.ensure_model_supports_pruning(legacy.model)
    return {name for name, layer in legacy.layers.items() if policy.allow_pruning(layer)}


def sparse_in_fours(kernel: Any) -> bool:
    """Whether of every four consecutive input weights of a kernel `[..., inputs, outputs]` two or more are zero."""
    rows = np.moveaxis(keras.ops.convert_to_numpy(kernel), -1, 0)
    rows = rows.reshape(-1, rows.shape[-1])
    rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4)))
    return bool(np.all(np.count_nonzero(rows.reshape(len(rows), -1, 4), axis=-1) <= 2))


def _wrappers(legacy: Legacy) -> list[Any]:
    kind = load().PruneLowMagnitude
    return [layer for layer in legacy.model.layers if isinstance(layer, kind)]
