"""Code of the pages on costs, latency, control, scores and reports runs as it stands there, and does what they say."""

import json
import math
import pathlib
import types
from unittest import mock

import doc_pages
import few_steps
import keras
import small_tasks
import tensorflow as tf
from converted_once import converted_once
from keras import layers

import tfcompress
from tfcompress.costs import cost
from tfcompress.export import convert
from tfcompress.methods import Uniform


class CostsTest(doc_pages.PageTest):
    def test_all_code(self):
        short = Uniform(epochs=0, batch_size=16)
        page = self.open_page("docs/costs.md", data=small_tasks.pictures())
        page.run(1, {})  # on a budget alone
        page.names["tfcompress"] = types.SimpleNamespace(
            compress=lambda model, name, *args, **settings: tfcompress.compress(
                model, short, *args, verbose=0, **settings
            )
        )

        # A metric of one's own is limited.
        page.names["model"] = small_tasks.residual_network(activation="softmax", inner=(5,))
        made = page.run(1)
        before, after = cost(made["model"]), cost(made["result"].model)
        handed_on = sum(math.prod(layer.output.shape[1:]) for layer in made["result"].model.layers)
        self.assertEqual(after["activations"], handed_on)
        self.assertLessEqual(after["activations"], before["activations"] // 2)

        # Alternatives: from 6 to 5 channels in 4 x 4 places, with kernels of 3 x 3, of 1, and of 5 x 5.
        again = page.run(1, {"model": small_tasks.residual_network(inner=(5, 7))})
        self.assertEqual(again["macs"], {"block1_conv1": 480 * 9, "1x1": 480, "5x5": 480 * 25})
        self.assertEqual(again["part"].output_shape, (None, 4, 4, 5))

        # A metric that is measured. A file holds all weights, and some tens of kB that say what they are.
        page.names["model"] = small_tasks.residual_network(activation="softmax", width=24, inner=(80,))
        result = page.run(1)["result"]
        before, after = (side.measurements["keras_bytes"] for side in (result.before, result.after))
        self.assertLessEqual(after, 0.9 * before)
        self.assertBetween(before - result.before.bytes, 0, 10**5)

        # And one that is planned too.
        with converted_once():
            made = page.run()
        self.assertEqual(made["after"], len(convert(made["result"].model)))
        self.assertLessEqual(made["after"], 0.6 * made["before"])


class LatencyTest(doc_pages.PageTest):
    def test_all_code_and_what_the_file_holds(self):
        # One file stands for all, as conversions take a second each.
        content = convert(keras.Sequential([keras.Input((2,)), layers.Dense(2)]))
        self.enterContext(mock.patch("tfcompress.costs.latency.convert", lambda model, batch: content))
        made = self.open_page("docs/latency.md", model=small_tasks.three_convolutions()).run()
        self.assertGreater(made["latency"].median_ms, 0)
        self.assertGreater(made["total"], 0)
        text = doc_pages.text_of("docs/latency.md")
        data = json.loads(pathlib.Path("latency.json").read_text())
        self.assertEqual(data["format"], 1)
        for name in {*data, *next(iter(data["entries"].values()))}:
            self.assertIn(f"`{name}`", text)


class ControlTest(doc_pages.PageTest):
    def test_all_code(self):
        keras.utils.set_random_seed(0)
        widths = {"stem": 16, "stage1_conv1": 48, "stage1_conv2": 48, "stage4_conv1": 32, "head_conv": 16}
        x = inputs = keras.Input((8, 8, 1))
        for name, width in widths.items():
            x = layers.Conv2D(width, 3, padding="same", activation="relu", name=name)(x)
        model = keras.Model(inputs, layers.Dense(4, activation="softmax")(layers.GlobalAveragePooling2D()(x)))
        methods = []

        def compress(model, method, data, **settings):
            methods.append(method)
            short = Uniform(scope=method.scope, steps=2, step_epochs=0, epochs=0)
            return whole(model, short, data, verbose=0, **settings)

        whole = tfcompress.compress
        self.enterContext(mock.patch.object(tfcompress, "compress", compress))
        page = self.open_page("docs/control.md", model=model, data=small_tasks.pictures(40))
        result = page.run()["result"]
        left = {name: result.model.get_layer(name).filters for name in widths}
        self.assertEqual((methods[0].scope, methods[0].steps, methods[0].step_epochs), ("global", 5, 2))
        self.assertEqual((left["stem"], left["head_conv"]), (16, 16))
        self.assertGreaterEqual(left["stage4_conv1"], 24)  # of 32, at most 30% go, in multiples of 8
        self.assertEqual([width % 8 for width in left.values()], [0] * 5)
        self.assertLess(left["stage1_conv1"] + left["stage1_conv2"], 96)


class ObjectiveTest(doc_pages.PageTest):
    def test_all_code(self):
        self.enterContext(mock.patch.object(few_steps, "STEPS", 0))  # losses and metrics of one's own have to be traced
        images, digits = small_tasks.pictures(48)
        inputs = keras.Input((8, 8, 1))
        x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
        mask = keras.layers.Conv2D(1, 1, activation="sigmoid", name="mask")(x)
        digit = keras.layers.Dense(4, activation="softmax", name="digit")(keras.layers.Flatten()(x))
        page = self.open_page(
            "docs/objective.md",
            tfcompress=tfcompress,
            keras=keras,
            model=keras.Model(inputs, {"mask": mask, "digit": digit}),
            images=images,
            masks=(images > 0.5).astype("float32"),
            digits=digits,
            classifier=small_tasks.residual_network(activation="softmax"),
            x=images,
            one_hot=keras.utils.to_categorical(digits, 4),
        )
        with mock.patch.object(Uniform, "__init__", _one_epoch(Uniform.__init__)):
            made = page.run()
        self.assertEqual(made["result"].settings["epochs"], 1)
        self.assertEqual(made["by_f1"].metric, "f1")
        self.assertIn("accuracy", made["by_f1"].after.metrics)


def _one_epoch(init):
    return lambda method, **settings: init(method, **{**settings, "epochs": 1})


class ReportTest(doc_pages.PageTest):
    def test_all_code(self):
        model, data = small_tasks.three_convolutions(), small_tasks.pictures(40)
        page = self.open_page("docs/report.md", model=model, data=data, tfcompress=tfcompress)
        made = page.run()
        self.assertIn("original", page.printed)
        self.assertContainsSubset(
            {"structure.png", "report.html", "comparison.png"}, {path.name for path in pathlib.Path().iterdir()}
        )
        self.assertEqual([row[0] for row in made["comparison"].rows()], ["", "original", "half", "uniform"])


class SensitivityTest(doc_pages.PageTest):
    def test_all_code(self):
        x, y = small_tasks.pictures(64)
        sensitivity = tfcompress.sensitivity
        look = types.SimpleNamespace(sensitivity=lambda model, name, **settings: sensitivity(model, (x, y), **settings))
        page = self.open_page("docs/sensitivity.md", model=small_tasks.trained_network(), tfcompress=look)
        measured = page.run()["measured"]
        self.assertEqual(measured.accuracy.shape, (3, 3))  # the stream and two blocks, at three ratios
        self.assertContainsSubset(
            {"sensitivity.png", "sensitivity.json"}, {path.name for path in pathlib.Path().iterdir()}
        )


if __name__ == "__main__":
    tf.test.main()
