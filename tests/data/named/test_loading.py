from unittest import mock

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from sklearn.datasets import load_digits

from tfcompress.data.batches.augment import flip_and_crop
from tfcompress.data.named.loading import load, load_arrays
from tfcompress.data.sources import named_data


class TinySquares(tfds.core.GeneratorBasedBuilder):
    """Twelve training and four test images of 6x6 pixels, of which image i is all i and belongs to class i mod 3."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {"image": tfds.features.Image(shape=(6, 6, 1)), "label": tfds.features.ClassLabel(num_classes=3)}
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(0, 12), "test": self._generate_examples(12, 16)}

    def _generate_examples(self, start, stop):
        for value in range(start, stop):
            yield value, {"image": np.full((6, 6, 1), value, "uint8"), "label": value % 3}


class TinyNumbers(tfds.core.GeneratorBasedBuilder):
    """A dataset without images."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict({"number": np.int64}))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        yield 0, {"number": 1}


class LoadTest(tf.test.TestCase):
    def test_digits(self):
        data = load("digits")
        self.assertEqual((data.name, data.classes), ("digits", 10))
        self.assertEqual(data.arrays.train[0].shape, (1438, 8, 8, 1))
        self.assertEqual(data.arrays.test[0].shape, (359, 8, 8, 1))
        # The first image of scikit-learn's file, a zero, has 0 0 5 13 9 1 0 0 of 16 in its first row.
        self.assertAllEqual(data.arrays.train[0][0, 0, :, 0], np.round(np.array([0, 0, 5, 13, 9, 1, 0, 0]) * 255 / 16))
        # Every fifth image is a test image, the first of them the one at place 4.
        self.assertAllEqual(data.arrays.test[0][0, ..., 0], np.round(load_digits().images[4] * (255 / 16)))
        self.assertIsNone(data.augment)  # a mirrored digit is no digit

    def test_a_set_of_tensorflow_datasets_is_read_into_memory(self):
        data = load("tiny_squares", data_dir=self.get_temp_dir())
        images, labels = data.arrays.train
        self.assertAllEqual(np.sort(images[:, 0, 0, 0]), np.arange(12))
        self.assertAllEqual(labels, images[:, 0, 0, 0] % 3)
        self.assertAllEqual(np.sort(data.arrays.test[0][:, 5, 5, 0]), [12, 13, 14, 15])
        self.assertEqual((images.dtype, labels.dtype, data.classes), (np.uint8, np.int64, 3))
        self.assertIs(data.augment, flip_and_crop)

    def test_preprocess(self):
        images = np.array([0, 51, 255], "uint8")
        self.assertAllEqual(load("digits").preprocess(images), np.array([0, 0.2, 1], "float32"))
        self.assertAllEqual(load("digits", preprocess=None).preprocess(images), np.array([0, 51, 255], "float32"))
        self.assertEqual(load("digits", preprocess=None).preprocess(images).dtype, np.float32)
        self.assertIs(load("digits", preprocess=np.negative).preprocess, np.negative)
        with self.assertRaisesRegex(ValueError, "`preprocess` to be a function or one of .*preprocess='unit'"):
            load("digits", preprocess="unit")

    def test_augment(self):
        self.assertIs(load("digits", augment=flip_and_crop).augment, flip_and_crop)
        folder = self.get_temp_dir()
        self.assertIsNone(load("tiny_squares", augment=None, data_dir=folder).augment)
        with self.assertRaisesRegex(ValueError, "augment='flip'"):
            load("digits", augment="flip")

    def test_images_limits_the_training_split(self):
        whole, part = load("digits").arrays, load("digits", images=20).arrays
        self.assertAllEqual(part.train[0], whole.train[0][:20])
        self.assertAllEqual(part.train[1], whole.train[1][:20])
        self.assertLen(part.test[0], 359)
        with self.assertRaisesRegex(ValueError, "images=0"):
            load("digits", images=0)

    def test_unknown_names_are_refused_with_those_near_them(self):
        with self.assertRaisesRegex(ValueError, r"data='cifar11'.*'cifar10'.*list_builders"):
            load("cifar11")
        with self.assertRaisesRegex(ValueError, r"data='not a name'.*list_builders"):
            load("not a name")
        with self.assertRaisesRegex(ValueError, r"data='mnist:9.9.9'.*9\.9\.9"):
            load("mnist:9.9.9")
        with self.assertRaisesRegex(TypeError, "name=3"):
            load(3)

    def test_sets_without_images_are_refused(self):
        with self.assertRaisesRegex(ValueError, r"'image' and 'label'.*\['number'\].*tf.data.Dataset"):
            load("tiny_numbers", data_dir=self.get_temp_dir())

    def test_large_sets_are_not_read_into_memory(self):
        folder = self.get_temp_dir()
        with mock.patch.object(named_data, "_MEMORY_BYTES", 16 * 36 - 1):
            data = load("tiny_squares", data_dir=folder)
            self.assertIsNone(data.arrays)
            self.assertEqual((data.classes, data.augment, data.test_split), (3, "auto", "test"))
            with self.assertRaisesRegex(ValueError, "images=5 for 'tiny_squares', which is streamed"):
                load("tiny_squares", images=5, data_dir=folder)
            with self.assertRaisesRegex(ValueError, r"data='tiny_squares'.*tfcompress.data.load"):
                load_arrays("tiny_squares", data_dir=folder)


if __name__ == "__main__":
    tf.test.main()
