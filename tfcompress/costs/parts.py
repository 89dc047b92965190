"""Parts of a cost: each depends on the widths of few channel groups, and their sum is the cost of a plan."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["CostPart", "parts_of_products"]

_Int = npt.NDArray[np.int64]
Sum = tuple[int, Mapping[int, int]]
"""A width: a constant, and for each channel group how many channels one of its positions adds."""


@dataclass(frozen=True, eq=False)
class CostPart:
    """A part of one node's cost that depends on the widths of some channel groups.

    Attributes:
        node: name of the node in the graph.
        groups: indices of these groups, ascending; empty for a constant.
        of: a function from widths int64 `[n, len(groups)]` (positions that each group keeps) to costs int64 `[n]`.
    """

    node: str
    groups: tuple[int, ...]
    of: Callable[[_Int], _Int]

    def scaled(self, factor: float) -> CostPart:
        """Returns the part with its costs multiplied by a number, and rounded."""
        return CostPart(self.node, self.groups, lambda widths: np.rint(factor * self.of(widths)).astype(np.int64))


@dataclass(frozen=True, eq=False)
class _Polynomial:
    """A sum of monomials in the widths of the groups of a part.

    Attributes:
        factors: int64 `[monomials]`.
        powers: int64 `[monomials, groups]`.
    """

    factors: _Int
    powers: _Int

    def __call__(self, widths: _Int) -> _Int:
        wide = np.asarray(widths, np.int64)
        each = np.prod(wide[:, None, :] ** self.powers, axis=-1, dtype=np.int64)
        total: _Int = each @ self.factors
        return total


def parts_of_products(products: Iterable[tuple[str, int, Sequence[Sum]]]) -> list[CostPart]:
    """Returns the parts of a sum of products `factor * width * width * ...`.

    Products are multiplied out, so that each part depends on as few groups as possible: a convolution that reads the
    concatenation of groups a and b and writes c has the parts `a * c` and `b * c`.

    Args:
        products: of each product the node, the factor and the widths.

    Returns:
        One part for each node and set of groups, in the order of the products.
    """
    monomials: dict[tuple[str, tuple[int, ...]], Counter[tuple[int, ...]]] = {}
    for node, factor, widths in products:
        summands = [[((), fixed), *(((g,), each) for g, each in of_group.items())] for fixed, of_group in widths]
        for chosen in itertools.product(*summands):
            number = factor * math.prod(count for _, count in chosen)
            if number:
                power = Counter(group for groups, _ in chosen for group in groups)
                groups = tuple(sorted(power))
                powers = tuple(power[group] for group in groups)
                monomials.setdefault((node, groups), Counter())[powers] += number
    return [
        CostPart(
            node,
            groups,
            _Polynomial(
                np.array(list(of_powers.values()), np.int64),
                np.array(list(of_powers), np.int64).reshape(len(of_powers), len(groups)),
            ),
        )
        for (node, groups), of_powers in monomials.items()
    ]
