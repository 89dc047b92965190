"""Code of the pages on presets, training and run folders runs as it stands there, and does what they say."""

import pathlib
from unittest import mock

import doc_pages
import readers
import small_tasks
import tensorflow as tf

from tfcompress.training import StepTime


class PresetsTest(doc_pages.PageTest):
    def test_all_code(self):
        page = self.open_page("docs/presets.md", model=small_tasks.three_convolutions(), data=small_tasks.pictures(40))
        made = page.run(1)
        self.assertIn("preset fast, except batch_size=64", made["result"].notes)
        page.run(2)
        self.assertEqual((made["Patient"].as_published().steps, made["Patient"].presets()["fast"]["steps"]), (40, 2))
        with mock.patch("tfcompress.workflow.measured_step", return_value=StepTime(3600.0, 60.0)):
            page.run()
        self.assertLess(made["result"].settings["epochs"], 3)  # an epoch takes a good part of an hour


class TrainingTest(doc_pages.PageTest):
    def test_all_code(self):
        page = self.open_page("docs/training.md")
        made = page.run(1)
        self.assertEqual([method.training for method in made["methods"]], [made["shared"]] * 2)
        page.run(1)
        self.assertEqual(made["result"].settings["optimizer"]["class_name"], "AdamW")
        self.assertLen(made["result"].history["recover"]["loss"], 2)
        page.run()
        self.assertLen(made["result"].history["recover"]["loss_hints"], 1)


class LongRunsTest(doc_pages.PageTest):
    def test_all_code(self):
        names = self.enterContext(readers.folder_of_a_reader())
        made = self.open_page("docs/guides/long_runs.md", **names).run()
        self.assertAllClose(made["again"].model.get_weights(), made["result"].model.get_weights())
        self.assertAllClose(made["student"].get_weights(), made["result"].model.get_weights())
        self.assertIn(pathlib.Path("runs/first/run.json"), made["sizes"])
        self.assertTrue(pathlib.Path("runs/second/result/model.keras").exists())


if __name__ == "__main__":
    tf.test.main()
