"""How small each model can be made, worked out beforehand: nothing prunable may be left whole.

A group keeps at least one channel, so the smallest model is narrow everywhere, and its multiply-adds are those of one
channel in each group. Those of the topologies are in tests/end_to_end/test_topologies.py.
"""

import tensorflow as tf

from tfcompress import zoo
from tfcompress.costs import CostModel
from tfcompress.graph import ChannelGroups, LayerGraph

CIFAR = {"input_shape": (32, 32, 3), "classes": 10}


def resnet_padded(n):
    """ResNet 6n + 2 whose shortcuts pad with zeros.

    The 16 channels of the first section lie within the 32 of the second, and these within the 64 of the third: a
    channel of each part makes streams of 1, 2 and 3 channels. Each block has 1 channel inside.
    """
    macs = 32 * 32 * 9 * 3 * 1  # stem
    macs += n * 32 * 32 * 9 * (1 + 1)
    # The first block of a section reads the narrower stream.
    macs += 16 * 16 * 9 * (1 + 2) + (n - 1) * 16 * 16 * 9 * (2 + 2)
    macs += 8 * 8 * 9 * (2 + 3) + (n - 1) * 8 * 8 * 9 * (3 + 3)
    return macs + 3 * 10


def resnet_projected(n):
    """ResNet 6n + 2 whose shortcuts are convolutions: each section has a stream of its own, of 1 channel."""
    macs = 32 * 32 * 9 * 3
    macs += n * 9 * 2 * (32 * 32 + 16 * 16 + 8 * 8)
    return macs + 16 * 16 + 8 * 8 + 10


def resnet18(stem, sizes, classes):
    """A stem, and four sections of two blocks on images of these sizes; three projections, a classifier."""
    return stem + sum(4 * 9 * size**2 for size in sizes) + sum(size**2 for size in sizes[1:]) + classes


def mobilenet_v2(stem_size, sections, classes):
    """A stem, and blocks that expand (but the first), filter each channel and project; a last convolution."""
    macs = stem_size**2 * 27 + stem_size**2 * (9 + 1)
    size = stem_size
    for repeat, strides in sections:
        for block in range(repeat):
            out = size // strides if block == 0 else size
            macs += size**2 + out**2 * (9 + 1)
            size = out
    return macs + size**2 + classes


def vgg16(first_size):
    """Convolutions of 2, 2, 3, 3 and 3 in sections that halve the image: the first reads 3 channels, all others 1."""
    return first_size**2 * 9 * 2 + sum((first_size >> i) ** 2 * 9 * n for i, n in enumerate((2, 2, 3, 3, 3)))


# Model, fewest multiply-adds, and the share of the whole that this is at most.
ZOO = {
    "ResNet-20, padded": (lambda: zoo.resnet20(), resnet_padded(3), 0.0030),
    "ResNet-20, projected": (lambda: zoo.resnet20(shortcut="conv"), resnet_projected(3), 0.0025),
    "ResNet-32, padded": (lambda: zoo.resnet32(), resnet_padded(5), 0.0027),
    "ResNet-56, padded": (lambda: zoo.resnet56(), resnet_padded(9), 0.0025),
    "ResNet-56, projected": (lambda: zoo.resnet56(shortcut="conv"), resnet_projected(9), 0.0020),
    "ResNet-18, 32": (lambda: zoo.resnet18(**CIFAR), resnet18(32**2 * 27, (32, 16, 8, 4), 10), 0.00015),
    "ResNet-18, 224": (lambda: zoo.resnet18(), resnet18(112**2 * 49 * 3, (56, 28, 14, 7), 1000), 0.0012),
    "MobileNetV2, 32": (
        lambda: zoo.mobilenet_v2(**CIFAR),
        mobilenet_v2(32, ((2, 1), (3, 2), (4, 2), (3, 1), (3, 2), (1, 1)), 10),
        0.0009,
    ),
    "MobileNetV2, 224": (
        lambda: zoo.mobilenet_v2(),
        mobilenet_v2(112, ((2, 2), (3, 2), (4, 2), (3, 1), (3, 2), (1, 1)), 1000),
        0.0020,
    ),
    "VGG-16, 32": (lambda: zoo.vgg16(**CIFAR), vgg16(32) + 10, 0.00015),
    # 2 x 2 positions are flattened.
    "VGG-16, 64": (lambda: zoo.vgg16(input_shape=(64, 64, 3), classes=10), vgg16(64) + 2 * 2 + 1 + 10, 0.00015),
}


class SmallestTest(tf.test.TestCase):
    def test_zoo(self):
        for name, (build, smallest, share) in ZOO.items():
            with self.subTest(name=name):
                groups = ChannelGroups.of(LayerGraph.from_keras(build()))
                predicted = CostModel(groups)
                self.assertEqual(groups.unknown, ())
                # What stays whole is what the classifier gives, and nothing else.
                self.assertEqual([(f.layer, f.reason) for f in groups.fixed], [("classifier", "output of the model")])
                self.assertEqual(predicted.smallest.macs, smallest)
                self.assertLessEqual(predicted.smallest.macs, share * predicted.total.macs)

    def test_the_stream_of_a_padded_resnet_is_three_groups(self):
        groups = ChannelGroups.of(LayerGraph.from_keras(zoo.resnet20()))
        along = {group.name: group.size for group in groups if "classifier" in group.readers}
        inside = [group.size for group in groups if "classifier" not in group.readers]
        self.assertEqual(sorted(along.values()), [16, 16, 32])
        self.assertEqual(inside, [16] * 3 + [32] * 3 + [64] * 3)
        writers = {name: len(groups[name].producers) for name in along}
        # The stem and all 9 second convolutions; those of the last two sections; those of the last.
        self.assertEqual(sorted(writers.values()), [3, 6, 10])


if __name__ == "__main__":
    tf.test.main()
