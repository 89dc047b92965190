import numpy as np
import tensorflow as tf

from tfcompress.data.batches.checks import (
    Expected,
    check_batch,
    check_finite,
    check_weights,
    input_arrays,
    integer_labels,
    label_arrays,
    labels_as_read,
    to_arrays,
)

IMAGES = np.zeros((3, 4, 4, 1))
LABELS = np.array([0, 1, 2])
EXPECTED = Expected((None, 4, 4, 1), 3)


class CheckBatchTest(tf.test.TestCase):
    def refused(self, words, x, y, expected=EXPECTED, error=ValueError):
        with self.assertRaisesRegex(error, words):
            check_batch(x, y, expected, "`data`")

    def test_returns_the_number_of_samples(self):
        self.assertEqual(check_batch(IMAGES, LABELS, EXPECTED, "`data`"), 3)
        self.assertEqual(check_batch(IMAGES, np.eye(3), EXPECTED, "`data`"), 3)

    def test_none_in_a_shape_fits_anything(self):
        expected = Expected((None, None, None, 1), 3)
        check_batch(IMAGES, LABELS, expected, "`data`")
        self.refused(
            r"\[batch, any, any, 1\].*Received: shape \[3, 4, 4, 3\]", np.zeros((3, 4, 4, 3)), LABELS, expected
        )

    def test_shapes(self):
        self.refused(
            r"`data` of shape \[batch, 4, 4, 1\].*shape \[3, 5, 4, 1\].*Resize", np.zeros((3, 5, 4, 1)), LABELS
        )
        self.refused(r"shape \[4, 4, 1\].*single samples.*\.batch\(128\)", IMAGES[0], LABELS[0])
        self.refused(r"shape \[3, 4, 4\].*x\[\.\.\., None\]", IMAGES[..., 0], LABELS)
        pair = Expected([(None, 4, 4, 1), (None, 4, 4, 1)])
        self.refused("one array as input 1 in `data`.*2 arrays in a tuple", (IMAGES, (IMAGES, IMAGES)), LABELS, pair)

    def test_single_samples_without_a_known_shape(self):
        self.refused(r"Received: single samples.*batch\(128\)", np.zeros(4), np.array(1), Expected())
        self.refused(r"Received: single samples.*batch\(128\)", np.array(1), np.zeros(4), Expected())

    def test_lengths(self):
        self.refused("as many labels as inputs.*3 inputs and 2 labels", IMAGES, LABELS[:2])
        self.refused("one length in the inputs.*lengths \\[2, 3\\]", {"a": LABELS, "b": LABELS[:2]}, LABELS, Expected())
        self.refused("an empty dataset", IMAGES[:0], LABELS[:0])

    def test_labels_outside_the_classes(self):
        self.refused(
            "between 0 and 2: the model has 3 classes. Received: labels from 0 to 3", IMAGES, np.array([0, 3, 1])
        )
        self.refused("labels from -1 to 1", IMAGES, np.array([0, -1, 1]))
        self.refused(r"one-hot \[batch, 3\].*shape \(3, 4\)", IMAGES, np.eye(4)[:3])
        self.refused("between 0 and 1.*labels from 0 to 2", IMAGES, LABELS, Expected((None, 4, 4, 1), 1))

    def test_labels_of_a_single_probability_may_be_floats(self):
        check_batch(IMAGES, np.array([[0.0], [1.0], [1.0]]), Expected((None, 4, 4, 1), 1), "`data`")

    def test_float_labels_where_classes_are_expected(self):
        self.refused(r"integers from 0 to 2.*float64, shape \[3\].*astype", IMAGES, LABELS * 1.0, error=TypeError)
        check_batch(IMAGES, LABELS * 1.5, Expected((None, 4, 4, 1)), "`data`")  # regression

    def test_numbers_that_are_not_finite(self):
        for bad in (np.nan, np.inf):
            images = IMAGES.copy()
            images[1, 2, 2, 0] = bad
            self.refused("finite numbers in `data`.*sample 1", images, LABELS)
        self.refused("sample 2", IMAGES, np.array([1.0, 2.0, np.nan]), Expected())

    def test_a_late_sample_is_found(self):
        array = np.zeros((3000, 2), "float16")
        array[2500, 1] = np.nan
        with self.assertRaisesRegex(ValueError, "sample 2500"):
            check_finite(array, "`data`")
        check_finite(array.astype("float32")[:2500], "`data`")

    def test_several_inputs(self):
        by_name = Expected({"image": (None, 4, 4, 1), "number": (None, 2)})
        by_place = Expected([(None, 4, 4, 1), (None, 2)])
        numbers = np.zeros((3, 2))
        check_batch({"number": numbers, "image": IMAGES}, LABELS, by_name, "`data`")
        check_batch((IMAGES, numbers), LABELS, by_place, "`data`")
        check_batch((IMAGES, numbers), LABELS, by_name, "`data`")
        self.refused(
            r"input 'number'.*\[batch, 2\].*\[3, 5\]", {"image": IMAGES, "number": np.zeros((3, 5))}, LABELS, by_name
        )
        self.refused(r"input 1 .*\[batch, 2\].*\[3, 4, 4, 1\]", (IMAGES, IMAGES), LABELS, by_place)
        self.refused(
            r"names \['image', 'number'\]. Received: \['image', 'x'\]", {"image": IMAGES, "x": numbers}, LABELS, by_name
        )
        self.refused(r"Expected 2 array\(s\).*Received: 1", IMAGES, LABELS, by_place)


