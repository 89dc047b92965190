"""`Terms`: sums of products of widths, of which counted metrics consist."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt

__all__ = ["Terms"]

_Int = npt.NDArray[np.int64]


class Terms:
    """Sums of `factor * width * width * ...`, each belonging to a layer and a node."""

    def __init__(self) -> None:
        self.factors: list[int] = []
        self.widths: list[tuple[int, ...]] = []
        self.layers: list[str] = []
        self.nodes: list[str] = []  # whose removal takes the term away

    def add(self, layer: str, node: str, factor: int, widths: tuple[int, ...]) -> None:
        """Adds a term of a layer and a node; widths are indices of the cost model's widths."""
        self.factors.append(factor)
        self.widths.append(widths)
        self.layers.append(layer)
        self.nodes.append(node)

    @cached_property
    def arrays(self) -> tuple[_Int, _Int]:
        """The factors int64 `[terms]`, and the indices of their widths int64 `[terms, most widths]`."""
        longest = max(map(len, self.widths), default=0)
        padded = [(*widths, *[0] * (longest - len(widths))) for widths in self.widths]  # width 0 is the constant 1
        return np.array(self.factors, np.int64), np.array(padded, np.int64).reshape(len(padded), longest)

    def products(self, widths: _Int) -> _Int:
        """int64 `[..., terms]`."""
        factors, index = self.arrays
        products: _Int = np.broadcast_to(factors, (*widths.shape[:-1], len(factors)))
        for column in index.T:
            products = products * widths[..., column]
        return products
