"""Tests of the conversion to TensorFlow Lite, and of the errors that name a layer."""

import keras
import numpy as np
import tensorflow as tf

from tfcompress.export import ExportError, MissingOperatorError, convert, run_tflite, saved_model, tflite
from tfcompress.export.network import network_of


class Cholesky(keras.layers.Layer):
    """A layer that TensorFlow Lite has no operator for."""

    def call(self, x):
        return tf.linalg.cholesky(tf.matmul(x, x, transpose_b=True) + 8 * tf.eye(x.shape[1]))

    def compute_output_shape(self, shape):
        return (*shape[:-1], shape[-2])


def vector_model(*layers) -> keras.Model:
    """Returns the chain of the layers behind an input of four numbers."""
    vector = x = keras.Input((4,), name="vector")
    for layer in layers:
        x = layer(x)
    return keras.Model(vector, x)


class ConvertTest(tf.test.TestCase):
    def test_float32_computes_the_products(self):
        model = vector_model(keras.layers.Dense(2, name="pair"))
        model.set_weights([np.array([[1, 2], [3, 4], [5, 6], [7, 8]]), np.array([0.5, -0.5])])
        outputs = run_tflite(convert(model), np.array([[1, 1, 1, 1], [1, 0, 0, -1], [0, 2, 0, 0]]))
        self.assertAllClose(outputs["pair"], [[16.5, 19.5], [-5.5, -6.5], [6.5, 7.5]])

    def test_int8_takes_and_gives_float32_and_computes_in_int8(self):
        model = vector_model(keras.layers.Dense(8, activation="relu"), keras.layers.Dense(3, name="out"))
        numbers = np.random.default_rng(0).standard_normal((50, 4)).astype("float32")
        content = convert(model, "int8", calibration=[numbers[:20], numbers[20:]])
        self.assertEqual(tflite.float_operators(content), ())
        outputs = run_tflite(content, {"vector": numbers})["out"]
        self.assertEqual(outputs.dtype, np.float32)
        self.assertAllClose(outputs, model(numbers), atol=0.03 * np.abs(model(numbers)).max())
        self.assertLess(len(np.unique(outputs)), 257)  # int8 has 256 steps

    def test_int8_takes_ranges_from_the_calibration_inputs(self):
        model = vector_model(keras.layers.Dense(4, kernel_initializer="identity", name="same"))
        content = convert(model, "int8", calibration=np.array([[-1.0, 0.0, 0.5, 1.0]]))
        outputs = run_tflite(content, np.array([[-5.0, 0.0, 0.5, 5.0]]))["same"]
        self.assertAllClose(outputs, [[-1.0, 0.0, 0.5, 1.0]], atol=2 / 255)

    def test_reshape_needs_no_shape_operators(self):
        from ai_edge_litert.interpreter import Interpreter

        content = convert(vector_model(keras.layers.Reshape((2, 2)), keras.layers.Dense(3)))
        interpreter = Interpreter(model_content=content)
        self.assertAllEqual(interpreter.get_input_details()[0]["shape_signature"], [1, 4])
        self.assertNotIn("SHAPE", [operator["op_name"] for operator in interpreter._get_ops_details()])

    def test_one_sample_at_a_time_wherever_the_network_runs_with_one(self):
        from ai_edge_litert.interpreter import Interpreter

        numbers = np.random.default_rng(0).standard_normal((16, 6)).astype("float32")
        built = keras.Sequential([keras.layers.Dense(4, activation="relu"), keras.layers.Dense(2)])
        built.compile("sgd", "mse")
        built.fit(numbers, numbers[:, :2], batch_size=16, verbose=0)
        self.assertEqual(built.inputs[0].shape[0], 16)
        i = keras.Input((6,), batch_size=16)
        fixed = keras.Model(i, keras.layers.Dense(2)(keras.ops.reshape(i, (16, 6))))
        i = keras.Input((6, 1), batch_size=16)
        stateful = keras.Model(i, keras.layers.SimpleRNN(3, stateful=True, unroll=True)(i))
        mixing = keras.Input((6,), batch_size=16)
        mixed = keras.Model(mixing, mixing - keras.ops.mean(mixing, axis=0, keepdims=True))
        for model, size in ((built, 1), (fixed, 16), (stateful, 16), (mixed, 16)):
            self.assertEqual(tflite.batch_size(network_of(model)), size)
        for model, size in ((built, 1), (fixed, 16)):
            content = convert(model)
            details = Interpreter(model_content=content).get_input_details()
            self.assertEqual(details[0]["shape"][0], size)
            (outputs,) = run_tflite(content, numbers).values()
            self.assertAllClose(outputs, model(numbers), atol=1e-5)

    def test_float_operators_are_found(self):
        content = convert(vector_model(keras.layers.Dense(3), keras.ops.floor))
        self.assertEqual(tflite.float_operators(content), ("FULLY_CONNECTED", "FLOOR"))

    def test_names_of_the_signature_are_valid_and_unique(self):
        left, right = keras.Input((2,), name="a.b"), keras.Input((2,), name="a_b")
        parts = keras.ops.split(keras.layers.Concatenate()([left, right]), 2, axis=1)
        names = saved_model.signature_names(network_of(keras.Model([left, right], parts)))
        self.assertEqual(names[0], ["a_b", "a_b__1"])
        self.assertEqual(len(set(names[1])), 2)

    def test_unknown_quantization_lists_the_known(self):
        model = vector_model(keras.layers.Dense(1))
        with self.assertRaisesRegex(ValueError, "float32.*float16.*dynamic.*int8.*Received: quantize='int2'"):
            convert(model, "int2")
        with self.assertRaisesRegex(ValueError, "Expected calibration inputs"):
            convert(model, "int8")


