"""Texts as indices of their characters, by Keras preprocessing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from tfcompress import expect

if TYPE_CHECKING:
    import tensorflow as tf

__all__ = ["CHARACTERS", "CharacterEncoder", "check_characters", "to_int32"]

# Zhang et al. 2015 (section 2.2), whose hyphen stands there twice, and the space: 26 letters, 10 digits, 33 others.
CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789-,;.!?:'\"/\\|_@#$%^&*~`+=<>()[]{} "
_NO_CHARACTER = -1  # a code point that no text holds


def to_int32(indices: np.ndarray) -> np.ndarray:
    """Returns a batch of indices as the model reads them: int32 `[batch, length]`."""
    return indices.astype("int32")


class CharacterEncoder:
    """Converts texts to the indices of their first characters, in lower case.

    Character i of the alphabet is i + 1; 0 is padding, and every character outside the alphabet. So an Embedding needs
    one row more than the alphabet has characters.

    Args:
        length: number of characters of a text to read; shorter texts are padded at their end.
        alphabet: the characters, each once, in lower case.

    Raises:
        TypeError: the alphabet is not a string, or the length is not a whole number.
        ValueError: the length is below 1, or the alphabet is empty, repeats a character, or holds an upper-case one.
    """

    def __init__(self, length: int, alphabet: str) -> None:
        self.length = check_characters(length, alphabet)
        self.alphabet = alphabet
        # Of code points, not of strings: that is two to three times faster.
        self._lookup = keras.layers.IntegerLookup(vocabulary=[ord(character) for character in alphabet])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest type that holds all indices: uint8 for up to 255 characters."""
        return np.min_scalar_type(len(self.alphabet))

    def num_bytes(self, samples: int) -> int:
        """Returns the bytes that this number of texts takes."""
        return samples * self.length * self.dtype.itemsize

    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        """Returns the indices of a batch of texts, for tf.data.

        Args:
            texts: string tensor `[batch]`.

        Returns:
            A tensor `[batch, length]` of `dtype`.
        """
        import tensorflow as tf

        lower = tf.strings.lower(texts, encoding="" if self.alphabet.isascii() else "utf-8")
        points = tf.strings.unicode_decode(lower, "UTF-8").to_tensor(_NO_CHARACTER, shape=(None, self.length))
        return tf.cast(self._lookup(points), self.dtype)


def check_characters(length: object, alphabet: object) -> int:
    """Checks the arguments of `CharacterEncoder`; returns the length as an int."""
    characters: int = expect.whole("length", length, least=1, what="a whole number of characters, 1 or more")
    if not isinstance(alphabet, str):
        raise TypeError(f"Expected `alphabet` to be a string of characters. Received: {type(alphabet).__name__}.")
    if not alphabet:
        raise ValueError("Expected `alphabet` to hold characters. Received: alphabet=''")
    upper = [character for character in alphabet if character != character.lower()]
    if upper:
        raise ValueError(
            "Expected `alphabet` in lower case, because texts are converted to lower case first. "
            f"Received: alphabet with {''.join(upper)!r}. Pass `alphabet.lower()`, each character once."
        )
    twice = sorted({character for character in alphabet if alphabet.count(character) > 1})
    if twice:
        raise ValueError(
            f"Expected each character of `alphabet` once. Received: alphabet with {''.join(twice)!r} more than once. "
            "Remove the repetitions: an index stands for one character."
        )
    expect.text("alphabet", alphabet, "characters that UTF-8 can write")
    return characters
