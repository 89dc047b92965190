import ast
import pathlib
import sys

import keras
import numpy as np
import tensorflow as tf

import tfcompress.data
import tfcompress.zoo
from tfcompress.data import ArrayBatches, NamedData, load, splits
from tfcompress.data.sources.named_data import NamedArrays

SHAPE = (None, 4, 4, 1)


def images(count, classes=2):
    """Image i is all i, and of class i mod `classes`."""
    x = np.broadcast_to(np.arange(count)[:, None, None, None], (count, 4, 4, 1)).astype("float32")
    return x, np.arange(count) % classes


def members(split):
    return split.take(10**6)[0][:, 0, 0, 0].astype(int).tolist()


class ArraysTest(tf.test.TestCase):
    def test_a_tenth_is_held_out_stratified_and_repeatably(self):
        parts = splits(images(50), input_shape=SHAPE, classes=2, seed=3)
        train, validation = members(parts.train), members(parts.validation)
        self.assertEqual(sorted(train + validation), list(range(50)))
        self.assertAllEqual(np.bincount(parts.validation.take(50)[1]), [3, 2] if sum(validation) % 2 == 0 else [2, 3])
        self.assertEqual(validation, members(splits(images(50), seed=3, classes=2).validation))
        self.assertNotEqual(validation, members(splits(images(50), seed=4, classes=2).validation))
        self.assertEqual((parts.train.num_samples, parts.validation.num_samples), (45, 5))
        self.assertTrue(set(members(parts.calibration)) <= set(train))
        self.assertIsNone(parts.test)

    def test_the_validation_share_is_a_setting(self):
        self.assertEqual(splits(images(50), validation_share=0.5).validation.num_samples, 25)
        for share in (0, 1, -0.1, float("nan")):
            with self.assertRaisesRegex(ValueError, f"validation_share={share}"):
                splits(images(50), validation_share=share)

    def test_descriptions(self):
        self.assertEqual(
            splits(images(50), seed=3).describe(),
            "training: 45 images: the training data without what is held out\n"
            "validation: 5 images held out of the training data (seed 3)\n"
            "calibration: 45 images of the training split\n"
            "test: no test split was given; accuracies are those on the validation split",
        )
        parts = splits(images(50), validation_data=images(7), test_data=(np.zeros((3, 2)), np.zeros(3)))
        self.assertEqual(
            parts.describe(),
            "training: 50 images: the training data\n"
            "validation: 7 images given as validation_data\n"
            "calibration: 50 images of the training split\n"
            "test: 3 samples given as test_data",
        )

    def test_given_parts_are_used_whole(self):
        parts = splits(images(20), validation_data=images(8), test_data=images(6), input_shape=SHAPE, classes=2)
        self.assertEqual(sorted(members(parts.train)), list(range(20)))
        self.assertEqual(sorted(members(parts.validation)), list(range(8)))
        self.assertNotEqual(members(parts.validation), list(range(8)))  # in random order
        self.assertEqual(members(parts.test), list(range(6)))

    def test_calibration_is_a_fair_sample_of_a_thousand(self):
        x = np.arange(4000)[:, None].astype("float32")  # sorted
        parts = splits((x, np.repeat([0, 1], 2000)), classes=2)
        values = parts.calibration.take(5000)[0]
        self.assertEqual(values.shape, (1000, 1))
        self.assertBetween(values.mean(), 1850, 2150)
        self.assertEqual(parts.calibration.describe(), "1,000 samples of the training split")

    def test_batches(self):
        parts = splits(images(50), batch_size=8)
        training = parts.train.batches(training=True)
        self.assertIsInstance(training, ArrayBatches)
        self.assertTrue(training.shuffle)
        self.assertFalse(parts.train.batches().shuffle)
        self.assertEqual((len(training), len(parts.train.batches(20))), (6, 3))
        self.assertEqual((parts.train.num_batches(), parts.train.num_batches(20)), (6, 3))
        self.assertEqual(parts.train.take(1)[0].shape, (1, 4, 4, 1))
        with self.assertRaisesRegex(ValueError, "count=0"):
            parts.train.take(0)

    def test_nothing_is_copied(self):
        x, y = images(50)
        self.assertIs(splits((x, y)).train.source.x, x)

    def test_several_inputs_one_hot_labels_and_numbers(self):
        x, y = images(20)
        parts = splits(({"a": x, "b": y}, np.eye(2)[y]), input_shape={"a": SHAPE, "b": (None,)}, classes=2)
        inputs, labels = parts.validation.take(2)
        self.assertAllEqual(inputs["a"][:, 0, 0, 0] % 2, inputs["b"])
        self.assertAllEqual(labels, np.eye(2)[inputs["b"]])
        self.assertEqual(splits((x, np.linspace(0, 1, 20))).train.take(3)[1].dtype, np.float64)
        self.assertEqual(splits(([x, x], y), input_shape=[SHAPE, SHAPE]).train.num_samples, 18)

    def test_a_column_of_labels_becomes_a_vector(self):
        x, y = images(20)
        self.assertEqual(splits((x, y[:, None]), classes=2).validation.take(2)[1].shape, (2,))

    def test_array_batches_are_taken_apart(self):
        x, y = images(20)
        given = ArrayBatches(x, y, 5, preprocess=np.negative, augment=lambda x, rng: x + 100, indices=np.arange(10))
        parts = splits(given, validation_share=0.2)
        self.assertEqual(sorted(members(parts.train) + members(parts.validation)), list(range(-9, 1)))
        self.assertEqual(parts.validation.num_samples, 2)
        self.assertLess(parts.train.batches(training=True)[0][0].max(), -99)


