"""BatchNormalization statistics that keep up with a short training."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras

from tfcompress.training.thawing import inner_layers

__all__ = ["keeping_up", "momentum_of_short_epochs", "words_for_momentum"]

_TOO_MUCH = 0.5  # of the old statistics, after an epoch
_LEFT = 0.1


def momentum_of_short_epochs(momentum: float, steps: int) -> float:
    """The momentum with which an epoch renews the statistics: the given one wherever that leaves less than half.

    Networks for ImageNet have 0.999, for epochs of 10,000 steps. After an epoch of 11 steps 99% of such statistics are
    those from before it, while the weights are others: the network is then measured, and kept, with wrong ones.

    Args:
        momentum: of the layer.
        steps: of an epoch.

    Returns:
        `momentum`, or the one that leaves a tenth of the old statistics after `steps` steps.
    """
    return momentum if momentum**steps <= _TOO_MUCH else _LEFT ** (1 / steps)


@contextlib.contextmanager
def keeping_up(model: keras.Model, steps: int | None) -> Iterator[dict[str, tuple[float, float]]]:
    """Makes the statistics of a model's trained BatchNormalization layers keep up with its weights inside the `with`.

    The momenta are as they were afterwards, so the model that is handed back has the user's own.

    Args:
        model: the model, in the state of its `trainable` flags in which it is trained.
        steps: of an epoch; `None` where that is not known, and nothing changes.

    Yields:
        For each layer that changes its momentum and the one inside the `with`.
    """
    norms = [
        layer
        for layer in inner_layers(model)
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable and steps
    ]
    own = [layer.momentum for layer in norms]
    changed = {}
    try:
        for layer in norms:
            momentum = momentum_of_short_epochs(layer.momentum, steps or 1)
            if momentum != layer.momentum:
                changed[layer.name] = (float(layer.momentum), momentum)
                layer.momentum = momentum
        yield changed
    finally:
        for layer, momentum in zip(norms, own, strict=True):
            layer.momentum = momentum


def words_for_momentum(changed: dict[str, tuple[float, float]], steps: int) -> str:
    """A sentence on the layers of `keeping_up` that changed."""
    before, after = (max(momenta) for momenta in zip(*changed.values(), strict=True))
    return (
        f"BatchNormalization of {len(changed)} layers is trained with momentum {after:.3g} in place of {before:g}, "
        f"which would leave {before**steps:.0%} of the old statistics after an epoch of {steps} steps; the finished "
        "model has its own momentum again"
    )
