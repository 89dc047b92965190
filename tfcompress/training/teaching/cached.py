"""The teacher's outputs for each sample, computed once and kept on disk while a student trains."""

from __future__ import annotations

import contextlib
import math
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from tfcompress.data import Split
from tfcompress.data.sources.arrays import ArraySource
from tfcompress.training import _files
from tfcompress.training.teaching.model import Distillation

__all__ = ["bytes_of_cache", "cached_batches", "check_cache"]

_SHUFFLED = 2048  # samples that are in memory at once to be shuffled
_DONE = "complete"


def bytes_of_cache(model: Distillation, split: Split) -> int:
    """Returns the size of a split's cache in bytes, estimated from one sample.

    Raises:
        ValueError: samples are augmented, or are not arrays in memory.
    """
    source = split.source
    if not isinstance(source, ArraySource) or source.augment is not None:
        why = "augmented ones" if isinstance(source, ArraySource) else f"{split.describe()} that come batch by batch"
        raise ValueError(
            "Expected samples that are the same in every epoch, as arrays in memory, to cache the teacher's outputs "
            f"for them. Received: {why}. Leave cache_gb out, or load the data with augment=None."
        )
    return source.num_samples * sum(array.nbytes for array in _arrays(_with_taps(model, *source.take(1))))


def check_cache(model: Distillation, split: Split, limit_gb: float) -> int:
    """Returns the size of the cache in bytes, if that is within the limit of `limit_gb` x 10^9.

    Raises:
        ValueError: the cache is larger, or the data cannot be cached.
    """
    size = bytes_of_cache(model, split)
    if size > limit_gb * 1e9:
        raise ValueError(
            f"Expected a cache of at most cache_gb={limit_gb:g}. Received: {split.num_samples:,} samples that take "
            f"{size / 1e9:.3g} GB. Allow more, compare fewer sections (hints=), or leave cache_gb out."
        )
    return size


def _arrays(structure: Any) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in keras.tree.flatten(structure)]


def _with_taps(model: Distillation, x: Any, *rest: Any) -> tuple[Any, ...]:
    taps, outputs = keras.tree.map_structure(keras.ops.convert_to_numpy, model.teacher_taps(x))
    outputs = outputs if len(keras.tree.flatten(outputs)) else ()
    return {"inputs": x, "taps": tuple(taps), "outputs": outputs}, *rest


@contextlib.contextmanager
def cached_batches(
    model: Distillation,
    split: Split,
    batch_size: int,
    limit_gb: float,
    folder: pathlib.Path | None,
    seed: int,
    note: Callable[[str], None] = lambda text: None,
) -> Iterator[Any]:
    """Yields batches for a `Distillation(cached=True)`, shuffled by `(seed, epoch)`; removes the cache afterwards.

    A complete cache is used again after a run was killed; an incomplete or damaged one is written again.

    Args:
        model: computes the outputs to cache.
        split: the samples.
        batch_size: samples in a batch.
        limit_gb: limit of the cache on disk, in 10^9 bytes; checked before anything is written.
        folder: folder of the cache; `None` for a temporary folder.
        seed: seed of the order.
        note: called with a message if a cache is damaged.

    Yields:
        A tf.data.Dataset with `epoch_variable`, as `fit` takes it.

    Raises:
        ValueError: the cache exceeds the limit or the room on the disk, or the data cannot be cached.
        NoRoomError: the disk became full while the cache was written.
    """
    size = check_cache(model, split, limit_gb)
    where = pathlib.Path(tempfile.mkdtemp()) if folder is None else folder
    where.mkdir(parents=True, exist_ok=True)
    try:
        free = shutil.disk_usage(where).free
        if size > free and not (where / _DONE).exists():
            raise ValueError(
                f"Expected room on the disk for a cache of {size / 1e9:.3g} GB. Received: {free / 1e9:.3g} GB free for "
                f"{where}. Leave cache_gb out."
            )
        with _files.room(where, size):
            samples = _filled(model, split, batch_size, where, note)
        assert split.num_samples is not None  # of arrays
        yield _dataset(samples, split.num_samples, batch_size, seed)
    except BaseException as error:
        if folder is None or isinstance(error, ValueError):
            shutil.rmtree(where, ignore_errors=True)
        raise
    shutil.rmtree(where, ignore_errors=True)


def _is_whole(where: pathlib.Path, note: Callable[[str], None]) -> bool:
    """Whether the cache was written completely, and its files are unchanged."""
    if not (where / _DONE).exists():
        return False
    try:
        for name, checksum in _files.read_json(where / _DONE).items():
            file = where / name
            if not file.is_file() or _files.sha256(file) != checksum:
                raise _files.DamagedFileError(file, "it has another checksum")
    except _files.DamagedFileError as error:
        note(f"{error.path} is damaged ({error.why}): the teacher's outputs are computed again.")
        return False
    return True


def _filled(
    model: Distillation, split: Split, batch_size: int, where: pathlib.Path, note: Callable[[str], None]
) -> Any:
    """Yields the samples one by one, read from the cache."""
    import tensorflow as tf

    source = split.source.shuffled()  # arrays may be sorted by class
    assert isinstance(source, ArraySource)  # as `check_cache` has it
    batches = source.as_given(batch_size)
    first = _with_taps(model, *_parts(batches[0]))
    signature = keras.tree.map_structure(lambda a: tf.TensorSpec([None, *a.shape[1:]], a.dtype), first)

    def read() -> Iterator[Any]:
        for index in range(len(batches)):
            yield _with_taps(model, *_parts(batches[index]))

    whole = _is_whole(where, note)
    if not whole:
        shutil.rmtree(where)
        where.mkdir()
    samples = tf.data.Dataset.from_generator(read, output_signature=signature).unbatch().cache(str(where / "samples"))
    if not whole:
        for _ in samples.batch(batch_size):
            pass
        _files.write_json(where / _DONE, {file.name: _files.sha256(file) for file in sorted(where.iterdir())})
    return samples


def _parts(batch: Any) -> tuple[Any, ...]:
    parts: tuple[Any, ...] = keras.tree.lists_to_tuples(tuple(batch))
    return parts


def _dataset(samples: Any, count: int, batch_size: int, seed: int) -> Any:
    import tensorflow as tf

    epoch = tf.Variable(0, dtype="int64", trainable=False)

    def one_epoch(_: Any) -> Any:
        now = epoch.assign_add(1) - 1
        # Of this function's graph alone, which would begin with the global one; 0 is not allowed beside a tensor.
        tf.random.set_seed(1)
        drawn = tf.random.stateless_uniform([], tf.stack([tf.cast(seed, "int64"), now]), maxval=2**31, dtype="int64")
        return samples.shuffle(min(count, _SHUFFLED), seed=drawn).batch(batch_size)

    dataset = tf.data.Dataset.from_tensors(0).flat_map(one_epoch)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(math.ceil(count / batch_size))).prefetch(2)
    dataset.epoch_variable = epoch
    return dataset