class NamedTest(tf.test.TestCase):
    def test_digits(self):
        parts = splits("digits", input_shape=(None, 8, 8, 1), classes=10)
        self.assertEqual([part.num_samples for part in (parts.train, parts.validation, parts.test)], [1294, 144, 359])
        x, _ = parts.test.take(359)
        self.assertEqual((x.dtype, x.min(), x.max()), (np.float32, 0, 1))
        train, validation = (np.bincount(part.take(1438)[1]) for part in (parts.train, parts.validation))
        self.assertAllLess(np.abs(validation - (train + validation) * (144 / 1438)), 1)
        self.assertIn("test: 359 images: the test split of digits", parts.describe())
        self.assertAllEqual(x, load("digits").arrays.test[0].astype("float32") / np.float32(255))

    def test_settings_of_load_are_used(self):
        data = load("digits", preprocess=None, augment=lambda images, rng: images // 2)
        parts = splits(data, validation_data=(np.zeros((2, 8, 8, 1)), np.zeros(2, int)), classes=10)
        self.assertEqual(parts.train.take(1438)[0].max(), 255)
        self.assertEqual(parts.calibration.take(1000)[0].max(), 255)
        self.assertEqual(parts.train.batches(1438, training=True)[0][0].max(), 127)

    def test_test_data_takes_the_place_of_the_named_one(self):
        parts = splits("digits", test_data=(np.zeros((2, 8, 8, 1)), np.zeros(2, int)))
        self.assertEqual(parts.test.describe(), "2 images given as test_data")

    def test_a_model_for_other_images_is_refused(self):
        with self.assertRaisesRegex(
            ValueError, r"'digits', preprocessed, of shape \[batch, 32, 32, 3\].*\[4, 8, 8, 1\]"
        ):
            splits("digits", input_shape=(None, 32, 32, 3))

    def test_named_data_without_samples_are_refused(self):
        with self.assertRaisesRegex(ValueError, r"Received: none of them for 'empty'\. Make it with"):
            splits(NamedData("empty", 2, lambda x: x, None))

    def test_auto_for_arrays_is_refused(self):
        arrays = NamedArrays("tiny", images(20), None, 2)
        with self.assertRaisesRegex(ValueError, "Expected `augment` of 'tiny', .*Received: augment='auto'"):
            splits(NamedData("tiny", 2, lambda x: x, "auto", arrays))
        self.assertEqual(splits(NamedData("tiny", 2, lambda x: x, None, arrays)).train.num_samples, 18)


class StreamsTest(tf.test.TestCase):
    def test_a_tensorflow_dataset(self):
        dataset = tf.data.Dataset.from_tensor_slices(images(300)).shuffle(300).batch(16)
        parts = splits(dataset, input_shape=SHAPE, classes=2)
        train, validation = members(parts.train), members(parts.validation)
        self.assertEqual(sorted(train + validation), list(range(300)))
        self.assertIsNone(parts.train.num_samples)
        self.assertEqual(parts.calibration.take(1000)[0].shape, (len(train), 4, 4, 1))
        self.assertEqual(parts.calibration.num_samples, len(train))
        self.assertEqual(parts.calibration.describe(), "up to 1,000 samples of the training split")
        self.assertIn("validation: about 10% of the training data, held out by a hash", parts.describe())

    def test_a_dataset_with_validation_data_is_left_as_it_is(self):
        dataset = tf.data.Dataset.from_tensor_slices(images(30)).batch(16)
        parts = splits(dataset, validation_data=dataset.take(1), test_data=images(3))
        self.assertIs(parts.train.batches(training=True), dataset)
        self.assertEqual(members(parts.validation), list(range(16)))

    def test_every_form_trains_and_evaluates(self):
        x, y = images(40)
        dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)
        model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
        for data in ((x / 40, y), dataset, ArrayBatches(x, y, 8), BatchesOf(x, y)):
            parts = splits(data, input_shape=model.input_shape, classes=2, validation_share=0.2)
            model.fit(parts.train.batches(training=True), shuffle=False, verbose=0)
            model.evaluate(parts.validation.batches(), verbose=0)
            self.assertEqual(model.predict(parts.calibration.batches(), verbose=0).shape[1], 2)


