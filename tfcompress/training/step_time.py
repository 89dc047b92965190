"""Measures the time of a training step before a run, on the model itself, without changing it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import keras

__all__ = ["timed_step"]

_TIMED = 2


def timed_step(
    model: keras.Model, inputs: Any, clock: Callable[[], float] = time.perf_counter
) -> tuple[float, float] | None:
    """Times a training step without taking it.

    Outputs and the gradients of their sum with respect to all trained weights are computed, as in training, and
    discarded: this takes the time of a step without loss and optimizer. Weights, statistics, the states of random
    layers and the global random state stay unchanged.

    Args:
        model: a built model.
        inputs: arrays of one batch, in the model's structure.
        clock: returns seconds.

    Returns:
        Seconds of one step, the mean of two; and the extra seconds of the first one, which compiles. `None` for a
        model whose outputs have no gradients.
    """
    import tensorflow as tf

    variables = [variable.value for variable in model.trainable_variables]

    def gradients(batch: Any) -> Any:
        # What the model would write to its variables (statistics, counters, seeds) goes to the scope, and is dropped.
        with keras.StatelessScope(), tf.GradientTape() as tape:
            outputs = keras.tree.flatten(model(batch, training=True))
            numbers = [tf.cast(each, "float32") for each in outputs if each.dtype.is_floating]
            total = tf.add_n([tf.reduce_sum(each) for each in numbers]) if numbers else None
        of_each = [] if total is None else tape.gradient(total, variables)
        return [each for each in of_each if each is not None]

    step = tf.function(gradients, jit_compile=model._resolve_auto_jit_compile() or None)
    batch = keras.tree.map_structure(tf.convert_to_tensor, inputs)

    def seconds() -> float | None:
        start = clock()
        results = step(batch)
        if not results:
            return None
        keras.ops.convert_to_numpy(keras.tree.flatten(results)[-1].values if _is_sparse(results[-1]) else results[-1])
        return clock() - start

    first = seconds()
    if first is None:
        return None
    later = [seconds() or 0.0 for _ in range(_TIMED)]
    step_s = sum(later) / _TIMED
    return step_s, max(first - step_s, 0.0)


def _is_sparse(gradient: Any) -> bool:
    """Whether a gradient is sparse, as that of an embedding, and so not an array."""
    return hasattr(gradient, "indices")
