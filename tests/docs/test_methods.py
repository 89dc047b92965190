"""Code of the pages on single methods runs as it stands there."""

import pathlib
import types

import doc_pages
import numpy as np
import small_tasks
import tensorflow as tf

import tfcompress


class MethodsTest(doc_pages.PageTest):
    def test_distillation(self):
        page = self.open_page("docs/distillation.md")
        made = page.run(1)
        self.assertLessEqual(made["result"].after.macs, 0.5 * made["result"].before.macs)
        self.assertEqual(made["result"].settings["epochs"], 2)
        page.run()
        images = np.random.default_rng(0).uniform(-1, 1, (20, 16, 16, 3)).astype("float32")
        domains = np.eye(2, dtype="float32")[np.arange(20) % 2]
        found = tfcompress.compress(made["generator"], made["lit"], ((images, domains), images), verbose=0)
        self.assertEqual(
            found.model.count_params(),
            tfcompress.zoo.stargan_generator((16, 16, 3), domains=2, blocks=2, width=8).count_params(),
        )

    def test_darc(self):
        page = self.open_page(
            "docs/darc.md", model=small_tasks.three_convolutions(), data=small_tasks.pictures(96, seed=1)
        )
        made = page.run(1)
        self.assertLessEqual(made["result"].after.params, 0.5 * made["result"].before.params)
        page.run(1)
        self.assertLessEqual(made["smaller"].after.macs, 0.5 * made["smaller"].before.macs)
        self.assertContainsSubset({"spectrum.png", "changes.png"}, {path.name for path in pathlib.Path().iterdir()})
        page.run(1)
        self.assertEqual(made["words"].training.optimizer, "adam")
        page.run()
        self.assertEqual((made["result"].method, made["result"].settings["choice"]), ("replaced", "knapsack"))

    def test_amc(self):
        page = self.open_page("docs/amc.md", model=small_tasks.trained_network(), data=small_tasks.pictures(64))
        made = page.run(1)
        self.assertLessEqual(made["result"].after.macs, 0.5 * made["result"].before.macs)
        self.assertEqual(made["result"].candidates[0].score, max(made["result"].history["search"]["reward"]))
        page.run()
        self.assertLess(made["result"].after.params, made["result"].before.params)
        for name in made["result"].history["search"]:
            self.assertIn(f"`{name}`", doc_pages.text_of("docs/amc.md"))

    def test_n2n(self):
        page = self.open_page("docs/n2n.md", model=small_tasks.trained_network(), data=small_tasks.pictures(64))
        made = page.run(1)
        self.assertLessEqual(made["result"].after.params, 0.5 * made["result"].before.params)
        page.run()
        self.assertLess(len(made["result"].model.layers), len(made["model"].layers))
        for name in made["students"]:
            self.assertIn(f"`{name}`", doc_pages.text_of("docs/n2n.md"))

    def test_taylor(self):
        page = self.open_page("docs/taylor.md", model=small_tasks.trained_network(), data=small_tasks.pictures(64))
        made = page.run(1)
        self.assertLessEqual(made["result"].after.params, 0.5 * made["result"].before.params)
        page.run()
        self.assertRegex(page.printed.splitlines()[-1], "run 1 of pruning: (accuracy would fall|fewer than 900)")
        settings = ("runs", "filters", "updates", "update_rate", "criterion", "stop_accuracy", "stop_params")
        for name in (*settings, *made["result"].history["search"]):
            self.assertIn(f"`{name}`", doc_pages.text_of("docs/taylor.md"))

    def test_rlal(self):
        page = self.open_page("docs/rlal.md", model=small_tasks.trained_network(), data=small_tasks.pictures(400))
        made = page.run()
        self.assertLen(made["result"].history["search"]["reward"], 12)
        self.assertIn("RLAL: the model is trained", " ".join(made["result"].notes))
        self.assertEqual(made["shorter"].timetable(types.SimpleNamespace(is_trained=False)).learn, 2)


if __name__ == "__main__":
    tf.test.main()
