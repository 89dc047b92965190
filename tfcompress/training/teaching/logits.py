"""The logits of a classifier that returns logits or probabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from tfcompress.training.objectives import last_activation

__all__ = ["logits_of"]

_TINY = 1e-30  # far below what float32 probabilities of a trained network come to, and no log of zero


def logits_of(model: keras.Model, normalized: bool = False, binary: bool = False) -> Callable[[Any], Any]:
    """Returns a function from a model's outputs to logits `[..., classes]`, float32, for a softmax.

    Logits stay unchanged. For probabilities it returns the logarithm, which equals the logits up to a constant for each
    sample, and a softmax does not depend on that constant at any temperature. A single probability, or several
    independent ones (sigmoid), become the logits of two classes `[..., 2]`.

    Args:
        model: a classifier with one output.
        binary: whether each output is an independent yes-or-no answer, as with a binary cross-entropy; a single output
            always is.
        normalized: whether to return logits whose exponentials sum to 1, which are the same for logits and
            probabilities.

    Raises:
        ValueError: several outputs, or a last activation that gives neither logits nor probabilities.
    """
    activation = last_activation(model) if len(model.outputs) == 1 else "several outputs"
    two_sided = binary or model.outputs[0].shape[-1] == 1

    def logits(outputs: Any) -> Any:
        outputs = ops.cast(outputs, "float32")
        if activation == "softmax":
            return ops.log(ops.maximum(outputs, _TINY))
        if activation == "sigmoid":
            sides = [ops.log(ops.maximum(1.0 - outputs, _TINY)), ops.log(ops.maximum(outputs, _TINY))]
            return ops.stack(sides, axis=-1)
        return ops.stack([ops.zeros_like(outputs), outputs], axis=-1) if two_sided else outputs

    if activation not in ("linear", "softmax", "sigmoid"):
        raise ValueError(
            "Expected a classifier with one output that gives logits, or probabilities by softmax or sigmoid, to "
            f"distil its outputs. Received: model {model.name!r} with {activation!r} at its end. "
            "Train only on the outputs of its sections: "
            "method=LIT(beta=0)."
        )
    return (lambda outputs: ops.log_softmax(logits(outputs), axis=-1)) if normalized else logits
