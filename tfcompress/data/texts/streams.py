"""Texts on disk with a class each: read into memory, or as tf.data streams if there are too many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tfcompress.data.batches.checks import Expected
from tfcompress.data.sources.holdout import hold_out_indices
from tfcompress.data.sources.named_data import NamedArrays, NamedData, fits_in_memory
from tfcompress.data.sources.shuffled_streams import Range, ShuffledStream
from tfcompress.data.texts.characters import CharacterEncoder, to_int32
from tfcompress.data.texts.source import TextSource

if TYPE_CHECKING:
    import tensorflow as tf

__all__ = ["TextStream", "Texts", "encoded_texts", "named_texts"]

_BATCH = 512  # texts encoded together


def encoded_texts(
    source: TextSource, encoder: CharacterEncoder, samples: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Reads the texts of a source that have a class into memory, in one pass.

    Args:
        source: a split or file.
        encoder: `CharacterEncoder`.
        samples: number of texts, the first ones; `None` for all.

    Returns:
        `(indices [samples, length], labels int64 [samples])`.
    """
    import tensorflow as tf

    def encoded(examples: Any) -> tuple[tf.Tensor, tf.Tensor]:
        texts, labels = source.parse(examples)
        return encoder(texts), labels

    limit = source.count if samples is None else min(samples, source.count)
    batches = source.read(0, source.count).batch(_BATCH).map(encoded, num_parallel_calls=tf.data.AUTOTUNE)
    indices, labels, filled = np.empty((limit, encoder.length), encoder.dtype), np.empty(limit, "int64"), 0
    for batch, classes in batches.prefetch(tf.data.AUTOTUNE).as_numpy_iterator():
        places = np.flatnonzero(classes >= 0)[: limit - filled]
        indices[filled : filled + len(places)] = batch[places]
        labels[filled : filled + len(places)] = classes[places]
        filled += len(places)
        if filled == limit:
            break
    return indices[:filled], labels[:filled]


@dataclass(frozen=True)
class Texts:
    """Some of the texts of a source.

    Attributes:
        source: a split or file.
        chosen: which texts of the source these are, bool `[source.count]`.
    """

    source: TextSource
    chosen: np.ndarray

    @classmethod
    def labelled(cls, source: TextSource, samples: int | None = None) -> Self:
        """Returns all texts that have a class, or the first `samples` of them."""
        texts = cls(source, source.labels >= 0)
        return texts if samples is None else texts.at(texts.places[:samples])

    @property
    def count(self) -> int:
        """Number of texts."""
        return int(np.count_nonzero(self.chosen))

    @property
    def places(self) -> np.ndarray:
        """Their places on disk, int `[count]`."""
        return np.flatnonzero(self.chosen)

    def at(self, places: np.ndarray) -> Self:
        """Returns the texts at these places."""
        chosen = np.zeros_like(self.chosen)
        chosen[places] = True
        return replace(self, chosen=chosen)

    def read(self, start: int, stop: int) -> tf.data.Dataset:
        """Returns a tf.data.Dataset of these texts between two places, in their order on disk."""
        import tensorflow as tf

        examples, chosen = self.source.read(start, stop), self.chosen[start:stop]
        if chosen.all():
            return examples
        mask = tf.constant(chosen)

        def select(index: tf.Tensor, batch: Any) -> Any:
            wanted = mask[index * _BATCH : (index + 1) * _BATCH]
            return tf.nest.map_structure(lambda part: tf.boolean_mask(part, wanted), batch)

        # In batches, as passing over single lines takes longer than reading them.
        return examples.batch(_BATCH).enumerate().map(select).unbatch()


@dataclass(frozen=True, kw_only=True)
class TextStream(ShuffledStream):
    """Texts that are encoded while they are read from disk.

    Attributes:
        texts: `Texts`.
        encoder: `CharacterEncoder`.
    """

    texts: Texts
    encoder: CharacterEncoder

    _SHUFFLE_BUFFER = 32768  # texts

    @classmethod
    def of(cls, texts: Texts, encoder: CharacterEncoder) -> Self:
        """A stream of texts."""
        return cls(ranges=((None, 0, len(texts.chosen)),), texts=texts, encoder=encoder)

    @property
    def num_samples(self) -> int:
        """Number of texts."""
        return self.texts.count

    def _read(self, ranges: tuple[Range, ...]) -> tf.data.Dataset:
        ((_, start, stop),) = ranges
        return self.texts.read(start, stop)

    def _augmented_batch(self, batch: Any, place: tf.Tensor) -> tuple[Any]:
        return (batch,)

    def _preprocessed(self, parts: tuple[Any]) -> tuple[tf.Tensor, tf.Tensor]:
        import tensorflow as tf

        (examples,) = parts
        texts, labels = self.texts.source.parse(examples)
        return tf.cast(self.encoder(texts), "int32"), labels

    def hold_out(self, share: float, expected: Expected) -> tuple[Self, Self, str]:
        """Returns `(rest, held out, how)`: each class in the same proportion, chosen by the seed."""
        places = self.texts.places
        parts = hold_out_indices(len(places), self.texts.source.labels[places], share, self.seed)
        kept, held_out = (replace(self, texts=self.texts.at(places[part])) for part in parts)
        return kept, held_out, f"{held_out.describe()} held out of the training data (seed {self.seed})"

    def describe(self) -> str:
        """The source in words, such as "3,600,000 texts"."""
        return f"{self.num_samples:,} texts"


def named_texts(
    name: str,
    classes: int,
    train: TextSource,
    tests: Sequence[TextSource],
    encoder: CharacterEncoder,
    samples: int | None = None,
) -> NamedData:
    """Returns texts as data for `tfcompress.compress`: in memory if they fit.

    Args:
        name: name of the dataset.
        classes: number of classes.
        train: the source of training texts (see `Texts`).
        tests: possible sources of the test split; the first one whose texts have classes is used.
        encoder: `CharacterEncoder`.
        samples: number of training texts to use, the first ones; `None` for all.

    Returns:
        `NamedData`.

    Raises:
        ValueError: no training text has a class.
    """
    count = train.count if samples is None else min(samples, train.count)
    count += max((test.count for test in tests), default=0)
    if fits_in_memory(encoder.num_bytes(count)):
        read = encoded_texts(train, encoder, samples)
        read_tests = (encoded_texts(source, encoder) for source in tests)
        test = next((part for part in read_tests if len(part[1])), None)
        data = NamedData(name, classes, to_int32, None, arrays=NamedArrays(name, read, test, classes))
        num_texts = len(read[1])
    else:
        stream = TextStream.of(Texts.labelled(train, samples), encoder)
        streamed_tests = (TextStream.of(Texts.labelled(source), encoder) for source in tests)
        test_stream = next((part for part in streamed_tests if part.num_samples), None)
        data = NamedData(name, classes, to_int32, None, streams=(stream, test_stream))
        num_texts = stream.num_samples
    if not num_texts:
        raise ValueError(f"Expected training texts with a class. Received: none in {name!r}.")
    return data
