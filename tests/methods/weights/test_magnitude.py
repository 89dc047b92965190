"""Magnitude pruning as a method: the zeros that were asked for, in the result and in its file, resumed or not."""

import functools
import tempfile

import keras
import numpy as np
import pytest
import small_tasks
import tensorflow as tf
from keras import layers

import tfcompress
from tfcompress import Result
from tfcompress.export import sparse_tensors
from tfcompress.methods import Magnitude, Teaching
from tfcompress.methods.weights.base import kernels_of, share_of_zeros
from tfcompress.network import Network

KERNELS = ("stem", "block1_conv1", "block1_conv2", "head")
SHORT = {"pruning_epochs": 2, "epochs": 1, "batch_size": 32, "learning_rate": 0.01}


class Stopped(Exception):
    """In place of a kill."""


class StopAt(keras.callbacks.Callback):
    """Ends the run in the recovery."""

    def on_epoch_begin(self, epoch, logs=None):
        raise Stopped


@functools.cache
def network():
    """One block, and weights by hand that answer well enough to teach: means of quadrants; not to be changed."""
    model = small_tasks.three_convolutions()
    rng = np.random.default_rng(0)
    means, quadrants = np.full((3, 3, 1, 6), 1 / 9), 4 * np.repeat(np.eye(small_tasks.CLASSES), 6, axis=0) - 1
    for name, kernel in (("stem", means), ("block1_conv2", np.zeros((3, 3, 6, 6))), ("head", quadrants)):
        model.get_layer(name).kernel.assign(kernel + rng.normal(0, 0.01, kernel.shape))
    return model


def compressed(method, model=None, **options):
    x, y = small_tasks.pictures(96)
    given = {"validation_data": small_tasks.pictures(32, seed=2), "verbose": 0} | options
    return tfcompress.compress(model or network(), method, (x, y), **given)


class MagnitudeTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        with pytest.raises(Stopped):
            compressed(Magnitude(**SHORT), run_dir=f"{cls.folder}/run", callbacks=[StopAt()])
        cls.resumed = compressed(Magnitude(**SHORT), run_dir=f"{cls.folder}/run")
        cls.result = compressed(Magnitude(**SHORT))

    def kernels(self, result):
        return {name: result.model.get_layer(name).kernel.numpy() for name in KERNELS}

    def test_each_layer_has_its_share_of_zeros(self):
        for name, kernel in self.kernels(self.result).items():
            self.assertEqual(np.count_nonzero(kernel), round(0.25 * kernel.size), name)
        kept = sum(round(0.25 * kernel.size) for kernel in self.kernels(self.result).values())
        weights = sum(kernel.size for kernel in self.kernels(self.result).values())
        said = f"{weights - kept:,} of {weights:,} weights in 4 layers are zero"
        self.assertTrue(any(note.startswith(said) for note in self.result.notes))

    def test_the_model_itself_is_unchanged(self):
        self.assertEqual(self.result.before.cost, self.result.after.cost)
        original = Network(network())
        self.assertEqual(share_of_zeros(kernels_of(original.graph), KERNELS)[0], 0)
        self.assertEqual([layer.name for layer in self.result.model.layers], list(original.graph.operations))

    def test_a_run_that_was_stopped_in_the_recovery_ends_with_the_same_weights(self):
        for first, second in zip(self.result.model.get_weights(), self.resumed.model.get_weights(), strict=True):
            self.assertAllClose(first, second, rtol=1e-4, atol=1e-5)
        self.assertEqual(self.result.history["search"]["loss"][0], self.resumed.history["search"]["loss"][0])

    def test_the_sparse_file_has_the_zeros_of_the_model(self):
        # A normalisation behind a convolution is part of its kernel in the file.
        self.assertEqual(list(self.result.files), ["sparse"])
        kernels = [np.moveaxis(kernel, -1, 0) for kernel in self.kernels(self.result).values()]
        tensors = sparse_tensors(self.result.files["sparse"])
        self.assertNotEmpty(tensors)
        for tensor in tensors:
            self.assertTrue(any(np.array_equal(tensor.values == 0, kernel == 0) for kernel in kernels), tensor.name)

    def test_files_are_saved_loaded_and_exported(self):
        loaded = Result.load(f"{self.folder}/run")
        self.assertEqual(loaded.files, self.resumed.files)
        report = loaded.export(f"{self.folder}/export", "tflite")
        self.assertEqual([file.quantize for file in report.files], ["float32", "sparse"])
        self.assertFalse(any(file.suspect for file in report.files))

    def test_history_and_teacher(self):
        self.assertLen(self.result.history["search"]["loss"], 2)
        self.assertIn("loss_outputs", self.result.history["recover"])  # the original teaches


