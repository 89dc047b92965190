"""What `compress` refuses before any training, each with what was expected, what came, and what to do."""

import os
import pathlib
import tempfile
from unittest import mock

import keras
import numpy as np
import small_tasks
import tensorflow as tf
from keras import layers

import tfcompress
from tfcompress.methods import RLAL, Random, Uniform
from tfcompress.training import Checkpoints, PenalizedModel, RunFolderError, TrainingDiverged

X, Y = small_tasks.pictures(40)
NAN = np.where(np.arange(40)[:, None, None, None] == 37, np.nan, X)


def dataset(x, y, batch=8):
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(batch)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(4)

    def call(self, inputs):
        return self.dense(inputs)


class Batches(keras.utils.PyDataset):
    """Five batches of 8 pictures; from the second epoch on their pixels are NaN."""

    def __init__(self, spoil=False):
        super().__init__()
        self.spoil, self.epochs = spoil, 0

    def __len__(self):
        return 5

    def __getitem__(self, index):
        x = X[8 * index : 8 * index + 8]
        return x * np.nan if self.spoil and self.epochs > 0 else x, Y[8 * index : 8 * index + 8]

    def on_epoch_end(self):
        self.epochs += 1


class RefusedTest(tf.test.TestCase):
    """No step is trained: `fit` is not even called."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = small_tasks.residual_network()

    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.fit = self.enterContext(mock.patch.object(PenalizedModel, "fit"))

    def assertRefused(self, message, *, error=(ValueError, TypeError), **changes):
        """`message` has the parts "what was expected", "what came", and "what to do", in any order, as regexes."""
        settings = {"model": self.model, "method": Uniform(epochs=1), "data": (X, Y), "flops_budget": 0.5, "verbose": 0}
        with self.assertRaises(error) as caught:
            tfcompress.compress(**settings | changes)
        text = str(caught.exception)
        for part in ("Expected", "Received", *([message] if isinstance(message, str) else message)):
            self.assertRegex(text, part)
        self.fit.assert_not_called()

    def test_no_data(self):
        self.assertRefused(("`data` to train on", "data=None", "Pass the name of a dataset"), data=None)

    def test_budgets(self):
        self.assertRefused(("Expected a budget", "flops_budget=0.5 for half"), flops_budget=None)
        for value in (0, 0.0, -0.5, float("nan")):
            self.assertRefused("`flops_budget` to be above 0. Received: flops_budget=", flops_budget=value)
        self.assertRefused(("a share of the original", "absolute number as an int"), flops_budget=1.5)
        self.assertRefused("`params_budget`", params_budget=-1)
        self.assertRefused("`flops_budget` to be a number", flops_budget="half")

    def test_a_budget_out_of_reach_is_told_with_what_is_in_reach(self):
        """Uniform prunes all three groups down to a channel."""
        smallest = tfcompress.costs.counts.CostModel(
            tfcompress.graph.ChannelGroups.of(tfcompress.graph.LayerGraph.from_keras(self.model))
        ).smallest.macs
        share = np.ceil(1e4 * smallest / tfcompress.cost(self.model).macs) / 1e4
        self.assertRefused(f"at least {share:.4f} of the original", flops_budget=share / 2)

    def test_a_budget_that_pruning_inside_blocks_cannot_reach(self):
        """stem 16 * 9 * 6 = 864 MACs and head 24 * 4 = 96 stay; a channel inside is 16 * 9 * 12 = 1,728."""
        total = 864 + 12 * 1728 + 96
        self.assertEqual(tfcompress.cost(self.model).macs, total)
        share = np.ceil(1e4 * (864 + 2 * 1728 + 96) / total) / 1e4
        for method in (RLAL(epochs=4), Random(epochs=1)):
            self.assertRefused(
                f"at least {share}.*Received: flops_budget=0.2. .*Ask for less", flops_budget=0.2, method=method
            )

    def test_methods(self):
        self.assertRefused(
            r"one of .*'lit', 'magnitude', 'n2n', 'qat', 'random', 'replaced', 'rlal', 'scratch', 'taylor', 'uniform'\].*method='rlql'",
            method="rlql",
        )
        self.assertRefused((r"Received: method=<class", r"Write its parentheses: method=RLAL\(\)"), method=RLAL)
        self.assertRefused("a name or a Method", method=None)

    def test_a_subclassed_model(self):
        model = Subclassed()
        model(np.zeros((1, 4), "float32"))
        self.assertRefused("Functional or Sequential", model=model, error=TypeError)

    def test_what_is_no_model(self):
        self.assertRefused("a keras.Model", model=np.zeros(3))
        self.assertRefused("existing file.*nowhere.keras", model=self.folder / "nowhere.keras", error=FileNotFoundError)

    def test_images_of_another_shape(self):
        for x in (X[:, :6], np.repeat(X, 3, axis=-1)):
            for data in ((x, Y), dataset(x, Y)):
                self.assertRefused((r"shape \[batch, 8, 8, 1\]", r"Received: shape \[", "Resize"), data=data)
        self.assertRefused(("x\\[..., None\\]", "shape \\[40, 8, 8\\]"), data=(X[..., 0], Y))

    def test_labels_outside_the_classes(self):
        wrong = Y.copy()
        wrong[17] = 4
        for data in ((X, wrong), dataset(X, wrong)):
            self.assertRefused(("between 0 and 3", "labels from 0 to 4", "Renumber"), data=data)
        self.assertRefused("labels from -1 to 3", data=(X, np.where(Y == 0, -1, Y)))
        self.assertRefused("labels from 0 to 4", validation_data=(X, wrong))
        self.assertRefused("labels from 0 to 4", test_data=(X, wrong))

    def test_labels_outside_the_classes_of_every_compiled_loss(self):
        model = small_tasks.residual_network(activation="softmax")
        for loss in ("sparse_categorical_crossentropy", keras.losses.SparseCategoricalCrossentropy(), "crossentropy"):
            model.compile("sgd", loss if loss != "crossentropy" else keras.losses.sparse_categorical_crossentropy)
            self.assertRefused("labels from 0 to 9", model=model, data=(X, np.arange(40) % 10))

    def test_nan_in_images(self):
        self.assertRefused(("finite numbers", "in sample 37", "Remove or repair"), data=(NAN, Y))
        self.assertRefused(("finite numbers", "sample"), data=dataset(NAN[::-1], Y[::-1]))  # among the first batches
        self.assertRefused("`validation_data`.*NaN", validation_data=(NAN, Y))
        self.assertRefused("`test_data`.*NaN", test_data=(NAN, Y))
        self.assertRefused("infinity", data=(np.where(np.isnan(NAN), np.inf, NAN), Y))

    def test_empty_datasets(self):
        for data in ((X[:0], Y[:0]), dataset(X[:0], Y[:0])):
            self.assertRefused(("an empty dataset", "Check its path"), data=data)

    def test_labels_are_missing_or_too_few(self):
        self.assertRefused("come with labels", data=X)
        self.assertRefused("40 inputs and 39 labels", data=(X, Y[:39]))

    def test_an_unknown_dataset(self):
        self.assertRefused("cifar11", data="cifar11")

    def test_a_run_folder_below_a_file(self):
        (self.folder / "file").write_text("x")
        for run_dir in (self.folder / "file", self.folder / "file" / "run"):
            self.assertRefused(("can be written", "Give another folder"), run_dir=run_dir, error=RunFolderError)

    def test_a_run_folder_of_another_model_or_of_other_settings(self):
        call = {"data": (X, Y), "flops_budget": 0.5, "verbose": 0, "run_dir": self.folder / "run"}
        tfcompress.compress(self.model, Uniform(epochs=0), **call)
        settings = {"method": Uniform(epochs=0), "run_dir": call["run_dir"], "error": RunFolderError}
        act = "Give another run_dir .* or delete this folder"
        other = small_tasks.residual_network(seed=1)  # the same layers, other weights
        self.assertRefused(
            (r"\n  model.weights: differ in layers stem, block1_conv1", act), **settings | {"model": other}
        )
        self.assertRefused(("method.epochs: 0 in the folder, 3 now", act), **settings | {"method": Uniform(epochs=3)})
        self.assertRefused(("method.name: 'uniform' in the folder, 'random'", act), **settings | {"method": "random"})
        self.assertRefused(("flops_budget: 0.5 in the folder, 0.6 now", act), **settings, flops_budget=0.6)
        self.assertRefused(("seed: 0 in the folder, 1 now", act), **settings, seed=1)
        self.assertRefused(("data", "samples", act), **settings | {"data": (X[:30], Y[:30])})
        tfcompress.compress(self.model, Uniform(epochs=0), **call)  # the run itself is as it was

    def test_other_images_of_the_same_number_are_other_data(self):
        call = {"data": (X, Y), "flops_budget": 0.5, "verbose": 0, "run_dir": self.folder / "run"}
        tfcompress.compress(self.model, Uniform(epochs=0), **call)
        self.assertRefused(
            ("samples", "delete this folder"),
            method=Uniform(epochs=0),
            data=small_tasks.pictures(40, seed=9),
            run_dir=call["run_dir"],
            error=RunFolderError,
        )

    def test_numbers_of_numpy_are_numbers_in_a_run_folder_too(self):
        for run in ("run", "run"):
            result = tfcompress.compress(
                self.model,
                Uniform(epochs=0, learning_rate=np.float32(0.5)),
                (X, Y),
                flops_budget=np.float32(0.5),
                params_budget=np.int64(1000),
                seed=np.int64(3),
                run_dir=self.folder / run,
                verbose=0,
            )
        self.assertEqual(tfcompress.Result.load(self.folder / "run").trail, result.trail)

    def test_seeds(self):
        for seed in (-1, 0.5, "0", None, True):
            self.assertRefused("`seed` to be a whole number", seed=seed)

    def test_how_much_is_said(self):
        self.assertRefused("`verbose` to be 0, 1 or 2", verbose=3)

    def test_nothing_is_left_in_the_environment(self):
        before = dict(os.environ)
        self.assertRefused("method=", method="rlql")
        self.assertEqual(dict(os.environ), before)


class DivergedTest(tf.test.TestCase):
    def test_a_loss_that_becomes_nan_stops_the_run_and_the_last_good_state_is_kept(self):
        """The pixels are NaN from the second epoch on, which no check at the start can see."""
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        model = small_tasks.residual_network()
        before = [weight.numpy() for weight in model.weights]
        with self.assertRaises(TrainingDiverged) as caught:
            tfcompress.compress(
                model,
                Uniform(epochs=5, learning_rate=0.01),
                Batches(spoil=True),
                validation_data=(X, Y),
                flops_budget=0.5,
                run_dir=folder / "run",
                verbose=0,
            )
        self.assertEqual((caught.exception.epoch, caught.exception.step), (2, 1))
        self.assertRegex(
            str(caught.exception), "fine-tuning: the loss became NaN .*after epoch 1 are in the model again"
        )
        for old, weight in zip(before, model.weights, strict=True):
            self.assertAllEqual(old, weight)
        last = Checkpoints(folder / "run" / "checkpoints" / "fine-tuning").latest()
        self.assertEqual(last.epoch, 1)
        for name, tensor in last.tensors.items():
            self.assertTrue(np.all(np.isfinite(tensor.astype("float64"))), name)
        self.assertFalse((folder / "run" / "result").exists())

    def test_a_learning_rate_that_is_far_too_high(self):
        with self.assertRaisesRegex(TrainingDiverged, "Try a lower learning rate"):
            tfcompress.compress(
                small_tasks.residual_network(),
                Uniform(epochs=2, learning_rate=1e30),
                (X, Y),
                flops_budget=0.5,
                verbose=0,
            )
