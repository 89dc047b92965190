"""`sensitivity`: its numbers are those of the networks really cut, and nothing is rebuilt to get them."""

import contextlib
import io
import json
import pathlib
import tempfile
from unittest import mock

import keras
import numpy as np
import small_tasks
import tensorflow as tf
from keras import layers

import tfcompress
from tfcompress.evaluation import rewards
from tfcompress.plan import Plan
from tfcompress.report import Sensitivity
from tfcompress.rewrite import apply
from tfcompress.rewrite.subnetwork import Subnetwork

# Groups of `small_tasks.residual_network`: the convolutions that write each.
WRITERS = {
    "stem": ("stem", "block1_conv2", "block2_conv2"),
    "block1_conv1": ("block1_conv1",),
    "block2_conv1": ("block2_conv1",),
}


def cut_by_l1(model, group, width):
    """The model with the `width` channels of a group that have the largest l1 norms: by numpy, and rebuilt."""
    kernels = [model.get_layer(name).kernel.numpy() for name in WRITERS[group]]
    norms = sum(np.abs(kernel).sum(axis=(0, 1, 2)) for kernel in kernels)
    return apply(model, Plan.keeping({group: tuple(sorted(np.argsort(-norms)[:width].tolist()))}))


def accuracy(model, x, y):
    return np.mean(np.argmax(model(x, training=False), axis=-1) == y)


@contextlib.contextmanager
def recorded():
    """The sub-networks that are made, each with the number of its measurements in `runs`."""
    made = []

    class Recorded(Subnetwork):
        def __init__(self, *args):
            super().__init__(*args)
            self.runs = 0
            made.append(self)

        def mean(self, *args):
            self.runs += 1
            return super().mean(*args)

    with mock.patch.object(rewards, "Subnetwork", Recorded):
        yield made


