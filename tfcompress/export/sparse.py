"""Reads the sparse tensors of a TFLite file: which ones they are, what they take, and what they decode to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = ["SparseTensor", "sparse_tensors"]


class SparseTensor(NamedTuple):
    """A tensor that a TFLite file stores without its zeros.

    Attributes:
        name: its name in the file.
        values: the tensor with its zeros, as the file's operators read it.
        stored_bytes: bytes of the values that are stored, without those of their places.
        block: sizes of the blocks that are stored together, `()` for single values.
    """

    name: str
    values: np.ndarray
    stored_bytes: int
    block: tuple[int, ...]


def sparse_tensors(content: bytes) -> tuple[SparseTensor, ...]:
    """Returns the sparse tensors of a TFLite file, decoded.

    Source: `SparsityParameters` of TFLite's schema. The axes are walked in `traversal_order`; a dense axis has all its
    places, a sparse one those between two segments; the last axes are those inside a block.

    Args:
        content: the file.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    types = {
        schema.TensorType.FLOAT32: np.float32,
        schema.TensorType.FLOAT16: np.float16,
        schema.TensorType.INT8: np.int8,
    }
    read = []
    for tensor in (tensor for graph in model.subgraphs for tensor in graph.tensors if tensor.sparsity is not None):
        name = tensor.name.decode() if isinstance(tensor.name, bytes) else str(tensor.name)
        data = np.asarray(model.buffers[tensor.buffer].data, np.uint8).tobytes()
        stored = np.frombuffer(data, types[tensor.type])
        values, block = _decoded(stored, tuple(int(size) for size in tensor.shape), tensor.sparsity)
        read.append(SparseTensor(name, values, len(data), block))
    return tuple(read)


def _decoded(stored: np.ndarray, shape: tuple[int, ...], sparsity: Any) -> tuple[np.ndarray, tuple[int, ...]]:
    """Returns the dense tensor, and the sizes of its blocks."""
    places = np.zeros(1, np.int64)  # in the array of the present axis, one for each entry so far
    along: list[np.ndarray] = []  # for each axis that was walked the index of each entry
    for axis in sparsity.dimMetadata:
        if axis.format == 0:  # dense
            size = int(axis.denseSize)
            along = [*(np.repeat(index, size) for index in along), np.tile(np.arange(size), len(places))]
            places = (places[:, None] * size + np.arange(size)).ravel()
        else:
            segments, indices = (_whole(part) for part in (axis.arraySegments, axis.arrayIndices))
            counts = segments[places + 1] - segments[places]
            starts = np.repeat(segments[places], counts)
            places = starts + np.arange(len(starts)) - np.repeat(np.cumsum(counts) - counts, counts)
            along = [*(np.repeat(index, counts) for index in along), indices[places]]
    order, blocked = ([] if part is None else [int(n) for n in part] for part in _orders(sparsity))
    index: list[Any] = [None] * len(shape)
    for level, axis in enumerate(order):
        if axis < len(shape):
            index[axis] = along[level]
    sizes = []
    for level, axis in enumerate(order):
        if axis >= len(shape):
            size = int(sparsity.dimMetadata[level].denseSize)
            sizes.append(size)
            inside = blocked[axis - len(shape)]
            index[inside] = index[inside] * size + along[level]
    dense = np.zeros(shape, stored.dtype)
    dense[tuple(index)] = stored[places]
    return dense, tuple(sizes)


def _orders(sparsity: Any) -> Sequence[Any]:
    return sparsity.traversalOrder, sparsity.blockMap


def _whole(vector: Any) -> np.ndarray:
    """Returns an index vector of the schema, whose type depends on the largest index."""
    return np.asarray(vector.values, np.int64)
