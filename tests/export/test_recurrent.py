"""Recurrent layers in TFLite files: an LSTM is one operator, other loops are unrolled where activations are integers."""

import tempfile
from collections import Counter

import keras
import numpy as np
import tensorflow as tf

from tfcompress.export import convert, export, run_tflite
from tfcompress.export.operators import operators_of

X = np.random.default_rng(0).normal(size=(24, 7, 5)).astype("float32")
LSTM = keras.layers.LSTM


def network(*layers, steps=7):
    """Returns a chain of layers behind a sequence of five channels, with weights that are no initial ones."""
    keras.utils.set_random_seed(0)
    i = x = keras.Input((steps, 5))
    for layer in layers:
        x = layer(x)
    model = keras.Model(i, keras.layers.Dense(3)(x))
    generator = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(weight + generator.normal(0, 0.3, weight.shape))
    return model


def answers(content):
    return next(iter(run_tflite(content, X).values()))


class RecurrentTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.layer = LSTM(6)
        cls.model = network(cls.layer)
        cls.content = convert(cls.model)

    def assert_fused(self, model, operators, content=None):
        """An independent route: the model itself loops in Keras."""
        content = content or convert(model)
        counts = Counter(operator.name for operator in operators_of(content))
        self.assertEqual((counts["WHILE"], counts["UNIDIRECTIONAL_SEQUENCE_LSTM"]), (0, operators))
        self.assertAllClose(answers(content), model(X), rtol=0, atol=1e-5)

    def test_an_lstm_is_one_operator(self):
        self.assert_fused(self.model, 1, self.content)
        self.assert_fused(network(LSTM(6, return_sequences=True, go_backwards=True), LSTM(4, use_bias=False)), 2)
        self.assert_fused(network(keras.layers.Bidirectional(LSTM(4, return_sequences=True))), 2)
        inner = keras.Sequential([keras.Input((None, 5)), LSTM(4)])
        self.assert_fused(network(inner, steps=None), 1)

    def test_the_model_stays_as_it_was(self):
        self.assertNotIn("inner_loop", vars(self.layer))

    def test_int8_of_an_lstm_agrees(self):
        content = convert(self.model, "int8", calibration=X)
        self.assertNotIn("WHILE", [operator.name for operator in operators_of(content)])
        expected = np.asarray(self.model(X))
        self.assertLess(np.linalg.norm(answers(content) - expected), 0.05 * np.linalg.norm(expected))

    def test_dynamic_stores_the_weights_of_an_lstm_in_int8(self):
        model = network(LSTM(64))
        content = convert(model, "dynamic")
        self.assertLess(len(content), 0.4 * 4 * model.count_params())
        self.assertNotIn("WHILE", [operator.name for operator in operators_of(content)])
        self.assertAllClose(answers(content), model(X), rtol=0, atol=0.05 * np.abs(model(X)).max())

    def test_what_cannot_be_fused_loops_in_float32_and_is_unrolled_in_int8(self):
        masked = network(keras.layers.Masking(), LSTM(4))
        hard = network(LSTM(4, recurrent_activation="hard_sigmoid"))
        gru = network(keras.layers.GRU(4))
        for model in (masked, hard, gru):
            content = convert(model)
            names = [operator.name for operator in operators_of(content)]
            self.assertIn("WHILE", names)
            self.assertNotIn("UNIDIRECTIONAL_SEQUENCE_LSTM", names)
            self.assertAllClose(answers(content), model(X), rtol=0, atol=1e-5)
        content = convert(gru, "int8", calibration=X)
        self.assertNotIn("WHILE", [operator.name for operator in operators_of(content)])
        expected = np.asarray(gru(X))
        self.assertLess(np.linalg.norm(answers(content) - expected), 0.05 * np.linalg.norm(expected))

    def test_a_state_that_a_model_reads_is_no_reason_to_fail(self):
        i = keras.Input((7, 5))
        x, *states = LSTM(4, return_sequences=True, return_state=True)(i)
        model = keras.Model(i, LSTM(4)(x, initial_state=states))
        self.assertAllClose(answers(convert(model)), model(X), rtol=0, atol=1e-5)

    def test_that_a_file_keeps_its_state_is_said(self):
        from ai_edge_litert.interpreter import Interpreter

        folder = self.enterContext(tempfile.TemporaryDirectory())
        report = export(self.model, folder, "tflite", samples=X)
        self.assertTrue(any("calls reset_all_variables()" in note for note in report.notes))
        runner = (interpreter := Interpreter(report.files[0].path)).get_signature_runner()
        name = next(iter(runner.get_input_details()))
        first, second = (next(iter(runner(**{name: X[:1]}).values())) for _ in range(2))
        self.assertGreater(np.abs(first - second).max(), 1e-3)
        interpreter.reset_all_variables()
        self.assertAllClose(next(iter(runner(**{name: X[:1]}).values())), first, rtol=0, atol=1e-6)
