"""Tests of the report's table and JSON."""

import dataclasses
import json

import tensorflow as tf

from tfcompress.export import ExportedFile, ExportReport

REPORT = ExportReport(
    files=(
        ExportedFile("out/model.keras", "keras", None, 12_345, 0.0, 1.0, 50),
        ExportedFile("out/model_int8.tflite", "tflite", "int8", 678, float("inf"), None, 50, suspect=True),
    ),
    largest_output=2.5,
    notes=("Compared on the calibration inputs.",),
)


class ReportTest(tf.test.TestCase):
    def test_summary(self):
        self.assertEqual(
            REPORT.summary().splitlines(),
            [
                "file               format        bytes  largest difference  top-1 agreement  samples",
                "------------------------------------------------------------------------------------",
                "model.keras        keras        12,345                   0          100.00%       50",
                "model_int8.tflite  tflite int8     678             inf (!)                -       50",
                "Largest absolute output of the Keras model: 2.5.",
                "Compared on the calibration inputs.",
            ],
        )

    def test_json(self):
        content = json.loads(REPORT.to_json())
        self.assertEqual(content["files"][0], dataclasses.asdict(REPORT.files[0]))
        self.assertEqual(content["files"][1]["max_difference"], "inf")
        self.assertIsNone(content["files"][1]["top1_agreement"])
        self.assertEqual((content["largest_output"], content["notes"]), (2.5, list(REPORT.notes)))

    def test_frozen(self):
        with self.assertRaises(dataclasses.FrozenInstanceError):
            REPORT.files = ()
