"""Integer inputs and outputs, activations in int16, and calibration inputs that are of no use."""

import keras
import numpy as np
import tensorflow as tf

from tfcompress.export import convert, run_tflite
from tfcompress.export.operators import operators_of

X = np.random.default_rng(0).uniform(-1, 1, (40, 4)).astype("float32")


def doubled():
    """Returns a model by hand: each number twice, in a layer that every form quantises."""
    i = keras.Input((4,), name="numbers")
    dense = keras.layers.Dense(4, use_bias=False, name="twice")
    model = keras.Model(i, dense(i))
    dense.kernel.assign(2 * np.eye(4))
    return model


class IntegersTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = doubled()

    def test_integer_inputs_and_outputs(self):
        from ai_edge_litert.interpreter import Interpreter

        for quantize, integer_io, kind, tolerance in (
            ("int8", "int8", np.int8, 2 / 100),
            ("int8", "uint8", np.uint8, 2 / 100),
            ("int16x8", "int8", np.int16, 1 / 1000),
        ):
            content = convert(self.model, quantize, X, integer_io=integer_io)
            interpreter = Interpreter(model_content=content)
            for details in (interpreter.get_input_details(), interpreter.get_output_details()):
                self.assertEqual(details[0]["dtype"], kind)
            if integer_io != "uint8":  # the converter puts operators for that around an int8 file
                self.assertEqual([operator.name for operator in operators_of(content)], ["FULLY_CONNECTED"])
            self.assertAllClose(run_tflite(content, X)["twice"], 2 * X, atol=tolerance)
            scale, zero_point = interpreter.get_input_details()[0]["quantization"]
            integers = np.clip(np.round(X / scale) + zero_point, np.iinfo(kind).min, np.iinfo(kind).max).astype(kind)
            self.assertAllClose(run_tflite(content, integers)["twice"], 2 * X, atol=tolerance)

    def test_int16_activations_are_finer_and_take_float32_by_default(self):
        wide = np.concatenate([X, 50 * X[:1]])  # one range for all: steps of int8 are 0.4
        errors = {}
        for quantize in ("int8", "int16x8"):
            outputs = run_tflite(convert(self.model, quantize, wide), X)["twice"]
            self.assertEqual(outputs.dtype, np.float32)
            errors[quantize] = np.abs(outputs - 2 * X).max()
        self.assertLess(20 * errors["int16x8"], errors["int8"])

    def test_integers_where_nothing_has_a_range_are_refused(self):
        tokens = keras.Input((3,), dtype="int32", name="tokens")
        model = keras.Model(tokens, keras.layers.Dense(2)(keras.layers.Flatten()(keras.layers.Embedding(5, 4)(tokens))))
        with self.assertRaisesRegex(ValueError, "have a range.*Received: input 'tokens' of type int32"):
            convert(model, "int8", np.arange(6).reshape(2, 3) % 5, integer_io="int8")
        for message, arguments in (
            ("where no form has integer activations.*integer_io='int8'", {"integer_io": "int8"}),
            (r"\(None, 'int8', 'uint8'\).*integer_io='int4'", {"integer_io": "int4"}),
            ("quantize='mixed'.*integer_io='uint8'", {"quantize": "mixed", "integer_io": "uint8"}),
        ):
            with self.assertRaisesRegex(ValueError, message):
                convert(self.model, calibration=X, **arguments)

    def test_calibration_inputs_that_do_not_vary_are_refused(self):
        same = np.repeat(X[:1], 8, axis=0)
        for message, quantize, calibration in (
            ("0.5 everywhere in input 'numbers'", "int8", np.full((8, 4), 0.5)),
            ("8 times the same sample", "int8", same),
            ("8 times the same sample", "int16x8", same),
            ("Expected calibration inputs for quantize='int16x8'", "int16x8", None),
            ("Expected calibration inputs for quantize='mixed'", "mixed", None),
        ):
            with self.assertRaisesRegex(ValueError, message):
                convert(self.model, quantize, calibration)
        self.assertAllClose(run_tflite(convert(self.model, "int8", X[:1]), X[:1])["twice"], 2 * X[:1], atol=0.03)
