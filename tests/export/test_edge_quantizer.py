"""int4 and mixed files: what is int4, that answers stay, and the user's own rules."""

import json
import pathlib
import sys
import tempfile

import keras
import numpy as np
import tensorflow as tf

from tfcompress.export import convert, run_tflite
from tfcompress.export.edge_quantizer import counts
from tfcompress.export.operators import operators_of, unquantized

X = np.random.default_rng(0).normal(size=(64, 8, 8, 2)).astype("float32")


def network():
    """Returns four convolutions and a classifier, with weights that int4 holds exactly: -7 to 7 in each channel."""
    keras.utils.set_random_seed(0)
    i = x = keras.Input((8, 8, 2))
    for filters in (8, 8, 8):
        x = keras.layers.Conv2D(filters, 3, activation="relu", padding="same")(x)
    x = keras.layers.DepthwiseConv2D(3)(x)
    model = keras.Model(i, keras.layers.Dense(3, name="classes")(keras.layers.GlobalAveragePooling2D()(x)))
    generator = np.random.default_rng(1)
    for layer in model.layers:
        if layer.weights and not isinstance(layer, keras.layers.DepthwiseConv2D):
            kernel = generator.integers(-7, 8, layer.kernel.shape)
            kernel.reshape(-1, kernel.shape[-1])[0] = 7
            layer.kernel.assign(kernel / 50)
    return model


class EdgeQuantizerTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = network()
        cls.expected = np.asarray(cls.model(X))
        cls.size = np.linalg.norm(cls.expected)

    def error(self, content):
        return np.linalg.norm(run_tflite(content, X)["classes"] - self.expected) / self.size

    def test_int4_stores_weights_in_int4_where_there_are_operators(self):
        content = convert(self.model, "int4")
        types = {operator.name: operator.types for operator in operators_of(content) if operator.types}
        self.assertEqual(types["CONV_2D"], ("INT4",))
        self.assertEqual(types["FULLY_CONNECTED"], ("INT4",))
        self.assertEqual(types["DEPTHWISE_CONV_2D"], ("INT8",))
        self.assertEqual(counts(content), (4, 5))
        self.assertLess(self.error(content), 0.02)  # the weights are exact; activations are rounded
        self.assertEqual(unquantized(content, "int4"), ())

    def test_mixed_keeps_the_first_and_the_last_in_int8(self):
        content = convert(self.model, "mixed", X)
        types = [
            operator.types[0] for operator in operators_of(content) if operator.name in ("CONV_2D", "FULLY_CONNECTED")
        ]
        self.assertEqual(types, ["INT8", "INT4", "INT4", "INT8"])
        self.assertLess(self.error(content), 0.05)
        self.assertEqual(unquantized(content, "mixed"), ())

    def test_mixed_goes_back_to_int8_where_answers_change(self):
        model = network()
        kernel = np.random.default_rng(0).normal(size=model.layers[2].kernel.shape)
        kernel[0, 0, 0] = 60.0  # of each channel: a step of int4 is larger than all other weights
        model.layers[2].kernel.assign(kernel / 50)
        content = convert(model, "mixed", X)
        types = [operator.types[0] for operator in operators_of(content) if operator.name == "CONV_2D"]
        self.assertEqual(types, ["INT8", "INT8", "INT4"])

    def test_own_rules(self):
        rules = [
            {
                "regex": ".*",
                "operation": "FULLY_CONNECTED",
                "algorithm_key": "min_max_uniform_quantize",
                "op_config": {
                    "weight_tensor_config": {
                        "num_bits": 8,
                        "symmetric": True,
                        "granularity": "CHANNELWISE",
                        "dtype": "INT",
                    },
                    "compute_precision": "INTEGER",
                    "explicit_dequantize": False,
                    "skip_checks": False,
                    "min_weight_elements": 0,
                },
            }
        ]
        path = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "rules.json"
        path.write_text(json.dumps(rules))
        for recipe in (rules, path):
            content = convert(self.model, "mixed", recipe=recipe)  # ranges are found at run time: no calibration
            types = {operator.name: operator.types for operator in operators_of(content) if operator.types}
            self.assertEqual(types["FULLY_CONNECTED"], ("INT8",))
            self.assertEqual(types["CONV_2D"], ("FLOAT32",))
        reasons = {row.reason for row in unquantized(content, "mixed", has_own_recipe=True)}
        self.assertEqual(reasons, {"the recipe leaves it so, or ai-edge-quantizer has no integer form of it"})

    def test_rules_that_are_none_are_refused(self):
        for error, message, arguments in (
            (ValueError, "recipe that ai-edge-quantizer knows", {"recipe": [{"regex": ".*"}]}),
            (ValueError, "JSON file with a recipe.*FileNotFoundError", {"recipe": "no.json"}),
            (TypeError, "list of rules of ai-edge-quantizer", {"recipe": 5}),
            (ValueError, "`recipe` to be None without quantize='mixed'", {"recipe": [{}], "quantize": "int8"}),
        ):
            with self.assertRaisesRegex(error, message):
                convert(self.model, **{"quantize": "mixed", "calibration": X, **arguments})

    def test_a_missing_extra_is_named(self):
        for name in [name for name in sys.modules if name.partition(".")[0] == "ai_edge_quantizer"]:
            self.addCleanup(sys.modules.__setitem__, name, sys.modules[name])
            sys.modules[name] = None
        self.addCleanup(sys.modules.pop, "ai_edge_quantizer", None)
        sys.modules["ai_edge_quantizer"] = None
        for quantize in ("int4", "mixed"):
            with self.assertRaisesRegex(ImportError, r"pip install 'tfcompress\[quantizer\]'"):
                convert(self.model, quantize, X)
