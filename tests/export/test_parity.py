"""Tests of the comparison, on arrays of a few numbers."""

import keras
import numpy as np
import tensorflow as tf

from tfcompress.export import differences, parity
from tfcompress.export.network import network_of

INF = float("inf")


class ParityTest(tf.test.TestCase):
    def test_largest_difference_is_over_all_outputs(self):
        expected = [np.array([[1.0, 2.0]]), np.array([[[10.0]]])]
        self.assertEqual(differences.largest_difference(expected, [np.array([[1.5, 2.0]]), np.array([[[8.0]]])]), 2.0)
        self.assertEqual(differences.largest_difference(expected, expected), 0.0)

    def test_unsigned_and_boolean_outputs_do_not_wrap(self):
        self.assertEqual(differences.largest_difference([np.array([1], np.uint8)], [np.array([3], np.uint8)]), 2.0)
        self.assertEqual(differences.largest_difference([np.array([True])], [np.array([False])]), 1.0)

    def test_missing_numbers_and_other_shapes_are_infinitely_far(self):
        for other in ([np.nan, 1.0], [INF, 1.0], [0.0], [[0.0, 1.0]]):
            self.assertEqual(differences.largest_difference([np.array([0.0, 1.0])], [np.array(other)]), INF)
        same = [np.array([np.nan, INF, -INF])]
        self.assertEqual(differences.largest_difference(same, same), 0.0)

    def test_top1_agreement(self):
        one = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
        other = np.array([[2.0, 1.0], [0.0, 0.1], [0.0, 0.1], [0.0, 0.1]])
        self.assertEqual(differences.top1_agreement([one], [other]), 0.75)
        third = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
        # In both outputs: sample 2 fails in the first, sample 0 in the second.
        self.assertEqual(differences.top1_agreement([one, one], [other, third]), 0.5)
        self.assertEqual(differences.top1_agreement([one, np.zeros((4, 2, 2))], [other, np.ones((4, 2, 2))]), 0.75)
        self.assertIsNone(differences.top1_agreement([np.zeros((4, 1))], [np.ones((4, 1))]))

    def test_largest_magnitude_leaves_infinity_out(self):
        self.assertEqual(differences.largest_magnitude([np.array([1.0, -3.0]), np.array([np.nan, INF, 2.0])]), 3.0)

    def test_keras_outputs_are_those_of_inference(self):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dropout(0.9), keras.layers.Rescaling(2.0)])
        numbers = np.random.default_rng(0).standard_normal((70, 3)).astype("float32")  # more than two batches
        (outputs,) = parity.keras_outputs(model, network_of(model), [numbers])
        self.assertAllClose(outputs, 2 * numbers)

    def test_many_comparisons_are_no_reason_for_a_warning_of_tensorflow(self):
        vector = keras.Input((2,))
        model = keras.Model(vector, vector * 2)
        with self.assertNoLogs("tensorflow"):
            for _ in range(8):
                parity.keras_outputs(model, network_of(model), [np.ones((3, 2), "float32")])

    def test_models_are_called_compiled_and_many_samples_at_a_time(self):
        traced, eager = [], []

        @keras.saving.register_keras_serializable("tests")
        class Watched(keras.layers.Layer):
            def call(self, x):
                if not isinstance(x, keras.KerasTensor):
                    (eager if tf.executing_eagerly() else traced).append(x.shape[0])
                return x

        vector = keras.Input((2,))
        model = keras.Model(vector, Watched()(vector))
        del traced[:], eager[:]
        parity.keras_outputs(model, network_of(model), [np.ones((100, 2), "float32")])
        self.assertEqual((traced, eager), ([32], []))
