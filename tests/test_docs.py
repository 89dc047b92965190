"""Code in docs/ runs as it stands there."""

import contextlib
import io
import json
import math
import pathlib
import re
import types
from unittest import mock

import keras
import numpy as np
import oracles
import small_tasks
import tensorflow as tf
import tensorflow_datasets as tfds
import tiny_texts
from keras import layers

import tfcompress
import tfcompress.replacements
from tfcompress.costs import CostModel, cost
from tfcompress.export import convert
from tfcompress.graph import ChannelGroups, LayerGraph
from tfcompress.methods import Uniform
from tfcompress.plan import Plan
from tfcompress.rewrite import apply
from tfcompress.training import StepTime

DOCS = pathlib.Path(__file__).resolve().parents[1] / "docs"


def code_of(name):
    return re.findall(r"^```python\n(.+?)^```$", (DOCS / name).read_text(), re.M | re.S)


class TextsTest(tf.test.TestCase):
    def test_all_code_on_small_sets(self):
        folder = pathlib.Path(self.get_temp_dir())
        words = [f"{('bad', 'good')[i % 2]} number {i}" for i in range(40)]
        imdb = tiny_texts.labelled(words, [i % 2 for i in range(40)])
        news = [{"title": "Title", "description": word, "label": i % 4} for i, word in enumerate(words)]
        tiny_texts.prepare("imdb_reviews", {"train": imdb, "test": imdb[:8]}, folder)
        tiny_texts.prepare("ag_news_subset", {"train": news}, folder)
        stars = tiny_texts.reviews(words, [1 + i % 5 for i in range(40)])
        tiny_texts.prepare("amazon_us_reviews/Mobile_Electronics_v1_00", {"train": stars}, folder)
        for name in ("train.csv", "test.csv"):
            (folder / name).write_text("".join(f'"{1 + i % 2}","title","{word}"\n' for i, word in enumerate(words)))
        builder = tfds.builder
        self.enterContext(contextlib.chdir(folder))
        self.enterContext(
            mock.patch.object(tfds, "builder", lambda name, data_dir=None: builder(name, data_dir=folder))
        )
        first, *others = code_of("text.md")
        made = {}
        exec(first, made)
        self.assertLessEqual(made["result"].after.macs, 0.5 * made["result"].before.macs)
        self.assertEqual(made["model"].layers[0].input_dim, len(tfcompress.data.CHARACTERS) + 1)
        for code in others:
            exec(code, made)
        self.assertEqual(made["data"].arrays.test[0].shape, (40, 1014))


class DataTest(tf.test.TestCase):
    def test_all_code(self):
        made = {}
        folders, weights = code_of("data.md")
        self.enterContext(contextlib.chdir(self.get_temp_dir()))
        exec(folders, made)
        self.assertIn("of photos (2 classes: cats, dogs)", " ".join(made["result"].notes))
        exec(weights, made)
        self.assertIn("12 images held out", " ".join(made["result"].notes))
        self.assertIn("class weights: 0: 1, 1: 1, 2: 5", " ".join(made["result"].notes))
        self.assertIn("compiled with weighted_metrics", " ".join(made["result"].notes))


class OwnMethodTest(tf.test.TestCase):
    def test_the_deepest_layers_are_narrowed_first(self):
        method, call = code_of("own_method.md")
        made = {
            "model": small_tasks.residual_network(activation="softmax", inner=(5, 7)),
            "data": small_tasks.pictures(),
        }
        exec(method, made)
        exec(call, made)
        result = made["result"]
        # The stem writes 6 channels at 4 x 4 places by 3 x 3 kernels, each block reads and writes 6 of them; 24 features
        # for 4 classes. Half of 16 x 9 x (6 + 12 x (5 + 7)) + 96 is 10848. With one channel left in the second block,
        # four of the first one fit: 16 x 9 x (6 + 12 x (4 + 1)) + 96 = 9600; one more has 11328.
        names = ("stem", "block1_conv1", "block2_conv1")
        self.assertEqual([result.model.get_layer(name).filters for name in names], [6, 4, 1])
        self.assertEqual((result.before.macs, result.after.macs), (21696, 9600))
        self.assertLen(result.history["recover"]["loss"], 2)
        lines = method.split("@register_method")[1].strip().splitlines()
        self.assertLess(len(lines), 45)

    def test_it_is_known_by_name_and_obeys_the_control(self):
        made = {"model": small_tasks.residual_network(activation="softmax"), "data": small_tasks.pictures()}
        exec(code_of("own_method.md")[0], made)
        self.assertIs(tfcompress.methods.registered_methods()["one_end_first"], made["OneEndFirst"])
        task = small_tasks.task_without_data(made["model"], {"macs": 0.6}, round_to=2)
        for deepest in (True, False):
            (candidate,) = made["OneEndFirst"](deepest=deepest).search(task).candidates
            widths = {edit.group: len(edit.indices) for edit in candidate.trail.last.channels}
            self.assertLessEqual(candidate.cost.macs, task.limits["macs"])
            self.assertEqual([width % 2 for width in widths.values() if width not in (5, 7)], [0] * len(widths))
            self.assertEqual("stem" in widths, not deepest)


