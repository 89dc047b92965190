"""A file that computes something else, a full disk, servers' signatures, and ONNX."""

import errno
import os
import pathlib
import tempfile
from unittest import mock

import keras
import numpy as np
import tensorflow as tf

from tfcompress.export import ExportError, ExportMismatch, export, writer

X = np.random.default_rng(0).normal(size=(40, 4)).astype("float32")


def network():
    keras.utils.set_random_seed(0)
    left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right.side")
    both = keras.layers.Concatenate()([left, right])
    outputs = {"b": keras.layers.Dense(3, name="z")(both), "a": keras.layers.Dense(2, name="y")(both)}
    return keras.Model([left, right], outputs)


class MismatchTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        i = keras.Input((4,))
        cls.model = keras.Model(i, keras.layers.Dense(2)(i))

    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "out"

    def corrupted(self):
        """Makes every .keras file that of another network."""
        keras.utils.set_random_seed(5)
        i = keras.Input((4,), name="in")  # names of its own have more digits from one call to the next, and files bytes
        wrong = keras.Model(i, keras.layers.Dense(2, name="out")(i), name="wrong")
        write = writer.saved_model.write_keras
        return mock.patch.object(writer.saved_model, "write_keras", lambda network, path: write(wrong, path))

    def test_a_file_that_computes_something_else_is_left_and_ends_in_an_error(self):
        with (
            self.corrupted(),
            self.assertRaisesRegex(ExportMismatch, r"\(!\) model.keras does not compute.*differ") as got,
        ):
            export(self.model, self.folder, ("keras", "tflite"), samples=X)
        self.assertIn(str(self.folder), str(got.exception))
        self.assertIsInstance(got.exception, ExportError)
        report = got.exception.report
        self.assertEqual([file.suspect for file in report.files], [True, False])
        self.assertTrue(any(note.startswith("(!) model.keras") for note in report.notes))
        for file in report.files:
            self.assertTrue(pathlib.Path(file.path).is_file())
        with self.corrupted(), self.assertWarnsRegex(UserWarning, r"\(!\) model.keras does not compute"):
            warned = export(self.model, self.folder, ("keras", "tflite"), samples=X, on_mismatch="warn")
        self.assertEqual(warned, report)
        with self.assertRaisesRegex(ValueError, "on_mismatch='raise'"):
            export(self.model, self.folder, on_mismatch="raise")

    def test_a_full_disk_leaves_nothing(self):
        def full(path, content):
            path.touch()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

        with (
            mock.patch.object(pathlib.Path, "write_bytes", full),
            self.assertRaisesRegex(OSError, "Expected room on the"),
        ):
            export(self.model, self.folder, ("keras", "tflite"), samples=X)
        self.assertFalse(self.folder.exists())
        export(self.model, self.folder, "tflite", samples=X)
        before = {path.name: path.read_bytes() for path in self.folder.iterdir()}
        with (
            mock.patch.object(pathlib.Path, "write_bytes", full),
            self.assertRaisesRegex(OSError, "Expected room on the"),
        ):
            export(self.model, self.folder, ("keras", "tflite"), samples=X)
        self.assertEqual({path.name: path.read_bytes() for path in self.folder.iterdir()}, before)

    def test_a_server_calls_the_saved_model_by_names(self):
        model = network()
        export(model, self.folder, "saved_model", samples=(X, X))
        signature = tf.saved_model.load(str(self.folder / "saved_model")).signatures["serving_default"]
        answers = signature(left=X, right_side=-X)
        expected = model([X, -X])
        self.assertEqual(set(answers), {"a", "b"})
        for name, values in expected.items():
            self.assertAllClose(answers[name], values, atol=1e-6)

    def test_onnx(self):
        import onnxruntime

        model = network()
        (file,) = export(model, self.folder, "onnx", samples=(X, X)).files
        self.assertEqual((file.format, pathlib.Path(file.path).name, file.suspect), ("onnx", "model.onnx", False))
        self.assertLess(file.max_difference, 1e-5)
        session = onnxruntime.InferenceSession(file.path)
        self.assertEqual([entry.name for entry in session.get_inputs()], ["left", "right.side"])
        a, b = session.run(None, {"left": X[:5], "right.side": -X[:5]})
        expected = model([X[:5], -X[:5]])
        self.assertAllClose(a, expected["a"], atol=1e-6)
        self.assertAllClose(b, expected["b"], atol=1e-6)

    def test_onnx_that_is_not_installed_or_cannot_hold_a_layer(self):
        message = r"Expected tf2onnx.*pip install 'tfcompress\[onnx\]'"
        with mock.patch.dict("sys.modules", {"tf2onnx": None}), self.assertRaisesRegex(ImportError, message):
            export(self.model, self.folder, "onnx")
        i = keras.Input((4,))
        with self.assertRaisesRegex(ExportError, "written ONNX file to load.*Erfinv"):
            export(keras.Model(i, keras.ops.erfinv(i)), self.folder, "onnx")
        self.assertFalse(self.folder.exists())
