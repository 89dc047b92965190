"""Code of the pages on data, and of README.md, runs as it stands there, and does what they say."""

import pathlib

import doc_pages
import readers
import small_tasks
import tensorflow as tf
import tiny_texts

import tfcompress


class TextsTest(doc_pages.PageTest):
    def test_all_code_on_small_sets(self):
        folder = pathlib.Path.cwd()
        words = [f"{('bad', 'good')[i % 2]} number {i}" for i in range(40)]
        imdb = tiny_texts.labelled(words, [i % 2 for i in range(40)])
        news = [{"title": "Title", "description": word, "label": i % 4} for i, word in enumerate(words)]
        stars = tiny_texts.reviews(words, [1 + i % 5 for i in range(40)])
        tiny_texts.prepare("imdb_reviews", {"train": imdb, "test": imdb[:8]}, folder)
        tiny_texts.prepare("ag_news_subset", {"train": news}, folder)
        tiny_texts.prepare("amazon_us_reviews/Mobile_Electronics_v1_00", {"train": stars}, folder)
        for name in ("train.csv", "test.csv"):
            (folder / name).write_text("".join(f'"{1 + i % 2}","title","{word}"\n' for i, word in enumerate(words)))
        self.enterContext(readers.sets_of(folder))
        page = self.open_page("docs/text.md")
        made = page.run(1)
        self.assertLessEqual(made["result"].after.macs, 0.5 * made["result"].before.macs)
        self.assertEqual(made["model"].layers[0].input_dim, len(tfcompress.data.CHARACTERS) + 1)
        page.run()
        self.assertEqual(made["data"].arrays.test[0].shape, (40, 1014))


class DataTest(doc_pages.PageTest):
    def test_all_code(self):
        x, y = small_tasks.pictures(40)
        page = self.open_page("docs/guides/own_data.md", model=small_tasks.three_convolutions(), x=x, y=y)
        made = page.run(1)
        self.assertIn("held out", page.printed)
        page.run(1)
        self.assertIn("of photos (2 classes: cats, dogs)", " ".join(made["result"].notes))
        page.run()
        self.assertIn("12 images held out", " ".join(made["result"].notes))
        self.assertIn("class weights: 0: 1, 1: 1, 2: 5", " ".join(made["result"].notes))
        self.assertIn("compiled with weighted_metrics", " ".join(made["result"].notes))


class FirstPagesTest(doc_pages.PageTest):
    def test_command_line(self):
        self.enterContext(readers.folder_of_a_reader(finished=["runs/y"]))
        page = self.open_page("docs/command_line.md")
        page.run()
        made = {path.as_posix() for path in pathlib.Path().rglob("*")}
        self.assertContainsSubset({"runs/x/report.html", "runs/x/export/model_int8.tflite", "comparison.png"}, made)

    def test_readme(self):
        names = self.enterContext(readers.folder_of_a_reader())
        self.open_page("README.md", **names).run()


if __name__ == "__main__":
    tf.test.main()