class BatchesOf:
    """The plainest object that gives batches."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return 5

    def __getitem__(self, index):
        return self.x[index::5], self.y[index::5]


class Triples(keras.utils.PyDataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        part = slice(5 * index, 5 * index + 5)
        return tuple(array[part] for array in WEIGHTED)


WEIGHTED = (*images(20), np.arange(20.0))


class WeightsTest(tf.test.TestCase):
    def test_training_alone_has_them_and_each_sample_its_own(self):
        dataset = tf.data.Dataset.from_tensor_slices(WEIGHTED).batch(5)
        for data in (WEIGHTED, dataset, Triples()):
            for validation in (None, WEIGHTED):
                parts = splits(data, validation_data=validation, classes=2, batch_size=5, validation_share=0.3)
                self.assertTrue(parts.train.weighted)
                self.assertIn("sample weights: of the training loss", parts.describe())
                for batch in parts.train.batches(training=True):
                    x, _, weights = (np.asarray(part) for part in batch)
                    self.assertAllEqual(weights, x[:, 0, 0, 0])  # the weight of image i is i, as are its pixels
                for split in (parts.train, parts.validation, parts.calibration):
                    self.assertLen(next(iter(split.batches())), 2)
                    self.assertLen(split.take(3), 2)
        self.assertNotIn("weights", splits(images(20), classes=2).describe())

    def test_as_many_as_samples(self):
        x, y, weights = WEIGHTED
        for data in ((x, y, weights[:7]), tf.data.Dataset.from_tensors((x, y, weights[:7]))):
            with self.assertRaisesRegex(ValueError, "a sample weight for each of 20 samples in `data`"):
                splits(data, classes=2)


class BadInputTest(tf.test.TestCase):
    def refused(self, words, data, error=ValueError, **settings):
        with self.assertRaisesRegex(error, words):
            splits(data, **({"input_shape": SHAPE, "classes": 2} | settings))

    def test_forms(self):
        x, y = images(20)
        self.refused(r"no data \(data=None\).*'cifar10'.*tf.data.Dataset", None)
        self.refused("data='no_such_set'.*list_builders", "no_such_set")
        self.refused(r"a tuple \(inputs, labels\). Received: one ndarray", x, TypeError)
        self.refused("Expected `data` to be the name of a dataset.*Received: list", [x, y], TypeError)
        self.refused("Received: dict", {"x": x, "y": y}, TypeError)
        self.refused("Received: generator", (pair for pair in [(x, y)]), TypeError)
        self.refused("Received: tuple", (x, y, y, y), TypeError)
        self.refused("the labels in `data` to be an array of numbers", (x, None), TypeError)
        for argument in ("validation_data", "test_data"):
            for value in ("digits", load("digits")):
                self.refused(f"{argument}='digits'.*pass it as `data`", (x, y), **{argument: value})

    def test_contents(self):
        x, y = images(20)
        bad = x.copy()
        bad[7, 0, 0, 0] = np.nan
        self.refused("NaN or infinity in sample 7", (bad, y))
        self.refused(r"`validation_data`.*sample 7", (x, y), validation_data=(bad, y))
        self.refused("`test_data` between 0 and 1.*labels from 2 to 3", (x, y), test_data=(x, y + 2))
        self.refused("`data` between 0 and 1: the model has 2 classes. Received: labels from 0 to 2", (x, y * 2))
        self.refused(r"\[batch, 4, 4, 1\].*\[20, 4, 4, 3\]", (np.zeros((20, 4, 4, 3)), y))
        self.refused("20 inputs and 19 labels", (x, y[:-1]))
        self.refused("an empty dataset", (x[:0], y[:0]))
        self.refused("at least 2 samples", (x[:1], y[:1]))
        self.refused("integers from 0 to 1", (x, y.astype("float32")), TypeError)
        self.refused("single samples", tf.data.Dataset.from_tensor_slices((x, y)))


class ImportTest(tf.test.TestCase):
    def test_no_module_imports_tensorflow_or_a_dataset_library_before_it_is_needed(self):
        for package in (tfcompress.data, tfcompress.zoo):
            for path in pathlib.Path(package.__file__).parent.glob("*.py"):
                imported = set()
                for statement in ast.parse(path.read_text()).body:
                    if isinstance(statement, ast.Import):
                        imported |= {alias.name.split(".")[0] for alias in statement.names}
                    elif isinstance(statement, ast.ImportFrom):
                        imported.add(statement.module.split(".")[0])
                known = {"keras", "numpy", "tfcompress"} | sys.stdlib_module_names
                self.assertEmpty(imported - known, msg=str(path))


if __name__ == "__main__":
    tf.test.main()
