"""Batches whose contents depend only on the seed, the epoch and the batch index."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

from tfcompress import expect
from tfcompress.data.batches.augment import augment_images
from tfcompress.data.batches.forms import (
    Arrays,
    Augment,
    Batches,
    CountsPasses,
    EndsEpochs,
    IndexedBatches,
    LoadsInParallel,
    Preprocess,
)

__all__ = ["ArrayBatches", "ChosenBatches", "EpochBatches", "FollowEpoch", "set_epoch"]


class EpochBatches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
    """A Keras dataset that knows its epoch, and has an order for each epoch.

    Keras calls `on_epoch_end` after an epoch, but also before the first: `FollowEpoch` makes the count exact.
    """

    def __init__(
        self, seed: int, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10
    ) -> None:
        super().__init__(workers, use_multiprocessing, max_queue_size)
        self.seed = seed
        self.epoch = 0
        self._order: tuple[int, np.ndarray] | None = None

    def on_epoch_end(self) -> None:
        """Called by Keras; the next epoch has another order."""
        self.epoch += 1

    def _permutation(self, epoch: int, size: int) -> np.ndarray:
        # Kept in one assignment: Keras may still be reading the last epoch in another thread.
        order = self._order
        if order is None or order[0] != epoch:
            order = self._order = (epoch, np.random.default_rng([self.seed, epoch]).permutation(size))
        return order[1]


class ArrayBatches(EpochBatches):
    """A Keras dataset over arrays, shuffled and augmented as a pure function of `(seed, epoch, index)`.

    So an interrupted training run that continues at epoch k sees exactly the batches of an uninterrupted run, without
    any iterator state to save: `fit(batches, initial_epoch=k, shuffle=False, callbacks=[FollowEpoch(batches)])`
    (otherwise `fit` would visit the batches in an order of its own). Images keep their dtype (uint8 for
    named datasets) and are preprocessed one batch at a time.

    Args:
        x: array `[samples, ...]`, or a tuple or dict of such arrays for models with several inputs.
        y: array `[samples, ...]` of labels, or a structure of arrays.
        batch_size: samples in a batch; the last batch may be smaller.
        shuffle: whether the order changes each epoch.
        seed: seed of order and augmentation.
        preprocess: `None`, or a function from a batch of `x` to the model's inputs.
        augment: `None` or a function `(images, numpy.random.Generator) -> images`, applied before `preprocess` to the
            arrays `[batch, height, width, channels]` in `x`.
        indices: `None`, or the samples that belong to this dataset, int `[chosen]`, in their order. Nothing is copied.
        weights: `None`, or an array `[samples]` (or a structure of arrays) of sample weights, the third part of a
            batch.
    """

    def __init__(
        self,
        x: Arrays,
        y: Arrays,
        batch_size: int = 128,
        shuffle: bool = False,
        seed: int = 0,
        preprocess: Preprocess | None = None,
        augment: Augment | None = None,
        indices: np.ndarray | None = None,
        weights: Arrays | None = None,
    ) -> None:
        super().__init__(seed)
        self.weights = weights
        self.x, self.y = x, y
        self.batch_size: int = expect.whole("batch_size", batch_size, least=1)
        self.shuffle = shuffle
        self.preprocess = preprocess
        self.augment = augment
        self.indices = indices

    @property
    def num_samples(self) -> int:
        """Number of samples in one epoch."""
        samples: np.ndarray = keras.tree.flatten(self.x)[0] if self.indices is None else self.indices
        return len(samples)

    def __len__(self) -> int:
        return -(-self.num_samples // self.batch_size)

    def __getitem__(self, index: int) -> tuple[Arrays, ...]:
        epoch = self.epoch
        chosen: slice | np.ndarray = slice(index * self.batch_size, (index + 1) * self.batch_size)
        if self.shuffle:
            chosen = self._permutation(epoch, self.num_samples)[chosen]
        if self.indices is not None:
            chosen = self.indices[chosen]
        parts = (self.x, self.y) if self.weights is None else (self.x, self.y, self.weights)
        x, *rest = keras.tree.map_structure(lambda array: array[chosen], parts)
        if self.augment is not None:
            x = augment_images(self.augment, x, [self.seed, epoch, index])
        if self.preprocess is not None:
            x = self.preprocess(x)
        return x, *rest


class ChosenBatches(EpochBatches):
    """Some or all batches of another dataset, in an order that is a pure function of `(seed, epoch)`.

    Args:
        dataset: anything with `__getitem__(index) -> (x, y)`.
        indices: the chosen batches, int `[chosen]`.
        shuffle: whether the order of the batches changes each epoch.
        seed: seed of the order.
        convert: `None` or a function applied to each batch `(x, y)`.
        forward_epoch_end: whether the other dataset's `on_epoch_end` is called after an epoch. False if a part is held
            out: a dataset that moves samples between batches would mix the parts.
    """

    def __init__(
        self,
        dataset: IndexedBatches,
        indices: np.ndarray,
        shuffle: bool = False,
        seed: int = 0,
        convert: Callable[[tuple[Arrays, ...]], tuple[Arrays, ...]] | None = None,
        forward_epoch_end: bool = False,
    ) -> None:
        if isinstance(dataset, LoadsInParallel):
            super().__init__(seed, dataset.workers, dataset.use_multiprocessing, dataset.max_queue_size)
        else:
            super().__init__(seed)
        self.dataset = dataset
        self.indices = indices
        self.shuffle = shuffle
        self.convert = convert
        self.forward_epoch_end = forward_epoch_end

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Arrays, ...]:
        if self.shuffle:
            index = self._permutation(self.epoch, len(self.indices))[index]
        batch = self.dataset[int(self.indices[index])]
        return batch if self.convert is None else self.convert(batch)

    def on_epoch_end(self) -> None:
        """Called by Keras; the next epoch has another order."""
        if self.forward_epoch_end and isinstance(self.dataset, EndsEpochs):
            self.dataset.on_epoch_end()
        super().on_epoch_end()


def set_epoch(batches: Batches, epoch: int) -> bool:
    """Sets the epoch (from 0) of the next pass over `batches`, for a run that continues.

    Args:
        batches: batches from `Split.batches`.
        epoch: number of the epoch.

    Returns:
        Whether `batches` can do this. A user's own dataset starts wherever it does.
    """
    if isinstance(batches, EpochBatches):
        batches.epoch = epoch
        return True
    if isinstance(batches, CountsPasses):
        batches.epoch_variable.assign(epoch)
        return True
    return False


class FollowEpoch(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Tells the batches that `fit` trains on the number of the epoch; it has to be the first callback of the list.

    Args:
        batches: the batches that `fit` trains on.
    """

    def __init__(self, batches: Batches) -> None:
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Called by Keras."""
        set_epoch(self.batches, epoch)
