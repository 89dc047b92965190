"""`tfcompress.cost` against TensorFlow's profiler, on a few small models of those that `macs.py` compares in full."""

import importlib.util
import pathlib
import re
from unittest import mock

import keras
import profiler
import tensorflow as tf

import tfcompress
from tfcompress.graph.handlers.convolution import DepthwiseConvolution

ROOT = pathlib.Path(__file__).resolve().parents[2]


def script():
    """The module `macs.py` beside this file."""
    spec = importlib.util.spec_from_file_location("macs", pathlib.Path(__file__).with_name("macs.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class ApplicationsTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.macs = script()

    def compared(self, name):
        model = self.macs.smallest(name)
        return model, model.input_shape[1], profiler.compare(model)

    def test_depthwise_convolutions(self):
        model, side, found = self.compared("MobileNetV3Small")
        self.assertEqual((side, found.differences, found.unplaced), (32, {}, []))
        self.assertEqual(found.half_float_ops, found.macs)
        self.assertEqual(found.macs, tfcompress.cost(model).macs)
        # Every layer with a kernel is in both counts.
        kernels = [layer.name for layer in model.layers if hasattr(layer, "kernel")]
        self.assertEqual((found.layers, found.of_functions), (len(kernels), 0.0))

    def test_grouped_convolutions_and_dense_layers_at_every_position(self):
        _, side, found = self.compared("ConvNeXtTiny")
        self.assertEqual((side, found.differences, found.unplaced), (32, {}, []))
        self.assertEqual(found.half_float_ops, found.macs)
        # 7x7 depthwise kernels in XLA functions: 3, 3, 9 and 3 blocks of 96, 192, 384 and 768 channels.
        expected = 49 * (3 * 96 * 8**2 + 3 * 192 * 4**2 + 9 * 384 * 2**2 + 3 * 768)
        self.assertEqual(found.of_functions, expected)

    def test_what_is_not_counted_is_named(self):
        model, _, found = self.compared("MobileNetV2")
        self.assertEqual(tuple(found.uncounted), tfcompress.cost(model).uncounted)
        kernels = {layer.name for layer in model.layers if hasattr(layer, "kernel")}
        others = {layer.name for layer in model.layers[1:]} - kernels
        self.assertEqual(set(found.uncounted), others)
        self.assertEqual(found.uncounted["Conv1_relu"], "ReLU")
        self.assertEqual(found.unknown, [])

    def test_a_wrong_count_is_found_in_its_layer(self):
        x = keras.Input((7, 7, 3))
        y = keras.layers.DepthwiseConv2D(3, name="deep")(keras.layers.Conv2D(5, 1, name="wide")(x))
        model = keras.Model(x, y)
        self.assertEqual(profiler.compare(model).differences, {})
        with mock.patch.object(DepthwiseConvolution, "macs", lambda self, call, outputs: ()):
            found = profiler.compare(model)
        self.assertEqual(found.differences, {"deep": (0, 25 * 9 * 5)})
        self.assertFalse(self.macs.agrees(found))


class SingleLayersTest(tf.test.TestCase):
    def test_where_tensorflow_counts_otherwise(self):
        """By hand: input positions of 7 x 7, seven steps, and so on, as docs/macs.md says."""
        rows = {name: (c.macs, c.half_float_ops) for name, _, c, _ in script().single_layers()}
        self.assertEqual(
            {name: pair for name, pair in rows.items() if pair[0] != pair[1]},
            {
                "Conv2D, dilation_rate=2": (49 * 9 * 3 * 5, 64 * 9 * 3 * 5),
                "Conv2DTranspose, valid": (49 * 9 * 3 * 5, int(2 * 15 * 15 / 4 * 9 * 3 * 5) / 2),
                "Conv3DTranspose": (343 * 27 * 3 * 5, 0),
                "LSTM": (7 * (3 + 5) * 4 * 5, (3 + 5) * 4 * 5),
                "GRU": (7 * (3 + 5) * 3 * 5, (3 + 5) * 3 * 5),
                # Four projections of 7 positions; the heads' products with keys and with values.
                "MultiHeadAttention": (7 * 4 * 3 * 10 + 2 * 7 * 7 * 10, 7 * 4 * 3 * 10),
            },
        )
        self.assertEqual(rows["SeparableConv2D"], (81 * (9 * 3 + 3 * 5),) * 2)
        self.assertEqual(rows["Conv2D, groups=3"], (81 * 9 * 6,) * 2)


class DocumentTest(tf.test.TestCase):
    def test_every_model_is_in_the_document_and_agrees(self):
        text = (ROOT / "docs" / "macs.md").read_text()
        names = list(script().constructors())
        rows = re.findall(r"^\| (\w+) \| \d+ x \d+ \| ([\d,]+) \| ([\d,]+) \| \+0 \|", text, re.M)
        self.assertEqual([name for name, _, _ in rows], names)
        self.assertIn(f"**{len(names)} of {len(names)} models agree in every layer.**", text)


if __name__ == "__main__":
    tf.test.main()
