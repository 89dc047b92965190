import os
import pathlib
from unittest import mock

import keras
import tensorflow as tf
import tiny_texts

from tfcompress.data import load_text, load_text_files
from tfcompress.data.batches.epochs import FollowEpoch, set_epoch
from tfcompress.data.sources import named_data, shuffled_streams
from tfcompress.data.splits import splits
from tfcompress.data.texts import streams as text_streams
from tfcompress.data.texts.characters import CHARACTERS, CharacterEncoder

TRAIN, TEST = 40, 6
LENGTH = 12


def number_of(indices):
    """Text i is the number i; 0 is 27, 9 is 36."""
    digits = [str(index - 27) for index in indices if index]
    return int("".join(digits))


def numbers_of(dataset):
    return [number_of(text) for texts, _ in dataset.as_numpy_iterator() for text in texts]


class _Streams:
    """The same tests for every way in which texts lie on disk: text i is the number i, of class i mod 4 < 1."""

    def setUp(self):
        super().setUp()
        self.enterContext(mock.patch.object(shuffled_streams, "_PARTS", 3))
        self.enterContext(mock.patch.object(named_data, "_MEMORY_BYTES", (TRAIN + TEST) * LENGTH - 1))
        self.enterContext(mock.patch.object(text_streams, "_BATCH", 16))

    def splits(self, **settings):
        settings = {"input_shape": (None, LENGTH), "classes": 2, "batch_size": 8} | settings
        return splits(self.load(), **settings)

    def test_sizes_and_words(self):
        data = self.load()
        self.assertIsNone(data.arrays)
        parts = self.splits(validation_share=0.25, seed=3)
        self.assertEqual((parts.train.num_samples, parts.validation.num_samples, parts.test.num_samples), (30, 10, 6))
        self.assertEqual((parts.train.num_batches(), parts.train.num_batches(7)), (4, 5))
        self.assertEqual(parts.validation.describe(), "10 texts held out of the training data (seed 3)")
        self.assertStartsWith(parts.test.describe(), "6 texts: the test split of ")

    def test_parts_are_disjoint_and_whole_and_have_the_same_share_of_each_class(self):
        parts = self.splits(seed=1, validation_share=0.2)
        train, validation = numbers_of(parts.train.batches()), numbers_of(parts.validation.batches())
        self.assertEqual(sorted(train + validation), list(range(TRAIN)))
        self.assertEqual(sum(number % 4 == 0 for number in validation), 2)  # 2 of 8, as 10 of 40
        self.assertEqual(sorted(numbers_of(parts.test.batches())), list(range(TRAIN, TRAIN + TEST)))
        self.assertNotEqual(validation, numbers_of(self.splits(seed=2, validation_share=0.2).validation.batches()))

    def test_batches_are_what_the_model_reads(self):
        for training in (False, True):
            for texts, labels in self.splits().train.batches(training=training):
                self.assertEqual((texts.dtype, labels.dtype), (tf.int32, tf.int64))
                numbers = [number_of(text) for text in texts.numpy()]
                self.assertAllEqual(texts, [tiny_texts.encoded(str(number), LENGTH) for number in numbers])
                self.assertAllEqual(labels, [int(number % 4 == 0) for number in numbers])

    def test_a_training_epoch_is_a_function_of_seed_and_epoch(self):
        train = self.splits().train
        batches = train.batches(training=True)
        epochs = [numbers_of(batches) for _ in range(3)]
        self.assertEqual([sorted(epoch) for epoch in epochs], [sorted(numbers_of(train.batches()))] * 3)
        self.assertLen({tuple(epoch) for epoch in epochs}, 3)
        continued = train.batches(training=True)
        self.assertTrue(set_epoch(continued, 2))
        self.assertEqual(numbers_of(continued), epochs[2])
        for others in (0, 7):  # whatever TensorFlow's own seed is
            keras.utils.set_random_seed(others)
            again = self.splits().train.batches(training=True)
            set_epoch(again, 2)
            self.assertEqual(numbers_of(again), epochs[2])