class PresetsTest(tf.test.TestCase):
    def test_all_code(self):
        run, papers, own, in_time = code_of("presets.md")
        made = {"model": small_tasks.three_convolutions(), "data": small_tasks.pictures(40)}
        exec(run, made)
        self.assertIn("preset fast, but for batch_size=64", made["result"].notes)
        exec(papers, made)
        exec(own, made)
        self.assertEqual((made["Patient"].as_published().steps, made["Patient"].presets()["fast"]["steps"]), (40, 2))
        with mock.patch("tfcompress.workflow.measured_step", return_value=StepTime(3600.0, 60.0)):
            exec(in_time, made)
        self.assertLess(made["result"].settings["epochs"], 3)  # an epoch takes a good part of an hour


class ReplacementsTest(tf.test.TestCase):
    def test_one_of_ones_own_is_mixed_and_chosen(self):
        own, use = code_of("replacements.md")
        x = keras.Input((8, 6, 3))
        made = {"model": keras.Model(x, layers.Conv2D(5, 3, padding="same", activation="relu", name="conv")(x))}
        self.enterContext(mock.patch.dict(tfcompress.replacements.base._REPLACEMENTS))
        exec(own, made)
        exec(use, made)
        part, conv, half = made["part"], made["model"].get_layer("conv"), made["by_name"]("half_resolution")
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
        text = (DOCS / "replacements.md").read_text(encoding="utf-8")
        for name in tfcompress.replacements.names():
            self.assertIn(f"| `{name}` |", text)


class ReportTest(tf.test.TestCase):
    def test_all_code(self):
        self.enterContext(contextlib.chdir(self.get_temp_dir()))
        made = {"model": small_tasks.three_convolutions(), "data": small_tasks.pictures(40), "tfcompress": tfcompress}
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            for code in code_of("report.md"):
                exec(code, made)
        self.assertIn("original", printed.getvalue())
        self.assertContainsSubset(
            {"structure.png", "report.html", "comparison.png"}, {path.name for path in pathlib.Path().iterdir()}
        )
        self.assertEqual([row[0] for row in made["comparison"].rows()], ["", "original", "half", "uniform"])


class ReadmeTest(tf.test.TestCase):
    def test_every_page_is_linked(self):
        text = (DOCS.parent / "README.md").read_text(encoding="utf-8")
        self.assertEqual([p.name for p in sorted(DOCS.glob("*.md")) if f"](docs/{p.name})" not in text], [])

    def test_links_lead_somewhere(self):
        for page in (DOCS.parent / "README.md", *DOCS.glob("*.md")):
            text = page.read_text(encoding="utf-8")
            for target in re.findall(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)", text):
                self.assertTrue((page.parent / target).exists(), f"{page.name}: {target}")

    def test_every_method_is_named_with_what_it_does(self):
        text = (DOCS.parent / "README.md").read_text(encoding="utf-8")
        for name in (
            "rlal",
            "amc",
            "uniform",
            "random",
            "lit",
            "kd",
            "hint",
            "born_again",
            "scratch",
            "darc",
            "replaced",
            "n2n",
            "taylor",
        ):
            self.assertIn(f"| `{name}` |", text)


class LatencyTest(tf.test.TestCase):
    def test_all_code_and_what_the_file_holds(self):
        # One file stands for all, as conversions take a second each.
        content = convert(keras.Sequential([keras.Input((2,)), layers.Dense(2)]))
        self.enterContext(mock.patch("tfcompress.costs.latency.convert", lambda model, batch: content))
        self.enterContext(contextlib.chdir(self.get_temp_dir()))
        made = {"model": small_tasks.residual_network()}
        for code in code_of("latency.md"):
            exec(code, made)
        self.assertGreater(made["latency"].median_ms, 0)
        self.assertGreater(made["total"], 0)
        text = (DOCS / "latency.md").read_text(encoding="utf-8")
        data = json.loads(pathlib.Path("latency.json").read_text())
        self.assertEqual(data["format"], 1)
        for name in {*data, *next(iter(data["entries"].values()))}:
            self.assertIn(f"`{name}`", text)


