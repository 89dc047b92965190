"""Code of the guides runs as it stands there, and what it shows is what they say."""

import pathlib
from unittest import mock

import doc_pages
import keras
import numpy as np
import readers
import small_tasks
import tensorflow as tf
import tiled

import tfcompress
from tfcompress.export import convert
from tfcompress.methods import Uniform


class ChoosingTest(doc_pages.PageTest):
    def test_which_method(self):
        self.enterContext(readers.short_methods())
        page = self.open_page(
            "docs/guides/which_method.md", model=small_tasks.trained_block(), data=small_tasks.pictures(64)
        )
        made = page.run()
        self.assertEqual((made["first"].method, made["best"].method), ("uniform", "rlal"))
        self.assertIn("uniform, fast", page.printed)

    def test_the_work_is_that_of_the_page_on_presets(self):
        """The guide repeats six numbers of its table."""
        rows = {}
        for line in doc_pages.text_of("docs/presets.md").splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if line.startswith("| `") and len(cells) == 7:
                rows[cells[0]] = (cells[2], cells[4])
        text = " ".join(doc_pages.text_of("docs/guides/which_method.md").split())
        self.assertEqual(rows["`uniform`"], ("4", "25"))
        self.assertIn('`"uniform"` is 4 such epochs with `"fast"` and 25 with `"balanced"`', text)
        for name in ("rlal", "lit", "darc", "n2n"):
            fast, balanced = rows[f"`{name}`"]
            self.assertIn(f'`"{name}"` {fast} and {balanced}', text)

    def test_budgets(self):
        # One file stands for all, as conversions take a second each.
        content = convert(keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]))
        model = small_tasks.residual_network(activation="softmax", inner=(24,))
        page = self.open_page("docs/guides/budgets.md", model=model, data=small_tasks.pictures(40))
        page.names["tfcompress"] = tfcompress
        made = page.run(1)
        self.assertIn("smallest", page.printed)
        before, after = made["result"].before, made["result"].after
        self.assertLessEqual(after.macs, 0.5 * before.macs)
        self.assertLessEqual(after.params, 0.7 * before.params)
        self.assertEqual(made["result"].model.get_layer("block1_conv1").filters % 2, 0)
        with mock.patch("tfcompress.costs.latency.convert", lambda model, batch: content):
            page.run(1)
        self.assertIn("ms before", page.printed)
        with tiled.tiled_device():
            made = page.run()
        after, before = (side.measurements["latency_ms"] for side in (made["result"].after, made["result"].before))
        self.assertLessEqual(after, 0.8 * before)

    def test_recovery(self):
        page = self.open_page(
            "docs/guides/recovery.md", model=small_tasks.trained_block(), data=small_tasks.pictures(48)
        )
        self.assertLen(page.run()["curve"], 10)


class FlowTest(doc_pages.PageTest):
    def test_all_code(self):
        """The first flow is run, the others up to their stages."""
        self.enterContext(readers.short_methods())
        model, data = small_tasks.trained_network(), small_tasks.pictures(64)
        page = self.open_page("docs/guides/flow.md", model=model, data=data)
        made = page.run(1)
        self.assertEqual([stage.method for stage in made["result"].stages], ["lit", "uniform"])
        self.assertIn("1 lit", page.printed)
        model.save("model.keras")
        np.savez("images.npz", x=data[0], y=data[1])
        with mock.patch("tfcompress.workflow.run_flow", return_value=made["result"]) as run_flow:
            page.run(1)
            page.run(1)
            self.assertIn("lit {'macs': ", page.printed)
            self.assertTrue(pathlib.Path("stages.png").exists())
            page.run()
        calls = [[[method.name for method in call.args[1]], call.args[2]] for call in run_flow.call_args_list]
        lit = ["lit", "uniform"]
        self.assertEqual(calls, [[lit, (None, None)], [lit, (0.8, None)], [["uniform", "thin_out"], (None, None)]])


class CriterionTest(doc_pages.PageTest):
    def test_all_code(self):
        page = self.open_page(
            "docs/guides/own_criterion.md", model=small_tasks.trained_block(), data=small_tasks.pictures(64)
        )
        made = page.run()
        self.assertEqual(list(made["results"]), ["largest weight", "noticed", "by lot"])
        self.assertIn("by lot", page.printed)
        # Of the stem's kernel, what ends up is the channels with the largest weights.
        model = made["model"]
        task = small_tasks.task_without_data(model)
        scores = made["largest_weight"](task.groups["stem"], task.evidence())
        kernels = [model.get_layer(name).kernel for name in ("stem", "block1_conv2")]
        expected = np.max([np.abs(kernel.numpy()).max(axis=(0, 1, 2)) for kernel in kernels], axis=0)
        self.assertAllClose(scores, expected)


class DeploymentTest(doc_pages.PageTest):
    def test_all_code(self):
        data = small_tasks.pictures(128)
        result = tfcompress.compress(small_tasks.trained_block(), Uniform(epochs=1), data, params_budget=0.8, verbose=0)
        page = self.open_page("docs/guides/deployment.md", result=result, images=data[0][:16])
        made = page.run(3)
        self.assertEqual((made["taken"]["dtype"], made["given"]["dtype"]), (np.float32, np.float32))
        in_keras = result.model.predict(data[0][:16], verbose=0).argmax(-1)
        self.assertGreater(np.mean(np.argmax(made["answers"], -1) == in_keras), 0.8)
        made = page.run()
        self.assertEqual(made["interpreter"].get_input_details()[0]["dtype"], np.uint8)
        facts = made["facts"]
        self.assertEqual((facts["inputs"][0]["shape"], facts["inputs"][0]["type"]), ([1, 8, 8, 1], "uint8"))
        self.assertEqual(facts["provenance"]["methods"], ["uniform"])
        self.assertLen(pathlib.Path("described/labels.txt").read_text().splitlines(), 4)


class AccuracyTest(doc_pages.PageTest):
    def test_all_code(self):
        model = keras.models.clone_model(small_tasks.trained_block())
        model.set_weights(small_tasks.trained_block().get_weights())
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        for name in ("stem", "block1_conv1"):
            model.get_layer(name).trainable = False
        page = self.open_page("docs/guides/accuracy_falls.md", model=model, data=small_tasks.pictures(200))
        made = page.run(1)
        self.assertGreater(made["result"].before.accuracy, 0.7)
        page.run(1)
        self.assertLen(page.printed.splitlines(), 3)
        page.run(1)
        self.assertIn("loss", page.printed)
        page.run(1)
        self.assertIn("with those of the whole network", page.printed)
        page.run(1)
        self.assertIn(made["worst"], ("stem", "block1_conv1"))
        width = made["spared"].model.get_layer(made["worst"]).filters
        self.assertGreaterEqual(width, 0.75 * model.get_layer(made["worst"]).filters)
        page.run(1)
        self.assertIn(f"of {len(made['curve'])}", page.printed)
        page.run(1)
        self.assertIn("by labels alone", page.printed)
        page.run(1)
        self.assertIn("['stem', 'block1_conv1']", page.printed)
        self.assertIn("frozen", page.printed.splitlines()[1])
        page.run()
        self.assertEqual([file.quantize for file in made["report"].files], ["dynamic", "int8"])
        self.assertTrue(pathlib.Path("files/model_int8.tflite").exists())


if __name__ == "__main__":
    tf.test.main()
