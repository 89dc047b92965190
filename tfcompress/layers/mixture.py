"""`Mixture`: a convex mix of layers, of which training chooses one."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfcompress import expect
from tfcompress.layers.simplex import WEIGHTINGS, CostPenalty, SimplexConstraint, checked_cost, faster, shares

__all__ = ["Mixture"]

_FAR = -1e9  # a logit beside 0, of which the softmax is exactly 0


@keras.saving.register_keras_serializable("tfcompress")
class Mixture(keras.layers.Layer):
    """A convex mix of parts: `sum_j alpha_j * part_j(inputs)`, the relaxed layer of DARC (Section 3, step 1).

    `alpha` is a weight, so `fit` trains it, with a constraint that keeps it on the simplex and a regularizer that adds
    `strength * sum_j C_j alpha_j` to the loss. Its initial values are equal.

    Args:
        parts: the parts by name, all with the same output shape: a layer, layers in sequence, or a Functional model. A
            model may read several tensors: the mixture is then called with a list.
        costs: the cost of each part by name, in any unit, 0 or more; zeros by default.
        strength: lambda, the factor of the costs in the loss, 0 or more. It may be set later: a model compiled before
            keeps the old value.
        weighting: "simplex", or "softmax" for shares that are the softmax of `alpha` (DARTS): no constraint, `alpha`
            starts at 0, and the penalty is on the shares.
        alpha_rate: factor of the gradients of `alpha`, above 0: with SGD, its learning rate relative to that of the
            parts.
        **kwargs: arguments of `keras.layers.Layer`.

    Attributes:
        alpha: float32 `[parts]`, whatever the layer's dtype policy.
    """

    def __init__(
        self,
        parts: Mapping[str, keras.layers.Layer | Sequence[keras.layers.Layer]],
        costs: Mapping[str, float] | None = None,
        strength: float = 0.0,
        weighting: str = "simplex",
        alpha_rate: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(parts, Mapping) or not parts:
            expect.refuse("parts", "a mapping from names to layers, with at least one", parts, wrong_type=True)
        self._chains = {expect.text("parts", name): _chain(name, part) for name, part in parts.items()}
        costs = dict.fromkeys(self._chains, 0.0) if costs is None else costs
        if not isinstance(costs, Mapping) or set(costs) != set(self._chains):
            expect.refuse("costs", f"a cost for each of {list(self._chains)}", costs)
        self.costs = {name: checked_cost(f"costs[{name!r}]", costs[name]) for name in self._chains}
        self.weighting = expect.one_of("weighting", weighting, WEIGHTINGS)
        self.alpha_rate: float = expect.number("alpha_rate", alpha_rate, above=0)
        self.supports_masking = True
        self.strength = strength

    @property
    def strength(self) -> float:
        """Lambda, the factor of the costs in the loss."""
        return self._strength

    @strength.setter
    def strength(self, value: float) -> None:
        self._strength: float = expect.number("strength", value, at_least=0)
        if self.built:
            self.alpha.regularizer = self._penalty()

    @property
    def weights_of_parts(self) -> dict[str, float]:
        """The share of each part, by name; they sum to 1."""
        values = ops.convert_to_numpy(shares(self.alpha, self.weighting))
        return dict(zip(self._chains, values.tolist(), strict=True))

    def parts(self) -> dict[str, Any]:
        """Returns the parts by name: a built layer or Functional model, or a tuple of layers in sequence."""
        return {name: chain[0] if len(chain) == 1 else tuple(chain) for name, chain in self._chains.items()}

    def alone(self, part: str) -> list[tuple[keras.Variable, np.ndarray[Any, Any]]]:
        """Returns values of `alpha` with which the mixture computes only one part.

        Args:
            part: name of the part.

        Returns:
            `[(alpha, float32 [parts])]`.
        """
        expect.one_of("part", part, tuple(self._chains))
        is_part = np.array([name == part for name in self._chains])
        values = np.where(is_part, 0.0, _FAR) if self.weighting == "softmax" else is_part
        return [(self.alpha, values.astype("float32"))]

    def build(self, input_shape: Any) -> None:
        """Builds all parts, each layer on the output shape of the one before it.

        Raises:
            ValueError: a part does not fit the inputs, or its output shape differs from the first one's.
        """
        first: tuple[str, Any] | None = None
        for name, chain in self._chains.items():
            shape = _plain(input_shape)
            for layer in chain:
                try:
                    if not layer.built:
                        layer.build(shape)
                    shape = layer.compute_output_shape(shape)
                except Exception as error:
                    reason = " ".join(str(error).split())[:300]
                    raise ValueError(
                        f"Expected parts that fit inputs {_plain(input_shape)}. Received: part {name!r} of "
                        f"{self.name!r}, layer {layer.name!r}: {reason}"
                    ) from error
            first = (name, shape) if first is None else first
            if tuple(shape) != tuple(first[1]):
                raise ValueError(
                    f"Expected parts with equal output shapes. Received: in {self.name!r} part {first[0]!r} gives "
                    f"{tuple(first[1])}, part {name!r} gives {tuple(shape)}."
                )
        self.alpha = self.add_weight(
            shape=(len(self._chains),),
            initializer="zeros" if self.weighting == "softmax" else keras.initializers.Constant(1 / len(self._chains)),
            dtype="float32",
            autocast=False,
            regularizer=self._penalty(),
            constraint=None if self.weighting == "softmax" else SimplexConstraint(),
            name="alpha",
        )

    def _penalty(self) -> CostPenalty:
        return CostPenalty(tuple(self.costs.values()), self.strength, self.weighting, self.alpha_rate)

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Returns the mix of the parts' outputs.

        Args:
            inputs: a tensor, or a list if the parts read several, including a mask if they read it as an input.
            training: passed to the parts.
            mask: passed to the first layer of each part that takes one.
        """
        if isinstance(inputs, (list, tuple)) and any(tensor.dtype == "bool" for tensor in inputs):
            inputs, mask = [ops.copy(tensor) for tensor in inputs], None  # without the mask that Keras makes them carry
        weights = shares(faster(self.alpha, self.alpha_rate), self.weighting)
        mixed = None
        for index, chain in enumerate(self._chains.values()):
            outputs = inputs
            for place, layer in enumerate(chain):
                taken = inspect.signature(layer.call).parameters
                options = {"training": training} if "training" in taken else {}
                if mask is not None and place == 0 and "mask" in taken:
                    options["mask"] = mask
                outputs = layer(outputs, **options)
            weighted = ops.cast(weights[index], outputs.dtype) * outputs
            mixed = weighted if mixed is None else mixed + weighted
        return mixed

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """Returns the mask that the first part passes on."""
        mask = previous_mask
        for layer in next(iter(self._chains.values())):
            if not layer.supports_masking:
                return None
            mask = layer.compute_mask(inputs, mask)
        return mask

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the output shape of every part."""
        shape = _plain(input_shape)
        for layer in next(iter(self._chains.values())):
            shape = layer.compute_output_shape(shape)
        return shape

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments; parts as pairs, in the order of `alpha`."""
        parts = [[name, [_serialized(layer) for layer in chain]] for name, chain in self._chains.items()]
        own = {"parts": parts, "costs": dict(self.costs), "strength": self.strength, "weighting": self.weighting}
        own["alpha_rate"] = self.alpha_rate
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Mixture:
        """Returns a mixture from the result of `get_config`, with new initial weights."""
        parts = {
            name: [keras.saving.deserialize_keras_object(layer) for layer in layers] for name, layers in config["parts"]
        }
        return cls(**{**config, "parts": parts})


def _chain(name: str, part: Any) -> list[keras.layers.Layer]:
    """Returns a part as layers in sequence."""
    if isinstance(part, keras.Sequential):
        part = part.layers
    chain = [part] if isinstance(part, keras.layers.Layer) else part
    what = "a keras layer, a Functional model, or several layers in sequence"
    return list(expect.each(f"parts[{name!r}]", chain, _layer, what, empty=False))


def _layer(name: str, value: Any) -> keras.layers.Layer:
    return expect.instance(name, value, keras.layers.Layer)


def _serialized(layer: keras.layers.Layer) -> dict[str, Any]:
    """Returns a layer's config without the shapes that it was built for, because the mixture builds it."""
    config = keras.saving.serialize_keras_object(layer)
    return {key: value for key, value in config.items() if key not in ("build_config", "compile_config")}


def _plain(shape: Any) -> Any:
    """Returns a shape, or several, as tuples; in files they are lists."""
    if all(size is None or isinstance(size, int) for size in shape):
        return tuple(shape)
    return [tuple(each) for each in shape]
