"""Texts on disk with a class each: read into memory, or, where they are too many, as tf.data streams."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfcompress.data.characters import to_int32
from tfcompress.data.holdout import hold_out_indices
from tfcompress.data.named_data import NamedArrays, NamedData, fits_in_memory
from tfcompress.data.shuffled_streams import ShuffledStream

__all__ = ["TextStream", "Texts", "named_texts"]

_BATCH = 512  # texts encoded together


@dataclass(frozen=True)
class Texts:
    """Some of the texts of a split or file.

    Attributes:
        source: what reads them: `read(start, stop)` gives a tf.data.Dataset of examples as they lie on disk, and
            `parse(examples)` texts (string `[batch]`) and labels (int64 `[batch]`) of a batch of them.
        labels: the class of each text on disk, int64 `[texts]`, -1 where it has none.
        chosen: which of them these are, bool `[texts]`.
    """

    source: Any
    labels: np.ndarray
    chosen: np.ndarray

    @classmethod
    def labelled(cls, source, labels):
        """All texts that have a class."""
        return cls(source, labels, labels >= 0)

    @property
    def count(self):
        """Number of texts."""
        return int(np.count_nonzero(self.chosen))

    @property
    def places(self):
        """Where they lie on disk, int `[count]`."""
        return np.flatnonzero(self.chosen)

    def at(self, places):
        """The texts that lie at these places."""
        chosen = np.zeros_like(self.chosen)
        chosen[places] = True
        return replace(self, chosen=chosen)

    def read(self, start=0, stop=None):
        """A tf.data.Dataset of those between two places, as they lie on disk."""
        import tensorflow as tf

        stop = len(self.chosen) if stop is None else stop
        examples, chosen = self.source.read(start, stop), self.chosen[start:stop]
        if chosen.all():
            return examples
        mask = tf.constant(chosen)
        examples = examples.enumerate().filter(lambda index, _: mask[index])
        return examples.map(lambda _, example: example)

    def arrays(self, encoder):
        """All of them in memory: `(indices [count, length], labels int64 [count])`."""
        import tensorflow as tf

        def encoded(examples):
            return encoder(self.source.parse(examples)[0])

        places = self.places
        examples = self.read(stop=int(places[-1]) + 1)
        batches = examples.batch(_BATCH).map(encoded, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
        indices, filled = np.empty((len(places), encoder.length), encoder.dtype), 0
        for batch in batches.as_numpy_iterator():
            indices[filled : filled + len(batch)] = batch
            filled += len(batch)
        return indices, self.labels[places]


@dataclass(frozen=True, kw_only=True)
class TextStream(ShuffledStream):
    """Texts that are encoded as they are read from disk.

    Attributes:
        texts: `Texts`.
        encoder: `CharacterEncoder`.
    """

    texts: Texts
    encoder: Any

    _SHUFFLE_BUFFER = 32768  # texts

    @classmethod
    def of(cls, texts, encoder):
        """A stream of texts."""
        return cls(ranges=((None, 0, len(texts.chosen)),), texts=texts, encoder=encoder)

    @property
    def num_samples(self):
        """Number of texts."""
        return self.texts.count

    def _read(self, ranges):
        ((_, start, stop),) = ranges
        return self.texts.read(start, stop)

    def _augmented_batch(self, batch, place):
        return (batch,)

    def _preprocessed(self, examples):
        import tensorflow as tf

        texts, labels = self.texts.source.parse(examples)
        return tf.cast(self.encoder(texts), "int32"), labels

    def hold_out(self, share, expected):
        """`(rest, held out, how)`: each class in the same proportion, chosen by the seed."""
        places = self.texts.places
        parts = hold_out_indices(len(places), self.texts.labels[places], share, self.seed)
        kept, held_out = (replace(self, texts=self.texts.at(places[part])) for part in parts)
        return kept, held_out, f"{held_out.describe()} held out of the training data (seed {self.seed})"

    def describe(self):
        """Such as "3,600,000 texts"."""
        return f"{self.num_samples:,} texts"


def named_texts(name, classes, train, test, encoder, samples=None):
    """Texts as what `tfcompress.compress` takes as data: in memory where they fit.

    Args:
        name: what they are called.
        classes: number of classes.
        train: `Texts` to train on.
        test: `Texts` of the test split, or `None`.
        encoder: `CharacterEncoder`.
        samples: use only the first so many training texts; `None` for all.

    Returns:
        `NamedData`.
    """
    if samples is not None:
        train = train.at(train.places[:samples])
    if fits_in_memory(encoder.num_bytes(train.count + (0 if test is None else test.count))):
        arrays = NamedArrays(name, train.arrays(encoder), None if test is None else test.arrays(encoder), classes)
        return NamedData(name, classes, to_int32, None, arrays=arrays)
    streams = (TextStream.of(train, encoder), None if test is None else TextStream.of(test, encoder))
    return NamedData(name, classes, to_int32, None, streams=streams)
