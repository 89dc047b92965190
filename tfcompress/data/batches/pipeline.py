"""Keras datasets as tf.data pipelines without autotuning."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import keras
import numpy as np

from tfcompress.data.batches.epochs import EpochBatches
from tfcompress.data.batches.forms import Arrays, Batches

if TYPE_CHECKING:
    import tensorflow as tf

__all__ = ["without_autotuning"]


def without_autotuning(batches: Batches) -> Batches:
    """Returns the batches of a Keras dataset of this package as a tf.data.Dataset that is not autotuned.

    Keras itself would make such a pipeline with autotuning. When a pass ends, its autotuning thread may miss the call
    to stop and sleep for as long as the pass has lasted, while everything waits: at worst epochs take twice their time
    (seen with tensorflow 2.21: about every third epoch of 1.3 s). There is nothing to tune here.

    Args:
        batches: batches from `Split.batches`.

    Returns:
        A `tf.data.Dataset` that reads the batches again in each pass, in their current epoch; or `batches` unchanged,
        if Keras would not autotune, or they are not a Keras dataset.
    """
    if not isinstance(batches, EpochBatches) or batches.workers > 1 or batches.use_multiprocessing:
        return batches
    if keras.backend.backend() != "tensorflow":
        return batches
    import tensorflow as tf

    count = len(batches)
    first, last = _tuples(batches[0]), _tuples(batches[count - 1])
    if not all(isinstance(array, np.ndarray) and array.ndim for array in keras.tree.flatten((first, last))):
        return batches  # Keras knows what to do with tensors of other kinds
    signature = keras.tree.map_structure(_spec, first, last)

    def read() -> Iterator[tuple[Arrays, ...]]:
        for index in range(count):
            yield _tuples(batches[index])

    options = tf.data.Options()
    options.autotune.enabled = False
    dataset = tf.data.Dataset.from_generator(read, output_signature=signature)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(count))
    return dataset.prefetch(2).with_options(options)


def _tuples(batch: tuple[Arrays, ...]) -> tuple[Arrays, ...]:
    # tf.data would stack the members of a list.
    return tuple(keras.tree.lists_to_tuples(tuple(batch)))


def _spec(first: np.ndarray, last: np.ndarray) -> tf.TensorSpec:
    import tensorflow as tf

    sizes = [size if size == last_size else None for size, last_size in zip(first.shape, last.shape, strict=True)]
    return tf.TensorSpec([None, *sizes[1:]], first.dtype)
