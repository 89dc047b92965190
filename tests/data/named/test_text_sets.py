from unittest import mock

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
import tiny_texts
from tiny_texts import decoded, encoded

from tfcompress.data import load, load_text
from tfcompress.data.sources import named_data
from tfcompress.data.splits import splits

REVIEWS = "amazon_us_reviews/Mobile_Electronics_v1_00"
STARS = (1, 2, 3, 4, 5, 3, 5)


class TinyParts(tfds.core.GeneratorBasedBuilder):
    """Samples of several texts, three classes, and a test split without classes."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "question": tfds.features.Text(),
            "answer": tfds.features.Text(),
            "label": tfds.features.ClassLabel(num_classes=3),
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {
            "train": self._generate_examples(4),
            "test": self._generate_examples(2, -1),
            "validation": self._generate_examples(3),
        }

    def _generate_examples(self, count, label=None):
        for index in range(count):
            yield index, {"question": f"q{index}", "answer": "Yes", "label": index % 3 if label is None else label}


def read(indices, labels):
    """The set of (text, class)."""
    return sorted(zip(map(decoded, indices), labels.tolist(), strict=True))


class LoadTextTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = cls.get_temp_dir(cls())
        train = tiny_texts.labelled(["A good one!", "bad", "Fine", "x" * 2000], [1, 0, 1, 0])
        test = tiny_texts.labelled(["so so", "nice"], [0, 1])
        other = {
            "validation": tiny_texts.labelled(["not the test"], [1]),
            "unsupervised": tiny_texts.labelled(["no"], [-1]),
        }
        tiny_texts.prepare("imdb_reviews", {"train": train, "test": test} | other, cls.folder)
        bodies = [f"body {place}" for place in range(len(STARS))]
        tiny_texts.prepare(REVIEWS, {"train": tiny_texts.reviews(bodies, STARS)}, cls.folder)

    def test_by_name_with_the_defaults(self):
        data = load("imdb_reviews", data_dir=self.folder)
        indices, labels = data.arrays.train
        self.assertEqual((indices.shape, indices.dtype, labels.dtype), ((4, 1014), np.uint8, np.int64))
        expected = [("a good one!", 1), ("bad", 0), ("fine", 1), ("x" * 1014, 0)]
        self.assertEqual(read(indices, labels), expected)
        self.assertEqual(read(*data.arrays.test), [("nice", 1), ("so so", 0)])
        self.assertEqual((data.name, data.classes, data.augment), ("imdb_reviews", 2, None))
        self.assertEqual(data.preprocess(indices).dtype, np.int32)

    def test_length_and_alphabet(self):
        data = load_text("imdb_reviews", length=5, alphabet="xdab", data_dir=self.folder)
        expected = [encoded(text, 5, "xdab") for text in ("a good one!", "bad", "fine", "xxxxx")]
        self.assertEqual(sorted(data.arrays.train[0].tolist()), sorted(expected))

    def test_the_first_samples(self):
        whole = load_text("imdb_reviews", 20, data_dir=self.folder).arrays
        for part in (
            load_text("imdb_reviews", 20, samples=3, data_dir=self.folder).arrays,
            load_text("imdb_reviews", 20, samples=3000, data_dir=self.folder).arrays,
        ):
            count = len(part.train[1])
            self.assertIn(count, (3, 4))
            self.assertAllEqual(part.train[0], whole.train[0][:count])
            self.assertAllEqual(part.train[1], whole.train[1][:count])
            self.assertAllEqual(part.test[0], whole.test[0])
        self.assertLen(load("imdb_reviews", images=2, data_dir=self.folder).arrays.train[1], 2)

    def test_stars_as_two_classes(self):
        data = load(REVIEWS, data_dir=self.folder)
        # 3 stars are left out: the third and the sixth.
        expected = [
            ("title 1 body 0", 0),
            ("title 2 body 1", 0),
            ("title 4 body 3", 1),
            ("title 5 body 4", 1),
            ("title 5 body 6", 1),
        ]
        self.assertEqual(read(*data.arrays.train), expected)
        self.assertEqual((data.classes, data.arrays.test), (2, None))

    def test_stars_as_five_classes_and_the_body_alone(self):
        data = load_text(REVIEWS, length=9, stars="full", text="data/review_body", data_dir=self.folder)
        expected = [(f"body {place}", star - 1) for place, star in enumerate(STARS)]
        self.assertEqual(read(*data.arrays.train), expected)
        self.assertEqual(data.classes, 5)

    def test_samples_are_counted_without_those_left_out(self):
        for limit in (2e9, 1):  # in memory, and streamed
            with mock.patch.object(named_data, "_MEMORY_BYTES", limit):
                data = load_text(REVIEWS, length=9, samples=4, data_dir=self.folder)
            self.assertEqual(splits(data, validation_share=0.25).train.num_samples, 3)

    def test_texts_of_several_parts(self):
        with self.assertRaisesRegex(ValueError, r"`text`.*several\. Received.*\['answer', 'question'\]"):
            load("tiny_parts", data_dir=self.folder)
        data = load_text("tiny_parts", text=("question", "answer"), data_dir=self.folder)
        self.assertEqual(read(*data.arrays.train), [("q0 yes", 0), ("q1 yes", 1), ("q2 yes", 2), ("q3 yes", 0)])
        # The test texts have no classes.
        self.assertEqual(read(*data.arrays.test), [("q0 yes", 0), ("q1 yes", 1), ("q2 yes", 2)])
        self.assertEqual(data.classes, 3)

    def test_splits(self):
        data = load_text("imdb_reviews", 20, data_dir=self.folder)
        parts = splits(data, input_shape=(None, 20), classes=2, validation_share=0.5)
        inputs, labels = (
            np.concatenate(part) for part in zip(parts.train.take(9), parts.validation.take(9), strict=True)
        )
        self.assertEqual(inputs.dtype, np.int32)
        self.assertEqual(sorted(labels), [0, 0, 1, 1])
        self.assertEqual(sorted(parts.validation.take(9)[1]), [0, 1])
        with self.assertRaisesRegex(ValueError, r"shape \[batch, 30\].*shape \[4, 20\].*load_text\(name, length=30\)"):
            splits(data, input_shape=(None, 30), classes=2)

    def test_what_makes_no_sense_is_refused(self):
        for settings in ({"preprocess": None}, {"preprocess": np.negative}, {"augment": np.flip}):
            with self.assertRaisesRegex(
                ValueError, f"no `{next(iter(settings))}` for a dataset of texts.*imdb_reviews"
            ):
                load("imdb_reviews", data_dir=self.folder, **settings)
        self.assertIsNone(load("imdb_reviews", augment=None, data_dir=self.folder).augment)
        for settings, words in (
            ({"stars": "full"}, "no `stars`.*'full' for 'imdb_reviews'"),
            ({"stars": 5}, r"`stars` to be one of \['polarity', 'full'\]. Received: stars=5"),
            ({"text": "title"}, r"one or several of \['text'\]. Received: text='title'"),
            ({"text": ()}, r"one or several of \['text'\]. Received: text=\(\)"),
            ({"samples": 0}, "samples=0"),
            ({"samples": 2.5}, "samples=2.5"),
            ({"length": 0}, "length=0"),
            ({"alphabet": "aa"}, "'a' more than once"),
        ):
            with self.assertRaisesRegex(ValueError, words):
                load_text("imdb_reviews", data_dir=self.folder, **settings)

    def test_other_sets_are_refused_before_anything_is_downloaded(self):
        with mock.patch.object(tfds.core.DatasetBuilder, "download_and_prepare") as prepare:
            with self.assertRaisesRegex(ValueError, "texts and a 'label'.*'mnist' with .*'image'"):
                load_text("mnist", data_dir=self.folder)
            with self.assertRaisesRegex(ValueError, "data='imdb_review'.*'imdb_reviews'"):
                load_text("imdb_review", data_dir=self.folder)
            with self.assertRaisesRegex(ValueError, "'c4' with"):
                load("c4", data_dir=self.folder)  # texts without classes
            with self.assertRaisesRegex(ValueError, "length=0"):
                load_text("ag_news_subset", length=0, data_dir=self.folder)
            prepare.assert_not_called()
        with self.assertRaisesRegex(TypeError, "name=7"):
            load_text(7)


if __name__ == "__main__":
    tf.test.main()
