"""Every replacement is converted, and LiteRT computes what Keras does."""

import numpy as np
import pytest
from keras import layers
from replaced import network, part_of

from tfcompress.export import convert, run_tflite
from tfcompress.replacements import names

IMAGE, STEPS, VECTOR = (6, 6, 9), (5, 4), (8,)
_SHAPES = {"gru": STEPS, "smaller_lstm": STEPS, "separable_1d": STEPS, "self_attention": STEPS}


@pytest.mark.parametrize("name", names())
def test_it_runs(name):
    shape = VECTOR if "dense" in name else _SHAPES.get(name, IMAGE)
    layer = {
        VECTOR: lambda: layers.Dense(5),
        STEPS: lambda: layers.LSTM(3, return_sequences=True),
        IMAGE: lambda: layers.Conv2D(9, 3, padding="same" if name == "identity" else "valid"),
    }[shape]()
    model, _ = network(part_of(layer, shape), name)
    inputs = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    (outputs,) = run_tflite(convert(model), inputs).values()
    np.testing.assert_allclose(outputs, model(inputs), atol=1e-5)


def test_a_fully_grouped_convolution_of_unequal_widths_runs():
    model, _ = network(part_of(layers.Conv2D(6, 5), IMAGE), "3x3DS")  # three groups
    inputs = np.random.default_rng(0).normal(size=(2, *IMAGE)).astype("float32")
    (outputs,) = run_tflite(convert(model), inputs).values()
    np.testing.assert_allclose(outputs, model(inputs), atol=1e-5)
