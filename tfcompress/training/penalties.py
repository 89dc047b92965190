"""Terms that are added to the training loss and depend only on the weights."""

from typing import Any, Protocol

import keras
from keras import ops

from tfcompress import expect
from tfcompress.layers import CostPenalty

__all__ = ["Penalty", "WeightDecay"]


class Penalty(Protocol):
    """A term of the training loss that depends on weights, not on the batch.

    It is called once in each training step, within the compiled step function: values that change between epochs (a
    mask, a strength) belong in non-trainable `keras.Variable`s, which can be assigned without tracing the step again.
    Such variables are not part of the model; to be resumed, a penalty with variables is passed to
    `Phase(stateful=...)`.
    """

    name: str

    def build(self, model: keras.Model) -> None:
        """Collects the variables of `model`; called before training, once for each call of `fit`."""
        ...

    def __call__(self) -> Any:
        """Returns the term, a float32 scalar tensor."""
        ...


class WeightDecay:
    """The weight decay of the papers: `strength / 2 * ||w||^2` in the loss, so `strength * w` in the gradient.

    It covers every trainable variable, including biases and BatchNormalization's scales and offsets, as in the papers'
    training code (the `weight_decay` of PyTorch's SGD). The gradient passes through the optimizer's momentum and is
    scaled by the learning rate. `keras.optimizers.SGD(weight_decay=...)` differs: it is decoupled and subtracts
    `learning_rate * weight_decay * w` from the weights outside of the momentum (Loshchilov and Hutter, 2019), which for
    momentum 0.9 decays ten times less. A variable whose regularizer is a `CostPenalty` (the shares of a mixture) is not
    a weight of a network, and is left out.

    Args:
        strength: factor of the weights in the gradient, 0 or more; 1e-4 in the papers.
        name: the name under which the term's value appears in the history.
    """

    def __init__(self, strength: float = 1e-4, name: str = "weight_decay"):
        self.strength = expect.number("strength", strength, at_least=0)
        self.name = expect.text("name", name)
        self._variables: list[Any] = []

    def build(self, model: keras.Model) -> None:
        """Collects the trainable variables of `model` that have no penalty on costs."""
        self._variables = [v for v in model.trainable_variables if not isinstance(v.regularizer, CostPenalty)]

    def __call__(self) -> Any:
        """Returns `strength / 2` times the sum of the squares of all weights, a float32 scalar."""
        total = ops.zeros((), "float32")
        for variable in self._variables:
            total = total + ops.sum(ops.square(ops.cast(variable, "float32")))
        return 0.5 * self.strength * total
