"""Code of the pages on methods, layers and replacements of one's own runs as it stands there, and does what they say."""

from unittest import mock

import doc_pages
import few_steps
import keras
import numpy as np
import oracles
import small_tasks
import tensorflow as tf
from keras import layers

import tfcompress
import tfcompress.replacements
from tfcompress.costs import CostModel, cost
from tfcompress.graph import ChannelGroups, LayerGraph
from tfcompress.plan import Plan
from tfcompress.rewrite import apply


class OwnMethodTest(doc_pages.PageTest):
    def opened(self, **sizes):
        model = small_tasks.residual_network(activation="softmax", **sizes)
        return self.open_page("docs/guides/own_method.md", model=model, data=small_tasks.pictures())

    def test_the_deepest_layers_are_narrowed_first(self):
        page = self.opened(inner=(5, 7))
        lines = page.left[0].code.split("@register_method")[1].strip().splitlines()
        self.assertLess(len(lines), 45)
        result = page.run()["result"]
        # The stem writes 6 channels at 4 x 4 places by 3 x 3 kernels, each block reads and writes 6 of them; 24 features
        # for 4 classes. Half of 16 x 9 x (6 + 12 x (5 + 7)) + 96 is 10848. With one channel left in the second block,
        # four of the first one fit: 16 x 9 x (6 + 12 x (4 + 1)) + 96 = 9600; one more has 11328.
        names = ("stem", "block1_conv1", "block2_conv1")
        self.assertEqual([result.model.get_layer(name).filters for name in names], [6, 4, 1])
        self.assertEqual((result.before.macs, result.after.macs), (21696, 9600))
        self.assertLen(result.history["recover"]["loss"], 2)

    def test_it_is_known_by_name_and_obeys_the_control(self):
        page = self.opened()
        made = page.run()
        self.assertIs(tfcompress.methods.registered_methods()["one_end_first"], made["OneEndFirst"])
        task = small_tasks.task_without_data(made["model"], {"macs": 0.6}, round_to=2)
        for deepest in (True, False):
            (candidate,) = made["OneEndFirst"](deepest=deepest).search(task).candidates
            widths = {edit.group: len(edit.indices) for edit in candidate.trail.last.channels}
            self.assertLessEqual(candidate.cost.macs, task.limits["macs"])
            self.assertEqual([width % 2 for width in widths.values() if width not in (5, 7)], [0] * len(widths))
            self.assertEqual("stem" in widths, not deepest)


class OwnLayerTest(doc_pages.PageTest):
    def test_the_layer_with_its_handler_is_pruned(self):
        self.enterContext(mock.patch.object(few_steps, "STEPS", 0))  # a layer of one's own has to be traced
        made = self.open_page("docs/guides/own_layer.md").run()
        self.assertLess(made["result"].model.get_layer("gated").units, 12)
        x = keras.Input((4,))
        y = layers.ReLU()(made["GatedDense"](6, name="gated")(layers.Dense(5, name="before")(x)))
        model = keras.Model(x, layers.Dense(3)(y))
        for weight in model.weights:
            weight.assign(np.random.default_rng(0).normal(size=weight.shape))
        groups = ChannelGroups.of(LayerGraph.from_keras(model))
        self.assertEqual([group.name for group in groups], ["before", "gated"])
        self.assertEqual(cost(model).macs, 4 * 5 + 5 * 6 + 6 * 3)
        plan = Plan.keeping({"before": (0, 3), "gated": (1, 2, 5)})
        student = apply(model, plan)
        self.assertEqual(CostModel(groups).of(plan), cost(student))
        inputs = np.random.default_rng(1).normal(size=(7, 4)).astype("float32")
        expected = oracles.masked_outputs(model, groups, plan, inputs)
        self.assertLess(oracles.relative_error(oracles.call(student, inputs), expected), 1e-5)


class ReplacementsTest(doc_pages.PageTest):
    def test_one_of_ones_own_is_mixed_and_chosen(self):
        x = keras.Input((8, 6, 3))
        model = keras.Model(x, layers.Conv2D(5, 3, padding="same", activation="relu", name="conv")(x))
        made = self.open_page("docs/replacements.md", model=model).run()
        part, conv, half = made["part"], model.get_layer("conv"), made["by_name"]("half_resolution")
        stack = keras.Sequential([keras.Input((8, 6, 3)), *made["fitting"](part, half)])
        self.assertTrue(half.start(part, stack.layers))
        # A picture of 4 x 3 squares of one colour: pooling loses nothing.
        image = np.random.default_rng(0).normal(size=(1, 4, 3, 3)).astype("float32")
        expected = np.repeat(np.repeat(conv(image), 2, 1), 2, 2)
        self.assertAllClose(stack(np.repeat(np.repeat(image, 2, 1), 2, 2)), expected)
        self.assertEqual(cost(made["chosen"]).macs, 12 * 27 * 5)
        self.assertEqual(cost(made["relaxed"]).macs, 12 * 27 * 5 + 48 * (27 + 15))
        self.assertEqual(
            [layer.name for layer in made["chosen"].layers][1:], [f"conv_mixture_{n}" for n in ("down", "conv", "up")]
        )
        shapes = [[None, 1, 6, 3], [None, None, 6, 3]]
        for shape in shapes:
            x = keras.Input(shape[1:])
            odd = LayerGraph.from_keras(keras.Model(x, layers.Conv2D(5, 3, padding="same", name="conv")(x)))
            self.assertIsNone(made["fitting"](made["Part"].of(odd, ["conv"]), half))

    def test_the_page_names_every_replacement(self):
        text = doc_pages.text_of("docs/replacements.md")
        for name in tfcompress.replacements.names():
            self.assertIn(f"| `{name}` |", text)


if __name__ == "__main__":
    tf.test.main()
