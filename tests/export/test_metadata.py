"""Facts in TFLite files."""

import pathlib
import tempfile

import keras
import numpy as np
import tensorflow as tf

from tfcompress.export import Metadata, convert, export, metadata_of, run_tflite

X = np.linspace(-0.5, 1, 40, dtype="float32").reshape(10, 4)


class MetadataTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        i = keras.Input((4,), name="numbers")
        cls.model = keras.Model(i, keras.layers.Dense(2, name="classes")(i))

    def test_facts_are_read_back(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        metadata = Metadata(["cat", "dög"], (0, 1), {"scale": 1 / 255}, "Two pets.", {"methods": ["rlal"], "seed": 3})
        quantize = ("float32", "int8")
        report = export(
            self.model, folder, "tflite", quantize, X, integer_io="uint8", metadata=metadata, on_mismatch="warn"
        )
        facts, of_int8 = (metadata_of(file.path) for file in report.files)
        self.assertEqual(facts["labels"], ["cat", "dög"])
        self.assertEqual((facts["input_range"], facts["normalization"]), ([0.0, 1.0], {"scale": 1 / 255}))
        self.assertEqual(facts["provenance"], {"methods": ["rlal"], "seed": 3})
        self.assertEqual(
            (facts["description"], facts["quantize"], of_int8["quantize"]), ("Two pets.", "float32", "int8")
        )
        self.assertEqual(facts["sample_ranges"], [[-0.5, 1.0]])
        self.assertFalse(facts["keeps_state"])
        tensor = {"name": "numbers", "shape": [1, 4], "type": "float32", "scale": 0.0, "zero_point": 0}
        self.assertEqual(facts["inputs"], [tensor])
        self.assertEqual((of_int8["inputs"][0]["type"], of_int8["outputs"][0]["name"]), ("uint8", "classes"))
        self.assertAllClose(of_int8["inputs"][0]["scale"], 1.5 / 255, rtol=1e-3)
        self.assertEqual(facts["versions"]["keras"], keras.__version__)
        labels = pathlib.Path(folder, "labels.txt").read_text(encoding="utf-8")
        self.assertEqual(labels, "cat\ndög\n")
        self.assertAllClose(run_tflite(report.files[0].path, X)["classes"], self.model(X), atol=1e-6)
        self.assertEqual(report.files[0].bytes, pathlib.Path(report.files[0].path).stat().st_size)

    def test_files_without_are_refused(self):
        with self.assertRaisesRegex(ValueError, "metadata of tfcompress. Received: .* bytes, which has none"):
            metadata_of(convert(self.model))
        with self.assertRaisesRegex(ValueError, "Expected a TFLite file. Received: 12 bytes"):
            metadata_of(b"no such file")

    def test_facts_that_are_none_are_refused(self):
        for error, message, arguments in (
            (TypeError, "labels='cat'", {"labels": "cat"}),
            (TypeError, "`input_range` to be two numbers", {"input_range": (0, 1, 2)}),
            (ValueError, "numbers that rise.*input_range=\\(1, 0\\)", {"input_range": (1, 0)}),
            (TypeError, "`provenance` to be a dictionary", {"provenance": {"model": self.model}}),
            (TypeError, "`normalization` to be a dictionary", {"normalization": {"mean": float("nan")}}),
        ):
            with self.assertRaisesRegex(error, message):
                Metadata(**arguments)
        with self.assertRaisesRegex(TypeError, "tfcompress.export.Metadata"):
            export(self.model, self.enterContext(tempfile.TemporaryDirectory()), metadata={"labels": ["cat"]})
