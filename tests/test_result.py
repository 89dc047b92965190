"""Results: saved, loaded, exported, and shown."""

import dataclasses
import json
import pathlib
import tempfile

import keras
import numpy as np
import small_tasks
import tensorflow as tf

import tfcompress
from tfcompress import Plan, Result
from tfcompress.export import run_tflite
from tfcompress.methods import Uniform
from tfcompress.result import Measured


class ResultTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.x, cls.y = small_tasks.pictures(300, seed=2)
        cls.result = tfcompress.compress(
            small_tasks.trained_network(),
            Uniform(epochs=0),
            (cls.x, cls.y),
            flops_budget=0.7,
            run_dir=cls.folder / "run",
            verbose=0,
        )

    def assertSame(self, one, other):
        for field in dataclasses.fields(Result):
            if field.name not in ("model", "calibration"):
                self.assertEqual(getattr(one, field.name), getattr(other, field.name), field.name)
        keras.tree.map_structure(self.assertAllEqual, one.calibration, other.calibration)
        for a, b in zip(one.model.weights, other.model.weights, strict=True):
            self.assertAllEqual(a, b)
        self.assertAllEqual(one.model(self.x[:5]), other.model(self.x[:5]))
        self.assertEqual(str(one), str(other))

    def changed(self, **fields):
        return dataclasses.replace(self.result, **fields)

    def test_saved_and_loaded(self):
        self.result.save(self.folder / "saved")
        loaded = Result.load(self.folder / "saved")
        self.assertSame(self.result, loaded)
        self.assertLen(loaded.candidates, 1)
        self.assertAllClose(
            loaded.model.evaluate(self.x, self.y, verbose=0), self.result.model.evaluate(self.x, self.y, verbose=0)
        )

    def test_a_run_folder_holds_its_result(self):
        self.assertSame(self.result, Result.load(self.folder / "run"))
        self.assertSame(self.result, Result.load(str(self.folder / "run" / "result")))

    def test_every_form_of_calibration_inputs(self):
        x = self.x[:6]
        for number, calibration in enumerate((x, (x, x + 1), {"b": x, "a": x + 1}, tuple(x + i for i in range(11)))):
            self.changed(calibration=calibration).save(self.folder / f"calibration{number}")
            loaded = Result.load(self.folder / f"calibration{number}").calibration
            self.assertIsInstance(loaded, type(calibration))
            keras.tree.map_structure(self.assertAllEqual, loaded, calibration)
        self.assertEqual(loaded[10][0, 0, 0, 0], x[0, 0, 0, 0] + 10)

    def test_what_is_nothing_stays_nothing(self):
        nothing = Measured(10, 5, 20, None, "validation", None)
        result = self.changed(
            before=nothing,
            after=nothing,
            candidates=(),
            plan=Plan(),
            metric="",
            history={"search": {"reward": [None, 0.5]}, "recover": {}},
        )
        result.save(self.folder / "nothing")
        self.assertSame(result, Result.load(self.folder / "nothing"))
        self.assertNotIn("validation)", str(result))

    def test_an_older_result_is_replaced_as_a_whole(self):
        target = self.folder / "replaced"
        self.changed(seed=1).save(target)
        (target / "of_the_older_one").write_text("x")
        self.changed(seed=2).save(target)
        self.assertEqual(Result.load(target).seed, 2)
        self.assertFalse((target / "of_the_older_one").exists())
        self.assertEqual([path.name for path in self.folder.glob("replaced*")], ["replaced"])

    def test_a_folder_that_does_not_exist_yet(self):
        self.result.save(self.folder / "deep" / "deeper" / "result")
        self.assertSame(self.result, Result.load(self.folder / "deep" / "deeper" / "result"))

    def test_where_nothing_was_saved(self):
        with self.assertRaisesRegex(FileNotFoundError, "Expected the folder of a saved result.*Received: '.*nowhere'"):
            Result.load(self.folder / "nowhere")

    def test_where_nothing_can_be_saved(self):
        (self.folder / "file").write_text("x")
        with self.assertRaises(OSError):
            self.result.save(self.folder / "file" / "result")

    def test_a_later_format_is_refused(self):
        self.result.save(self.folder / "later")
        path = self.folder / "later" / "result.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 2}))
        with self.assertRaisesRegex(ValueError, "Expected a result of format 1. Received"):
            Result.load(self.folder / "later")

    def test_a_loaded_result_is_exported(self):
        """Calibrated for int8 with the inputs that were saved with it."""
        loaded = Result.load(self.folder / "run")
        report = loaded.export(self.folder / "exported", formats=("keras", "tflite"), quantize=(None, "int8"))
        kinds = [(entry.format, entry.quantize) for entry in report.files]
        self.assertEqual(kinds, [("keras", None), ("tflite", "float32"), ("tflite", "int8")])
        expected = self.result.model.predict(self.x, verbose=0)
        for entry in report.files:
            self.assertTrue(pathlib.Path(entry.path).exists())
            self.assertGreater(entry.top1_agreement, 0.95)
            self.assertFalse(entry.suspect)
        self.assertEqual(report.files[0].samples, len(self.result.calibration))
        answers = run_tflite(report.files[1].path, self.x)
        self.assertAllClose(np.asarray(keras.tree.flatten(answers)[0]), expected, atol=1e-5)
        self.assertLess(report.files[2].bytes, report.files[1].bytes)

    def test_the_table(self):
        before = Measured(2000, 100, 400, 0.9, "test", 0.8)
        after = Measured(500, 25, 100, 0.85, "test", 0.82)
        lines = str(self.changed(before=before, after=after, notes=("a note",), method="rlal", seed=4)).splitlines()
        self.assertEqual(lines[0], "rlal, seed 4")
        rows = [line.split() for line in lines[1:]]
        self.assertEqual(rows[1], ["MACs", "2,000", "500", "25.0%"])
        self.assertEqual(rows[2], ["parameters", "100", "25", "25.0%"])
        self.assertEqual(rows[3], ["bytes", "of", "weights", "400", "100", "25.0%"])
        self.assertEqual(rows[4], ["accuracy", "(test)", "0.9000", "0.8500", "-0.0500"])
        self.assertEqual(rows[5], ["accuracy", "(validation)", "0.8000", "0.8200", "+0.0200"])
        self.assertEqual(lines[-1], "a note")


class MeasuredTest(tf.test.TestCase):
    def test_the_accuracy_is_that_on_the_test_split_where_there_is_one(self):
        cost = tfcompress.Cost(1, 2, 3)
        self.assertEqual(Measured.of(cost, 0.5, 0.6), Measured(1, 2, 3, 0.6, "test", 0.5))
        self.assertEqual(Measured.of(cost, 0.5, None), Measured(1, 2, 3, 0.5, "validation", 0.5))
        self.assertEqual(Measured.of(cost, 0.5, 0.0), Measured(1, 2, 3, 0.0, "test", 0.5))
