"""Code of the page on benchmarks runs as it stands there, and does what it says."""

import json
import pathlib

import doc_pages
import readers
import small_tasks
import tensorflow as tf

import tfcompress
from tfcompress.export import convert


class BenchmarkTest(doc_pages.PageTest):
    def test_all_code_and_what_the_json_holds(self):
        self.enterContext(readers.short_measurements())
        model = small_tasks.three_convolutions()
        model.save("half.keras")
        content = convert(model)
        for name in ("model.tflite", "half.tflite"):
            pathlib.Path(name).write_bytes(content)
        page = self.open_page("docs/guides/benchmark.md")
        page.run(1)
        self.assertIn("model.tflite (original)", page.printed)
        made = page.run()
        self.assertEqual((made["small"].path, made["small"].bytes), ("half.tflite", len(content)))
        self.assertEqual({latency.threads for latency in made["small"].latencies}, {1, 2})
        self.assertIn("100.0%", page.printed)
        text, data = doc_pages.text_of("docs/guides/benchmark.md"), json.loads(made["measured"].to_json())
        latency = data["files"][0]["latencies"][0]
        for name in {*data, *data["files"][0], *latency}:
            self.assertIn(f"`{name}`", text)
        self.assertIsInstance(made["measured"], tfcompress.Benchmark)


if __name__ == "__main__":
    tf.test.main()
