"""The tables, sentences and JSON of a benchmark, of measurements that are made up."""

import json

import tensorflow as tf

from tfcompress.benchmarking import Benchmark, FileBenchmark
from tfcompress.costs import Latency

DEVICE = {"cpu": "A processor", "cores": "2", "system": "Linux", "litert": "2.3.0", "tensorflow": "2.21.0"}


def latencies(*milliseconds, settled=True):
    """Of 1 and 8 samples, on 1 and 2 threads."""
    settings = [(1, 1), (1, 2), (8, 1), (8, 2)]
    return tuple(
        Latency(ms, ms / 8, 150, *setting, settled) for ms, setting in zip(milliseconds, settings, strict=False)
    )


WHOLE = FileBenchmark("a/model.tflite", "LiteRT", 4_000, 4 << 20, latencies(2.0, 1.0, 16.0, 8.0), 5)
HALF = FileBenchmark(
    "b/model.tflite",
    "LiteRT",
    1_000,
    3 << 20,
    latencies(1.0, 0.5, settled=False),
    5,
    {"CUMSUM": 1, "PAD": 2},
    ("slow",),
)
BROKEN = FileBenchmark("c/broken.keras", "TensorFlow", 10, error="Expected a file. Received: <none> & nothing.")


class TableTest(tf.test.TestCase):
    def test_text(self):
        text = str(Benchmark((WHOLE, HALF, BROKEN), "a/model.tflite", DEVICE))
        self.assertEqual(
            text.splitlines(),
            [
                "file                       runtime     bytes         memory MiB         outside XNNPACK",
                "a/model.tflite (original)  LiteRT      4,000                4.0                  0 of 5",
                "b/model.tflite             LiteRT      1,000  25.0%         3.0  75.0%           3 of 5",
                "broken.keras               TensorFlow     10   0.2%           -                       -",
                "",
                "Milliseconds of an invocation of 1 sample: median, interquartile range in brackets.",
                "file                             1 thread              2 threads",
                "a/model.tflite (original)   2.000 (0.250)          1.000 (0.125)",
                "b/model.tflite             1.000 (0.125)*  50.0%  0.500 (0.062)*  50.0%",
                "broken.keras                            -                      -",
                "",
                "Milliseconds of an invocation of 8 samples: median, interquartile range in brackets.",
                "file                             1 thread      2 threads",
                "a/model.tflite (original)  16.000 (2.000)  8.000 (1.000)",
                "b/model.tflite                          -              -",
                "broken.keras                            -              -",
                "",
                "b/model.tflite: LiteRT's own kernels run what XNNPACK does not take: 1 CUMSUM, 2 PAD.",
                "b/model.tflite: slow.",
                "b/model.tflite: latencies with * did not settle, as the machine was busy.",
                "broken.keras is not measured. Expected a file. Received: <none> & nothing.",
                "A processor, 2 cores; LiteRT 2.3.0, TensorFlow 2.21.0.",
            ],
        )

    def test_it_is_100_columns_wide_at_most(self):
        files = [
            FileBenchmark("long" * 20 + end, "LiteRT", 10**9, 10**12, latencies(1e4, 1e4, 1e5, 1e5)) for end in "ab"
        ]
        text = str(Benchmark(tuple(files), files[0].path, DEVICE))
        self.assertLessEqual(max(map(len, text.splitlines())), 100)
        self.assertIn("100.0%", text)

    def test_runtimes_that_differ_are_said_where_shares_are_of_another_one(self):
        in_keras = FileBenchmark("m.keras", "TensorFlow", 10, 10, latencies(4.0))
        for original, said in (("m.keras", 1), ("", 0)):
            text = str(Benchmark((in_keras, WHOLE), original, DEVICE))
            self.assertEqual(text.count("compare the runtimes"), said)
            self.assertEqual(text.count("%"), said * 3)  # bytes, memory, one sample on one thread

    def test_one_table_for_jupyter(self):
        html = Benchmark((WHOLE, BROKEN), "", DEVICE)._repr_html_()
        self.assertEqual(html.count("<table>"), 1)
        self.assertIn('<th scope="col">ms, 8 on 2 threads</th>', html)
        self.assertIn("<td>16.000 (2.000)</td>", html)
        self.assertIn("Received: &lt;none> &amp; nothing.", html)

    def test_json(self):
        benchmark = Benchmark((HALF, BROKEN), "", DEVICE)
        content = json.loads(benchmark.to_json())
        self.assertEqual(
            (content["format"], content["original"], content["device"], len(content["files"])), (1, "", DEVICE, 2)
        )
        first = content["files"][0]
        self.assertEqual(first["latencies"][1]["median_ms"], 0.5)
        self.assertEqual((first["bytes"], first["outside_xnnpack"]), (1000, {"CUMSUM": 1, "PAD": 2}))
        self.assertEqual(content["files"][1]["error"], BROKEN.error)
        self.assertEqual(benchmark.failures, (BROKEN,))


if __name__ == "__main__":
    tf.test.main()
