"""Tests of the bare network that is exported."""

import keras
import numpy as np
import tensorflow as tf

from tfcompress.export import ExportError
from tfcompress.export.network import in_float32, is_float32, network_of


class NetworkTest(tf.test.TestCase):
    def test_network_shares_layers_and_leaves_the_model_as_it_was(self):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        config = model.get_config()
        network = network_of(model)
        self.assertIs(network.weights[0], model.weights[0])
        self.assertEqual(network.name, model.name)
        self.assertEqual(model.get_config(), config)
        self.assertLen(model.layers[0]._inbound_nodes, 1)

    def test_functional_subclass_becomes_a_plain_model(self):
        class Student(keras.Model):
            def compute_loss(self, *args, **kwargs):
                return 0.0

        vector = keras.Input((3,))
        student = Student(vector, keras.layers.Dense(2)(vector))
        self.assertEqual(type(network_of(student)).__name__, "Functional")

    def test_other_models_are_refused(self):
        class Subclassed(keras.Model):
            def call(self, x):
                return x

        for model in (Subclassed(), keras.Sequential([keras.layers.Dense(2)]), "model"):
            with self.assertRaisesRegex(ExportError, f"Received: model of type {type(model).__name__}"):
                network_of(model)

    def test_float32_copy_of_a_mixed_model(self):
        inner_input = keras.Input((4, 4, 3))
        x = keras.layers.Conv2D(2, 3, dtype="mixed_float16")(inner_input)
        x = keras.layers.TimeDistributed(keras.layers.Dense(3, dtype="mixed_float16"), dtype="mixed_float16")(x)
        inner = keras.Model(inner_input, x)
        image = keras.Input((4, 4, 3))
        network = keras.Model(image, keras.layers.Flatten()(inner(image)[:, ::2]))
        self.assertFalse(is_float32(network))
        copy = in_float32(network)
        self.assertTrue(is_float32(copy))
        wrapper = copy.layers[1].layers[-1]
        self.assertEqual((wrapper.compute_dtype, wrapper.layer.compute_dtype), ("float32", "float32"))
        images = np.random.default_rng(0).standard_normal((2, 4, 4, 3))
        difference = np.abs(copy(images) - network(images)).max()
        self.assertBetween(difference, 1e-6, 1e-2)
        self.assertFalse(is_float32(network))
        self.assertIs(in_float32(copy), copy)
