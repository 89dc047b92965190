from unittest import mock

import keras
import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from tfcompress.data.batches.epochs import FollowEpoch, set_epoch
from tfcompress.data.named.loading import load
from tfcompress.data.sources import shuffled_streams
from tfcompress.data.sources.image_streams import central_crop, random_crop
from tfcompress.data.splits import splits

TRAIN, VALIDATION = 40, 6


class TinyPhotos(tfds.core.GeneratorBasedBuilder):
    """Images of varying sizes; image i is all i and of class i, so that a label tells which image it is."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
            "label": tfds.features.ClassLabel(num_classes=TRAIN + VALIDATION),
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {
            "train": self._generate_examples(0, TRAIN),
            "validation": self._generate_examples(TRAIN, TRAIN + VALIDATION),
        }

    def _generate_examples(self, start, stop):
        for value in range(start, stop):
            yield value, {"image": np.full((20 + value, 30 - value // 2, 3), value, "uint8"), "label": value}


def labels_of(dataset):
    return [label for _, labels in dataset.as_numpy_iterator() for label in labels.tolist()]


class CropTest(tf.test.TestCase):
    def test_central_crop_cuts_out_the_middle(self):
        # 14 * 256 / 224 = 16: an image of 16 pixels is not scaled, and loses one pixel on each side.
        image = np.arange(16 * 20 * 1, dtype="uint8").reshape(16, 20, 1)
        self.assertAllEqual(central_crop(image, (14, 14)), image[1:15, 3:17])

    def test_central_crop_scales_the_shorter_side(self):
        columns = np.repeat(np.arange(0, 128, 2, dtype="uint8"), 2)  # 128 columns: 0 0 2 2 4 4 ...
        image = np.broadcast_to(columns[None, :, None], (32, 128, 1))
        # Halved to 16x64 with the average of two columns each; the middle 14 of 64 columns are 25 to 38.
        result = central_crop(image, (14, 14)).numpy()
        self.assertEqual(result.shape, (14, 14, 1))
        self.assertAllClose(result[0, :, 0].astype(int), 2 * np.arange(25, 39), atol=1)

    def test_central_crop_of_a_small_image_enlarges_it(self):
        self.assertAllEqual(central_crop(np.full((3, 5, 3), 7, "uint8"), (14, 10)), np.full((14, 10, 3), 7))

    def test_random_crop_cuts_mirrors_and_repeats(self):
        ramp = np.broadcast_to(np.arange(100, dtype="uint8")[None, :, None], (100, 100, 1))
        mirrored, spans = [], []
        for seed in range(60):
            row = random_crop(ramp, (8, 8), tf.constant([seed, 1], tf.int64)).numpy()[3, :, 0].astype(int)
            steps = np.diff(row)
            self.assertTrue(np.all(steps >= 0) or np.all(steps <= 0))
            mirrored.append(steps.sum() < 0)
            spans.append(abs(row[-1] - row[0]) * 8 / 7)  # columns between the middles of the outer pixels
        self.assertBetween(sum(mirrored), 18, 42)
        # At least 8% of the area at 3/4: sqrt(0.08 * 3/4) = 24% of the columns; at most all.
        self.assertBetween(min(spans), 22, 60)
        self.assertBetween(max(spans), 80, 102)
        first, again = (random_crop(ramp, (8, 8), tf.constant([5, 1], tf.int64)) for _ in range(2))
        self.assertAllEqual(first, again)


class ImageStreamTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = cls.get_temp_dir(cls())
        cls.data = load("tiny_photos", data_dir=cls.folder)

    def setUp(self):
        super().setUp()
        self.enterContext(mock.patch.object(shuffled_streams, "_PARTS", 3))  # 40 images need no 16 parts

    def splits(self, data=None, **settings):
        settings = {"input_shape": (None, 12, 16, 3), "classes": TRAIN + VALIDATION, "batch_size": 8} | settings
        return splits(data or self.data, **settings)

    def test_split_sizes_and_words(self):
        parts = self.splits(validation_share=0.25, seed=3)
        self.assertEqual((parts.train.num_samples, parts.validation.num_samples, parts.test.num_samples), (30, 10, 6))
        self.assertEqual((parts.train.num_batches(), parts.train.num_batches(7)), (4, 5))
        self.assertEqual(parts.validation.describe(), "10 images held out of the training data (seed 3)")
        self.assertEqual(parts.test.describe(), "6 images: the test split of tiny_photos")

    def test_parts_are_disjoint_and_whole(self):
        parts = self.splits(seed=1)
        train, validation = labels_of(parts.train.batches()), labels_of(parts.validation.batches())
        self.assertEqual(sorted(train + validation), list(range(TRAIN)))
        self.assertEqual(sorted(labels_of(parts.test.batches())), list(range(TRAIN, TRAIN + VALIDATION)))
        self.assertNotEqual(validation, labels_of(self.splits(seed=2).validation.batches()))

    def test_images_are_cropped_to_what_the_model_reads_and_scaled_to_one(self):
        for training in (False, True):
            for images, labels in self.splits().train.batches(training=training):
                self.assertEqual(images.shape[1:], (12, 16, 3))
                self.assertEqual(images.dtype, tf.float32)
                # Image i is all i, whatever is cut out of it.
                expected = labels.numpy().astype("float32")[:, None, None, None] / 255
                self.assertAllClose(images, np.broadcast_to(expected, images.shape), atol=1e-6)

    def test_a_training_epoch_is_a_function_of_seed_and_epoch(self):
        train = self.splits().train
        batches = train.batches(training=True)
        epochs = [labels_of(batches) for _ in range(3)]
        self.assertEqual([sorted(epoch) for epoch in epochs], [sorted(labels_of(train.batches()))] * 3)
        self.assertLen({tuple(epoch) for epoch in epochs}, 3)
        continued = train.batches(training=True)
        self.assertTrue(set_epoch(continued, 2))
        self.assertEqual(labels_of(continued), epochs[2])

    def test_augmentation_in_numpy_replays_with_the_epoch(self):
        def add_noise(images, rng):
            return images + rng.integers(0, 50, images.shape).astype("uint8")

        data = load("tiny_photos", augment=add_noise, preprocess=None, data_dir=self.folder)
        train = self.splits(data).train
        batches = train.batches(training=True)
        first, second, again = [], [], []
        for epoch, kept in ((0, first), (1, second), (0, again)):
            set_epoch(batches, epoch)
            kept.extend(batches.as_numpy_iterator())
        self.assertAllEqual(first[0][0], again[0][0])
        noise = [images - labels[:, None, None, None] for images, labels in first + second]
        self.assertBetween(max(np.max(part) for part in noise), 40, 49)
        self.assertNotAllEqual(noise[0], noise[len(first)])
        plain, labels = train.take(5)
        self.assertAllEqual(plain, np.broadcast_to(labels[:, None, None, None], plain.shape))

    def test_first_samples_and_calibration(self):
        parts = self.splits()
        images, labels = parts.train.take(11)
        self.assertEqual(images.shape, (11, 12, 16, 3))
        self.assertEqual(labels.tolist(), labels_of(parts.train.batches())[:11])
        self.assertEqual(parts.calibration.num_samples, 36)
        self.assertEqual(parts.calibration.take(100)[0].shape, (36, 12, 16, 3))

    def test_a_preprocessing_function_of_numpy_arrays(self):
        data = load("tiny_photos", preprocess=keras.applications.mobilenet_v2.preprocess_input, data_dir=self.folder)
        images, labels = self.splits(data).validation.take(2)
        self.assertAllClose(images[:, 0, 0, 0], labels / 127.5 - 1, atol=1e-6)

    def test_images_are_224_pixels_where_no_model_says(self):
        images, _ = self.splits(input_shape=None).validation.take(1)
        self.assertEqual(images.shape, (1, 224, 224, 3))

    def test_fit_and_evaluate(self):
        parts = self.splits()
        model = keras.Sequential(
            [keras.Input((12, 16, 3)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(TRAIN + VALIDATION)]
        )
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        batches = parts.train.batches(training=True)
        model.fit(
            batches, epochs=2, validation_data=parts.validation.batches(), callbacks=[FollowEpoch(batches)], verbose=0
        )
        self.assertEqual(batches.epoch_variable.numpy(), 2)
        self.assertEqual(int(model.optimizer.iterations.numpy()), 2 * 5)  # 36 images in batches of 8

    def test_classes_that_the_model_lacks_are_refused(self):
        with self.assertRaisesRegex(ValueError, "labels in 'tiny_photos' between 0 and 4"):
            self.splits(classes=5)


if __name__ == "__main__":
    tf.test.main()
