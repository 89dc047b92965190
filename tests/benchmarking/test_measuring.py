"""Files that are measured: in processes of their own, and what those processes do, called here where TensorFlow runs."""

import contextlib
import io
import json
import pathlib
import tempfile
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from keras import layers

import tfcompress
from tfcompress import cli
from tfcompress.benchmarking import comparing, lite_process, tensorflow_process
from tfcompress.benchmarking.job import Job, Measurement
from tfcompress.export import convert
from tfcompress.export.saved_model import write_saved_model
from tfcompress.litert import operators_outside_xnnpack

KEYS = {"format", "original", "device", "files"}


def a_model():
    """Two inputs, of which XNNPACK takes the first's convolution, and not the sums along the second."""
    image, row = keras.Input((6, 6, 3), name="image"), keras.Input((4,), name="row")
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu")(image))
    return keras.Model([image, row], layers.Dense(2)(layers.Concatenate()([x, keras.ops.cumsum(row, axis=1)])))


class Files(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.model = a_model()
        cls.lite = cls.folder / "model.tflite"
        cls.lite.write_bytes(convert(cls.model))
        cls.keras = cls.folder / "model.keras"
        cls.model.save(cls.keras)
        cls.saved = cls.folder / "saved"
        write_saved_model(cls.model, cls.saved)
        cls.broken = cls.folder / "broken.tflite"
        cls.broken.write_bytes(cls.lite.read_bytes()[: len(cls.lite.read_bytes()) // 2])

    def job(self, path, kind, batches=(1, 3), threads=(1,)):
        return Job(str(path), kind, batches, threads, 2, 0.05)


class ProcessTest(Files):
    def test_a_tflite_file_beside_files_that_cannot_be_measured(self):
        """Through the command, with a process for each file; the last two never get one."""
        out, err = io.StringIO(), io.StringIO()
        text = self.folder / "notes.txt"
        text.write_text("no model")
        files = [self.broken, self.folder / "missing.tflite", text]
        flags = ["--batch", "3", "--threads", "2", "--runs", "2", "--seconds", "0.05", "--json"]
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            self.assertRaises(SystemExit) as ended,
        ):
            cli.main(["benchmark", *map(str, files), "--against", str(self.lite), *flags])
        self.assertEqual(ended.exception.code, 1)
        self.assertIn(f"Measuring {self.lite} (1 of 4)\n", err.getvalue())
        self.assertIn("Received: 3 of 4 that cannot; the reasons stand above.", err.getvalue())
        content = json.loads(out.getvalue())
        self.assertEqual((set(content), content["original"]), (KEYS, str(self.lite)))
        first, *rest = content["files"]
        self.assertEqual((first["runtime"], first["bytes"], first["error"]), ("LiteRT", self.lite.stat().st_size, ""))
        settings = [(each["batch"], each["threads"]) for each in first["latencies"]]
        self.assertEqual(settings, [(1, 1), (1, 2), (3, 1), (3, 2)])
        self.assertGreater(min(each["median_ms"] for each in first["latencies"]), 0)
        # LiteRT maps the file and XNNPACK packs the weights anew: more than the file, less than Python with TensorFlow.
        self.assertBetween(first["memory_bytes"], first["bytes"], 50 << 20)
        self.assertEqual(first["outside_xnnpack"], {"CUMSUM": 1})
        for file, words in zip(rest, ("Received: a file that it cannot run", "does not exist", ".txt'."), strict=True):
            self.assertStartsWith(file["error"], "Expected a")
            self.assertIn(words, file["error"])
            self.assertEqual((file["latencies"], file["memory_bytes"]), ([], None))

    def test_a_process_that_is_killed_refuses_its_file_alone(self):
        """A process that stops itself stands for LiteRT where a damaged file makes it read past its end."""
        command = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
        run = comparing.subprocess.run
        with mock.patch.object(comparing.subprocess, "run", lambda given, **how: run([given[0], "-c", command], **how)):
            measured = tfcompress.benchmark(self.lite, self.keras, batch=1, threads=1)
        for file in measured.failures:
            self.assertIn("whose process ended by SIGSEGV (it said nothing)", file.error)
        self.assertLen(measured.failures, 2)

    def test_tensorflow_has_a_process_for_each_number_of_threads(self):
        jobs = []

        def answer(module, job):
            jobs.append((module, job.kind, job.batches, job.threads))
            latency = {"median_ms": 1.0, "spread_ms": 0.0, "runs": 2, "settled": True}
            return Measurement(
                [{**latency, "batch": batch, "threads": job.threads[0]} for batch in job.batches], job.threads[0]
            )

        with mock.patch.object(comparing, "_in_process", answer):
            measured = tfcompress.benchmark(self.keras, self.saved, self.keras, batch=4, threads=3)
        kinds = ("keras", "saved_model")
        self.assertEqual(jobs, [("tensorflow_process", kind, (1, 4), (n,)) for kind in kinds for n in (1, 3)])
        settings = [(each.batch, each.threads) for each in measured.files[0].latencies]
        self.assertEqual(settings, [(1, 1), (1, 3), (4, 1), (4, 3)])
        self.assertEqual([file.memory_bytes for file in measured.files], [1, 1])  # on one thread
        size = sum(file.stat().st_size for file in self.saved.rglob("*") if file.is_file())
        self.assertEqual([file.bytes for file in measured.files], [self.keras.stat().st_size, size])

    def test_a_keras_file_in_a_process_of_its_own(self):
        measured = tfcompress.benchmark(self.keras, batch=1, threads=1, runs=2, seconds=0.05).files[0]
        self.assertEqual((measured.error, measured.runtime), ("", "TensorFlow"))
        self.assertEqual([(each.batch, each.threads) for each in measured.latencies], [(1, 1)])
        # TensorFlow itself takes more than 400 MiB, which is not the file's.
        self.assertBetween(measured.memory_bytes, 1, 200 << 20)

    def test_arguments(self):
        with mock.patch.object(comparing, "_in_process", side_effect=AssertionError("measured")):
            for name, value in (("batch", 0), ("threads", 0), ("runs", 0), ("seconds", 0), ("against", 3)):
                with self.assertRaisesRegex(ValueError, f"Expected `{name}`"):
                    tfcompress.benchmark(self.lite, **{name: value})
            with self.assertRaisesRegex(ValueError, "Received: none. Give the files"):
                tfcompress.benchmark()
            with self.assertRaisesRegex(TypeError, "Expected `files`"):
                tfcompress.benchmark(self.model)


class LiteTest(Files):
    def test_another_number_of_samples_gives_as_many_answers(self):
        measured = lite_process.measure(self.job(self.lite, "tflite"))
        self.assertEqual([each["batch"] for each in measured.latencies], [1, 3])
        self.assertEqual(measured.notes, [])

    def test_a_number_of_samples_that_is_written_in_the_file(self):
        vector = keras.Input((4,), batch_size=1)
        function = tf.function(lambda x: tf.matmul(tf.reshape(x, (1, 2, 2)), tf.ones((1, 2, 2))))
        path = self.folder / "fixed.tflite"
        path.write_bytes(converted(function, tf.TensorSpec(vector.shape)))
        measured = lite_process.measure(self.job(path, "tflite"))
        self.assertEqual([each["batch"] for each in measured.latencies], [1])
        self.assertEqual(measured.notes, ["the file takes 1 sample at a time, and does not run with 3"])

    def test_sizes_that_are_open(self):
        function = tf.function(lambda x: tf.nn.relu(x) * 2.0)
        path = self.folder / "open.tflite"
        path.write_bytes(converted(function, tf.TensorSpec((None, 4))))
        self.assertEqual([each["batch"] for each in lite_process.measure(self.job(path, "tflite")).latencies], [1, 3])
        path.write_bytes(converted(function, tf.TensorSpec((1, None))))
        with self.assertRaisesRegex(ValueError, r"inputs of known size.*of shape \(1, -1\)"):
            lite_process.measure(self.job(path, "tflite"))

    def test_an_operator_that_litert_lacks_is_named(self):
        path = self.folder / "custom.tflite"
        path.write_bytes(converted(tf.function(tf.math.erfinv), tf.TensorSpec((1, 4)), custom=True))
        with self.assertRaisesRegex(ValueError, "Received: a file with Erfinv, which LiteRT cannot run"):
            lite_process.measure(self.job(path, "tflite"))

    def test_operators_between_two_parts_of_xnnpack(self):
        """By hand: a dense layer, sums, a dense layer. An operator that was replaced is still in LiteRT's list."""
        vector = keras.Input((4,))
        x = keras.ops.cumsum(layers.Dense(4, activation="relu")(vector), axis=1)
        interpreter = Interpreter(model_content=convert(keras.Model(vector, layers.Dense(3)(x))))
        interpreter.allocate_tensors()
        self.assertEqual(operators_outside_xnnpack(interpreter), (3, {"CUMSUM": 1}))


class TensorFlowTest(Files):
    """Called in this process, whose number of threads is set already."""

    def test_a_keras_file_and_a_saved_model(self):
        for path, kind in ((self.keras, "keras"), (self.saved, "saved_model")):
            measured = tensorflow_process.measure(self.job(path, kind))
            self.assertEqual([(each["batch"], each["threads"]) for each in measured.latencies], [(1, 1), (3, 1)])
            self.assertGreater(min(each["median_ms"] for each in measured.latencies), 0)
            self.assertIsNone(measured.operators)

    def test_the_signature_of_a_saved_model(self):
        module = tf.Module()
        square = tf.function(lambda x: {"y": x * x}, input_signature=[tf.TensorSpec((2, 3), name="x")])
        path = self.folder / "signatures"
        tf.saved_model.save(module, str(path), {"first": square, "serving_default": square})
        measured = tensorflow_process.measure(self.job(path, "saved_model"))
        self.assertEqual([each["batch"] for each in measured.latencies], [2])
        self.assertEqual(
            measured.notes, ["its signature 'serving_default' is measured", "the file takes 2 samples at a time"]
        )
        tf.saved_model.save(module, str(path))
        with self.assertRaisesRegex(ValueError, "which has none. Write it with"):
            tensorflow_process.measure(self.job(path, "saved_model"))

    def test_sizes_that_are_open(self):
        path = self.folder / "open.keras"
        keras.Sequential([keras.Input((None, None, 3), name="any"), layers.Conv2D(2, 3)]).save(path)
        with self.assertRaisesRegex(ValueError, "known|size"):
            tensorflow_process.measure(self.job(path, "keras"))

    def test_what_is_called_is_the_model(self):
        rng = np.random.default_rng(0)
        inputs = [rng.normal(size=(2, 6, 6, 3)).astype("float32"), rng.normal(size=(2, 4)).astype("float32")]
        expected = self.model(inputs)
        for read, path in (
            (tensorflow_process._of_keras, self.keras),
            (tensorflow_process._of_saved_model, self.saved),
        ):
            _, specs, traced_for = read(path)
            by_rank = {len(array.shape): tf.constant(array) for array in inputs}
            outputs = traced_for([by_rank[spec.shape.rank] for spec in specs])()
            self.assertAllClose(keras.tree.flatten(outputs)[0], expected, atol=1e-5)


def converted(function, spec, custom=False):
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function(spec)])
    converter.allow_custom_ops = custom
    return converter.convert()


if __name__ == "__main__":
    tf.test.main()
