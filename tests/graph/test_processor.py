"""channels_first layers that TensorFlow cannot run on this machine are found by trying, and refused in one line.

The same tests run where they can be run and where they cannot: what is expected is what the layer itself does here.
"""

import pathlib
from unittest import mock

import keras
import numpy as np
import small_tasks
import tensorflow as tf
from keras import layers, ops

import tfcompress
from tfcompress.export import export
from tfcompress.graph import check_runs_here, processor
from tfcompress.methods import Uniform
from tfcompress.plan import Plan
from tfcompress.report.inspect import describe
from tfcompress.rewrite import apply
from tfcompress.rewrite.verify import verify

FIRST = {"data_format": "channels_first"}


def chain(**options):
    """Images of one channel, turned to channels_first, through a convolution."""
    x = keras.Input((8, 8, 1))
    y = layers.Conv2D(4, 3, name="conv", **FIRST, **options)(layers.Permute((3, 1, 2))(x))
    y = layers.GlobalAveragePooling2D(**FIRST)(y)
    return keras.Model(x, layers.Dense(3, activation="softmax")(y), name="first")


class TrialTest(tf.test.TestCase):
    def test_a_model_is_refused_where_its_layer_fails(self):
        class Own(layers.Conv2D):
            """A class of one's own."""

        shapes = {1: (2, 6), 2: (2, 6, 6), 3: (2, 6, 6, 6)}
        cases = [(rank, getattr(layers, f"Conv{rank}D")(2, 3, **FIRST)) for rank in shapes]
        cases += [(rank, getattr(layers, f"Conv{rank}DTranspose")(2, 3, **FIRST)) for rank in shapes]
        cases += [
            (2, layers.Conv2D(2, 3, groups=2, **FIRST)),
            (2, layers.DepthwiseConv2D(3, **FIRST)),
            (2, layers.SeparableConv2D(2, 3, **FIRST)),
            (2, layers.MaxPooling2D(2, **FIRST)),
            (2, layers.Conv2D(2, 3, dtype="mixed_float16", **FIRST)),
            (2, layers.SpectralNormalization(layers.Conv2D(2, 3, **FIRST))),
            (2, Own(2, 3, **FIRST)),
            (2, layers.Conv2D(2, 1)),
        ]
        for rank, layer in cases:
            with self.subTest(layer=layer.name, dtype=layer.compute_dtype):
                x = keras.Input(shapes[rank])
                model = keras.Model(x, layer(x))
                try:
                    model(np.zeros((1, *shapes[rank]), "float32"))
                except tf.errors.OpError:
                    with self.assertRaisesRegex(ValueError, f"(?s){type(layer).__name__}.*|Conv2D.*data_format"):
                        check_runs_here(model)
                else:
                    check_runs_here(model)

    def test_operations_and_nested_models_are_looked_at(self):
        x = keras.Input((2, 6, 6))
        inner = keras.Sequential([keras.Input((2, 6, 6)), layers.Conv2D(2, 3, name="inside", **FIRST)])
        models = {
            "inside": keras.Model(x, inner(x)),
            "conv": keras.Model(x, ops.conv(x, np.ones((3, 3, 2, 2), "float32"), data_format="channels_first")),
        }
        with mock.patch.object(processor, "_failure", return_value="no"):
            for name, model in models.items():
                with self.assertRaisesRegex(ValueError, f"Received: '{name}"):
                    check_runs_here(model)

    def test_the_way_out_is_one_that_helps(self):
        """oneDNN has no kernels for float16."""
        with mock.patch.object(processor, "_failure", return_value="no"):
            for dtype, value, way in (
                ("float32", "0", r"Set the environment variable TF_ENABLE_ONEDNN_OPTS=1 before .*, or build"),
                ("float32", "1", r"\(no\)\. Build the model with data_format='channels_last'"),
                ("mixed_float16", "0", r"\(no\)\. Build the model with data_format='channels_last'"),
            ):
                with (
                    mock.patch.dict("os.environ", {"TF_ENABLE_ONEDNN_OPTS": value}),
                    self.assertRaisesRegex(ValueError, f"^[^\n]*{way}[^\n]*$"),
                ):
                    check_runs_here(chain(dtype=dtype))


class RefusalTest(tf.test.TestCase):
    """What runs a model refuses it before it does anything; what only counts does not."""

    def test_before_any_work(self):
        model, data, folder = chain(), small_tasks.pictures(32), pathlib.Path(self.get_temp_dir())
        student = apply(model, Plan())
        calls = {
            "compress": lambda: tfcompress.compress(
                model, Uniform(epochs=0), data, flops_budget=0.5, run_dir=folder / "run", verbose=0
            ),
            "sensitivity": lambda: tfcompress.sensitivity(model, data, verbose=0),
            "verify": lambda: verify(model, Plan(), student, data[0][:2]),
            "export": lambda: export(model, folder / "files"),
        }
        with mock.patch.object(processor, "_failure", return_value="no"):
            for name, call in calls.items():
                with self.subTest(name), self.assertRaisesRegex(ValueError, "'conv', a Conv2D in float32"):
                    call()
            self.assertEqual(tfcompress.cost(model).macs, 36 * 9 * 4 + 4 * 3)
            self.assertIn("Channel groups (1)", describe(model))
        self.assertEmpty(list(folder.iterdir()))


if __name__ == "__main__":
    tf.test.main()
