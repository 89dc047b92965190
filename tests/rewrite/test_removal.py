"""Students with fewer layers: what they compute, what they cost."""

import json

import keras
import numpy as np
import tensorflow as tf

from tests.helpers.small_tasks import residual_network
from tfcompress import KeepChannels, Plan, RemoveLayers, cost, zoo
from tfcompress.costs import CostModel
from tfcompress.graph import ChannelGroups, LayerGraph, find_sections
from tfcompress.rewrite import apply
from tfcompress.rewrite.verify import run_without, verify


def images(count=2):
    return np.random.default_rng(0).random((count, 8, 8, 1), dtype="float32")


def second_block(model):
    """The nodes of the second block, by the sum that ends it."""
    graph = LayerGraph.from_keras(model)
    (section,) = find_sections(graph).sections
    return section.removed(1)


class StudentTest(tf.test.TestCase):
    def test_it_is_the_network_that_was_never_given_the_block(self):
        """The same layers put together by hand, without the second block."""
        model = residual_network(seed=3)
        student = apply(model, Plan.without(second_block(model)))
        layer = model.get_layer
        x = images()
        y = layer("stem_bn")(layer("stem")(x))
        stem = keras.ops.relu(y)
        inner = keras.ops.relu(layer("bn1")(layer("block1_conv1")(stem)))
        y = keras.ops.relu(stem + layer("block1_conv2")(inner))
        y = keras.ops.reshape(keras.ops.average_pool(y, 2), (len(x), -1))
        self.assertAllClose(student(x), layer("head")(y), atol=1e-6)
        self.assertAllClose(run_without(model, second_block(model), x), layer("head")(y), atol=1e-6)

    def test_weights_are_copies(self):
        model = residual_network()
        student = apply(model, Plan.without(second_block(model)))
        for weight in student.weights:
            weight.assign(weight + 1.0)
        again = apply(model, Plan.without(second_block(model)))
        self.assertNotAllClose(student.weights[0], again.weights[0])

    def test_a_shallower_network_of_the_zoo(self):
        """ResNet-20 without two blocks of each section has the layers and the cost of [1, 1, 1], worked out by hand."""
        model = zoo.resnet20()
        sections = find_sections(LayerGraph.from_keras(model))
        student = apply(model, Plan.without(sections.removed((1, 1, 1))))
        # Stem, then two 3x3 convolutions a block; the first of a section reads the width before it.
        first = 1024 * 9 * (3 * 16 + 2 * 16 * 16)
        second = 256 * 9 * (16 * 32 + 32 * 32)
        third = 64 * 9 * (32 * 64 + 64 * 64)
        self.assertEqual(cost(student).macs, first + second + third + 64 * 10)
        convolutions = [layer.name for layer in student.layers if isinstance(layer, keras.layers.Conv2D)]
        self.assertEqual(len(convolutions), 1 + 6)
        relus = [layer for layer in student.layers if isinstance(layer, keras.layers.ReLU)]
        self.assertEqual(len(relus), 1 + 6)  # none stands twice where a block was

    def test_layers_and_channels_at_once(self):
        model = residual_network(inner=(5, 7))
        plan = Plan((RemoveLayers(second_block(model)), KeepChannels("block1_conv1", (0, 2, 3))))
        student = apply(model, plan)
        self.assertLess(verify(model, plan, student, images()), 1e-5)
        self.assertEqual(student.get_layer("block1_conv1").filters, 3)

    def test_it_is_saved_and_loaded(self):
        model = residual_network()
        student = apply(model, Plan.without(second_block(model)))
        path = f"{self.get_temp_dir()}/student.keras"
        student.save(path)
        self.assertAllClose(keras.saving.load_model(path)(images()), student(images()))


class VerifyTest(tf.test.TestCase):
    def test_a_student_with_another_block_gone_is_noticed(self):
        model = residual_network(inner=(5, 5))
        plan = Plan.without(second_block(model))
        other = apply(model, plan)
        weights = {layer.name: layer.get_weights() for layer in model.layers}
        other.get_layer("block1_conv1").set_weights(weights["block2_conv1"])
        with self.assertRaisesRegex(RuntimeError, "outputs of the masked one"):
            verify(model, plan, other, images())

    def test_a_student_that_lost_nothing_is_noticed(self):
        model = residual_network()
        with self.assertRaisesRegex(RuntimeError, "plan's cost"):
            verify(model, Plan.without(second_block(model)), apply(model, Plan()), images())


class CostTest(tf.test.TestCase):
    def test_predicted_is_counted(self):
        model = zoo.resnet20(input_shape=(16, 16, 3))
        groups = ChannelGroups.of(LayerGraph.from_keras(model))
        costs, sections = CostModel(groups), find_sections(groups.graph)
        for blocks in ((3, 3, 3), (2, 3, 1), (1, 1, 1)):
            plan = Plan.without(sections.removed(blocks))
            self.assertEqual(costs.of(plan), cost(apply(model, plan, groups)))

    def test_channels_that_leave_with_the_layers_are_no_group_any_more(self):
        model = residual_network(inner=(5, 7))
        costs = CostModel(ChannelGroups.of(LayerGraph.from_keras(model)))
        plan = Plan((RemoveLayers(second_block(model)), KeepChannels("block2_conv1", (0,))))
        with self.assertRaisesRegex(KeyError, "Received: 'block2_conv1'. Known: .*block1_conv1"):
            costs.of(plan)
        with self.assertRaisesRegex(KeyError, "Received: 'block2_conv1'"):
            apply(model, plan)


class RefusedTest(tf.test.TestCase):
    def test_channels_are_those_of_what_is_left(self):
        """In the source `first` and `second` have channels of their own; without `second`, what `first` gives is read by `last`."""
        x = keras.Input((8, 8, 3), name="image")
        y = keras.layers.Conv2D(4, 3, padding="same", name="first")(x)
        y = keras.layers.Conv2D(4, 3, padding="same", name="second")(y)
        model = keras.Model(x, keras.layers.Conv2D(2, 1, name="last")(y))
        plan = Plan((RemoveLayers(("second",)), KeepChannels("first", (0, 1))))
        student = apply(model, plan)
        rng = np.random.default_rng(0)
        self.assertLess(verify(model, plan, student, rng.random((2, 8, 8, 3), dtype="float32")), 1e-5)
        kernel = model.get_layer("last").get_weights()[0]
        self.assertAllEqual(student.get_layer("last").get_weights()[0], kernel[:, :, :2])

    def test_a_part_that_changes_the_shape(self):
        with self.assertRaisesRegex(ValueError, "same shape as their inputs"):
            apply(residual_network(), Plan.without(("stem", "stem_bn")))


class PlanTest(tf.test.TestCase):
    def test_json(self):
        plan = Plan((RemoveLayers(("a", "b")), KeepChannels("c", (0, 2))))
        found = json.loads(plan.to_json())["edits"]
        self.assertEqual(found[0], {"edit": "RemoveLayers", "nodes": ["a", "b"]})
        self.assertEqual(Plan.from_json(plan.to_json()), plan)

    def test_refused(self):
        for nodes in ((), ("a", "a"), "ab", ("",), (1,)):
            with self.assertRaisesRegex(ValueError, "names of nodes"):
                RemoveLayers(nodes)
        with self.assertRaisesRegex(ValueError, r"each node. Received several for \['a'\]"):
            Plan((RemoveLayers(("a",)), RemoveLayers(("a", "b"))))


if __name__ == "__main__":
    tf.test.main()