class MissingOperatorTest(tf.test.TestCase):
    def test_layer_and_operator_are_named(self):
        model = vector_model(
            keras.layers.Dense(6), keras.layers.Reshape((2, 3)), Cholesky(name="factor"), keras.layers.Flatten()
        )
        with self.assertRaisesRegex(
            MissingOperatorError, r"layer 'factor' \(Cholesky\), which needs .*Cholesky"
        ) as caught:
            convert(model)
        self.assertEqual(caught.exception.layer, "factor")
        self.assertIn("Cholesky", caught.exception.operators)
        self.assertIsInstance(caught.exception, ValueError)

    def test_first_of_two_culprits_and_operations_of_keras_ops_are_named(self):
        vector = keras.Input((4,))
        left = keras.ops.erfinv(keras.layers.Dense(3)(vector))
        name = left._keras_history.operation.name
        right = keras.layers.Dense(3)(vector)
        model = keras.Model(vector, [keras.ops.erf(keras.layers.Add()([left, right])), right])
        with self.assertRaises(MissingOperatorError) as caught:
            convert(model)
        self.assertEqual((caught.exception.layer, caught.exception.operators), (name, ("Erfinv",)))

    def test_layer_in_a_nested_model_and_second_call_of_a_layer(self):
        inner_input = keras.Input((3,))
        inner = keras.Model(inner_input, Cholesky(name="deep")(keras.layers.Reshape((1, 3))(inner_input)), name="inner")
        shared = keras.layers.Dense(3, name="shared")
        vector = keras.Input((3,))
        model = keras.Model(vector, inner(shared(shared(vector))))
        with self.assertRaises(MissingOperatorError) as caught:
            convert(model)
        self.assertEqual(caught.exception.layer, "inner/deep")


class Int8CrashTest(tf.test.TestCase):
    """What TensorFlow's calibrator answers with a crash of the process, and what no file can be of use for."""

    def test_loop_is_refused(self):
        sequence = keras.Input((None, 3))
        x = keras.layers.Dense(3)(sequence)
        model = keras.Model(sequence, keras.layers.Dense(2)(keras.layers.GRU(4, name="recurrent")(x)))
        with self.assertRaisesRegex(ExportError, "layer 'recurrent' .GRU., which loops.*known length.*unroll=True"):
            convert(model, "int8", np.arange(30.0).reshape((2, 5, 3)))

    def test_infinite_activation_is_refused(self):
        model = vector_model(keras.layers.ReLU(), keras.layers.Activation("exponential", name="huge"))
        with self.assertRaisesRegex(ExportError, "infinity from layer 'huge'"):
            convert(model, "int8", np.array([[0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0, 300.0]]))

    def test_infinite_weight_is_refused_in_every_format(self):
        model = vector_model(keras.layers.Dense(1, name="broken"))
        model.layers[1].bias.assign([np.inf])
        with self.assertRaisesRegex(ExportError, "infinity in 'broken/bias'"):
            convert(model)