class FormsOfLabelsTest(tf.test.TestCase):
    """What the loss reads decides; the message has what turns one form into the other."""

    def refused(self, words, y, error=ValueError, **expected):
        with self.assertRaisesRegex(error, words):
            self.check(y, **expected)

    def check(self, y, shape=(None, 3), **expected):
        check_batch(np.zeros((len(y), 2)), y, Expected((None, 2), output_shape=shape, **expected), "`data`")

    def test_indices(self):
        sparse = {"labels": "indices", "classes": 3, "loss": "sparse_categorical_crossentropy"}
        for y in (LABELS, LABELS[:, None], LABELS.astype("uint8")):
            self.check(y, **sparse)
        for y in (np.eye(3), 0.8 * np.eye(3) + 0.2 / 3, np.eye(3, dtype=int)):
            self.refused(r"sparse_categorical_crossentropy.*index.*\[3, 3\].*`y.argmax\(-1\)`", y, **sparse)
        self.refused("astype", LABELS * 1.0, error=TypeError, **sparse)

    def test_indices_of_every_pixel(self):
        maps = {"shape": (None, 2, 2, 3), "labels": "indices"}
        y = np.array([[[0, 1], [2, 255]]])
        self.check(y % 3, **maps)
        self.check((y % 3)[..., None] * 1.0, **maps)  # whole numbers, though floats
        self.check(y, **maps, ignored=255)
        self.refused("between 0 and 2: .*from 0 to 255", y, **maps)
        self.refused(
            "between 0 and 2, or the ignored class 255.*from 0 to 7", np.where(y == 2, 7, y), **maps, ignored=255
        )
        self.refused("from -1 to 255", y - (y == 0), **maps)
        self.refused(r"shape \[batch, 2, 2\].*argmax", np.eye(3)[y % 3], **maps)
        self.refused("integers from 0 to 2", y * 0.5, error=TypeError, **maps)

    def test_one_hot(self):
        categorical = {"labels": "one-hot", "classes": 3, "loss": "categorical_crossentropy"}
        for y in (np.eye(3), 0.8 * np.eye(3) + 0.2 / 3, np.eye(3, dtype=bool)):
            self.check(y, **categorical)
        for y in (LABELS, LABELS[:, None], np.array([0, 1, 7])):
            self.refused(r"to_categorical\(y, 3\)`.*sparse_categorical_crossentropy", y, **categorical)
        self.refused(r"shape \[batch, 3\], as the outputs.*\[4, 4\]", np.eye(4), **categorical)
        maps = {"shape": (None, 2, 2, 3), "labels": "one-hot"}
        self.refused(r"\[batch, 2, 2, 3\].*to_categorical", np.zeros((1, 2, 2), int), **maps)

    def test_numbers(self):
        numbers = {"labels": "numbers", "loss": "mean_squared_error"}
        for y in (np.ones((2, 3)) * 7.5, np.ones((2, 3), int) * -4, np.ones((2, 1))):  # the last is broadcast
            self.check(y, **numbers)
        for y in (np.ones(2), np.ones((2, 1))):
            self.check(y, (None, 1), **numbers)
        self.refused(r"mean_squared_error, which compares each.*\[2, 4\]", np.ones((2, 4)), **numbers)
        self.refused(r"\[5\].*Bring both to one shape", np.arange(5) + 40, **numbers)
        self.refused("to_categorical", np.arange(3), **numbers)

    def test_classes_of_a_loss_of_ones_own(self):
        """Single whole numbers are indices, anything else is left to the loss."""
        self.refused("between 0 and 2.*from 1 to 3", LABELS + 1, labels="classes")
        for y in (LABELS, LABELS * 40.0, np.ones((3, 5)), np.eye(3) * 9):
            self.check(y, labels="classes")
        self.check(LABELS + 40)  # an embedding of 3 numbers

    def test_numbers_where_no_loss_says_what_labels_are(self):
        self.check(np.array([[-2.5, 40.0, 3.0]]), classes=3)
        self.refused("between 0 and 2", LABELS + 1, classes=3)


