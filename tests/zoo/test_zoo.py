"""The zoo's networks have the parameters and MACs that are published for them."""

import math
from unittest import mock

import keras
import numpy as np
import tensorflow as tf

from tfcompress import zoo
from tfcompress.costs import cost

CIFAR = {"input_shape": (32, 32, 3), "classes": 10}


def counted(model):
    """`(params, macs)` by a walk over the layers that knows nothing of tfcompress.

    One product per entry of the kernel and position of the output, for every kind of layer that the zoo uses.
    """
    macs = 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
            macs += math.prod(layer.output.shape[1:3]) * math.prod(layer.kernel.shape)
        elif isinstance(layer, keras.layers.Dense):
            macs += math.prod(layer.kernel.shape)
    return sum(math.prod(weight.shape) for weight in model.trainable_weights), macs


def cifar_resnet(n):
    """`(params, macs)` of the network of depth 6n + 2 with parameter-free shortcuts and ten classes."""
    kernels = [9 * 3 * 16 + 2 * n * 9 * 16 * 16]
    kernels += [9 * 16 * 32 + (2 * n - 1) * 9 * 32 * 32, 9 * 32 * 64 + (2 * n - 1) * 9 * 64 * 64]
    batch_norms = 2 * (16 + 2 * n * (16 + 32 + 64))
    macs = 32 * 32 * kernels[0] + 16 * 16 * kernels[1] + 8 * 8 * kernels[2] + 64 * 10
    return sum(kernels) + batch_norms + 64 * 10 + 10, macs


def vgg_convolutions(repeats, first_size):
    """`(kernel entries, macs, filters)` of the convolutions of a VGG network."""
    entries = macs = filters = 0
    channels, size = 3, first_size
    for width, repeat in zip((64, 128, 256, 512, 512), repeats, strict=True):
        for _ in range(repeat):
            entries += 9 * channels * width
            macs += size * size * 9 * channels * width
            filters += width
            channels = width
        size //= 2
    return entries, macs, filters


def vgg_large(repeats):
    """`(params, macs)` at 224x224x3 with 1000 classes, biases and no BatchNormalization."""
    entries, macs, filters = vgg_convolutions(repeats, 224)
    dense = 7 * 7 * 512 * 4096 + 4096 * 4096 + 4096 * 1000
    return entries + filters + dense + 4096 + 4096 + 1000, macs + dense


def vgg_small(repeats):
    """`(params, macs)` at 32x32x3 with 10 classes and BatchNormalization in place of biases."""
    entries, macs, filters = vgg_convolutions(repeats, 32)
    return entries + 2 * filters + 512 * 10 + 10, macs + 512 * 10


class CountsTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        # Counts need no random weights, which for a VGG take seconds.
        zeros = mock.patch.object(keras.initializers.VarianceScaling, "__call__", keras.initializers.Zeros.__call__)
        self.enterContext(zeros)

    def check(self, model, params, macs):
        """Both routes give the expected `params` and `macs`."""
        self.assertEqual(counted(model), (params, macs))
        result = cost(model)
        self.assertEqual((result.params, result.macs), (params, macs))

    def test_cifar_resnets(self):
        # Table 6 of He et al. gives 0.27, 0.46, 0.66, 0.85 and 1.7 M parameters.
        published = {20: 269_722, 32: 464_154, 44: 658_586, 56: 853_018, 110: 1_727_962}
        for depth, params in published.items():
            with self.subTest(depth=depth):
                expected = cifar_resnet((depth - 2) // 6)
                self.assertEqual(expected[0], params)
                self.check(getattr(zoo, f"resnet{depth}")(), *expected)
        self.assertEqual(cifar_resnet(9)[1], 125_485_696)  # ResNet-56: 125 M

    def test_convolution_shortcuts_add_two_projections(self):
        plain, projected = counted(zoo.resnet20()), counted(zoo.resnet20(shortcut="conv"))
        self.assertEqual(projected[0] - plain[0], 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64)
        self.assertEqual(projected[1] - plain[1], 16 * 16 * 16 * 32 + 8 * 8 * 32 * 64)

    def test_resnet18_and_34(self):
        self.check(zoo.resnet18(**CIFAR), 11_173_962, 555_422_720)  # 11.17 M, 0.56 G
        self.check(zoo.resnet34(**CIFAR), 21_282_122, 1_159_402_496)  # 21.28 M, 1.16 G
        self.check(zoo.resnet18(), 11_689_512, 1_814_073_344)  # 11.69 M, 1.81 G
        self.check(zoo.resnet34(), 21_797_672, 3_663_761_408)  # 21.80 M, 3.66 G

    def test_mobilenet_v2(self):
        # Table 4 of Sandler et al.: 3.4 M and 300 M; torchvision and Keras count 3,504,872 parameters.
        self.check(zoo.mobilenet_v2(), 3_504_872, 300_774_272)
        self.check(zoo.mobilenet_v2(width=0.5), 1_968_680, 97_131_840)  # 97 M in the same table

    def test_mobilenet_v2_for_small_images(self):
        model = zoo.mobilenet_v2(**CIFAR)
        # 1000 - 10 classes fewer, each with 1280 weights and a bias.
        self.check(model, 3_504_872 - 990 * 1281, 87_976_448)
        self.assertEqual(model.get_layer("section2_block1_project_bn").output.shape[1:], (32, 32, 24))
        self.assertEqual(model.get_layer("head_relu").output.shape[1:], (4, 4, 1280))

    def test_vgg_for_large_images(self):
        self.assertEqual(vgg_large((2, 2, 2, 2, 2))[0], 133_047_848)  # 133.05 M, 11.3 G
        self.assertEqual(vgg_large((2, 2, 3, 3, 3)), (138_357_544, 15_470_264_320))  # 138.36 M, 15.47 G
        self.assertEqual(vgg_large((2, 2, 4, 4, 4)), (143_667_240, 19_632_062_464))  # 143.67 M, 19.63 G
        for build, repeats in (
            (zoo.vgg13, (2, 2, 2, 2, 2)),
            (zoo.vgg16, (2, 2, 3, 3, 3)),
            (zoo.vgg19, (2, 2, 4, 4, 4)),
        ):
            self.check(build(), *vgg_large(repeats))

    def test_vgg_for_small_images(self):
        self.assertEqual(vgg_small((2, 2, 3, 3, 3)), (14_724_042, 313_201_664))  # 14.72 M, 313 M
        self.check(zoo.vgg13(**CIFAR), *vgg_small((2, 2, 2, 2, 2)))
        self.check(zoo.vgg16(**CIFAR), *vgg_small((2, 2, 3, 3, 3)))
        self.check(zoo.vgg19(**CIFAR), *vgg_small((2, 2, 4, 4, 4)))

    def test_vgg_without_batch_norm_has_biases_instead(self):
        params, macs = vgg_small((2, 2, 2, 2, 2))
        filters = 2 * (64 + 128 + 256 + 512 + 512)
        self.check(zoo.vgg13(batch_norm=False, **CIFAR), params - filters, macs)


class ZooTest(tf.test.TestCase):
    def test_mobilenet_v2_width_is_above_zero(self):
        with self.assertRaisesRegex(ValueError, "width=-1"):
            zoo.mobilenet_v2(width=-1)

    def test_mobilenet_v2_never_narrows_its_last_convolution(self):
        model = zoo.mobilenet_v2(width=0.35, **CIFAR)
        # 0.35 * 32 = 11.2 would round to 8, which is below 90% of it.
        self.assertEqual(model.get_layer("stem_conv").filters, 16)
        self.assertEqual(model.get_layer("head_conv").filters, 1280)

    def test_vgg_refuses_images_that_five_poolings_would_make_empty(self):
        with self.assertRaisesRegex(ValueError, r"at least 32 pixels.*\(28, 28, 1\)"):
            zoo.vgg13(input_shape=(28, 28, 1))

    def test_outputs_are_logits_or_probabilities(self):
        images = np.random.default_rng(0).random((2, 8, 8, 3), "float32")
        keras.utils.set_random_seed(0)
        logits = zoo.resnet20(input_shape=(8, 8, 3))(images)
        keras.utils.set_random_seed(0)
        probabilities = zoo.resnet20(input_shape=(8, 8, 3), classifier_activation="softmax")(images)
        self.assertAllClose(keras.ops.softmax(logits), probabilities, atol=1e-6)
        for build in (zoo.mobilenet_v2, zoo.vgg13):
            for name in (None, "softmax"):
                model = build(classifier_activation=name, **CIFAR)
                self.assertEqual(model.output_shape, (None, 10))
                self.assertEqual(model.layers[-1].activation, keras.activations.get(name))

    def test_padded_shortcut_subsamples_and_adds_channels_of_zeros(self):
        model = zoo.resnet20(input_shape=(8, 8, 3))
        # With the block's last scale and shift at 0 the block is its shortcut.
        gamma, beta, mean, variance = model.get_layer("section2_block1_bn2").get_weights()
        model.get_layer("section2_block1_bn2").set_weights([0 * gamma, 0 * beta, mean, variance])
        names = ("section1_block3_relu2", "section2_block1_relu2")
        probe = keras.Model(model.input, [model.get_layer(name).output for name in names])
        before, after = probe(np.random.default_rng(0).random((2, 8, 8, 3), "float32"))
        expected = np.zeros((2, 4, 4, 32), "float32")
        expected[..., 8:24] = before[:, ::2, ::2, :]
        self.assertAllEqual(after, expected)


if __name__ == "__main__":
    tf.test.main()
