"""What one action of RLAL's agent prunes (appendix A.1): the channels inside a block, or a group where there are none."""

import keras
import tensorflow as tf
from keras import layers

from tfcompress import zoo
from tfcompress.channels import pruning_units
from tfcompress.graph import ChannelGroups, LayerGraph


def units_of(model):
    return pruning_units(ChannelGroups.of(LayerGraph.from_keras(model)))


def conv(x, filters, kernel_size, name, **settings):
    return layers.Conv2D(filters, kernel_size, padding="same", name=name, **settings)(x)


def block_names(repeats, first_section=1):
    return [f"section{s}_block{b}" for s, n in enumerate(repeats, first_section) for b in range(1, n + 1)]


class PruningUnitsTest(tf.test.TestCase):
    def assertInnerConvolutions(self, model, blocks, sizes):
        """One unit a block: written by its first convolution, read by its second."""
        units = units_of(model)
        self.assertEqual([unit.size for unit in units], sizes)
        for unit, block in zip(units, blocks, strict=True):
            (group,) = unit.groups
            self.assertEqual(group.producers, (f"{block}_conv1",))
            self.assertEqual(group.readers, (f"{block}_conv2",))
            self.assertEqual(group.carriers, (f"{block}_bn1",))

    def test_resnet20(self):
        for shortcut in ("pad", "conv"):
            model = zoo.resnet20((8, 8, 1), 10, shortcut=shortcut)
            self.assertInnerConvolutions(model, block_names((3, 3, 3)), [16] * 3 + [32] * 3 + [64] * 3)

    def test_resnet18(self):
        model = zoo.resnet18((8, 8, 3), 10)
        self.assertInnerConvolutions(model, block_names((2, 2, 2, 2)), [64] * 2 + [128] * 2 + [256] * 2 + [512] * 2)

    def test_mobilenet_v2(self):
        """16 expansions of its 17 blocks (the first widens nothing): six times the channels that enter the block."""
        units = units_of(zoo.mobilenet_v2((32, 32, 3), 10))
        entering = [16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160]
        self.assertEqual([unit.size for unit in units], [6 * channels for channels in entering])
        for unit, block in zip(units, block_names((2, 3, 4, 3, 3, 1), 2), strict=True):
            (group,) = unit.groups
            self.assertEqual(group.producers, (f"{block}_expand_conv",))
            self.assertEqual(group.readers, (f"{block}_project_conv",))
            self.assertContainsSubset([f"{block}_depthwise_conv"], group.carriers)

    def test_without_blocks_every_group_that_a_layer_reads(self):
        inputs = keras.Input((8, 8, 1))
        x = conv(inputs, 4, 3, "conv1", activation="relu")
        x = conv(x, 6, 3, "conv2", activation="relu")
        x = layers.Dense(5, name="hidden")(layers.Flatten()(x))
        units = units_of(keras.Model(inputs, layers.Dense(3, name="classifier")(x)))
        self.assertEqual([(unit.name, unit.size) for unit in units], [("conv1", 4), ("conv2", 6), ("hidden", 5)])

    def test_vgg13(self):
        units = units_of(zoo.vgg13((32, 32, 3), 10))
        self.assertEqual([unit.size for unit in units], [64] * 2 + [128] * 2 + [256] * 2 + [512] * 4)

    def test_a_bottleneck_is_one_unit_of_two_groups(self):
        inputs = keras.Input((8, 8, 1))
        x = conv(inputs, 8, 3, "stem")
        for block in ("one", "two"):
            y = layers.ReLU()(layers.BatchNormalization()(conv(x, 3, 1, f"{block}_a")))
            y = layers.ReLU()(layers.BatchNormalization()(conv(y, 5, 3, f"{block}_b")))
            x = layers.Add()([x, conv(y, 8, 1, f"{block}_c")])
        units = units_of(keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x))))
        found = [[(group.name, group.size) for group in unit.groups] for unit in units]
        self.assertEqual(found, [[("one_a", 3), ("one_b", 5)], [("two_a", 3), ("two_b", 5)]])
        self.assertEqual([unit.size for unit in units], [5, 5])

    def test_the_stream_between_blocks_is_no_unit(self):
        """A block's own input and output keep their width."""
        groups = ChannelGroups.of(LayerGraph.from_keras(zoo.resnet20((8, 8, 1), 10)))
        inside = {group.name for unit in pruning_units(groups) for group in unit.groups}
        self.assertIn("stem_conv", groups.groups)
        self.assertNotIn("stem_conv", inside)
        self.assertEqual(inside, {f"{block}_conv1" for block in block_names((3, 3, 3))})
