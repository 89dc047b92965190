"""Clusters and quantization-aware training as methods, and what they keep of zeros and clusters that were there."""

import tempfile

import keras
import numpy as np
import pytest
import small_tasks
import tensorflow as tf
from keras import layers

import tfcompress
from tfcompress import Result
from tfcompress.export import run_tflite
from tfcompress.methods import QAT, Cluster

SHORT = {"epochs": 1, "batch_size": 32, "learning_rate": 0.02, "teach": None}
KERNELS = ("wide", "head")


def network(zeros=False, values=None):
    """A small classifier with zeros in three of four weights, and with a few values in each kernel."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1), name="image")
    x = layers.Flatten()(layers.AveragePooling2D(2)(inputs))
    x = layers.Dense(24, activation="relu", name="wide")(x)
    model = keras.Model(inputs, layers.Dense(4, activation="softmax", name="head")(x))
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    for name in KERNELS:
        kernel = model.get_layer(name).kernel
        value = kernel.numpy()
        if values is not None:
            step = (value.max() - value.min()) / (values - 1)
            value = np.round((value - value.min()) / step) * step + value.min()
        if zeros:
            value = np.where(np.abs(value) > np.quantile(np.abs(value), 0.75), value, 0)
        kernel.assign(value)
    return model


def compressed(model, method, **options):
    data, validation = small_tasks.pictures(96), small_tasks.pictures(32, seed=2)
    return tfcompress.compress(model, method, data, validation_data=validation, verbose=0, **options)


def kernels(model):
    return {name: model.get_layer(name).kernel.numpy() for name in KERNELS}


class CombinationsTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.rounded = compressed(network(), QAT(**{**SHORT, "epochs": 2}), run_dir=f"{cls.folder}/run")

    def assertKept(self, before, result, zeros=False, values=None):
        for name, kernel in kernels(before).items():
            after = kernels(result.model)[name]
            self.assertNotAllClose(kernel, after, atol=1e-6)  # it was trained
            if zeros:
                self.assertAllEqual(after == 0, kernel == 0)
            if values is not None:
                self.assertLessEqual(len(np.unique(after)), values)

    def test_clusters(self):
        model = network()
        result = compressed(model, Cluster(clusters=5, **SHORT))
        self.assertKept(model, result, values=5)
        self.assertIn("the weights of 2 layers have at most 5 values each", result.notes)
        self.assertEqual(result.files, {})
        self.assertEqual(result.before.cost, result.after.cost)

    def test_clusters_keep_zeros(self):
        model = network(zeros=True)
        self.assertKept(model, compressed(model, Cluster(clusters=6, **SHORT)), zeros=True, values=6)

    def test_rounding_keeps_zeros(self):
        model = network(zeros=True)
        result = compressed(model, QAT(**SHORT))
        self.assertKept(model, result, zeros=True)
        self.assertIn("weights that are zero stay zero (2 layers have many)", result.notes)

    def test_rounding_keeps_clusters(self):
        model = network(values=6)
        result = compressed(model, QAT(**SHORT))
        self.assertKept(model, result, values=6)
        self.assertIn("kernels with few values keep to them (2 layers have such)", result.notes)

    def test_rounding_keeps_both(self):
        model = network(zeros=True, values=12)
        count = max(len(np.unique(kernel)) for kernel in kernels(model).values())
        self.assertKept(model, compressed(model, QAT(**SHORT)), zeros=True, values=count)

    def test_a_run_that_is_stopped_while_it_rounds_goes_on_as_if_it_had_not_been(self):
        class StopAt(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                if epoch == 1:
                    raise KeyError("stopped")

        method = QAT(**{**SHORT, "epochs": 2})
        with tempfile.TemporaryDirectory() as folder:
            with self.assertRaisesRegex(KeyError, "stopped"):
                compressed(network(), method, run_dir=folder, callbacks=[StopAt()])
            resumed = compressed(network(), method, run_dir=folder)
        whole = self.rounded
        self.assertLen(resumed.history["recover"]["loss"], 2)
        for first, second in zip(whole.model.get_weights(), resumed.model.get_weights(), strict=True):
            self.assertAllClose(first, second, rtol=1e-5, atol=1e-6)
        x, _ = small_tasks.pictures(16, seed=5)
        answers = [next(iter(run_tflite(result.files["qat"], x).values())) for result in (whole, resumed)]
        self.assertAllClose(*answers, atol=1e-6)

    @pytest.mark.slow
    def test_nothing_is_kept_where_that_is_asked_for(self):
        model = network(zeros=True)
        after = kernels(compressed(model, QAT(preserve="none", **SHORT)).model)["head"]
        self.assertGreater(np.count_nonzero(after), 2 * np.count_nonzero(kernels(model)["head"]))

    def test_the_int8_file_is_kept_exported_and_run(self):
        result, loaded = self.rounded, Result.load(f"{self.folder}/run")
        self.assertEqual(loaded.files, result.files)
        report = loaded.export(f"{self.folder}/files", "tflite")
        self.assertEqual([file.quantize for file in report.files], ["float32", "qat"])
        self.assertFalse(any(file.suspect for file in report.files))
        x, _ = small_tasks.pictures(16, seed=5)
        (actual,) = run_tflite(result.files["qat"], x).values()
        self.assertAllClose(result.model(x), actual, atol=0.05)
        said = next(note for note in result.notes if note.startswith("The int8 file differs"))
        self.assertIn("of its top-1 answers are the same (64 samples)", said)
        self.assertFalse(any("still computes" in note for note in result.notes))

    def test_what_is_refused(self):
        for message, make in (
            ("`clusters` to be a whole number, 3 or more", lambda: Cluster(clusters=2)),
            ("`centroids` to be one of", lambda: Cluster(centroids="random")),
            ("`preserve` to be one of", lambda: Cluster(preserve="both")),
            ("`preserve` to be one of", lambda: QAT(preserve="zeros")),
            ("`calibration_samples`", lambda: QAT(calibration_samples=0)),
            ("no limit on params with method='qat'", lambda: compressed(network(), "qat", params_budget=0.5)),
            ("without any", lambda: compressed(network(), Cluster(clusters=1000))),
        ):
            with self.subTest(message), self.assertRaisesRegex(ValueError, message):
                make()


if __name__ == "__main__":
    tf.test.main()
