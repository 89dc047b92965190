"""The teacher's outputs for each sample, computed once and held in memory, for many students of one teacher."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np

from tfcompress.data.sources.arrays import ArraySource
from tfcompress.data.sources.source import Source

__all__ = ["remembered"]

_BATCH = 250


def remembered(source: Source, teacher: keras.Model) -> ArraySource | None:
    """Returns the samples with the teacher's outputs, for a `Distillation(cached=True)` without hints.

    Batches have the same order as those of `source`.

    Args:
        source: source of the training split.
        teacher: a built model.

    Returns:
        A source with inputs `{"inputs": ..., "taps": (), "outputs": ...}`; `None` for augmented samples, which differ
        in every epoch, and for data that are not arrays in memory.
    """
    if not isinstance(source, ArraySource) or source.augment is not None:
        return None
    batches = source.batches(_BATCH)
    parts = [keras.ops.convert_to_numpy(teacher(batches[index][0], training=False)) for index in range(len(batches))]
    outputs = np.concatenate(parts)
    if source.indices is not None:
        chosen = outputs
        outputs = np.zeros((len(keras.tree.flatten(source.x)[0]), *chosen.shape[1:]), chosen.dtype)
        outputs[source.indices] = chosen
    preprocess = source.preprocess

    def with_outputs(batch: Any) -> Any:
        return batch if preprocess is None else {**batch, "inputs": preprocess(batch["inputs"])}

    return replace(source, x={"inputs": source.x, "taps": (), "outputs": outputs}, preprocess=with_outputs)
