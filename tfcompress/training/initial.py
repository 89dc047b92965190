"""Initial weights: draws them anew, and tells learned variables from state that training does not make."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np

from tfcompress.training.thawing import inner_layers, keeps_its_values, own_variables, thawed

__all__ = ["check_drawable", "draw_anew", "learned_layers", "learned_variables"]


def learned_variables(layer: Any) -> list[Any]:
    """Returns the variables of a layer that training makes, and that fresh weights therefore replace.

    - Everything that is trainable in the layer itself, even if it is frozen at present.
    - The statistics of BatchNormalization, and the vector of SpectralNormalization, which follow the weights.

    All other state is kept: what `adapt` has set (Normalization, lookups, TextVectorization, Discretization), the
    states of random layers, constants that a layer holds as non-trainable weights, and a frozen Embedding.

    Args:
        layer: a built layer; the layers inside it count too.
    """
    variables = []
    with thawed(layer, inner_layers(layer)):
        for inner in inner_layers(layer):
            if keeps_its_values(inner):
                continue
            follows = isinstance(inner, (keras.layers.BatchNormalization, keras.layers.SpectralNormalization))
            own = {id(variable) for variable in inner.weights}
            variables += [
                variable for variable in own_variables(inner) if variable.trainable or (follows and id(variable) in own)
            ]
    return variables


def learned_layers(layers: Iterable[Any]) -> list[Any]:
    """Returns the layers with variables that training makes; skips operations without weights."""
    return [layer for layer in layers if getattr(layer, "weights", None) and learned_variables(layer)]


def draw_anew(layers: Iterable[Any], rng: np.random.Generator) -> list[Any]:
    """Gives layers new weights from their own initializers, and initial statistics.

    Args:
        layers: built layers; operations without weights are skipped. `learned_variables` says which variables are
            drawn.
        rng: draws seeds for initializers that have none of their own.

    Returns:
        The layers with new weights.

    Raises:
        TypeError: a layer cannot be rebuilt from its config, and does not hold its initializers.
    """
    drawn = []
    for layer in layers:
        if not getattr(layer, "weights", None) or not (learned := learned_variables(layer)):
            continue
        for variable, value in _drawn(layer, learned, rng):
            variable.assign(value)
        drawn.append(layer)
    return drawn


def check_drawable(layers: Iterable[Any]) -> None:
    """Refuses layers that `draw_anew` cannot handle, without changing them.

    Raises:
        TypeError: as `draw_anew` does.
    """
    rng = np.random.default_rng(0)
    for layer in layers:
        # Keras' own come back from their configs.
        own = type(layer).__module__.partition(".")[0] != "keras"
        if own and getattr(layer, "weights", None) and (learned := learned_variables(layer)):
            _drawn(layer, learned, rng)


def _drawn(layer: Any, variables: list[Any], rng: np.random.Generator) -> list[tuple[Any, Any]]:
    """Returns `(variable, fresh value)` for each learned variable of a layer."""
    learned = {id(variable) for variable in variables}
    try:
        new = type(layer).from_config(_seeded(layer.get_config(), rng))
        new.build_from_config(layer.get_build_config())
        pairs = list(zip(layer.weights, new.weights, strict=True))
        if any(old.shape != fresh.shape for old, fresh in pairs):
            raise ValueError("its config makes weights of other shapes")
    except Exception as error:
        values = _by_initializers(layer, learned, rng)
        if values is not None:
            return values
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise TypeError(
            f"Expected {type(layer).__name__} to be rebuilt by from_config(get_config()), for fresh weights. "
            f"Received: layer {layer.name!r}, {reason}. Give the student yourself: student=."
        ) from error
    return [(old, fresh) for old, fresh in pairs if id(old) in learned]


def _by_initializers(layer: Any, learned: set[int], rng: np.random.Generator) -> list[tuple[Any, Any]] | None:
    """Does the same with the initializers that a layer holds for its weights; `None` if one of them is missing.

    That needs no config, and works for layers with functions, partials and classes that no config can restore.
    """
    pairs = []
    for inner in inner_layers(layer):
        for variable in own_variables(inner):
            if id(variable) not in learned:
                continue
            names = (variable.name, variable.name.removesuffix("_kernel"), "depthwise")
            held = (getattr(inner, f"{name}_initializer", None) for name in names)
            initializer = next((given for given in held if given is not None), None)
            if initializer is None and variable.trainable:
                return None
            if initializer is None:
                continue  # it follows the weights, from wherever it begins
            draw = _with_seed(initializer, rng)
            if variable.name == "bias" and getattr(inner, "unit_forget_bias", False):
                pairs.append((variable, _with_forget_gate_at_one(draw, variable)))
            else:
                pairs.append((variable, draw(variable.shape, dtype=variable.dtype)))
    return pairs


def _with_forget_gate_at_one(draw: Callable[..., Any], bias: Any) -> Any:
    """Returns the initial bias of an LSTM's cell, as in Keras: gates in the order input, forget, candidate, output."""
    units = bias.shape[0] // 4
    first, last = (draw((size,), dtype=bias.dtype) for size in (units, 2 * units))
    return keras.ops.concatenate([first, keras.ops.ones((units,), dtype=bias.dtype), last])


def _with_seed(initializer: Any, rng: np.random.Generator) -> Callable[..., Any]:
    """Returns an initializer that draws its seed from `rng` if it has none of its own."""
    try:
        config = initializer.get_config()
        if config.get("seed", 0) is None:
            seeded: Callable[..., Any] = type(initializer).from_config({**config, "seed": int(rng.integers(2**31))})
            return seeded
    except (AttributeError, NotImplementedError, TypeError, ValueError):
        pass  # a function, or a class without a config: it draws as it likes
    return initializer  # type: ignore[no-any-return]


def _seeded(config: Any, rng: np.random.Generator) -> Any:
    """Returns a config whose initializers have seeds."""
    if isinstance(config, dict):
        seeded = {key: _seeded(value, rng) for key, value in config.items()}
        inner = seeded.get("config")
        if "class_name" in seeded and isinstance(inner, dict) and "seed" in inner and inner["seed"] is None:
            seeded["config"] = {**inner, "seed": int(rng.integers(2**31))}
        return seeded
    return [_seeded(value, rng) for value in config] if isinstance(config, (list, tuple)) else config
