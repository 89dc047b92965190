"""Texts with a class each from tensorflow-datasets."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from tfcompress import expect
from tfcompress.data.named.builders import known_builder, prepare, refusal, text_features
from tfcompress.data.texts.characters import CHARACTERS, CharacterEncoder, check_characters
from tfcompress.data.texts.streams import named_texts

if TYPE_CHECKING:
    import tensorflow as tf
    import tensorflow_datasets as tfds

    from tfcompress.data.sources.named_data import NamedData

__all__ = ["BuilderTexts", "load_text", "read_texts"]

_TEXTS = "texts and a 'label', one class per text"
# Title and text are read together, as Zhang et al. (2015) do.
_USUAL = (("text",), ("title", "description"), ("data/review_headline", "data/review_body"))
_STARS = "data/star_rating"
_Stars: TypeAlias = Literal["polarity", "full"]
_STARS_AS_CLASSES: dict[_Stars, tuple[int, ...]] = {
    "polarity": (-1, 0, 0, -1, 1, 1),
    "full": (-1, 0, 1, 2, 3, 4),
}  # of 0 to 5 stars
_BATCH = 4096  # labels read together


@dataclass(frozen=True)
class BuilderTexts:
    """Reads the texts of a split of a tensorflow-datasets builder.

    Attributes:
        builder: a prepared `tfds.core.DatasetBuilder`.
        split: name of the split.
        text: names of the features that make up a text, such as "data/review_body".
        label: name of the feature with the class, or with the stars.
        classes: `None`, or the class for each number of stars from 0 to 5, -1 for none.
    """

    builder: tfds.core.DatasetBuilder
    split: str
    text: tuple[str, ...]
    label: str
    classes: tuple[int, ...] | None = None

    @property
    def count(self) -> int:
        """Number of examples."""
        return int(self.builder.info.splits[self.split].num_examples)

    def read(self, start: int, stop: int) -> tf.data.Dataset:
        """Returns a tf.data.Dataset of examples, with only the features that are needed."""
        return self._features((*self.text, self.label), f"[{start}:{stop}]")

    def _features(self, names: Sequence[str], part: str = "") -> tf.data.Dataset:
        examples = self.builder.as_dataset(split=self.split + part, shuffle_files=False)
        return examples.map(lambda example: {name: _feature(example, name) for name in names})

    def parse(self, examples: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """`(texts, labels)` of a batch of examples."""
        import tensorflow as tf

        return tf.strings.join([examples[name] for name in self.text], separator=" "), self._classes(examples)

    def _classes(self, examples: Mapping[str, tf.Tensor]) -> tf.Tensor:
        import tensorflow as tf

        labels = tf.cast(examples[self.label], "int64")
        if self.classes is None:
            return labels
        known = (labels >= 0) & (labels < len(self.classes))
        return tf.gather(tf.constant(self.classes, "int64"), tf.where(known, labels, 0))

    @functools.cached_property
    def labels(self) -> np.ndarray:
        """The class of each text, int64 `[count]`, -1 for no class."""
        batches = self._features((self.label,)).batch(_BATCH).map(self._classes)
        return np.concatenate([np.zeros(0, "int64"), *batches.as_numpy_iterator()])


def _feature(example: Any, name: str) -> tf.Tensor:
    for key in name.split("/"):
        example = example[key]
    return example


def _names(argument: str, value: object) -> tuple[str, ...] | None:
    if value is None or isinstance(value, str):
        return None if value is None else (expect.text(argument, value),)
    names: tuple[str, ...] = expect.each(argument, value, expect.text, "names of texts of the dataset, one or several")
    return names


def _text_of(builder: tfds.core.DatasetBuilder, name: str, text: str | Sequence[str] | None) -> tuple[str, ...]:
    known = text_features(builder)
    if text is None:
        usual = next((names for names in _USUAL if set(names) <= set(known)), known)
        if len(usual) > 1 and usual not in _USUAL:
            raise ValueError(
                f"Expected `text` to name the parts to read, because the texts of {name!r} have several. "
                f"Received: text=None. Pass one or several of {sorted(known)}."
            )
        return tuple(usual)
    chosen = _names("text", text)
    if not chosen or not set(chosen) <= set(known):
        raise ValueError(
            f"Expected `text` to name one or several of {sorted(known)}. Received: text={expect.received(text)}"
        )
    return chosen


def read_texts(
    builder: tfds.core.DatasetBuilder,
    name: str,
    length: int = 1014,
    alphabet: str = CHARACTERS,
    text: str | Sequence[str] | None = None,
    stars: _Stars = "polarity",
    samples: int | None = None,
) -> NamedData:
    """Returns the texts of a builder, see `load_text`."""
    encoder = CharacterEncoder(length, alphabet)
    samples = expect.whole("samples", samples, least=1, or_none=True)
    stars = expect.one_of("stars", stars, list(_STARS_AS_CLASSES))
    if not text_features(builder):
        raise refusal(builder, name, _TEXTS)
    text = _text_of(builder, name, text)
    label, classes, by_stars = "label", None, None
    if "label" not in builder.info.features:
        label, by_stars = _STARS, _STARS_AS_CLASSES[stars]
        classes = max(by_stars) + 1
    elif stars != "polarity":
        raise ValueError(
            f"Expected no `stars` for a dataset that gives a class itself. Received: stars={stars!r} for {name!r}."
        )
    prepare(builder, name)

    sources = {split: BuilderTexts(builder, split, text, label, by_stars) for split in builder.info.splits}
    tests = [sources[split] for split in ("test", "validation") if split in sources]
    classes = builder.info.features["label"].num_classes if classes is None else classes
    return named_texts(name, classes, sources["train"], tests, encoder, samples)


def load_text(
    name: str,
    length: int = 1014,
    alphabet: str = CHARACTERS,
    text: str | Sequence[str] | None = None,
    stars: _Stars = "polarity",
    samples: int | None = None,
    data_dir: str | os.PathLike[str] | None = None,
) -> NamedData:
    """Loads texts with a class each, by name, for models that read characters: `data` of `tfcompress.compress`.

    The model reads int32 `[batch, length]`: character i of the alphabet is i + 1; 0 is padding and every character
    outside the alphabet. Its Embedding needs one row more than the alphabet has characters: 70 by default. Texts are
    converted to lower case and cut, or padded at their end. In memory they take one byte per character; sets that would
    take more than 2 GB are streamed, and encoded as they are read.

    The default alphabet has 69 characters: the 68 of Zhang et al. (2015), "Character-level Convolutional Networks for
    Text Classification", without the line break, and the space. Conneau et al. (2016), "Very Deep Convolutional
    Networks for Text Classification", count 69 tokens in another way: they leave out the backslash and @, and count
    padding and unknown characters as two tokens. The default length of 1014 is theirs.

    Args:
        name: a set of tensorflow-datasets with texts and a label (`"imdb_reviews"`, `"yelp_polarity_reviews"`,
            `"ag_news_subset"`), or with reviews and stars (`"amazon_us_reviews/Books_v1_00"`).
        length: number of characters of a text to read.
        alphabet: the known characters, each once, in lower case.
        text: names of the features to read, joined by a space, such as `"data/review_body"` or
            `("title", "description")`; `None` for the only text, or for title and text.
        stars: how to make classes from stars, as in Zhang et al. (2015): `"polarity"` (1 and 2 stars against 4 and 5;
            texts with 3 stars are left out), or `"full"` (5 classes).
        samples: number of training texts to use, the first ones; `None` for all.
        data_dir: folder of tensorflow-datasets; `None` for its default.

    Returns:
        `NamedData`.

    Raises:
        ValueError: the name is not known, the set has no texts with one class each, or a setting is out of range.
        TypeError: a setting of another type.
    """
    name = expect.text("name", name, "the name of a dataset, such as 'imdb_reviews'")
    data_dir = expect.path("data_dir", data_dir, "the folder of tensorflow-datasets", or_none=True)
    # Before the set is looked up, which may take a download.
    check_characters(length, alphabet)
    expect.whole("samples", samples, least=1, or_none=True)
    expect.one_of("stars", stars, list(_STARS_AS_CLASSES))
    _names("text", text)
    return read_texts(known_builder(name, data_dir), name, length, alphabet, text, stars, samples)
