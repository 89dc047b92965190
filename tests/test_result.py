"""Results: saved, loaded, exported, and shown."""

import dataclasses
import json
import pathlib
import tempfile
import xml.etree.ElementTree
from unittest import mock

import keras
import numpy as np
import small_tasks
import tensorflow as tf
from converted_once import converted_once

import tfcompress
from tfcompress import Plan, Result, Trail, measured, outcome
from tfcompress.export import ExportError, convert, run_tflite
from tfcompress.manifest import write_manifest
from tfcompress.methods import Uniform
from tfcompress.report import page
from tfcompress.result import Measured


def with_lambda(model, function):
    """The model behind a Lambda, compiled as it is."""
    i = keras.Input(model.input_shape[1:])
    h = keras.layers.Lambda(function, name="own", output_shape=model.input_shape[1:])(i)
    whole = keras.Model(i, model(h))
    whole.compile(loss=model.loss, metrics=["accuracy"])
    return whole


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
            if field.name not in ("model", "calibration", "held_out", "measure"):
                self.assertEqual(getattr(one, field.name), getattr(other, field.name), field.name)
        keras.tree.map_structure(self.assertAllEqual, one.calibration, other.calibration)
        keras.tree.map_structure(self.assertAllEqual, one.held_out, other.held_out)
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
        forms = (
            x,
            (x, x + 1),
            {"b": x, "a": x + 1},
            {"b": [x, {"c": x + 1}], "a": (x,)},
            tuple(x + i for i in range(11)),
        )
        for number, calibration in enumerate(forms):
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
            trail=Trail((Plan(),)),
            metric="",
            history={"search": {"reward": [None, 0.5]}, "recover": {}},
        )
        result.save(self.folder / "nothing")
        self.assertSame(result, Result.load(self.folder / "nothing"))
        self.assertNotIn("validation)", str(result))

    def test_an_older_result_is_replaced_as_a_whole(self):
        target = self.folder / "replaced"
        self.changed(seed=1).save(target)
        self.changed(seed=2).save(target)
        self.assertEqual(Result.load(target).seed, 2)
        self.assertEqual([path.name for path in self.folder.glob("replaced*")], ["replaced"])
        self.assertFalse(list(target.glob(".*")))

    def test_nothing_of_anybody_else_is_touched(self):
        """Files beside and in the folder, siblings called .old and .part, links: the save is refused or passes by."""
        (self.folder / "project.old").mkdir()
        (self.folder / "project.part").write_text("x")
        (self.folder / "project.old" / "users").write_text("x")
        self.changed(seed=1).save(self.folder / "project")
        (self.folder / "project" / "users").mkdir()
        (self.folder / "project" / "users" / "thesis").write_text("x")
        with self.assertRaisesRegex(FileExistsError, "Received: users/. Nothing was written"):
            self.changed(seed=2).save(self.folder / "project")
        (self.folder / "project" / "users" / "thesis").unlink()
        (self.folder / "project" / "users").rmdir()
        (self.folder / "link").symlink_to("project")
        self.changed(seed=3).save(self.folder / "link")
        self.assertTrue((self.folder / "link").is_symlink())
        self.assertEqual(Result.load(self.folder / "project").seed, 3)
        self.assertEqual((self.folder / "project.old" / "users").read_text(), "x")
        self.assertEqual((self.folder / "project.part").read_text(), "x")
        for name in ("file", "to_file", "dangling"):
            (self.folder / "plain").write_text("x")
            path = self.folder / f"in_the_way_{name}"
            path.write_text("x") if name == "file" else path.symlink_to("plain" if name == "to_file" else "nowhere")
            with self.assertRaises(FileExistsError):
                self.result.save(path)
        self.assertEqual((self.folder / "plain").read_text(), "x")

    def test_a_folder_of_exported_files_is_refused_and_the_other_way_round(self):
        self.result.export(self.folder / "files", formats="keras")
        with self.assertRaisesRegex(FileExistsError, "in which tfcompress wrote model.keras and no result"):
            self.result.save(self.folder / "files")
        self.result.save(self.folder / "not_for_files")
        with self.assertRaisesRegex(FileExistsError, "in which tfcompress wrote"):
            self.result.export(self.folder / "not_for_files", formats="keras")

    def test_a_flipped_bit_or_a_missing_file_is_found_and_named(self):
        self.result.save(self.folder / "damaged")
        files = [path for path in sorted((self.folder / "damaged").rglob("*")) if path.is_file()]
        self.assertLen(files, 12)  # model, plan, figures, manifest; four of calibration and of held-out samples each
        for path in files:
            content = path.read_bytes()
            for place in (0, len(content) // 2, len(content) - 1):
                path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
                with self.assertRaisesRegex(ValueError, rf"{path.name}.* Received: a damaged file"):
                    Result.load(self.folder / "damaged")
            path.unlink()
            with self.assertRaisesRegex((ValueError, FileNotFoundError), path.name):
                Result.load(self.folder / "damaged")
            path.write_bytes(content)
        self.assertSame(self.result, Result.load(self.folder / "damaged"))

    def test_a_run_whose_result_would_take_a_foreign_file_is_refused_before_it_trains(self):
        (self.folder / "occupied" / "result").mkdir(parents=True)
        (self.folder / "occupied" / "result" / "thesis").write_text("x")
        with self.assertRaisesRegex(FileExistsError, "Received: thesis"):
            tfcompress.compress(
                small_tasks.trained_network(),
                "born_again",  # trains for hours
                (self.x, self.y),
                run_dir=self.folder / "occupied",
                verbose=0,
            )

    def test_files_of_two_results_are_not_mixed(self):
        self.result.save(self.folder / "one")
        self.changed(trail=Trail((Plan(),)), seed=5).save(self.folder / "other")
        for name in ("trail.json", "result.json"):
            own = (self.folder / "one" / name).read_bytes()
            (self.folder / "one" / name).write_bytes((self.folder / "other" / name).read_bytes())
            with self.assertRaisesRegex(ValueError, f"{name} as tfcompress wrote it"):
                Result.load(self.folder / "one")
            (self.folder / "one" / name).write_bytes(own)

    def rewritten(self, name, **fields):
        """A result whose figures were changed, with a manifest that vouches for them."""
        path = self.folder / name
        self.result.save(path)
        data = json.loads((path / "result.json").read_text()) | fields
        data = {key: value for key, value in data.items() if value != "left out"}
        (path / "result.json").write_text(json.dumps(data))
        write_manifest(path)
        return path

    def test_unknown_and_missing_fields_are_refused_in_our_words(self):
        with self.assertRaisesRegex(ValueError, "Expected metric, seed in .*result.json. Received: a result without"):
            Result.load(self.rewritten("less", seed="left out", metric="left out"))
        with self.assertRaisesRegex(ValueError, r"Received besides: colour, shape\."):
            Result.load(self.rewritten("more", colour=1, shape=2))
        for name, fields in (("before", {"before": {"macs": 1}}), ("candidates", {"candidates": [{"plan": 3}]})):
            with self.assertRaisesRegex(ValueError, "to be what `Result.save` writes. Received: "):
                Result.load(self.rewritten(name, **fields))

    def test_a_lambda_of_operators_is_saved_as_operations(self):
        result = self.changed(model=with_lambda(self.result.model, lambda t: t / 2 - 1))
        result.save(self.folder / "lambda")
        loaded = Result.load(self.folder / "lambda")
        self.assertAllClose(loaded.model(self.x[:5]), result.model(self.x[:5]), atol=1e-6)
        self.assertTrue(loaded.model.compiled)

    def test_another_lambda_is_said_when_saving_and_loaded_with_the_model(self):
        model = with_lambda(small_tasks.trained_network(), lambda t: tf.nn.relu(t))
        result = tfcompress.compress(model, Uniform(epochs=0), (self.x, self.y), flops_budget=0.7, verbose=0, seed=1)
        self.assertTrue(any("Lambda layer" in note and "Result.load" in note for note in result.notes), result.notes)
        with self.assertWarnsRegex(UserWarning, "Lambda layer 'own' holds Python code"):
            result.save(self.folder / "code")
        with self.assertRaisesRegex(ValueError, r"Expected Keras to make the model.*Result.load\(folder, model=...\)"):
            Result.load(self.folder / "code")
        loaded = Result.load(self.folder / "code", model=model)
        self.assertAllEqual(loaded.model(self.x[:5]), result.model(self.x[:5]))
        self.assertTrue(loaded.model.compiled)
        with self.assertRaisesRegex(ValueError, "Expected `model` to be the model that the result"):
            Result.load(self.folder / "code", model=keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))

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
        path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 6}))
        write_manifest(self.folder / "later")
        with self.assertRaisesRegex(ValueError, "Expected a result of format 5. Received"):
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
        self.assertEqual(report.files[0].samples, len(self.result.held_out[0]))
        answers = run_tflite(report.files[1].path, self.x)
        self.assertAllClose(np.asarray(keras.tree.flatten(answers)[0]), expected, atol=1e-5)
        self.assertLess(report.files[2].bytes, report.files[1].bytes)

    def test_exported_files_are_measured_by_the_tasks_metric_on_held_out_samples(self):
        x, y = self.result.held_out
        right = self.result.model.predict(x, verbose=0).argmax(-1) == np.reshape(y, -1)
        for number, result in enumerate((self.result, Result.load(self.folder / "run"))):
            report = result.export(self.folder / f"measured{number}", formats="keras")
            self.assertEqual(report.metric_name, "accuracy")
            self.assertAllClose(report.metric, right.mean())
            self.assertAllClose(report.files[0].metric, right.mean())
            self.assertEqual(report.notes[0], "Compared on held-out samples.")

    def test_a_metric_that_a_loaded_result_does_not_know_any_more_is_said(self):
        def share_right(y, outputs):
            right = keras.ops.equal(keras.ops.argmax(outputs, -1), keras.ops.cast(keras.ops.reshape(y, (-1,)), "int32"))
            return keras.ops.cast(right, "float32")

        result = tfcompress.compress(
            small_tasks.three_convolutions(),
            Uniform(epochs=0),
            (self.x, self.y),
            flops_budget=0.7,
            objective=share_right,
            verbose=0,
        )
        report = result.export(self.folder / "own_score", formats="keras")
        self.assertEqual(report.metric_name, "share_right")
        result.save(self.folder / "own_score_saved")
        loaded = Result.load(self.folder / "own_score_saved")
        unknown = loaded.export(self.folder / "own_score", formats="keras")
        self.assertIsNone(unknown.metric)
        self.assertIn("share_right is no longer known", unknown.notes[0])
        given = loaded.export(
            self.folder / "own_score", formats="keras", metric=lambda y, outputs: np.mean(share_right(y, outputs))
        )
        self.assertAllClose(given.metric, report.metric)
        without = dataclasses.replace(loaded, held_out=None).export(self.folder / "own_score", formats="keras")
        self.assertIn("no labels", without.notes[0])

    def test_a_report_in_its_folder_is_part_of_it(self):
        drawn = mock.patch.object(page, "page_of", lambda result: "<!doctype html>")
        self.enterContext(drawn)
        folder = self.folder / "with_a_report"
        self.result.save(folder)
        self.result.report(folder / "report.html")
        self.assertSame(Result.load(folder), self.result)
        self.result.save(folder)  # it replaces the page, which was one of the older result
        self.assertFalse((folder / "report.html").exists())
        self.result.report(folder / "report.html")
        self.result.report(folder / "report.html")
        self.result.save(folder)
        self.result.report(folder / "report.html")
        (folder / "report.html").write_text("my own words")
        self.assertSame(Result.load(folder), self.result)
        with self.assertRaisesRegex(FileExistsError, "Received: report.html. Nothing was written"):
            self.result.save(folder)
        (folder / "report.html").unlink()
        self.assertSame(Result.load(folder), self.result)
        self.result.save(folder)

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
        self.assertLen(rows, 8)  # an empty line, and what to do next, behind the table
        self.assertIn("result.export(folder)", lines[-1])
        self.assertNotIn("a note", "".join(lines))

    def test_the_table_of_a_notebook_is_the_one_that_is_printed(self):
        before = Measured(2000, 100, 400, 0.9, "test", 0.8, on_device={"file_bytes": 1500, "latency_ms": 0.5})
        after = Measured(500, 25, 100, 0.85, "test", 0.82, on_device={"file_bytes": 600, "latency_ms": 0.2})
        notes = ("a note", "Warning: <b> is no class")
        result = self.changed(before=before, after=after, notes=notes, metric="a<b", seed=4)
        rows = [
            ["MACs", "2,000", "500", "25.0%"],
            ["parameters", "100", "25", "25.0%"],
            ["TFLite file (bytes)", "1,500", "600", "40.0%"],
            ["latency, one thread (ms)", "0.5", "0.2", "40.0%"],
            ["a<b (test)", "0.9000", "0.8500", "-0.0500"],
            ["a<b (validation)", "0.8000", "0.8200", "+0.0200"],
        ]
        title, _, *table, empty, warning, following = str(result).splitlines()
        self.assertEqual((title, empty, warning), ("uniform, seed 4", "", notes[1]))
        self.assertEqual([" ".join(line.split()) for line in table], [" ".join(row) for row in rows])
        self.assertIn("result.export(folder)", following)
        self.assertIn("(2 notes)", following)
        shown = xml.etree.ElementTree.fromstring(f"<div>{result._repr_html_()}</div>")
        self.assertEqual(shown.find("table/caption").text, title)
        self.assertEqual([[cell.text for cell in row] for row in shown.iter("tr")][1:], rows)
        self.assertEqual([paragraph.text for paragraph in shown.iter("p")], [warning, following])
        self.assertEqual(repr(result), "<Result of uniform, seed 4: 500 of 2,000 MACs>")
        self.assertEqual((after["file_bytes"], after["latency_ms"], after["macs"]), (600, 0.2, 500))

    def test_the_file_and_the_latency_of_both_models_are_measured(self):
        model = small_tasks.three_convolutions()
        call = {"data": (self.x, self.y), "flops_budget": 0.5, "verbose": 0}
        self.enterContext(converted_once())
        self.enterContext(mock.patch.object(measured, "_SECONDS", 0.05))
        with mock.patch.object(outcome, "on_this_machine", measured.on_this_machine):
            result = tfcompress.compress(model, Uniform(epochs=0), **call)
            with mock.patch.object(measured, "file_for_latency", side_effect=ExportError("Expected no EinSum. So.")):
                without = tfcompress.compress(model, Uniform(epochs=0), **call)
        for side, measured_model in ((result.before, model), (result.after, result.model)):
            self.assertEqual(side["file_bytes"], len(convert(measured_model)))
            self.assertGreater(side["latency_ms"], 0)
        self.assertTrue(any("one sample, one thread" in note for note in result.notes))
        self.assertEqual((without.before.on_device, without.after.on_device), ({}, {}))
        self.assertIn("LiteRT does not take the model: Expected no EinSum. So.", " ".join(without.notes))
        self.assertNotIn("latency", str(without))
        self.assertEqual(without.after, result.after)  # latency is another each time

    def test_what_the_budget_measured_is_not_measured_twice(self):
        known = ({"latency_ms": 7.0}, {"latency_ms": 3.0})
        with (
            mock.patch.object(measured, "file_for_latency", return_value=b"1234"),
            mock.patch.object(measured, "measure_latency") as timed,
        ):
            timed.return_value.median_ms = 1.0
            first, last, _ = measured.on_this_machine(self.result.model, self.result.model, known)
        self.assertEqual((first, last), ({"file_bytes": 4, "latency_ms": 7.0}, {"file_bytes": 4, "latency_ms": 3.0}))
        before, after = (
            dataclasses.replace(self.result.before, measurements=numbers, on_device=device)
            for numbers, device in zip(known, (first, last), strict=True)
        )
        lines = str(self.changed(before=before, after=after)).splitlines()
        self.assertLen([line for line in lines if "latency" in line], 1)


class MeasuredTest(tf.test.TestCase):
    def test_the_accuracy_is_that_on_the_test_split_where_there_is_one(self):
        cost = tfcompress.Cost(1, 2, 3)
        self.assertEqual(Measured.of(cost, 0.5, 0.6), Measured(1, 2, 3, 0.6, "test", 0.5))
        self.assertEqual(Measured.of(cost, 0.5, None), Measured(1, 2, 3, 0.5, "validation", 0.5))
        self.assertEqual(Measured.of(cost, 0.5, 0.0), Measured(1, 2, 3, 0.0, "test", 0.5))
