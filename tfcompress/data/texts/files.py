"""Texts with a class each from CSV files in the format of Zhang et al. (2015)."""

from __future__ import annotations

import functools
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tfcompress import expect
from tfcompress.data.texts.characters import CHARACTERS, CharacterEncoder
from tfcompress.data.texts.streams import named_texts

if TYPE_CHECKING:
    import tensorflow as tf

    from tfcompress.data.sources.named_data import NamedData

__all__ = ["FileTexts", "load_text_files"]

_BATCH = 1024  # lines checked together
_LONGEST_LINE = 10**8  # bytes
_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_NUMBER = '(?:[0-9]{1,9}|"[0-9]{1,9}")'
_FIELD = r'(?:,(?:"(?:[^"]|"")*"|[^",]*))'
# The same for Python, which does not go back in a field, however long it is.
_FIRST_LINE = re.compile(r'(?:[^,"]*|"(?:[^"]++|"")*+")((?:,(?:"(?:[^"]++|"")*+"|[^",]*+))*+)', re.DOTALL)
_ONE_FIELD = re.compile(r',(?:"(?:[^"]++|"")*+"|[^",]*+)', re.DOTALL)
_FORM = 'a class and texts, `"2","title","text"`, in UTF-8, one sample per line, with as many fields as the first line'


@dataclass(frozen=True)
class FileTexts:
    """Reads the lines of a CSV file.

    Attributes:
        path: path of the file.
        columns: number of texts in a line, after the class.
    """

    path: str
    columns: int

    @classmethod
    def of(cls, path: object, argument: str) -> FileTexts:
        """Opens a file and reads its first line. Raises ValueError or TypeError if it is not a file of this form."""
        path = str(expect.path(argument, path, "the path of a CSV file"))
        if not os.path.isfile(path):
            raise ValueError(f"Expected `{argument}` to be the path of a CSV file. Received: no file at {path!r}.")
        try:
            with open(path, "rb") as file:
                line = file.readline(_LONGEST_LINE + 1)
        except OSError as error:
            raise ValueError(
                f"Expected `{argument}` to be a file that can be read. Received: {path!r} ({error.strerror})."
            ) from error
        if line.startswith(_MARKS):
            raise ValueError(
                f"Expected {path!r} in UTF-8 without a byte order mark. Received: a file that begins with one "
                f"({line[:3]!r}). Save it as plain UTF-8."
            )
        if len(line) > _LONGEST_LINE:
            raise ValueError(
                f"Expected lines of at most {_LONGEST_LINE / 1e6:.0f} MB. Received: line 1 of {path!r}, which is "
                "longer. Are its line ends those of Linux or Windows?"
            )
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        fields = _FIRST_LINE.fullmatch(text)
        columns = 0 if fields is None else len(_ONE_FIELD.findall(fields[1]))
        if not columns:
            raise _malformed(path, 0, text)
        return cls(path, columns)

    @property
    def count(self) -> int:
        """Number of lines."""
        return len(self.labels)

    def read(self, start: int, stop: int) -> tf.data.Dataset:
        """Returns a tf.data.Dataset of lines."""
        import tensorflow as tf

        return tf.data.TextLineDataset(self.path).skip(start).take(stop - start)

    def parse(self, lines: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns `(texts, labels)` of a batch of lines; "\\n" in a text becomes a line break."""
        import tensorflow as tf

        number, *texts = tf.io.decode_csv(lines, [[0], *([""] for _ in range(self.columns))])
        texts = tf.strings.regex_replace(tf.strings.join(texts, separator=" "), r"\\n", "\n")
        return texts, tf.cast(number, "int64") - 1

    @functools.cached_property
    def labels(self) -> np.ndarray:
        """The class of each line, int64 `[count]`, from 0. Raises ValueError for a line of another form."""
        import tensorflow as tf

        form = f"{_NUMBER}{_FIELD}{{{self.columns}}}"

        def check(lines: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            fits = tf.strings.regex_full_match(lines, form)
            number = tf.strings.regex_replace(lines, '^"?([0-9]*)(?s:.*)$', r"\1")
            return fits, tf.strings.to_number(tf.where(fits, number, "0"), "int64") - 1, lines

        parts, before = [np.zeros(0, "int64")], 0
        batches = tf.data.TextLineDataset(self.path).batch(_BATCH).map(check, num_parallel_calls=tf.data.AUTOTUNE)
        for fits, labels, lines in batches.prefetch(tf.data.AUTOTUNE).as_numpy_iterator():
            if not fits.all():
                first = int(np.argmin(fits))
                raise _malformed(self.path, before + first, lines[first].decode("utf-8", "replace"))
            parts.append(labels)
            before += len(labels)
        return np.concatenate(parts)


def _malformed(path: str, index: int, line: str) -> ValueError:
    shown = line if len(line) <= 60 else line[:60] + "..."
    return ValueError(
        f"Expected lines of {_FORM}. Received: line {index + 1} of {path!r}: {shown!r}. "
        'Write quotes within a text twice (""), and line breaks as \\n.'
    )


def _checked(path: object, argument: str, classes: int | None) -> FileTexts:
    """Opens a file and checks that its lines have the right form, and classes from 1 to `classes` if that is given."""
    source = FileTexts.of(path, argument)
    outside = (source.labels < 0) | (source.labels >= (np.inf if classes is None else classes))
    if outside.any():
        first = int(np.argmax(outside))
        upper = "on" if classes is None else f"to {classes}"
        raise ValueError(
            f"Expected classes counted from 1 {upper}. Received: class {source.labels[first] + 1} in line {first + 1} "
            f"of {source.path!r}. Renumber the classes, or pass the right number as `classes`."
        )
    return source


def load_text_files(
    train: str | os.PathLike[str],
    test: str | os.PathLike[str] | None = None,
    length: int = 1014,
    alphabet: str = CHARACTERS,
    classes: int | None = None,
    samples: int | None = None,
) -> NamedData:
    """Loads texts with a class each from CSV files, for models that read characters: `data` of `tfcompress.compress`.

    The files have the format of Zhang et al. (2015) (Amazon and Yelp reviews, polarity and full, AG's news, DBpedia,
    ...): `"class","title","text"`, or any other number of texts, which are joined by a space. Classes count from 1 in
    the files, and from 0 in the result. Files that would take more than 2 GB as characters are streamed; their lines
    should be in random order, as those of the reviews are.

    Args:
        train: path of the file to train on.
        test: path of the file to test on, or `None`.
        length: number of characters of a text to read (see `load_text`).
        alphabet: the known characters, each once, in lower case (see `load_text`).
        classes: number of classes; `None` for the highest in the training file.
        samples: number of training texts to use, the first ones; `None` for all.

    Returns:
        `NamedData`.

    Raises:
        ValueError: a file is missing or empty, a line has another form, a class is below 1 or above `classes`, or a
            setting is out of range.
        TypeError: a setting of another type.
    """
    encoder = CharacterEncoder(length, alphabet)
    samples = expect.whole("samples", samples, least=1, or_none=True)
    classes = expect.whole("classes", classes, least=2, or_none=True)
    source = _checked(train, "train", classes)
    if classes is None:
        classes = int(source.labels.max()) + 1
        if classes < 2:
            raise ValueError(
                f"Expected two classes or more in {source.path!r}. Received: only class 1. "
                "Pass `classes` if this file does not hold all classes."
            )
    tests = [] if test is None else [_checked(test, "test", classes)]
    return named_texts(source.path, classes, source, tests, encoder, samples)
