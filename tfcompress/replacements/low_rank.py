"""Convolutions and dense layers of low rank, from singular values or from the principal components of inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from tfcompress import expect
from tfcompress.replacements.base import Layers, Part, Replacement, register_replacement
from tfcompress.replacements.convolutions import convolution

__all__ = ["LowRank", "LowRankDense"]

_Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LowRank(Replacement):
    """ "low_rank": a convolution as two smaller ones, from the singular values of its kernel.

    "spatial" (Jaderberg et al. 2014): `k x 1` from `in` to `r` channels, then `1 x l` to `out`, which have
    `r * (k * in + l * out)` weights; the full rank is `min(k * in, l * out)`. "channel" (Zhang et al. 2016): `k x l`
    from `in` to `r` channels, then 1x1, `r * (k * l * in + out)` weights; the full rank is `min(k * l * in, out)`. Both
    have a bias if the part has one. At full rank they compute the same as the part; at a lower rank the sum of squares
    of the kernel's error is that of the omitted singular values.

    Attributes:
        rank: `r`, as a share of the full rank, or as a whole number (at most the full rank is used).
        kind: "spatial" or "channel".
        name: its name, to distinguish several in one search.
    """

    rank: float | int = 0.25
    kind: str = "spatial"
    name: str = "low_rank"

    def __post_init__(self) -> None:
        expect.settings(self, expect.share_or_count, "rank", of="ranks")
        expect.settings(self, expect.one_of, "kind", options=("spatial", "channel"))
        expect.settings(self, expect.text, "name")

    def layers(self, part: Part) -> Layers | None:
        """Returns both layers; `None` if the part is not a convolution, has groups, or is too narrow for "spatial"."""
        is_spatial = self.kind == "spatial"
        if not part.convolves or part.groups > 1 or (is_spatial and (part.rank != 2 or 1 in part.kernel_size)):
            return None
        first: dict[str, Any]
        second: dict[str, Any]
        if is_spatial:
            (k, n), (down, right), (dilated, wide) = part.kernel_size, part.strides, part.dilation_rate
            rank = _rank(self.rank, min(k * part.channels_in, n * part.channels_out))
            first = {"kernel_size": (k, 1), "strides": (down, 1), "dilation_rate": (dilated, 1)}
            second = {"kernel_size": (1, n), "strides": (1, right), "dilation_rate": (1, wide)}
            names, padding = ("vertical", "horizontal"), part.padding
        else:
            places = int(np.prod(part.kernel_size))
            rank = _rank(self.rank, min(places * part.channels_in, part.channels_out))
            sizes = {"strides": part.strides, "dilation_rate": part.dilation_rate}
            first, second = {"kernel_size": part.kernel_size, **sizes}, {"kernel_size": 1}
            names, padding = ("reduced", "pointwise"), "same"
        return [
            convolution(part, rank, names[0], is_last=False, padding=part.padding, **first),
            convolution(part, part.channels_out, names[1], is_last=True, padding=padding, **second),
        ]

    def start(self, part: Part, layers: Sequence[keras.layers.Layer]) -> bool:
        """Splits the kernel of a convolution; False for a region, or a separable convolution."""
        layer: Any = part.layer
        if type(layer) not in (keras.layers.Conv1D, keras.layers.Conv2D):
            return False
        kernel = _numbers(layer.kernel)
        first, second = layers
        rank = first.filters
        if self.kind == "spatial":
            k, n, inside, outside = kernel.shape
            left, right = _split(kernel.transpose(0, 2, 1, 3).reshape(k * inside, n * outside), rank)
            first.kernel.assign(left.reshape(k, 1, inside, rank))
            second.kernel.assign(right.reshape(rank, 1, n, outside).transpose(1, 2, 0, 3))
        else:
            left, right = _split(kernel.reshape(-1, kernel.shape[-1]), rank)
            first.kernel.assign(left.reshape(first.kernel.shape))
            second.kernel.assign(right.reshape(second.kernel.shape))
        if part.use_bias:
            second.bias.assign(layer.bias)
        return True


@dataclass(frozen=True)
class LowRankDense(Replacement):
    """ "low_rank_dense": a dense layer as two smaller ones, `in` to `r` to `out` numbers.

    They have `r * (in + out)` weights, and a bias if the part has one. "svd" keeps the greatest singular values of the
    kernel (Denton et al. 2014). "pca" keeps the principal components of the layer's inputs (Section 3, step 2 of DARC),
    so that outputs change least on such inputs; if the layer has a bias, their mean is kept exactly.

    Attributes:
        rank: `r`, as a share of the full rank `min(in, out)` ("pca": of `in`), or as a whole number.
        kind: "svd" or "pca".
        name: its name, to distinguish several in one search.
    """

    rank: float | int = 0.25
    kind: str = "svd"
    name: str = "low_rank_dense"

    def __post_init__(self) -> None:
        expect.settings(self, expect.share_or_count, "rank", of="ranks")
        expect.settings(self, expect.one_of, "kind", options=("svd", "pca"))
        expect.settings(self, expect.text, "name")
        object.__setattr__(self, "needs_inputs", self.kind == "pca")

    def layers(self, part: Part) -> Layers | None:
        """Returns both layers; `None` if the part is not a dense layer."""
        layer: Any = part.layer
        if type(layer) is not keras.layers.Dense:
            return None
        full = part.channels_in if self.needs_inputs else min(part.channels_in, part.channels_out)
        regularizer = part.kernel_regularizer
        settings: dict[str, Any] = {"kernel_regularizer": regularizer, "dtype": part.dtype}
        first = keras.layers.Dense(_rank(self.rank, full), use_bias=False, name="reduced", **settings)
        return [first, keras.layers.Dense(part.channels_out, name="expanded", **settings, **part.last_settings)]

    def start(self, part: Part, layers: Sequence[keras.layers.Layer]) -> bool:
        """Splits the kernel; False if inputs are needed."""
        if self.needs_inputs:
            return False
        layer: Any = part.layer
        first, second = layers
        left, right = _split(_numbers(layer.kernel), first.units)
        first.kernel.assign(left)
        second.kernel.assign(right)
        if part.use_bias:
            second.bias.assign(layer.bias)
        return True

    def start_from(self, part: Part, layers: Sequence[keras.layers.Layer], inputs: npt.NDArray[Any]) -> bool:
        """Applies the kernel to the principal components of the inputs.

        Raises:
            ValueError: inputs have another width, or are not finite.
        """
        if not self.needs_inputs:
            return self.start(part, layers)
        rows = np.asarray(inputs, "float64")
        if rows.ndim < 2 or rows.shape[-1] != part.channels_in or not np.isfinite(rows).all():
            expect.refuse("inputs", f"finite numbers of shape [samples, ..., {part.channels_in}]", inputs)
        layer: Any = part.layer
        first, second = layers
        rows = rows.reshape(-1, part.channels_in)
        mean = rows.mean(axis=0) if part.use_bias else np.zeros(part.channels_in)
        _, directions = np.linalg.eigh((rows - mean).T @ (rows - mean))  # ascending
        kept = directions[:, : -first.units - 1 : -1]
        kernel = _numbers(layer.kernel)
        first.kernel.assign(kept)
        second.kernel.assign(kept.T @ kernel)
        if part.use_bias:
            second.bias.assign(_numbers(layer.bias) + (mean - mean @ kept @ kept.T) @ kernel)
        return True


def _rank(rank: float | int, full: int) -> int:
    """Returns a rank from 1 to the full rank."""
    return max(1, int(rank * full) if isinstance(rank, float) else min(rank, full))


def _numbers(variable: Any) -> _Matrix:
    return np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(variable, "float32")), "float64")


def _split(matrix: _Matrix, rank: int) -> tuple[_Matrix, _Matrix]:
    """Returns two factors of the nearest matrix of a rank, `[rows, rank]` and `[rank, columns]`, equally large."""
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    roots = np.sqrt(values[:rank])
    return left[:, :rank] * roots, roots[:, None] * right[:rank]


register_replacement(LowRank())
register_replacement(LowRank(kind="channel", name="low_rank_channel"))
register_replacement(LowRankDense())
register_replacement(LowRankDense(kind="pca", name="low_rank_dense_pca"))
