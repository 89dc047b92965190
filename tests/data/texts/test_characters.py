import string

import numpy as np
import tensorflow as tf
import tiny_texts

from tfcompress.data.texts.characters import CHARACTERS, CharacterEncoder, to_int32


def encode(texts, length=6, alphabet=CHARACTERS):
    return CharacterEncoder(length, alphabet)(tf.constant(texts)).numpy()


class CharacterEncoderTest(tf.test.TestCase):
    def test_the_alphabet(self):
        self.assertLen(CHARACTERS, 69)
        # All printable ASCII characters in lower case: 26 letters, 10 digits, 32 signs and the space.
        self.assertEqual(sorted(CHARACTERS), sorted(string.ascii_lowercase + string.digits + string.punctuation + " "))
        self.assertEqual(CHARACTERS[:36], string.ascii_lowercase + string.digits)

    def test_indices_by_hand(self):
        # a is 1, z 26, 0 is 27, 9 is 36, the hyphen 37, the space 69; the rest is 0.
        self.assertAllEqual(encode(["az09- ", "AZ"]), [[1, 26, 27, 36, 37, 69], [1, 26, 0, 0, 0, 0]])
        self.assertAllEqual(encode(["", "a\nb\tc", "é€ba"]), [[0] * 6, [1, 0, 2, 0, 3, 0], [0, 0, 2, 1, 0, 0]])
        self.assertAllEqual(encode(["abcdefgh"], length=3), [[1, 2, 3]])
        self.assertAllEqual(encode([b"a\xffb"]), [[1, 0, 2, 0, 0, 0]])  # what is not UTF-8 is unknown
        self.assertEqual(encode(np.zeros(0, str)).shape, (0, 6))

    def test_every_character_as_python_finds_it(self):
        texts = [CHARACTERS, CHARACTERS.upper(), "The quick (brown) fox's \\ßø 100% ~ \U0001f600 end"]
        self.assertAllEqual(encode(texts, 80), [tiny_texts.encoded(text, 80) for text in texts])

    def test_other_alphabets(self):
        self.assertAllEqual(encode(["ЖАБА!", "ab"], 5, "абж"), [[3, 1, 2, 1, 0], [0] * 5])
        self.assertAllEqual(encode(["a\nb"], 3, CHARACTERS + "\n"), [[1, 70, 2]])

    def test_the_smallest_type(self):
        letters = "".join(map(chr, range(0x4E00, 0x4E00 + 256)))
        self.assertEqual(encode(["a"]).dtype, np.uint8)
        self.assertEqual(encode([letters[254]], 1, letters[:255]).tolist(), [[255]])
        self.assertEqual(encode([letters[255]], 1, letters).tolist(), [[256]])
        self.assertEqual(CharacterEncoder(7, letters).num_bytes(3), 3 * 7 * 2)
        self.assertEqual(to_int32(encode(["ab"], 2)).dtype, np.int32)

    def test_settings_out_of_range_are_refused(self):
        for length, error in ((0, ValueError), (-3, ValueError), (2.5, TypeError), (True, TypeError), ("9", TypeError)):
            with self.assertRaisesRegex(error, "Expected `length`.*Received: length="):
                CharacterEncoder(length, CHARACTERS)
        with self.assertRaisesRegex(ValueError, "once. Received: alphabet with 'ac' more than once"):
            CharacterEncoder(4, "abcac")
        with self.assertRaisesRegex(ValueError, "lower case.*Received: alphabet with 'BÉ'"):
            CharacterEncoder(4, "aBcÉ")
        with self.assertRaisesRegex(ValueError, "alphabet=''"):
            CharacterEncoder(4, "")
        with self.assertRaisesRegex(TypeError, "string of characters. Received: list"):
            CharacterEncoder(4, ["a", "b"])


if __name__ == "__main__":
    tf.test.main()
