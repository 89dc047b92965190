"""Quantized models on the bridge: near the float model, integers throughout in the file, weights found by name."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tfcompress.export import run_tflite
from tfcompress.export.tflite import float_operators
from tfcompress.graph import LayerGraph
from tfcompress.tfmot_bridge import Bridged
from tfcompress.tfmot_bridge.quantization import calibrated, quantized, ranges_following, tflite_of


def images():
    """Convolutions that TFLite fuses, a separable one, operators, a slice, and activations that tfmot does not know."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(6, 3, padding="same", use_bias=False, name="conv")(inputs)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(x))
    y = layers.DepthwiseConv2D(3, padding="same", activation="relu6", name="depth")(x)
    y = layers.SeparableConv2D(6, 3, padding="same", activation="silu", name="separable")(y)
    x = (x + y)[:, 1:7, :, :4] * 0.5
    x = layers.Dropout(0.1, seed=0)(layers.GlobalAveragePooling2D(name="pool")(x))
    return keras.Model(inputs, layers.Dense(4, activation="softmax", name="head")(x))


def sequences():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((12, 4), name="sequence")
    x = layers.MaxPooling1D(2)(layers.Conv1D(6, 3, activation="relu", name="conv1d")(inputs))
    return keras.Model(inputs, layers.Dense(3, name="head")(layers.Flatten()(x)))


def bridged(model, x, preserve="none"):
    graph = LayerGraph.from_keras(model)
    legacy = quantized(graph, preserve)
    calibrated(legacy, [[x]])
    return Bridged(model, graph, legacy)


def trained(side, x, outputs):
    side.compile(keras.optimizers.SGD(0.02), "mse")
    with ranges_following(0.5):  # in three steps they would hardly move otherwise
        side.fit(x, np.random.default_rng(1).random((len(x), outputs)), batch_size=16, verbose=0)
    return side.learner


class QuantizationTest(tf.test.TestCase):
    def x(self, model, count=48):
        return np.random.default_rng(0).random((count, *model.input_shape[1:]), "float32")

    def assertFollows(self, model):
        """The quantized model is near the float one, and its file, of integers alone, near the quantized one."""
        x = self.x(model)
        side = bridged(model, x)
        carried = {id(pair.own) for pair in side.legacy.pairs}
        self.assertTrue(all(id(weight) in carried for weight in model.weights))
        scale = float(np.max(np.abs(model(x))))
        self.assertAllClose(model(x), side(x), atol=0.05 * scale, rtol=0)
        self.assertNotAllEqual(model(x), side(x))
        before = [weight.numpy() for weight in model.trainable_weights]
        trained(side, x, model.output_shape[-1])
        for weight, old in zip(model.trainable_weights, before, strict=True):
            self.assertNotAllClose(weight, old, atol=1e-7)  # every weight was trained, and went back
        content = tflite_of(side.legacy, model)
        self.assertEqual(float_operators(content), ())
        (actual,) = run_tflite(content, x).values()
        expected = side(x, training=False).numpy()
        self.assertAllClose(expected, actual, atol=0.04 * float(np.max(np.abs(expected))), rtol=0)
        self.assertAllClose(
            model(x), actual, atol=0.1 * scale, rtol=0
        )  # the float model with these weights is near too

    def test_images(self):
        self.assertFollows(images())

    def test_sequences(self):
        self.assertFollows(sequences())

    def test_ranges_begin_with_those_of_the_samples(self):
        model = sequences()
        x = 3 * self.x(model)
        side = bridged(model, x)
        (first,) = (layer for layer in side.legacy.model.layers if type(layer).__name__ == "QuantizeLayer")
        low, high = (variable for variable in first.weights if variable.name.split(":")[0].endswith(("min", "max")))
        self.assertAllClose([low.numpy(), high.numpy()], [0.0, x.max()], atol=1e-4)

    def test_zeros_stay_zero_in_layers_that_tfmot_knows_and_in_others(self):
        model = sequences()
        for name in ("conv1d", "head"):
            kernel = model.get_layer(name).kernel
            kernel.assign(np.where(np.abs(kernel) > np.median(np.abs(kernel)), kernel, 0))
        zeros = {name: model.get_layer(name).kernel.numpy() == 0 for name in ("conv1d", "head")}
        x = self.x(model)
        trained(bridged(model, x, "sparsity"), x, 3)
        for name, before in zeros.items():
            self.assertAllEqual(model.get_layer(name).kernel.numpy() == 0, before)

    def test_tokens_are_not_rounded(self):
        tokens = keras.Input((5,), dtype="int32", name="tokens")
        x = layers.Dense(4, name="dense")(layers.Flatten()(layers.Embedding(9, 3, name="words")(tokens)))
        model = keras.Model(tokens, x)
        x = np.random.default_rng(0).integers(0, 9, (16, 5))
        side = bridged(model, x)
        self.assertAllClose(model(x), side(x), atol=0.05 * float(np.max(np.abs(model(x)))), rtol=0)


if __name__ == "__main__":
    tf.test.main()
