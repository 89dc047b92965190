"""Tests of the ways in which inputs can be given."""

import warnings

import keras
import numpy as np
import tensorflow as tf

from tfcompress.export import inputs


def network(*sizes: int, dtype: str = "float32", batch_size: int | None = None) -> keras.Model:
    """Returns a model of one input a size, each of shape [batch, size]."""
    tensors = [keras.Input((size,), name=f"in{size}", dtype=dtype, batch_size=batch_size) for size in sizes]
    return keras.Model(tensors, [keras.ops.abs(tensor) for tensor in tensors])


class InputsTest(tf.test.TestCase):
    def test_one_input(self):
        numbers = np.arange(12).reshape(4, 3)
        one = network(3)
        for given in (
            numbers,
            tf.constant(numbers),
            {"in3": numbers},
            [numbers[:1], numbers[1:]],
            (numbers[:2], numbers[2:]),
            ((batch,) for batch in np.split(numbers, 2)),
            tf.data.Dataset.from_tensor_slices(numbers).batch(3),
        ):
            (array,) = inputs.as_arrays(given, one, "samples")
            self.assertAllEqual(array, numbers)
            self.assertEqual(array.dtype, np.float32)

    def test_two_inputs(self):
        two, five = np.ones((4, 2)), np.zeros((4, 5))
        for given in (
            (two, five),
            [two, five],
            {"in5": five, "in2": two},
            [(two[:1], five[:1]), (two[1:], five[1:])],
            [{"in5": five, "in2": two}],
        ):
            arrays = inputs.as_arrays(given, network(2, 5), "samples")
            self.assertAllEqual(arrays[0], two)
            self.assertAllEqual(arrays[1], five)

    def test_the_keys_of_the_models_own_structure(self):
        """Keys that are not input names, nested ones, and keys that are the names of each other's inputs."""
        a, b = keras.Input((2,), name="in_a"), keras.Input((5,), name="in_b")
        two, five = np.ones((4, 2)), np.zeros((4, 5))
        outputs = keras.layers.Concatenate()([a, b])
        for structure, data in (
            ({"z": a, "y": b}, {"z": two, "y": five}),
            ({"z": a, "y": b}, {"in_a": two, "in_b": five}),
            ({"in_b": a, "in_a": b}, {"in_b": two, "in_a": five}),
            ({"z": {"deep": a}, "y": [b]}, {"z": {"deep": two}, "y": [five]}),
        ):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Keras: keys should be the inputs' names
                model = keras.Model(structure, outputs)
            halves = [keras.tree.map_structure(lambda array, part=part: array[part], data) for part in ([0, 1], [2, 3])]
            for given in (data, halves):
                arrays = dict(zip(inputs.input_keys(model), inputs.as_arrays(given, model, "samples"), strict=True))
                self.assertAllEqual(arrays["in_a"], two)
                self.assertAllEqual(arrays["in_b"], five)
        with self.assertRaisesRegex(ValueError, r"names? the model's inputs .*or its own keys \['z', 'y'\].*\['x'\]"):
            inputs.as_arrays({"x": two}, model, "samples")

    def test_what_does_not_fit_is_refused(self):
        three = np.zeros((4, 3))
        labelled = tf.data.Dataset.from_tensor_slices((three, [0, 1, 0, 1])).batch(2)
        for message, given, sizes in (
            ("one array for each .*Received: 2 array.*without labels", labelled, (3,)),
            (r"shape \('samples', 3\).*Received: shape=\(4, 2\)", three[:, :2], (3,)),
            (r"shape \('samples', 3\).*Received: shape=\(3,\)", three[0], (3,)),
            (r"at least one, for every input.*\[0\]", three[:0], (3,)),
            ("at least one sample.*empty", [], (3,)),
            (r"equally many samples.*\[2, 4\]", (np.zeros((2, 2)), three), (2, 3)),
            (r"name the model's inputs \['in2', 'in3'\].*\['in2'\]", {"in2": three}, (2, 3)),
            ("one array for each .*Received: 1 array", three, (2, 3)),
            ("finite numbers in samples", np.full((1, 3), np.nan), (3,)),
            ("array .* or an iterable of batches.*type int", 3, (3,)),
            ("to end. Received: a repeated dataset", tf.data.Dataset.from_tensors(three).repeat(), (3,)),
        ):
            with self.assertRaisesRegex(ValueError, message):
                inputs.as_arrays(given, network(*sizes), "samples")

    def test_batches_are_filled_up(self):
        batches = list(inputs.batches([np.arange(5), np.arange(5) * 10], 3))
        self.assertAllEqual(batches[0][0], [0, 1, 2])
        self.assertAllEqual(batches[1][0], [3, 4, 4])
        self.assertAllEqual(batches[1][1], [30, 40, 40])
        self.assertLen(batches, 2)

    def test_random_arrays_follow_type_shape_and_seed(self):
        (floats,), (integers,) = inputs.random_arrays(network(3)), inputs.random_arrays(network(3, dtype="int32"))
        self.assertAllEqual(floats, inputs.random_arrays(network(3))[0])
        self.assertEqual((floats.shape, floats.dtype), ((16, 3), np.float32))
        self.assertEqual(set(np.unique(integers)), {0, 1})
        (image,) = inputs.random_arrays(keras.Model(image := keras.Input((None, 7, 1)), keras.ops.abs(image)))
        self.assertEqual(image.shape, (16, 32, 7, 1))