class BuilderStreamTest(_Streams, tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = cls.get_temp_dir(cls())
        # One more without a class, which no stream gives.
        numbers = [*range(TRAIN), 999]
        train = tiny_texts.labelled(map(str, numbers), [-1 if n == 999 else int(n % 4 == 0) for n in numbers])
        numbers = range(TRAIN, TRAIN + TEST)
        test = tiny_texts.labelled(map(str, numbers), [int(n % 4 == 0) for n in numbers])
        tiny_texts.prepare("imdb_reviews", {"train": train, "test": test}, cls.folder)

    def load(self, **settings):
        return load_text("imdb_reviews", length=LENGTH, data_dir=self.folder, **settings)

    def test_nothing_with_a_class_is_refused(self):
        folder = self.get_temp_dir()
        tiny_texts.prepare("yelp_polarity_reviews", {"train": tiny_texts.labelled(["a"], [-1])}, folder)
        for limit in (0, 1e9):
            with (
                mock.patch.object(named_data, "_MEMORY_BYTES", limit),
                self.assertRaisesRegex(ValueError, "Received: none in 'yelp_polarity_reviews'"),
            ):
                load_text("yelp_polarity_reviews", data_dir=folder)


class FileStreamTest(_Streams, tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.paths = []
        for name, numbers in (("train.csv", range(TRAIN)), ("test.csv", range(TRAIN, TRAIN + TEST))):
            path = os.path.join(cls.get_temp_dir(cls()), name)
            pathlib.Path(path).write_text("".join(f'"{1 + (n % 4 == 0)}","{n}"\n' for n in numbers))
            cls.paths.append(path)

    def load(self, **settings):
        return load_text_files(*self.paths, length=LENGTH, **settings)

    def test_samples(self):
        self.assertLen(self.load(samples=35).arrays.train[1], 35)  # so many fit in memory
        with mock.patch.object(named_data, "_MEMORY_BYTES", 1):
            numbers = numbers_of(splits(self.load(samples=35), validation_share=0.2).train.batches())
        self.assertLen(numbers, 28)
        self.assertLess(max(numbers), 35)

    def test_fit_and_first_samples(self):
        parts = self.splits()
        model = keras.Sequential([keras.Input((LENGTH,), dtype="int32"), keras.layers.Embedding(70, 3)])
        model.add(keras.layers.GlobalAveragePooling1D())
        model.add(keras.layers.Dense(2))
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        batches = parts.train.batches(training=True)
        follow = FollowEpoch(batches)
        model.fit(batches, epochs=2, validation_data=parts.validation.batches(), callbacks=[follow], verbose=0)
        self.assertEqual(batches.epoch_variable.numpy(), 2)
        self.assertEqual(int(model.optimizer.iterations.numpy()), 2 * 5)  # 36 texts in batches of 8
        texts, labels = parts.train.take(11)
        self.assertEqual((texts.shape, labels.shape), ((11, LENGTH), (11,)))
        self.assertEqual([number_of(text) for text in texts], numbers_of(parts.train.batches())[:11])
        self.assertEqual(parts.calibration.take(100)[0].shape, (36, LENGTH))

    def test_what_the_model_does_not_read_is_refused(self):
        with self.assertRaisesRegex(ValueError, r"shape \[batch, 30\].*\[8, 12\].*length=30"):
            self.splits(input_shape=(None, 30))


class EncodedTextsTest(tf.test.TestCase):
    def test_reading_stops_after_the_samples(self):
        source = mock.Mock(count=1000)
        seen = []

        def numbers():
            for number in range(1000):
                seen.append(number)
                yield number

        source.read = lambda start, stop: tf.data.Dataset.from_generator(
            numbers, output_signature=tf.TensorSpec((), tf.int64)
        )
        source.parse = lambda examples: (tf.strings.as_string(examples), examples % 3 - 1)
        encoder = CharacterEncoder(4, CHARACTERS)
        with mock.patch.object(text_streams, "_BATCH", 10):
            indices, labels = text_streams.encoded_texts(source, encoder, samples=5)
        self.assertEqual([number_of(text) for text in indices], [1, 2, 4, 5, 7])  # those of class -1 are left out
        self.assertAllEqual(labels, [0, 1, 0, 1, 0])
        self.assertLess(len(seen), 1000)


if __name__ == "__main__":
    tf.test.main()
