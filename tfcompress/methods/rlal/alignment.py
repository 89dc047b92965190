"""RLAL's soft regularization, Equation (10)."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from tfcompress.graph import ChannelGroups
from tfcompress.plan import Plan
from tfcompress.rewrite.apply import kept_labels
from tfcompress.training import Constant, Training

__all__ = ["Alignment", "beta_for"]

_PUBLISHED = 352 * (100 * 0.1 + 50 * 0.01 + 50 * 0.001)  # RLAL's on CIFAR-10: 352 steps an epoch, 200 epochs


def beta_for(beta: float, training: Training, steps: int, is_trained: bool) -> float:
    """Returns the beta that moves weights in this run as far as `beta` does in the published run on CIFAR-10.

    A group lasso subtracts `learning rate x beta` from the norm of a kernel in each step, so a run with fewer or
    smaller steps needs a proportionally larger beta. Adam's steps do not grow with gradients: with Adam, and with a
    user's optimizer, beta is not changed.

    Args:
        beta: the paper's value.
        training: settings of the joint training.
        steps: steps in an epoch.
        is_trained: whether the model is already trained.
    """
    if training.optimizer != "sgd":
        return beta
    schedule = training.schedule_for(is_trained) or Constant(training.first_learning_rate(is_trained))
    travelled = steps * sum(schedule(epoch, training.epochs) for epoch in range(training.epochs))
    return beta * _PUBLISHED / travelled


class Alignment:
    """`strength * sum over kernels of ||(1 - v) * W||_2`: a group lasso over the channels that the plan removes.

    Equations (10) and (11) of RLAL. W ranges over every kernel that writes or reads the removed channels. The readers
    matter: before a BatchNormalization, shrinking the filters alone changes nothing, because the normalization scales
    them up again; only kernels that read less of a channel make it dispensable.

    Its masks are variables, so a new plan needs no new trace. If nothing is removed, or all that is removed is zero
    already, the term and its gradient are zero.

    Args:
        strength: beta of Equation (11); see `beta_for` for runs of another length than the published one.
        groups: the model's channel groups.
        prunable: names of the groups that plans change.
    """

    name = "alignment"

    def __init__(self, strength: float, groups: ChannelGroups, prunable: tuple[str, ...]) -> None:
        self.strength = strength
        self.followed: Plan | None = None
        self._groups = groups
        chosen = np.zeros(len(groups.roots), dtype=bool)
        for name in prunable:
            chosen[groups[name].roots] = True
        chosen = chosen[groups.roots]
        self._terms: list[tuple[Any, keras.Variable, dict[int, np.ndarray]]] = []
        for layer in groups.weight_axes().values():
            for weight in layer:
                axes = {a: ids for a, ids in {**weight.reads, **weight.writes}.items() if chosen[ids].any()}
                if axes and len(weight.variable.shape) > 1:
                    shape = [n if axis in axes else 1 for axis, n in enumerate(weight.variable.shape)]
                    removed = keras.Variable(np.zeros(shape, "float32"), trainable=False, name="removed")
                    self._terms.append((weight.variable, removed, axes))

    def build(self, model: keras.Model) -> None:
        """Does nothing: the kernels are known from the graph."""

    def set_plan(self, plan: Plan) -> None:
        """Aligns the weights with another plan from now on."""
        self.followed = plan
        kept = kept_labels(self._groups, plan)
        for _, removed, axes in self._terms:
            value = np.zeros(removed.shape, bool)
            for axis, ids in axes.items():
                shape = [1] * value.ndim
                shape[axis] = -1
                value |= ~kept[ids].reshape(shape)
            removed.assign(value.astype("float32"))

    def __call__(self) -> Any:
        """Returns the term of the loss, a float32 scalar."""
        return self.strength * self.removed_norm()

    def removed_norm(self) -> Any:
        """Returns the sum over kernels of the norms of the removed parts, a float32 scalar."""
        total = ops.zeros((), "float32")
        for variable, removed, _ in self._terms:
            square = ops.sum(ops.square(ops.cast(variable, "float32") * removed))
            # The root's gradient is infinite at zero; the second `where` keeps it away from there.
            positive = square > 0
            total = total + ops.where(positive, ops.sqrt(ops.where(positive, square, 1.0)), 0.0)
        return total
