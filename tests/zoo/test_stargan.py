"""StarGAN: closed forms of the counts of both networks, their shapes, and their arithmetic on small images."""

import pathlib

import counted
import keras
import numpy as np
import oracles
import tensorflow as tf

from tfcompress import zoo
from tfcompress.export import convert, run_tflite

# The sides are 4 times prime numbers.
SMALL = {"input_shape": (12, 20, 3), "domains": 2, "width": 5}


def generator(pixels, blocks, domains=5, width=64):
    """`(params, macs)`: an image of so many pixels, a quarter of them after the first strided convolution."""
    w = width
    # Kernels, the positions they are multiplied at, and the channels that are normalised behind them.
    parts = [(49 * (3 + domains) * w, pixels, w), (16 * w * 2 * w, pixels // 4, 2 * w)]
    parts += [(16 * 2 * w * 4 * w, pixels // 16, 4 * w)]
    parts += 2 * blocks * [(9 * 4 * w * 4 * w, pixels // 16, 4 * w)]
    # Of a transposed convolution each position of the input is multiplied with the whole kernel.
    parts += [(16 * 4 * w * 2 * w, pixels // 16, 2 * w), (16 * 2 * w * w, pixels // 4, w), (49 * w * 3, pixels, 0)]
    assert len(parts) == 6 + 2 * blocks
    return sum(kernel + 2 * norm for kernel, _, norm in parts), sum(kernel * size for kernel, size, _ in parts)


def discriminator(pixels, layers, domains=5, width=64):
    """`(params, macs)`: strided convolutions with biases, 3x3 to the source, and one of the whole image to the domains."""
    params = macs = 0
    channels, filters = 3, width
    for _ in range(layers):
        pixels //= 4
        params += 16 * channels * filters + filters
        macs += pixels * 16 * channels * filters
        channels, filters = filters, 2 * filters
    heads = 9 * channels * pixels, pixels * channels * domains
    return params + 9 * channels + heads[1], macs + sum(heads)


class CountsTest(counted.CountedTest):
    def test_generator(self):
        # The authors' program prints 8,430,528 and 44,762,048 parameters for 5 domains.
        self.assertEqual(generator(128 * 128, 6), (8_430_528, 9_960_423_424))
        self.check(zoo.stargan_generator(), *generator(128 * 128, 6))
        self.check(zoo.stargan_generator(blocks=2), *generator(128 * 128, 2))
        self.check(zoo.stargan_generator(**SMALL, blocks=3), *generator(240, 3, 2, 5))

    def test_discriminator(self):
        self.assertEqual(discriminator(128 * 128, 6), (44_762_048, 683_786_240))
        self.check(zoo.stargan_discriminator(), *discriminator(128 * 128, 6))
        self.check(zoo.stargan_discriminator((32, 32, 3), 10, layers=5), *discriminator(32 * 32, 5, 10))
        self.check(zoo.stargan_discriminator(**SMALL, layers=2), *discriminator(240, 2, 2, 5))

    def test_convolutions_of_the_generator(self):
        # LIT: 18 convolutional layers with six residual blocks, 10 with two.
        for blocks, count in ((6, 18), (2, 10)):
            layers = zoo.stargan_generator((8, 8, 3), blocks=blocks, width=1).layers
            kinds = keras.layers.Conv2D | keras.layers.Conv2DTranspose
            self.assertEqual(sum(isinstance(layer, kinds) for layer in layers), count)


class StarGanTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        keras.utils.set_random_seed(0)
        cls.generator = zoo.stargan_generator(**SMALL, blocks=1)
        cls.discriminator = zoo.stargan_discriminator(**SMALL, layers=2)
        rng = np.random.default_rng(0)
        cls.images = rng.uniform(-1, 1, (3, 12, 20, 3)).astype("float32")
        cls.labels = np.array([[1, 0], [0, 1], [1, 1]], "float32")

    def test_images_come_out_as_they_go_in(self):
        outputs = self.generator([self.images, self.labels])
        self.assertEqual(outputs.shape, self.images.shape)
        self.assertAllLess(np.abs(outputs), 1.0)

    def test_labels_are_spread_over_the_image(self):
        probe = keras.Model(self.generator.inputs, self.generator.get_layer("image_and_labels").output)
        stacked = probe([self.images, self.labels])
        self.assertAllEqual(stacked[..., :3], self.images)
        for label in (0, 1):
            self.assertAllEqual(
                stacked[..., 3 + label], np.broadcast_to(self.labels[:, label, None, None], (3, 12, 20))
            )

    def test_normalisation_takes_each_image_and_channel_on_its_own(self):
        rng = np.random.default_rng(1)
        layer = self.generator.get_layer("down2_norm")
        gamma, beta = rng.normal(size=20).astype("float32"), rng.normal(size=20).astype("float32")
        before = [v.numpy() for v in layer.weights]
        layer.set_weights([gamma, beta])
        x = rng.normal(size=(2, 3, 5, 20)).astype("float32")
        mean, variance = x.mean((1, 2), keepdims=True), x.var((1, 2), keepdims=True)
        self.assertAllClose(layer(x), (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta, atol=1e-5)
        layer.set_weights(before)

    def test_block_adds_to_what_it_reads(self):
        get = self.generator.get_layer
        read, written = get("section1_block1_conv1").input, get("section1_block1_norm2").output
        probe = keras.Model(self.generator.inputs, [read, written, get("up1_conv").input])
        x, y, total = probe([self.images, self.labels])
        self.assertAllClose(x + y, total)
        self.assertLess(float(np.min(total)), 0)  # no ReLU behind the sum

    def test_heads_of_the_discriminator(self):
        source, domains = self.discriminator(self.images)
        self.assertEqual((source.shape, domains.shape), ((3, 3, 5, 1), (3, 2)))
        probe = keras.Model(self.discriminator.input, self.discriminator.get_layer("down2_relu").output)
        features = probe(self.images)
        kernel = self.discriminator.get_layer("domains_conv").kernel
        self.assertEqual(kernel.shape, (3, 5, 10, 2))
        self.assertAllClose(domains, np.einsum("bhwc,hwcd->bd", features, kernel), atol=1e-5)
        self.assertAlmostEqual(self.discriminator.get_layer("down1_relu").negative_slope, 0.01)

    def test_gradients_reach_every_weight_of_the_generator_and_the_labels(self):
        images, labels = tf.constant(self.images), tf.constant(self.labels)
        with tf.GradientTape() as tape:
            tape.watch(labels)
            source, domains = self.discriminator(self.generator([images, labels]))
            loss = tf.reduce_mean(source) + tf.reduce_mean(domains**2)
        weights = self.generator.trainable_weights
        gradients = tape.gradient(loss, [labels, *(w.value for w in weights)])
        self.assertTrue(all(np.isfinite(g).all() and np.any(g) for g in gradients))

    def test_files_load_where_only_keras_is_installed(self):
        path = pathlib.Path(self.get_temp_dir()) / "model.keras"
        for model, inputs in ((self.generator, [self.images, self.labels]), (self.discriminator, self.images)):
            model.save(path)
            self.assertNotIn("tfcompress", model.to_json())
            self.assertAllEqual(oracles.call(keras.models.load_model(path), inputs)[0], oracles.call(model, inputs)[0])

    def test_generator_as_tflite(self):
        inputs = {"image": self.images, "labels": self.labels}
        outputs = run_tflite(convert(self.generator), inputs)["head_tanh"]
        self.assertAllClose(outputs, self.generator([self.images, self.labels]), atol=1e-5)

    def test_bad_settings_are_refused(self):
        with self.assertRaisesRegex(ValueError, r"multiples of 4.*\(30, 32, 3\)"):
            zoo.stargan_generator((30, 32, 3))
        with self.assertRaisesRegex(ValueError, r"multiples of 64.*\(32, 32, 3\)"):
            zoo.stargan_discriminator((32, 32, 3))
        with self.assertRaisesRegex(ValueError, r"\(None, None, 3\)"):
            zoo.stargan_generator((None, None, 3))
        with self.assertRaisesRegex(ValueError, "blocks=-1"):
            zoo.stargan_generator(blocks=-1)
        with self.assertRaisesRegex(ValueError, "layers=0"):
            zoo.stargan_discriminator(layers=0)


if __name__ == "__main__":
    tf.test.main()