def regression():
    """Pictures from five numbers; a transposed convolution is not run on slices, but on masks."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4, 4, 2))
    x = layers.Conv2D(5, 3, activation="relu", padding="same", name="encode")(inputs)
    x = layers.Conv2DTranspose(3, 2, strides=2, activation="relu", name="decode")(x)
    model = keras.Model(inputs, layers.Conv2D(1, 1, name="head")(x), name="pictures")
    model.compile("sgd", "mse")
    rng = np.random.default_rng(1)
    return model, rng.normal(size=(30, 4, 4, 2)).astype("float32"), rng.normal(size=(30, 8, 8, 1)).astype("float32")


class ClassifierTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = small_tasks.trained_network()
        cls.train, cls.validation = small_tasks.pictures(100, seed=3), small_tasks.pictures(60, seed=4)
        cls.before = cls.model.to_json(), cls.model.get_compile_config(), [w.numpy() for w in cls.model.weights]
        out = io.StringIO()
        with recorded() as cls.made, contextlib.redirect_stdout(out):
            cls.measured = tfcompress.sensitivity(cls.model, cls.train, validation_data=cls.validation)
        cls.shown = out.getvalue().splitlines()

    def test_rows_and_columns(self):
        self.assertEqual(self.measured.keep_ratios, (0.75, 0.5, 0.25))
        self.assertEqual(self.measured.groups, tuple(WRITERS))
        self.assertAllEqual(self.measured.sizes, [6, 5, 7])
        # Rounded down: 4.5, 3, 1.5 of 6; 3.75, 2.5, 1.25 of 5; 5.25, 3.5, 1.75 of 7.
        self.assertAllEqual(self.measured.kept, [[4, 3, 1], [3, 2, 1], [5, 3, 1]])
        self.assertEqual((self.measured.metric, self.measured.samples), ("accuracy", 60))

    def test_accuracies_are_those_of_models_that_are_cut(self):
        self.assertAllClose(self.measured.baseline, accuracy(self.model, *self.validation))
        expected = [
            [accuracy(cut_by_l1(self.model, group, width), *self.validation) for width in widths]
            for group, widths in zip(WRITERS, self.measured.kept.tolist(), strict=True)
        ]
        self.assertAllClose(self.measured.accuracy, expected)
        self.assertGreater(len(np.unique(expected)), 4)

    def test_macs_are_those_of_models_that_are_cut(self):
        total = tfcompress.cost(self.model).macs
        expected = [
            [tfcompress.cost(cut_by_l1(self.model, group, width)).macs / total for width in widths]
            for group, widths in zip(WRITERS, self.measured.kept.tolist(), strict=True)
        ]
        self.assertAllClose(self.measured.macs, expected)
        self.assertEqual(self.measured.total_macs, total)

    def test_one_trace_and_no_model_built(self):
        (subnetwork,) = self.made
        self.assertEqual((subnetwork.traces, subnetwork.runs), (1, 1 + 9))
        with recorded() as made, mock.patch("tfcompress.rewrite.working_copy.apply", wraps=apply) as applied:
            tfcompress.sensitivity(self.model, self.train, keep_ratios=[0.5], verbose=0)
        self.assertEqual((len(made), made[0].traces, applied.call_count), (1, 1, 1))  # the working copy

    def test_the_model_is_as_it_was(self):
        config, compiled, weights = self.before
        self.assertEqual(self.model.to_json(), config)
        self.assertEqual(self.model.get_compile_config(), compiled)
        for old, weight in zip(weights, self.model.weights, strict=True):
            self.assertAllEqual(old, weight)

    def test_shows_groups_done_and_the_time_left(self):
        self.assertStartsWith(self.shown[0], "sensitivity: group 1 of 3, ")
        last = [line for line in self.shown if "group" in line][-1]
        self.assertRegex(last, r"^sensitivity  group 3/3  left 0.0 s  accuracy at 0.25 0\.\d{4}  .* s a group$")

    def test_recalibrated_batch_normalization(self):
        """As if each cut network had seen all training samples in one batch, with momentum 0."""
        measured = tfcompress.sensitivity(
            self.model, self.train, validation_data=self.validation, keep_ratios=[0.5], recalibrate_batches=1, verbose=0
        )
        expected = []
        for group, width in zip(WRITERS, (3, 2, 3), strict=True):
            cut = cut_by_l1(self.model, group, width)
            for layer in cut.layers:
                if isinstance(layer, layers.BatchNormalization):
                    layer.momentum = 0.0
            cut(self.train[0], training=True)
            expected.append([accuracy(cut, *self.validation)])
        self.assertAllClose(measured.accuracy, expected)
        self.assertNotAllClose(measured.accuracy, self.measured.accuracy[:, 1:2])
        self.assertEqual(measured.baseline, self.measured.baseline)

    def test_what_cuts_nothing_is_not_measured(self):
        with recorded() as made:
            measured = tfcompress.sensitivity(
                self.model, self.train, keep_ratios=[1, 0.99, 0.01, 0.02], recalibrate_batches=1, images=7, verbose=0
            )
        self.assertAllEqual(measured.accuracy[:, 0], [measured.baseline] * 3)
        self.assertAllEqual(measured.macs[:, 0], [1.0] * 3)
        self.assertAllEqual(measured.kept[:, 2:], [[1, 1]] * 3)
        self.assertAllEqual(measured.accuracy[:, 2], measured.accuracy[:, 3])
        self.assertEqual((made[0].runs, measured.samples), (1 + 3 * 2, 7))  # the whole model, 0.99 and one channel

    def test_table(self):
        lines = str(self.measured).splitlines()
        self.assertStartsWith(lines[0], f"small: accuracy {self.measured.baseline:.4f} of the whole model, on 60 ")
        self.assertEqual(lines[3].split(), ["group", "channels", "0.75", "0.5", "0.25"])
        self.assertEqual([line.split()[0] for line in lines[4:7]], list(WRITERS))
        score, share = self.measured.accuracy[1, 2], self.measured.macs[1, 2]
        self.assertEndsWith(lines[5], f"  {score:.4f} ({share:.1%})")
        self.assertIn("criterion l1_norm; nothing was trained", str(self.measured))
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            self.measured.summary()
        self.assertEqual(out.getvalue(), f"{self.measured}\n")

    def test_saved_and_read(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.measured.save(folder / "measured.json")
        text = (folder / "measured.json").read_text()
        self.assertEqual(json.loads(text)["accuracy"], self.measured.accuracy.tolist())
        read = Sensitivity.from_json(text)
        self.assertEqual((str(read), read.to_json()), (str(self.measured), text))
        read.plot(folder / "measured.png")
        self.assertEqual(tf.io.decode_image((folder / "measured.png").read_bytes()).shape[-1], 4)
        for other in ("[]", '{"format": 1}', text.replace('"format": 1', '"format": 2')):
            with self.assertRaisesRegex(ValueError, "Expected what Sensitivity.to_json"):
                Sensitivity.from_json(other)


class RegressionTest(tf.test.TestCase):
    def test_the_negative_squared_error_of_models_that_are_cut(self):
        model, x, y = regression()
        with recorded() as made:
            measured = tfcompress.sensitivity(
                model,
                (x, y),
                validation_data=(x, y),
                keep_ratios=[0.4],
                criterion=lambda g, e: np.arange(g.size),
                verbose=0,
            )
        self.assertEqual((made[0].traces, made[0].sliced), (1, ()))  # both groups meet the transposed convolution
        plans = {"encode": (3, 4), "decode": (2,)}
        expected = [
            [-np.mean((apply(model, Plan.keeping({group: kept}))(x).numpy() - y) ** 2)] for group, kept in plans.items()
        ]
        self.assertAllClose(measured.accuracy, expected, rtol=1e-5)
        self.assertAllClose(measured.baseline, -np.mean((model(x).numpy() - y) ** 2), rtol=1e-5)
        self.assertEqual(measured.metric, "negative mean squared error")


class WarningTest(tf.test.TestCase):
    def test_a_model_that_only_guesses(self):
        model = small_tasks.residual_network()
        model.get_layer("head").bias.assign([9.0, 0.0, 0.0, 0.0])
        measured = tfcompress.sensitivity(model, small_tasks.pictures(), keep_ratios=[0.5], verbose=0)
        self.assertRegex(measured.notes[-1], "Warning: The model is at chance level")


class RefusalTest(tf.test.TestCase):
    def test_before_anything_is_measured(self):
        model, (x, y) = small_tasks.trained_network(), small_tasks.pictures()
        fixed = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(4)], name="fixed")

        def nan_in_a_block(group, evidence):
            return np.where(np.arange(group.size) == 0, np.nan if group.name == "block2_conv1" else 1.0, 0.0)

        cases = [
            ({"data": None}, "Expected `data` to train on. Received: no data"),
            ({"data": x}, "Expected `data` to come with labels"),
            (
                {"data": (x[:, :7], y)},
                r"Expected inputs in `data` of shape \[batch, 8, 8, 1\].*Received: shape \[96, 7, 8, 1\]",
            ),
            ({"keep_ratios": ()}, "one or more different shares"),
            ({"keep_ratios": (0.5, 0.5)}, r"different shares.*Received: keep_ratios=\(0.5, 0.5\)"),
            ({"keep_ratios": (0.5, 0)}, r"above 0 and at most 1. Received: keep_ratios=\(0.5, 0\)"),
            ({"keep_ratios": (1.5,)}, r"above 0 and at most 1. Received: keep_ratios=\(1.5,\)"),
            ({"keep_ratios": (float("nan"),)}, r"above 0 and at most 1. Received: keep_ratios=\(nan,\)"),
            ({"keep_ratios": (True,)}, r"above 0 and at most 1. Received: keep_ratios=\(True,\)"),
            ({"keep_ratios": ("half",)}, r"above 0 and at most 1. Received: keep_ratios=\('half',\)"),
            ({"keep_ratios": 0.5}, "Received: keep_ratios=0.5. Write a single value in brackets"),
            ({"keep_ratios": "0.5"}, "Received: keep_ratios='0.5'"),
            ({"criterion": "magic"}, "Expected `criterion` to be a function or one of.*'magic'"),
            ({"criterion": nan_in_a_block}, "scores of 'block2_conv1' to be numbers. Received: NaN"),
            ({"criterion": lambda group, evidence: np.ones(2)}, "one number for each of the 6 channels of 'stem'"),
            ({"images": 0}, "Expected `images` to be None, or a whole number, 1 or more. Received: images=0"),
            ({"images": 1.5}, "images=1.5"),
            ({"recalibrate_batches": -1}, "recalibrate_batches=-1"),
            ({"seed": -1}, "seed=-1"),
            ({"verbose": 5}, "verbose=5"),
            ({"model": "missing.keras"}, "Expected `model` to be a model or an existing file. Received: 'missing"),
            ({"model": fixed}, "channels that can be pruned. Received: 'fixed'.*tfcompress.inspect"),
        ]
        for changes, message in cases:
            with (
                self.subTest(message),
                mock.patch.object(Subnetwork, "mean", side_effect=AssertionError("measured")),
                self.assertRaisesRegex((ValueError, TypeError, FileNotFoundError), message),
            ):
                tfcompress.sensitivity(**{"model": model, "data": (x, y), "verbose": 0, **changes})


if __name__ == "__main__":
    tf.test.main()
