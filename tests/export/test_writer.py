"""Tests of `export`: every format of small models against the models themselves."""

import json
import logging
import os
import pathlib
import sys
import tempfile
import threading
import warnings

import keras
import numpy as np
import tensorflow as tf
from absl import logging as absl_logging

from tfcompress.export import ExportError, MissingOperatorError, export, writer
from tfcompress.manifest import MANIFEST, foreign
from tfcompress.staging import Stage

IMAGES = np.random.default_rng(0).standard_normal((48, 12, 12, 3)).astype("float32")
ALL = (None, "float16", "dynamic", "int8")


def residual_network(seed: int = 1) -> keras.Model:
    """Convolution, BatchNormalization with real statistics, parameter-free shortcut, depthwise, pooling, Dense."""
    keras.utils.set_random_seed(seed)
    image = keras.Input((12, 12, 3), name="image")
    x = keras.layers.Conv2D(8, 3, padding="same", use_bias=False)(image)
    x = keras.layers.BatchNormalization(
        moving_mean_initializer=keras.initializers.RandomNormal(seed=seed),
        moving_variance_initializer=keras.initializers.RandomUniform(0.5, 2.0, seed=seed),
    )(x)
    x = keras.layers.ReLU()(x)
    shortcut = keras.ops.pad(x[:, ::2, ::2, :], [[0, 0], [0, 0], [0, 0], [4, 4]])
    x = keras.layers.Add()([keras.layers.Conv2D(16, 3, strides=2, padding="same")(x), shortcut])
    x = keras.layers.DepthwiseConv2D(3, padding="same", activation="relu6")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(5)(x))


def dense_network() -> keras.Model:
    """40,000 weights in one product: the file is little else."""
    keras.utils.set_random_seed(2)
    return keras.Sequential([keras.Input((200,)), keras.layers.Dense(200), keras.layers.Dense(2)])


class ExportTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        """Exports every format once, while the terminal is listened to."""
        super().setUpClass()
        folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        with tempfile.TemporaryFile() as caught:
            saved = os.dup(2), os.dup(1)
            os.dup2(caught.fileno(), 2), os.dup2(caught.fileno(), 1)
            try:
                cls.of_all = export(dense_network(), folder, quantize=ALL, calibration=np.eye(200)[:4])
            finally:
                os.dup2(saved[0], 2), os.dup2(saved[1], 1)
            caught.seek(0)
            cls.printed = caught.read()

    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def test_every_format_answers_as_the_model_does(self):
        model = residual_network()
        before = [weight.copy() for weight in model.get_weights()]
        report = export(model, self.folder / "new", quantize=ALL, calibration=IMAGES)

        names = [pathlib.Path(file.path).name for file in report.files]
        self.assertEqual(
            names,
            ["model.keras", "saved_model"]
            + [f"model_{name}.tflite" for name in ("float32", "float16", "dynamic", "int8")],
        )
        self.assertEqual(sorted([*names, MANIFEST]), sorted(path.name for path in (self.folder / "new").iterdir()))
        self.assertEqual([file.samples for file in report.files], [48] * 6)
        self.assertFalse(any(file.suspect for file in report.files))

        scale = float(np.abs(model(IMAGES)).max())
        self.assertAllClose(report.largest_output, scale, rtol=1e-6)
        relative = {name: file.max_difference / scale for name, file in zip(names, report.files, strict=True)}
        self.assertLess(relative["model.keras"], 1e-5)
        self.assertLess(relative["saved_model"], 1e-5)
        self.assertLess(relative["model_float32.tflite"], 1e-5)
        self.assertBetween(relative["model_float16.tflite"], 1e-6, 1e-2)  # above: it really holds less
        self.assertBetween(relative["model_dynamic.tflite"], 1e-5, 1e-1)
        self.assertBetween(relative["model_int8.tflite"], 1e-3, 1e-1)  # one step of int8 is 1/255 of a range
        self.assertEqual([file.top1_agreement for file in report.files[:3]], [1.0, 1.0, 1.0])
        self.assertGreaterEqual(report.files[5].top1_agreement, 0.9)
        for old, new in zip(before, model.get_weights(), strict=True):
            self.assertAllEqual(old, new)

    def test_report_names_the_real_sizes_and_says_what_was_compared(self):
        report = export(dense_network(), self.folder, formats=["tflite", "saved_model"], calibration=np.ones((3, 200)))
        for file in report.files:
            parts = [pathlib.Path(file.path), *pathlib.Path(file.path).rglob("*")]
            self.assertEqual(file.bytes, sum(part.stat().st_size for part in parts if part.is_file()))
        self.assertEqual(report.notes, ("Compared on the calibration inputs.",))
        content = json.loads(report.to_json())
        self.assertEqual([entry["format"] for entry in content["files"]], ["saved_model", "tflite"])

    def test_sizes_follow_the_width_of_the_weights(self):
        size = {file.quantize or file.format: file.bytes for file in self.of_all.files}
        weights = 4 * (200 * 200 + 200 + 200 * 2 + 2)
        self.assertBetween(size["float32"], weights, weights + 3000)
        self.assertAllClose(size["float16"] / size["float32"], 0.5, atol=0.03)
        self.assertAllClose(size["dynamic"] / size["float32"], 0.25, atol=0.04)
        self.assertAllClose(size["int8"] / size["float32"], 0.25, atol=0.06)
        # Keras' own model.export stores every variable twice.
        self.assertBetween(size["saved_model"], weights, 1.3 * weights)

    def test_a_file_of_other_weights_is_detected(self):
        model, write_keras = residual_network(), writer.saved_model.write_keras

        def write_another(network, path):
            write_keras(residual_network(seed=7), path)

        self.enter(writer.saved_model, "write_keras", write_another)
        with self.assertWarnsRegex(UserWarning, "model.keras does not compute what the Keras model computes"):
            report = export(model, self.folder, formats="keras", samples=IMAGES, on_mismatch="warn")
        expected = np.abs(model(IMAGES) - residual_network(seed=7)(IMAGES)).max()
        self.assertTrue(report.files[0].suspect)
        self.assertAllClose(report.files[0].max_difference, expected, rtol=1e-4)
        self.assertLess(report.files[0].top1_agreement, 1.0)
        self.assertIn("(!) model.keras", report.summary())

    def test_weights_changed_between_write_and_comparison_are_detected(self):
        model, write = residual_network(), writer._write

        def write_corrupted(network, *rest):
            kernel = model.layers[-1].kernel
            good = kernel.numpy()
            kernel.assign(good * 1.01)
            written = write(network, *rest)
            kernel.assign(good)
            return written

        self.enter(writer, "_write", write_corrupted)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            report = export(model, self.folder, samples=IMAGES, on_mismatch="warn")
        self.assertEqual([file.suspect for file in report.files], [True] * 3)
        for file in report.files:  # the bias is zero, so that every output is 1% off
            self.assertAllClose(file.max_difference, 0.01 * report.largest_output, rtol=1e-3)

    def test_several_inputs_and_outputs(self):
        keras.utils.set_random_seed(3)
        left, right = keras.Input((6,), name="left"), keras.Input((2, 2), name="right.side")
        both = keras.layers.Concatenate()([left, keras.layers.Flatten()(right)])
        classes = keras.layers.Dense(3, name="classes")(both)
        square = keras.layers.Reshape((2, 2))(keras.layers.Dense(4)(both))
        numbers = np.random.default_rng(1)
        arrays = (numbers.standard_normal((11, 6)), numbers.standard_normal((11, 2, 2)))
        as_lists = keras.Model([left, right], [classes, square])
        as_dicts = keras.Model({"left": left, "right.side": right}, {"z": classes, "a": square})
        for model, given in ((as_lists, arrays), (as_dicts, {"right.side": arrays[1], "left": arrays[0]})):
            report = export(model, self.folder / type(given).__name__, quantize=(None, "int8"), calibration=given)
            self.assertEqual([file.samples for file in report.files], [11] * 4)
            for file in report.files[:3]:
                self.assertLess(file.max_difference, 1e-5)
                self.assertEqual(file.top1_agreement, 1.0)
            self.assertBetween(report.files[3].max_difference, 1e-4, 0.1)

    def test_fixed_batch_and_unknown_image_size(self):
        keras.utils.set_random_seed(4)
        for batch_size in (None, 4):
            image = keras.Input((None, None, 3), batch_size=batch_size)
            x = keras.layers.GlobalMaxPooling2D()(keras.layers.Conv2D(4, 3)(image))
            model = keras.Model(image, keras.layers.Dense(1)(x))
            report = export(model, self.folder / str(batch_size), samples=IMAGES[:6, :, :9])  # 6 is no multiple of 4
            self.assertEqual([file.samples for file in report.files], [6] * 3)
            self.assertEqual([file.top1_agreement for file in report.files], [None] * 3)
            self.assertLess(max(file.max_difference for file in report.files), 1e-5)
            saved_model_takes_four = any("The SavedModel takes 4 samples" in note for note in report.notes)
            self.assertEqual(saved_model_takes_four, batch_size == 4)
            self.assertFalse(any("TFLite files take" in note for note in report.notes))  # it runs with one

    def test_files_for_several_samples_are_said(self):
        i = keras.Input((6,), batch_size=4)
        model = keras.Model(i, keras.layers.Dense(2)(keras.ops.reshape(i, (4, 6))))
        report = export(model, self.folder, "tflite", samples=np.ones((6, 6)))
        self.assertTrue(any("The TFLite files take 4 samples at a time" in note for note in report.notes))

    def test_mixed_precision_model(self):
        keras.utils.set_random_seed(5)
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy("mixed_float16")
        self.addCleanup(keras.config.set_dtype_policy, policy)
        model = residual_network()
        self.assertEqual(model.outputs[0].dtype, "float16")
        report = export(model, self.folder, quantize=(None, "int8"), calibration=IMAGES)
        self.assertFalse(any(file.suspect for file in report.files))
        # Half precision has 11 bits: 0.0005 a rounding, over eight layers.
        self.assertBetween(report.files[2].max_difference / report.largest_output, 1e-6, 0.01)

    def test_compiled_model_gives_a_file_without_optimizer_and_loss(self):
        model = dense_network()
        model.compile("adam", loss=lambda y_true, y_pred: keras.ops.mean(y_pred))  # a loss that no other program knows
        model.fit(np.ones((4, 200)), np.ones((4, 2)), verbose=0)
        report = export(model, self.folder, formats="keras", samples=np.eye(200))
        self.assertEqual(report.files[0].max_difference, 0.0)
        self.assertFalse(keras.models.load_model(report.files[0].path).compiled)
        self.assertLess(report.files[0].bytes, 1.3 * 4 * model.count_params())  # Adam's slots would make it three times
        self.assertTrue(model.compiled)

    def test_random_inputs_are_seeded_and_said(self):
        first = export(dense_network(), self.folder, formats="tflite", quantize="float16")
        second = export(dense_network(), self.folder, formats="tflite", quantize="float16")
        self.assertEqual(first, second)
        self.assertGreater(first.files[0].max_difference, 0.0)
        self.assertIn("seeded random inputs", first.notes[0])
        self.assertEqual(first.files[0].samples, 16)

    def test_float_operators_left_in_an_int8_file_are_said(self):
        vector = keras.Input((6,))
        model = keras.Model(vector, keras.layers.Dense(2)(keras.ops.floor(keras.layers.Dense(4)(vector))))
        numbers = 3 * np.random.default_rng(0).standard_normal((20, 6))
        report = export(model, self.folder, formats="tflite", quantize="int8", calibration=numbers)
        self.assertIn(
            "model_int8.tflite still computes these operators in float32: FLOOR (TensorFlow's converter has no int8 form of it).",
            report.notes,
        )
        (row,) = report.files[0].unquantized
        self.assertEqual(row.operator, "FLOOR")
        self.assertEqual(json.loads(report.to_json())["files"][0]["unquantized"][0]["operator"], "FLOOR")

    def test_files_are_replaced_only_when_all_went_well(self):
        export(dense_network(), self.folder, formats=("keras", "saved_model"))
        old = (self.folder / "model.keras").read_bytes()
        vector = keras.Input((4,))
        unsupported = keras.Model(vector, keras.ops.erfinv(keras.layers.Dense(2)(vector)))
        with self.assertRaises(MissingOperatorError):
            export(unsupported, self.folder)
        self.assertEqual((self.folder / "model.keras").read_bytes(), old)
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), ["model.keras", "saved_model", MANIFEST])

        model = keras.Model(vector, keras.layers.Dense(2)(vector))
        export(model, self.folder, formats=("keras", "saved_model"))
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), ["model.keras", "saved_model", MANIFEST])
        self.assertEqual(keras.models.load_model(self.folder / "model.keras").input_shape, (None, 4))
        loaded = tf.saved_model.load(str(self.folder / "saved_model"))
        self.assertEqual(loaded.serve(tf.ones((3, 4))).shape, (3, 2))

    def test_nothing_of_anybody_else_is_touched(self):
        """Foreign files, folders and links under our names are refused by name, before anything is written."""
        (self.folder / "notes").write_text("x")
        export(dense_network(), self.folder, formats=("keras", "tflite"))
        before = {path.name: path.read_bytes() for path in self.folder.iterdir()}
        (self.folder / "saved_model").mkdir()
        (self.folder / "saved_model" / "users").write_text("x")
        with self.assertRaisesRegex(FileExistsError, "Received: saved_model/. Nothing was written"):
            export(dense_network(), self.folder)
        (self.folder / "model.keras").write_text("the user's own")
        (self.folder / "model_float32.tflite").unlink()
        (self.folder / "model_float32.tflite").symlink_to("notes")
        with self.assertRaisesRegex(FileExistsError, "Received: model.keras, saved_model/, model_float32.tflite."):
            export(dense_network(), self.folder)
        self.assertEqual((self.folder / "model.keras").read_text(), "the user's own")
        self.assertEqual((self.folder / "notes").read_bytes(), before["notes"])
        self.assertFalse(list(self.folder.glob(".*")))
        export(dense_network(), self.folder, formats="tflite", quantize="float16")  # stands in nobody's way
        (self.folder / "linked").symlink_to(tempfile.mkdtemp(dir=self.folder))
        export(dense_network(), self.folder / "linked", formats="keras")
        self.assertTrue((self.folder / "linked").is_symlink())

    def test_a_folder_of_something_else_of_ours_is_refused(self):
        with Stage(self.folder) as stage:
            (stage.new / "result.json").write_text("{}")
            stage.place()
        with self.assertRaisesRegex(FileExistsError, "in which tfcompress wrote result.json"):
            export(dense_network(), self.folder)

    def test_exports_of_several_threads_leave_the_process_as_it_was(self):
        """They write into one folder; streams, handlers, levels and filters are looked at afterwards, and meanwhile."""
        handler, logger = logging.StreamHandler(), logging.getLogger("tfcompress-test")
        logger.addHandler(handler)
        self.addCleanup(logger.removeHandler, handler)
        before = sys.stdout, sys.stderr, list(warnings.filters), tf.get_logger().level, absl_logging.get_verbosity()
        model, errors = dense_network(), []

        def work(formats, quantize):
            try:
                export(model, self.folder, formats, quantize, samples=np.eye(200)[:2])
                assert sys.stdout is before[0]
            except Exception as error:
                errors.append(error)

        jobs = ((("keras", "saved_model"), None), ("tflite", None), ("tflite", "float16"))
        threads = [threading.Thread(target=work, args=job) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(errors, [])
        after = sys.stdout, sys.stderr, list(warnings.filters), tf.get_logger().level, absl_logging.get_verbosity()
        self.assertEqual(before, after)
        with tempfile.TemporaryFile() as caught:
            saved = os.dup(2)
            os.dup2(caught.fileno(), 2)
            os.write(2, b"heard")
            os.dup2(saved, 2)
            os.close(saved)
            caught.seek(0)
            self.assertEqual(caught.read(), b"heard")
        self.assertFalse(handler.stream.closed)
        self.assertLen(list(self.folder.iterdir()), 5)
        self.assertEqual(foreign(self.folder), [])

    def test_bad_arguments_are_refused_before_anything_is_written(self):
        model = dense_network()
        refused = {
            r"`formats` to be one or several of \('keras', 'saved_model', 'tflite', 'onnx'\).*onyx": {
                "formats": "onyx"
            },
            r"`quantize` to be one or several of \(None, 'float32', 'float16', 'dynamic', 'int8', 'int16x8', 'int4', 'mixed', 'sparse'\).*int2": {
                "quantize": (None, "int2")
            },
            r"formats=\(\)": {"formats": ()},
            "calibration inputs for quantize='int8'": {"quantize": "int8"},
            r"samples of shape \('samples', 200\).*\(3, 100\)": {"samples": np.ones((3, 100))},
        }
        for message, arguments in refused.items():
            with self.assertRaisesRegex(ValueError, message):
                export(model, self.folder / "none", **arguments)
        with self.assertRaisesRegex(ValueError, "`path` to be a folder"):
            export(model, self.folder / "none" / "model.tflite")
        self.assertFalse((self.folder / "none").exists())

    def test_int8_needs_no_calibration_where_no_tflite_is_written(self):
        report = export(dense_network(), self.folder, formats="keras", quantize="int8")
        self.assertEqual([file.format for file in report.files], ["keras"])

    def test_layer_that_keras_cannot_load_is_an_error(self):
        class Doubled(keras.layers.Layer):
            def call(self, x):
                return 2 * x

        vector = keras.Input((4,))
        model = keras.Model(vector, keras.layers.Dense(2)(Doubled()(vector)))
        with self.assertRaisesRegex(ExportError, "register_keras_serializable"):
            export(model, self.folder)
        report = export(model, self.folder, formats=("saved_model", "tflite"))
        self.assertLess(max(file.max_difference for file in report.files), 1e-5)

    def test_the_terminal_stays_quiet(self):
        self.assertLen(self.of_all.files, 6)
        self.assertEqual(self.printed, b"")

    def enter(self, owner, name, replacement):
        self.addCleanup(setattr, owner, name, getattr(owner, name))
        setattr(owner, name, replacement)
