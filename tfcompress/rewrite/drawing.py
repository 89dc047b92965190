"""Seeds of what Keras draws where nobody gives it a seed, for as long as something is built."""

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
    """Makes what initializers without a seed draw inside a function of `seed`; the global states stay as they were.

    Keras gives such an initializer a seed by Python's global random state when it is made, and functions that call
    `keras.random` without a seed draw from a generator that all of Keras shares. What draws by other means, such as
    `tf.random`, draws as it likes.

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
