"""ResNeXt: closed forms of its counts, its shortcuts, and its cardinality."""

import math

import counted
import keras
import numpy as np
import tensorflow as tf

from tfcompress import zoo
from tfcompress.graph import ChannelGroups, LayerGraph
from tfcompress.plan import Plan
from tfcompress.rewrite import apply

SMALL = {"input_shape": (11, 7, 3), "classes": 5, "cardinality": 3, "base_width": 2}


def resnext(blocks, cardinality=32, base_width=4, sizes=(32 * 32, 16 * 16, 8 * 8), classes=10, projections=True):
    """`(params, macs)` of the network with so many blocks a section; `sizes` are the pixels in each section."""
    params, macs, channels, before = 9 * 3 * 64 + 2 * 64, sizes[0] * 9 * 3 * 64, 64, sizes[0]
    for section, size in enumerate(sizes):
        width, inner = 256 * 2**section, cardinality * base_width * 2**section
        for block in range(blocks):
            # The strided convolution is the second one: the first still sees the section before.
            macs += before * channels * inner + size * (9 * inner * inner // cardinality + inner * width)
            params += channels * inner + 9 * inner * inner // cardinality + inner * width + 2 * (inner + inner + width)
            if block == 0 and projections:
                macs += size * channels * width
                params += channels * width + 2 * width
            channels, before = width, size
    return params + channels * classes + classes, macs + channels * classes


class CountsTest(counted.CountedTest):
    def test_all_depths(self):
        # Published for CIFAR-10 with 3 blocks a section, as "ResNeXt-29": 4,775,754 (32x4d), 68,155,210 (16x64d).
        self.assertEqual(resnext(3)[0], 4_775_754)
        self.assertEqual(resnext(3, 16, 64)[0], 68_155_210)
        self.check(zoo.resnext20(cardinality=16, base_width=64), *resnext(3, 16, 64))
        for depth, blocks in {20: 3, 32: 5, 44: 7, 56: 9, 110: 18}.items():
            with self.subTest(depth=depth):
                self.check(getattr(zoo, f"resnext{depth}")(), *resnext(blocks))

    def test_other_sizes(self):
        # 11 x 7 pixels become 6 x 4 and 3 x 2.
        self.check(zoo.resnext20(**SMALL), *resnext(3, 3, 2, (77, 24, 6), 5))
        self.check(zoo.resnext20(**SMALL, shortcut="pad"), *resnext(3, 3, 2, (77, 24, 6), 5, projections=False))

    def test_half_of_the_groups_gone_is_half_the_cardinality(self):
        model = zoo.resnext20(SMALL["input_shape"], cardinality=6, base_width=1)
        groups = ChannelGroups.of(LayerGraph.from_keras(model))
        # Of a block's inner channels only whole groups can go: they are what the plan counts.
        inner = [group for group in groups if group.size == 6]
        self.assertLen(inner, 9)
        student = apply(model, Plan.keeping({group.name: (0, 2, 5) for group in inner}), groups)
        self.check(student, *resnext(3, 3, 1, (77, 24, 6)))
        same = zoo.resnext20(SMALL["input_shape"], cardinality=3, base_width=1)
        self.assertEqual([w.shape for w in student.weights], [w.shape for w in same.weights])


class ResNeXtTest(tf.test.TestCase):
    def test_a_projection_stands_where_the_shape_changes_and_nowhere_else(self):
        model = zoo.resnext20(**SMALL)
        names = [layer.name for layer in model.layers if "shortcut_conv" in layer.name]
        self.assertEqual(names, [f"section{n}_block1_shortcut_conv" for n in (1, 2, 3)])
        self.assertEqual([model.get_layer(name).strides for name in names], [(1, 1), (2, 2), (2, 2)])
        self.assertEqual(model.get_layer("section3_block2_conv2").groups, 3)

    def test_block_by_hand(self):
        """relu(bn3(conv3(relu(bn2(grouped(relu(bn1(conv1(x)))))))) + x), the groups each on their own."""
        model = zoo.resnext20(**SMALL)
        get = model.get_layer
        rng = np.random.default_rng(0)
        for variable in model.variables:
            if variable.name in ("beta", "moving_mean"):
                variable.assign(rng.normal(0, 0.3, variable.shape))
        ends = [get(name).output for name in ("section1_block1_relu3", "section1_block2_relu3")]
        x, expected = keras.Model(model.input, ends)(rng.random((2, 11, 7, 3), "float32"))
        y = tf.nn.relu(get("section1_block2_bn1")(tf.nn.conv2d(x, get("section1_block2_conv1").kernel, 1, "SAME")))
        kernel = get("section1_block2_conv2").kernel.numpy()  # [3, 3, 2, 3 * 2]
        y = [tf.nn.conv2d(y[..., i : i + 2], kernel[..., i : i + 2], 1, "SAME") for i in (0, 2, 4)]
        y = tf.nn.relu(get("section1_block2_bn2")(tf.concat(y, -1)))
        y = get("section1_block2_bn3")(tf.nn.conv2d(y, get("section1_block2_conv3").kernel, 1, "SAME"))
        self.assertAllClose(tf.nn.relu(y + x), expected, atol=1e-5)
        self.assertEqual(math.prod(expected.shape), 2 * 77 * 256)

    def test_outputs_are_logits_or_probabilities(self):
        for name in (None, "softmax"):
            model = zoo.resnext20(**SMALL, classifier_activation=name)
            self.assertEqual(model.output_shape, (None, 5))
            self.assertEqual(model.layers[-1].activation, keras.activations.get(name))

    def test_bad_settings_are_refused(self):
        with self.assertRaisesRegex(ValueError, r"\('pad', 'conv'\).*shortcut='identity'"):
            zoo.resnext20(shortcut="identity")
        with self.assertRaisesRegex(ValueError, "cardinality=0"):
            zoo.resnext20(cardinality=0)
        with self.assertRaisesRegex(ValueError, "base_width=1.5"):
            zoo.resnext20(base_width=1.5)


if __name__ == "__main__":
    tf.test.main()