class ArraysOfDataTest(tf.test.TestCase):
    def test_lists_of_labels_as_fit_takes_them(self):
        a, b = np.zeros((2, 3)), np.zeros((2, 5))
        two = Expected(outputs=2)
        self.assertEqual([part.shape for part in label_arrays([a, b], two, "y")], [(2, 3), (2, 5)])
        nested = label_arrays({"a": a, "b": [a, b]}, Expected(outputs=3), "y")
        self.assertEqual([part.shape for part in nested["b"]], [(2, 3), (2, 5)])
        self.assertEqual(label_arrays([a], Expected(), "y").shape, (2, 3))
        self.assertEqual(label_arrays([1, 2, 3], Expected(), "y").shape, (3,))

    def test_a_list_of_one_input(self):
        self.assertEqual(input_arrays([IMAGES], EXPECTED, "x").shape, IMAGES.shape)
        self.assertEqual(input_arrays(IMAGES.tolist(), EXPECTED, "x").shape, IMAGES.shape)

    def test_strings(self):
        texts = np.array([["a"], ["bc"]])
        self.assertEqual(input_arrays(texts, Expected((None, 1), strings=True), "x").dtype, object)
        with self.assertRaisesRegex(TypeError, "Turn strings into numbers first.*TextVectorization"):
            input_arrays(texts, Expected((None, 1)), "x")
        with self.assertRaisesRegex(TypeError, "array of numbers"):
            input_arrays(np.array([[None]]), Expected((None, 1), strings=True), "x")

    def test_weights(self):
        check_weights(np.array([0.0, 1.5]), 2, "`data`")
        check_weights({"a": np.ones((2, 3)), "b": np.ones(2)}, 2, "`data`")
        for words, weights in (("each of 3 samples", np.ones(2)), ("NaN", np.array([1, np.nan, 1]))):
            with self.assertRaisesRegex(ValueError, words):
                check_weights(weights, 3, "`data`")


class LabelsTest(tf.test.TestCase):
    def test_integer_labels(self):
        self.assertAllEqual(integer_labels(LABELS, 3), LABELS)
        self.assertAllEqual(integer_labels(LABELS[:, None], 3), LABELS)
        self.assertAllEqual(integer_labels(np.eye(3)[[2, 0]], 3), [2, 0])
        self.assertIsNone(integer_labels(np.array([0.5, 1.5]), None))
        self.assertIsNone(integer_labels(np.array([[0.5, -1.5]]), 2))  # numbers of the outputs' own shape
        self.assertIsNone(integer_labels((LABELS, LABELS), None))

    def test_a_column_of_classes_becomes_a_vector(self):
        self.assertEqual(labels_as_read(LABELS[:, None], 3).shape, (3,))
        self.assertEqual(labels_as_read(LABELS[:, None], 1).shape, (3, 1))
        self.assertEqual(labels_as_read(LABELS[:, None], None).shape, (3, 1))


class ToArraysTest(tf.test.TestCase):
    def test_keeps_structure_and_arrays(self):
        self.assertIs(to_arrays(IMAGES, "x"), IMAGES)
        self.assertEqual(to_arrays([[1, 2], [3, 4]], "x").shape, (2, 2))
        self.assertIsInstance(to_arrays([IMAGES, LABELS], "x", several=True), tuple)
        self.assertAllEqual(to_arrays({"a": tf.constant([1, 2])}, "x")["a"], np.array([1, 2]))

    def test_refuses_what_is_no_array_of_numbers(self):
        with self.assertRaisesRegex(TypeError, "the inputs to be an array of numbers.*do not share a shape"):
            to_arrays([np.zeros(2), np.zeros(3)], "the inputs")
        for value in (None, "cat", np.array(["a", "b"])):
            with self.assertRaisesRegex(TypeError, "Expected the labels to be an array of numbers"):
                to_arrays(value, "the labels")


if __name__ == "__main__":
    tf.test.main()