class SettingsTest(tf.test.TestCase):
    def test_only_named_layers(self):
        result = compressed(Magnitude(**SHORT, teach=None), only=["block1_*", "head"], exclude="head")
        shares = {name: np.mean(result.model.get_layer(name).kernel.numpy() == 0) for name in KERNELS}
        self.assertAllClose([shares["stem"], shares["head"]], [0, 0])
        self.assertGreater(shares["block1_conv1"], 0.7)
        self.assertNotIn("loss_outputs", result.history["recover"])

    def test_a_frozen_layer_that_is_pruned_is_trained(self):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(4, "softmax", name="head")])
        model.get_layer("head").trainable = False
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
        result = compressed(Magnitude(**SHORT), model, only="head")
        before, after = (each.get_layer("head").kernel.numpy() for each in (model, result.model))
        self.assertEqual(np.count_nonzero(after), round(0.25 * after.size))
        self.assertNotAllClose(before[after != 0], after[after != 0])
        self.assertTrue(any("1 frozen layer" in note and "head" in note for note in result.notes))

    def test_what_is_refused(self):
        for message, settings in (
            ("`sparsity` to be a number above 0 and below 1", {"sparsity": 1}),
            ("`pattern` to be one of", {"pattern": "4:2"}),
            ("with pattern='any'", {"block": (2, 2)}),
            ("two of four are zero", {"pattern": "2:4", "sparsity": 0.6}),
            ("`initial_sparsity` to be a share up to sparsity", {"sparsity": 0.3, "initial_sparsity": 0.4}),
            ("`pruning_epochs` to be a whole number, 1 or more", {"pruning_epochs": 0}),
            ("two sizes such as", {"pattern": "block", "block": (4,)}),
        ):
            with self.subTest(message), self.assertRaisesRegex(ValueError, message):
                Magnitude(**settings)

    def test_what_does_not_fit_the_task_is_refused(self):
        tokens = keras.Input((8,), dtype="int32")
        words = keras.Model(tokens, layers.Dense(4)(layers.LSTM(3)(layers.Embedding(9, 4, mask_zero=True)(tokens))))
        images = network()
        for model, message, options in (
            (images, "no limit on macs with method='magnitude'.*flops_budget=0.5", {"flops_budget": 0.5}),
            (images, "no round_to for method='magnitude'", {"round_to": 8}),
            (images, "without any", {"only": "stem_bn"}),
            (words, "a mask", {}),
        ):
            with self.subTest(message), self.assertRaisesRegex((ValueError, TypeError), message):
                tfcompress.compress(model, "magnitude", small_tasks.pictures(), verbose=0, **options)
        for message, method in (
            ("without any", Magnitude(pattern="xnnpack")),
            ("hints do not reach", Magnitude(teach=Teaching(hints=("block1_conv2",)))),
            ("mixed_precision=None", Magnitude(mixed_precision="mixed_bfloat16")),
        ):
            with self.subTest(message), self.assertRaisesRegex(ValueError, message):
                compressed(method)


if __name__ == "__main__":
    tf.test.main()
