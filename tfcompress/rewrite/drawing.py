"""Seeds for random numbers that Keras draws without a seed while something is built."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Sequence

import keras
import numpy as np
from keras.src.backend.common import global_state

__all__ = ["drawing_from"]

_GENERATOR = "global_seed_generator"  # what Keras calls the one that keras.random draws from without a seed


@contextlib.contextmanager
def drawing_from(seed: Sequence[int] | None) -> Iterator[None]:
    """Makes initializers without a seed depend only on `seed` inside; the global states do not change.

    Keras gives such an initializer a seed from Python's global random state when it is made, and functions that call
    `keras.random` without a seed draw from a generator that all of Keras shares. Other random numbers, such as those of
    `tf.random`, are not affected.

    Args:
        seed: numbers; `None` leaves everything to the global state.
    """
    if seed is None:
        yield
        return
    first, second = (int(number) for number in np.random.default_rng(list(seed)).integers(1, 2**31, size=2))
    before, shared = random.getstate(), global_state.get_global_attribute(_GENERATOR)
    random.seed(first)
    global_state.set_global_attribute(_GENERATOR, keras.random.SeedGenerator(second, name=_GENERATOR))
    try:
        yield
    finally:
        random.setstate(before)
        global_state.set_global_attribute(_GENERATOR, shared)