class TrainingTest(tf.test.TestCase):
    def test_all_code(self):
        first, habits, teaching = code_of("training.md")
        made = {}
        exec(first, made)
        self.assertEqual([method.training for method in made["methods"]], [made["shared"]] * 2)
        exec(habits, made)
        self.assertEqual(made["result"].settings["optimizer"]["class_name"], "AdamW")
        self.assertLen(made["result"].history["recover"]["loss"], 2)
        exec(teaching, made)
        self.assertLen(made["result"].history["recover"]["loss_hints"], 1)


class ObjectiveTest(tf.test.TestCase):
    def test_all_code(self):
        overlap, by_f1 = code_of("objective.md")
        images, digits = small_tasks.pictures(48)
        inputs = keras.Input((8, 8, 1))
        x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
        mask = keras.layers.Conv2D(1, 1, activation="sigmoid", name="mask")(x)
        digit = keras.layers.Dense(4, activation="softmax", name="digit")(keras.layers.Flatten()(x))
        made = {
            "tfcompress": tfcompress,
            "keras": keras,
            "model": keras.Model(inputs, {"mask": mask, "digit": digit}),
            "images": images,
            "masks": (images > 0.5).astype("float32"),
            "digits": digits,
            "classifier": small_tasks.residual_network(activation="softmax"),
            "x": images,
            "one_hot": keras.utils.to_categorical(digits, 4),
        }
        exec(overlap.replace('"uniform"', "uniform"), made | {"uniform": Uniform(epochs=1)})
        exec(by_f1, made)
        self.assertEqual(made["by_f1"].metric, "f1")
        self.assertIn("accuracy", made["by_f1"].after.metrics)


class CostsTest(tf.test.TestCase):
    def names(self, **sizes):
        """What the page's code finds around it."""
        short = Uniform(epochs=0, batch_size=16)
        return {
            "model": small_tasks.residual_network(activation="softmax", **sizes),
            "data": small_tasks.pictures(),
            "tfcompress": types.SimpleNamespace(
                compress=lambda model, name, *args, **kwargs: tfcompress.compress(
                    model, short, *args, verbose=0, **kwargs
                )
            ),
        }

    def test_a_metric_that_is_measured(self):
        made = self.names(width=24, inner=(40, 40))
        exec(code_of("costs.md")[3], made)
        self.addCleanup(tfcompress.costs.unregister_metric, "file_bytes")
        before, after = (side.measurements["file_bytes"] for side in (made["result"].before, made["result"].after))
        self.assertLessEqual(after, 0.9 * before)
        # A file holds all weights, and some tens of kB that say what they are.
        self.assertBetween(before - made["result"].before.bytes, 0, 10**5)

    def test_alternatives(self):
        made = {"model": small_tasks.residual_network(inner=(5, 7))}
        exec(code_of("costs.md")[2], made)
        # From 6 to 5 channels in 4 x 4 places, with kernels of 3 x 3, of 1, and of 5 x 5.
        self.assertEqual(made["macs"], {"block1_conv1": 480 * 9, "1x1": 480, "5x5": 480 * 25})
        self.assertEqual(made["part"].output_shape, (None, 4, 4, 5))

    def test_a_metric_of_ones_own_is_limited(self):
        first, second, *_ = code_of("costs.md")
        made = self.names(inner=(5, 7))
        exec(first, {})
        exec(second, made)
        try:
            before, after = cost(made["model"]), cost(made["result"].model)
            handed_on = sum(math.prod(layer.output.shape[1:]) for layer in made["result"].model.layers)
            self.assertEqual(after["activations"], handed_on)
            self.assertLessEqual(after["activations"], before["activations"] // 2)
        finally:
            tfcompress.costs.unregister_metric("activations")


class CustomLayersTest(tf.test.TestCase):
    def test_the_layer_with_its_handler_is_pruned(self):
        (code,) = code_of("custom_layers.md")
        made = {}
        exec(code, made)
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

    def test_python_in_all_documents_can_be_read(self):
        for path in DOCS.glob("*.md"):
            for code in code_of(path.name):
                compile(code, path.name, "exec")


if __name__ == "__main__":
    tf.test.main()
