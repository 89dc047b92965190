"""The simplex: the projection onto it as a constraint, and a penalty on costs weighted by its points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfcompress import expect

__all__ = ["WEIGHTINGS", "CostPenalty", "SimplexConstraint", "checked_cost", "faster", "shares"]

WEIGHTINGS = ("simplex", "softmax")


def shares(alpha: Any, weighting: str) -> Any:
    """Returns shares of the parts, which sum to 1: `alpha` itself if it lies on the simplex, or its softmax."""
    return ops.softmax(alpha) if weighting == "softmax" else ops.convert_to_tensor(alpha)


def faster(alpha: Any, rate: float) -> Any:
    """Returns the same values with gradients multiplied by `rate`, as a learning rate of their own."""
    if rate == 1:
        return alpha
    alpha = ops.convert_to_tensor(alpha)
    return alpha + (rate - 1) * (alpha - ops.stop_gradient(alpha))


def checked_cost(name: str, value: Any) -> float:
    """Checks a cost: a finite number, 0 or more."""
    cost: float = expect.number(name, value, at_least=0, advice="A cost is measured or counted: finite, not negative.")
    return cost


@keras.saving.register_keras_serializable("tfcompress")
class SimplexConstraint(keras.constraints.Constraint):
    """The projection of DARC (Kyrillidis et al. 2013): `P(alpha) = alpha+ / ||alpha+||_1`, zero for negative numbers.

    The paper leaves it undefined if no component is positive. The largest one, the first of equals, then becomes 1.
    """

    def __call__(self, w: Any) -> Any:
        """Returns the point of the simplex: float `[parts]`, of the type of `w`."""
        positive = ops.relu(w)
        total = ops.sum(positive)
        largest = ops.one_hot(ops.argmax(w), ops.shape(w)[0], dtype=w.dtype)
        return ops.where(total > 0, positive / ops.where(total > 0, total, ops.ones_like(total)), largest)


@keras.saving.register_keras_serializable("tfcompress")
class CostPenalty(keras.regularizers.Regularizer):
    """The penalty of DARC: `strength * sum_j C_j alpha_j`, Algorithm 1.

    Args:
        costs: `C_j`, a number for each part, 0 or more, in any unit.
        strength: lambda, 0 or more.
        weighting: "simplex" if `alpha` holds the shares themselves, "softmax" if the shares are its softmax (DARTS).
        rate: factor of the gradients, above 0.
    """

    def __init__(self, costs: Sequence[float], strength: float, weighting: str = "simplex", rate: float = 1.0) -> None:
        self.costs = expect.each("costs", costs, checked_cost, "a cost, 0 or more, for each part", empty=False)
        self.strength = expect.number("strength", strength, at_least=0)
        self.weighting = expect.one_of("weighting", weighting, WEIGHTINGS)
        self.rate: float = expect.number("rate", rate, above=0)

    def __call__(self, x: Any) -> Any:
        """Returns the penalty, a scalar of the type of `x` `[parts]`."""
        costs = ops.convert_to_tensor(self.costs, dtype=x.dtype)
        return self.strength * ops.sum(costs * shares(faster(x, self.rate), self.weighting))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        return {"costs": list(self.costs), "strength": self.strength, "weighting": self.weighting, "rate": self.rate}
