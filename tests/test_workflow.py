"""`compress`, on everything that it takes: models, files, arrays, datasets, names; methods by name and by instance."""

import contextlib
import dataclasses
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from unittest import mock

import keras
import numpy as np
import pytest
import rlal_runs
import small_tasks
import tensorflow as tf
from keras import layers
from sklearn.datasets import load_digits

import tfcompress
from tfcompress.costs import CostModel
from tfcompress.graph import ChannelGroups, LayerGraph
from tfcompress.methods import Method, Random, Search, Uniform, register_method, registry
from tfcompress.training import PenalizedModel

ROOT = pathlib.Path(__file__).resolve().parents[1]
HELPERS = ROOT / "tests" / "helpers"
CUT = Uniform(epochs=0, recalibrate_student=0)

# A process in which nothing can be imported from tfcompress, as on a machine that has Keras alone.
LOAD_WITH_KERAS_ALONE = """
import json, sys
sys.modules["tfcompress"] = None
import keras, numpy as np
x = np.load(sys.argv[1])
print(json.dumps([keras.saving.load_model(path)(x).numpy().tolist() for path in sys.argv[2:]]))
"""


def run_python(*arguments):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(HELPERS)]), "TF_CPP_MIN_LOG_LEVEL": "3"}
    answer = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
    )
    if answer.returncode:
        raise AssertionError(answer.stderr[-3000:])
    return answer.stdout


def accuracy(model, x, y):
    return float(np.mean(np.argmax(model(x, training=False), axis=-1) == y))


def quiet(model, method, data, **settings):
    return tfcompress.compress(model, method, data, **{"verbose": 0, **settings})


class Snapshot:
    """Everything of a model that compress() must leave as it is."""

    def __init__(self, model):
        self.model = model
        self.weights = [weight.numpy() for weight in model.weights]
        self.optimizer, self.loss = model.optimizer, model.loss
        self.optimizer_state = [variable.numpy() for variable in model.optimizer.variables]
        self.compiled = model.compiled, json.dumps(model.get_compile_config(), default=str)
        self.trainable = [weight.trainable for weight in model.weights]
        self.json, self.train_function = model.to_json(), model.train_function

    def assert_unchanged(self, test):
        now = Snapshot(self.model)
        for name in ("weights", "optimizer_state"):
            for old, new in zip(getattr(self, name), getattr(now, name), strict=True):
                test.assertAllEqual(old, new)
        for name in ("optimizer", "loss", "train_function"):
            test.assertIs(getattr(self, name), getattr(now, name))
        for name in ("compiled", "trainable", "json"):
            test.assertEqual(getattr(self, name), getattr(now, name))


class ResultOfACallTest(tf.test.TestCase):
    """One call of each baseline with arrays for all three splits."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = small_tasks.trained_network()
        cls.snapshot = Snapshot(cls.model)
        cls.validation, cls.test = small_tasks.pictures(64, seed=3), small_tasks.pictures(100, seed=4)
        data = {"validation_data": cls.validation, "test_data": cls.test, "flops_budget": 0.5, "verbose": 2}
        cls.shown = io.StringIO()
        with contextlib.redirect_stdout(cls.shown):
            cls.uniform = tfcompress.compress(
                cls.model,
                Uniform(epochs=2, batch_size=32, schedule="step"),
                small_tasks.pictures(128, seed=2),
                seed=5,
                **data,
            )
        cls.random = tfcompress.compress(
            cls.model, Random(epochs=0, tries=4), small_tasks.pictures(128, seed=2), **data | {"verbose": 0}
        )

    def test_the_model_that_was_given_is_not_changed(self):
        self.snapshot.assert_unchanged(self)

    def test_finished_costs_are_within_the_budget_and_are_the_plans(self):
        total = tfcompress.cost(self.model)
        for result in (self.uniform, self.random):
            finished = tfcompress.cost(result.model)
            self.assertLessEqual(finished.macs, 0.5 * total.macs)
            planned = CostModel(ChannelGroups.of(LayerGraph.from_keras(self.model))).of(result.trail.last)
            self.assertEqual(finished, planned)
            for measured, cost in ((result.before, total), (result.after, finished)):
                self.assertEqual((measured.macs, measured.params, measured.bytes), (cost.macs, cost.params, cost.bytes))
            self.assertEqual(finished.bytes, sum(4 * int(np.prod(w.shape)) for w in result.model.weights))

    def test_accuracies_are_those_of_the_models_on_the_splits(self):
        for result in (self.uniform, self.random):
            for measured, model in ((result.before, self.model), (result.after, result.model)):
                self.assertEqual(measured.split, "test")
                self.assertAllClose(measured.accuracy, accuracy(model, *self.test), atol=1e-6)
                self.assertAllClose(measured.validation_accuracy, accuracy(model, *self.validation), atol=1e-6)
        self.assertGreater(self.uniform.before.accuracy, 0.8)

    def test_the_accuracy_of_the_model_as_it_is_comes_first(self):
        lines = self.shown.getvalue().splitlines()
        shown = f"accuracy {self.uniform.before.validation_accuracy:.4f} on the validation split"
        first = next(i for i, line in enumerate(lines) if shown in line)
        training = next(i for i, line in enumerate(lines) if "epoch 1 of 2" in line)
        self.assertLess(first, training)
        self.assertIn("fine-tuning  epoch 2/2", self.shown.getvalue())

    def test_what_the_run_is_and_its_time_are_said_before_the_first_step(self):
        lines = self.shown.getvalue().splitlines()
        self.assertEqual([line[:10] for line in lines[:4]], ["model     ", "plan      ", "training  ", "time      "])
        for word in ("uniform, at most 21,696 FLOPs (50.0%)", "channels ranked by next_layer_l1_norm"):
            self.assertIn(word, lines[1])
        self.assertEqual(
            lines[2],
            "training  fine-tuning 2 epochs; SGD with learning rate 0.01; batches of 32; learns from labels and soft "
            "targets of the original model",
        )
        self.assertRegex(lines[3], r"^time      (about|under) .* on \d+ CPU cores?")
        self.assertStartsWith(lines[4], "fine-tuning: epoch 1 of 2")

    def test_history(self):
        self.assertEqual(self.uniform.history["search"], {})
        recover = self.uniform.history["recover"]
        self.assertContainsSubset(["loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"], recover)
        self.assertEqual({len(values) for values in recover.values()}, {2})
        self.assertAllClose(max(recover["val_accuracy"]), self.uniform.after.validation_accuracy)  # of the best epoch
        # A warm start begins at 0.01; the milestones at 100 and 150 of 200 are epochs 1 and 2 of 2.
        self.assertAllClose(recover["learning_rate"], [0.01, 0.001])
        self.assertLen(self.random.history["search"]["reward"], 4)
        self.assertEqual(self.random.history["recover"], {})

    def test_fields(self):
        result = self.uniform
        self.assertEqual((result.method, result.seed, result.metric), ("uniform", 5, "accuracy"))
        self.assertEqual((result.settings["epochs"], result.settings["batch_size"]), (2, 32))
        self.assertLen(result.candidates, 1)
        self.assertEqual(result.candidates[0].trail.ending_with("model.keras"), result.trail)
        self.assertEqual(self.random.candidates[0].score, max(self.random.history["search"]["reward"]))
        self.assertEqual(result.calibration.shape[1:], (8, 8, 1))
        for layer in result.model.layers:
            self.assertStartsWith(type(layer).__module__, "keras.")

    def test_the_summary_says_on_which_split_each_accuracy_was_measured(self):
        text = str(self.uniform)
        for split, measure in (("test", "accuracy"), ("validation", "validation_accuracy")):
            before, after = (getattr(measured, measure) for measured in (self.uniform.before, self.uniform.after))
            self.assertRegex(text, rf"accuracy \({split}\) +{before:.4f} +{after:.4f}")
        self.assertIn("test: 100 images given as test_data", self.uniform.notes)
        self.assertIn("validation: 64 images given as validation_data", self.uniform.notes)
        self.assertRegex(text, rf"MACs +{self.uniform.before.macs:,} +{self.uniform.after.macs:,}")
        with contextlib.redirect_stdout(io.StringIO()) as shown:
            self.uniform.summary()
        self.assertEqual(shown.getvalue(), text + "\n")

    def test_the_compiled_loss_and_metric_are_said(self):
        self.assertIn(
            "loss sparse_categorical_crossentropy, metric accuracy; as the model is compiled",
            " ".join(self.uniform.notes),
        )

    def test_the_result_is_ready_to_be_evaluated_and_trained(self):
        _, measured = self.uniform.model.evaluate(*self.test, verbose=0)
        self.assertAllClose(measured, self.uniform.after.accuracy)


class FormsOfInputTest(tf.test.TestCase):
    """Each form of model and of data; what is cut does not depend on it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = small_tasks.trained_network()
        cls.x, cls.y = small_tasks.pictures(96, seed=2)
        cls.expected = quiet(cls.model, CUT, (cls.x, cls.y), flops_budget=0.5)

    def assertSameStudent(self, result):
        self.assertEqual(result.trail, self.expected.trail)
        for one, other in zip(result.model.weights, self.expected.model.weights, strict=True):
            self.assertAllClose(one, other)

    def test_a_part_of_the_arrays_is_held_out_and_the_report_says_so(self):
        text = str(self.expected) + " ".join(self.expected.notes)
        self.assertIn("validation: 10 images held out of the training data (seed 0)", text)
        self.assertIn("training: 86 images", text)
        self.assertIn("no test split was given", text)
        self.assertNotIn("accuracy (test)", text)
        self.assertEqual((self.expected.before.split, self.expected.after.split), ("validation", "validation"))
        self.assertEqual(self.expected.after.accuracy, self.expected.after.validation_accuracy)

    def test_a_dataset_of_tensorflow(self):
        dataset = tf.data.Dataset.from_tensor_slices((self.x, self.y)).batch(16)
        self.assertSameStudent(quiet(self.model, CUT, dataset, flops_budget=0.5))

    def test_a_dataset_of_keras(self):
        x, y = self.x, self.y

        class Batches(keras.utils.PyDataset):
            def __len__(self):
                return 6

            def __getitem__(self, index):
                return x[16 * index : 16 * index + 16], y[16 * index : 16 * index + 16]

        result = quiet(self.model, Uniform(epochs=1), Batches(), flops_budget=0.5)
        self.assertEqual(result.trail, self.expected.trail)
        self.assertLen(result.history["recover"]["loss"], 1)

    def test_files(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        for name in ("model.keras", "model.h5"):
            self.model.save(folder / name)
            for path in (folder / name, str(folder / name)):
                self.assertSameStudent(quiet(path, CUT, (self.x, self.y), flops_budget=0.5))

    def test_logits_in_a_model_that_is_not_compiled(self):
        logits = small_tasks.residual_network()
        logits.set_weights(self.model.get_weights())
        result = quiet(logits, CUT, (self.x, self.y), flops_budget=0.5)
        self.assertSameStudent(result)
        self.assertAllClose(result.before.accuracy, self.expected.before.accuracy)
        self.assertRegex(" ".join(result.notes), "inferred, because the model is not compiled.* logits")
        self.assertFalse(logits.compiled)

    def test_digits(self):
        """Every fifth of the 1,797 images is a test image; pixels 0..16 come as [0, 1]."""
        keras.utils.set_random_seed(1)
        inputs = keras.Input((8, 8, 1))
        hidden = layers.Dense(12, activation="relu", name="hidden")(layers.Flatten()(inputs))
        model = keras.Model(inputs, layers.Dense(10)(hidden))
        with self.assertLogs("absl", "WARNING") as logged:
            result = quiet(model, CUT, "digits", params_budget=0.5)
        images, labels = load_digits().images / 16, load_digits().target
        chosen = np.arange(1797) % 5 == 4
        expected = accuracy(model, images[chosen, ..., None].astype("float32"), labels[chosen])
        self.assertEqual(result.before.split, "test")
        self.assertAllClose(result.before.accuracy, expected, atol=0.003)
        # 12 * 64 + 12 + 120 + 10 = 910 parameters, 75 a unit: (455 - 10) / 75 = 5.9
        self.assertEqual((result.before.params, result.after.params), (910, 5 * 75 + 10))
        warning = "at chance level on the validation split .* may expect inputs in another scaling"
        self.assertRegex("\n".join(logged.output), warning)
        self.assertRegex(str(result), f"Warning: .*{warning}")
        self.assertLen([line for line in logged.output if "chance level" in line], 1)

    def test_no_warning_where_the_model_is_above_chance(self):
        self.assertNotIn("Warning", str(self.expected))

    def test_both_budgets_and_absolute_ones(self):
        total = tfcompress.cost(self.model)
        result = quiet(self.model, CUT, (self.x, self.y), flops_budget=0.9, params_budget=total.params // 3)
        self.assertLessEqual(result.after.macs, 0.9 * total.macs)
        self.assertLessEqual(result.after.params, total.params // 3)
        absolute = quiet(self.model, CUT, (self.x, self.y), flops_budget=total.macs)  # 2 FLOPs a MAC: half of them
        self.assertEqual(absolute.trail, self.expected.trail)

    def test_seeds_choose_what_is_held_out(self):
        other = quiet(self.model, CUT, (self.x, self.y), flops_budget=0.5, seed=7)
        self.assertIn("(seed 7)", " ".join(other.notes))
        self.assertEqual(other.trail, self.expected.trail)

    def test_zero_epochs_train_nothing(self):
        with mock.patch.object(PenalizedModel, "fit", side_effect=AssertionError("trained")):
            result = quiet(self.model, CUT, (self.x, self.y), flops_budget=0.5)
        self.assertSameStudent(result)
        kept = {edit.group: list(edit.indices) for edit in result.trail.last}
        source = self.model.get_layer("block1_conv1").kernel.numpy()
        expected = source[:, :, kept["stem"]][..., kept["block1_conv1"]]
        self.assertAllEqual(result.model.get_layer("block1_conv1").kernel, expected)


class LossTest(tf.test.TestCase):
    def test_the_loss_that_the_model_is_compiled_with_is_the_one_that_it_is_trained_with(self):
        model = small_tasks.residual_network(activation="softmax")
        traced = []

        def my_loss(y, outputs):
            traced.append(outputs.shape)
            return 7.0 + 0.0 * keras.ops.mean(outputs, axis=-1)

        model.compile("sgd", my_loss)
        folder = self.enterContext(tempfile.TemporaryDirectory())
        run = pathlib.Path(folder) / "run"
        method = Uniform(epochs=1, weight_decay=0.0)
        result = quiet(model, method, small_tasks.pictures(32), flops_budget=0.5, run_dir=run)
        self.assertNotEmpty(traced)
        self.assertAllClose(result.history["recover"]["loss"], [7.0])
        self.assertIn("loss my_loss", " ".join(result.notes))
        self.assertIs(model.loss, my_loss)
        # No file can hold this loss.
        self.assertFalse(result.model.compiled)
        self.assertIn("The model is not compiled", " ".join(result.notes))
        loaded = tfcompress.Result.load(run)
        x = small_tasks.pictures(4)[0]
        self.assertAllClose(loaded.model(x), result.model(x))

    def test_regression(self):
        inputs = keras.Input((8, 8, 1))
        hidden = layers.Dense(6, activation="relu")(layers.Flatten()(inputs))
        model = keras.Model(inputs, layers.Dense(2)(hidden))
        x = small_tasks.pictures(40)[0]
        y = np.random.default_rng(0).normal(size=(40, 2)).astype("float32")
        for loss in ("mse", "mean_absolute_error", keras.losses.Huber()):
            model.compile("sgd", loss)
            result = quiet(model, CUT, (x, y), validation_data=(x, y), flops_budget=0.5)
        self.assertEqual(result.metric, "mean_squared_error")
        self.assertAllClose(result.after.accuracy, np.mean(np.square(result.model(x) - y)), rtol=1e-5)


@dataclasses.dataclass(frozen=True)
class KeepFirst(Method):
    """Keeps the first channels of each group, one fewer than there are, and sets every bias of the student to 3."""

    def phases(self, task):
        return ()

    def search(self, task):
        plan = tfcompress.Plan.keeping({group.name: tuple(range(group.size - 1)) for group in task.groups})
        return Search(task.model, tfcompress.Trail((plan,)), history={"looked": [1.0]}, notes=("one channel less",))

    def recover(self, student, task):
        student.get_layer("head").bias.assign(np.full(small_tasks.CLASSES, 3.0))
        return {"recovered": [2.0]}


class MethodOfTheUsersTest(tf.test.TestCase):
    def test_a_registered_method_is_called_by_its_name(self):
        self.enterContext(mock.patch.dict(registry._METHODS))
        register_method("keep_first")(KeepFirst)
        model = small_tasks.trained_network()
        result = quiet(model, "keep_first", small_tasks.pictures(40), flops_budget=0.9)
        self.assertEqual(
            {e.group: len(e.indices) for e in result.trail.last}, {"stem": 5, "block1_conv1": 4, "block2_conv1": 6}
        )
        self.assertAllEqual(result.model.get_layer("head").bias, [3, 3, 3, 3])
        self.assertEqual(result.history, {"search": {"looked": [1.0]}, "recover": {"recovered": [2.0]}})
        self.assertEqual(result.method, "keep_first")
        self.assertIn("one channel less", result.notes)

    def test_a_method_that_misses_the_budget_is_found_out(self):
        with self.assertRaisesRegex(RuntimeError, "Expected a model within .*Received.*report"):
            quiet(small_tasks.trained_network(), KeepFirst(), small_tasks.pictures(40), flops_budget=0.3)


@pytest.mark.slow
class RLALTest(tf.test.TestCase):
    """Three runs in a process of their own: two with one seed, one with another."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.shown = run_python(HELPERS / "rlal_runs.py", cls.folder)
        cls.seen = json.loads((cls.folder / "seen.json").read_text())
        cls.first, cls.again, cls.other = (
            tfcompress.Result.load(cls.folder / name) for name in ("first", "again", "other")
        )

    def test_keras_2_stays_within(self):
        self.assertEqual(
            self.seen,
            {
                "environment_is_unchanged": True,
                "tf_keras_is_keras_3": True,
                "keras_version": keras.__version__,
                "model_is_unchanged": True,
            },
        )

    def test_one_seed_gives_one_plan_and_the_same_weights(self):
        self.assertEqual(self.first.trail, self.again.trail)
        self.assertEqual(self.first.history, self.again.history)
        for one, other in zip(self.first.model.weights, self.again.model.weights, strict=True):
            self.assertAllEqual(one, other)

    def test_another_seed_gives_another_run(self):
        self.assertNotEqual(self.first.history["search"]["loss"], self.other.history["search"]["loss"])

    def test_within_the_budget(self):
        for result in (self.first, self.other):
            self.assertLessEqual(tfcompress.cost(result.model).macs, 0.55 * result.before.macs)
            self.assertEqual(tfcompress.cost(result.model).macs, result.after.macs)
            self.assertEqual({edit.group for edit in result.trail.last} - {"block1_conv1", "block2_conv1"}, set())

    def test_history_of_a_warm_start(self):
        """Of four epochs the agent fills its buffer in the first, learns in the second, and is done."""
        search = self.first.history["search"]
        self.assertAllClose(search["learning_rate"], [0.01, 0.01, 0.001, 0.0001])
        self.assertEqual([value is None for value in search["reward"]], [False, False, True, True])
        self.assertEqual([value is None for value in search["critic_loss"]], [True, False, True, True])
        self.assertEqual([value is None for value in search["reconstruction_loss"]], [True, False, True, True])
        self.assertNotIn(None, search["reward_best"])
        self.assertAllClose(search["flops"][-1], self.first.after.macs / self.first.before.macs)
        self.assertGreater(min(search["alignment"]), 0)
        self.assertIn("warm start with learning rate 0.01", " ".join(self.first.notes))
        self.assertLen(self.first.history["recover"]["loss"], 1)

    def test_the_chosen_plan_comes_first_among_the_candidates(self):
        for result in (self.first, self.other):
            self.assertEqual(result.candidates[0].trail.ending_with("model.keras"), result.trail)
            self.assertEqual(result.candidates[0].score, result.history["search"]["reward_best"][-1])
            for candidate in result.candidates:
                self.assertLessEqual(candidate.cost.macs, 0.55 * result.before.macs)

    def test_the_trail_replayed_gives_the_student_again(self):
        """Which was cut of a model that joint training had changed."""
        model = keras.saving.load_model(self.folder / "model.keras")
        trail = tfcompress.Trail.from_json(self.first.trail.to_json())
        student = tfcompress.rewrite.replay(model, trail, self.folder / "first")
        for one, other in zip(student.weights, self.first.model.weights, strict=True):
            self.assertAllEqual(one, other)

    def test_what_is_shown(self):
        lines = self.shown.splitlines()
        places = [
            next(i for i, line in enumerate(lines) if text in line)
            for text in ("on the validation split", "time  ", "joint training: epoch 1 of 4", "fine-tuning  epoch 1/1")
        ]
        self.assertEqual(places, sorted(places))
        epoch = next(line for line in lines if line.startswith("joint training  epoch 2/4"))
        for text in ("reward", "flops", "left"):
            self.assertIn(text, epoch)

    def test_the_same_call_on_a_finished_run_trains_nothing(self):
        with mock.patch.object(PenalizedModel, "fit", side_effect=AssertionError("trained")):
            result = rlal_runs.compress(self.folder / "model.keras", self.folder / "first", seed=0, verbose=0)
        self.assertEqual(result.trail, self.first.trail)
        self.assertEqual(result.history, self.first.history)
        for one, other in zip(result.model.weights, self.first.model.weights, strict=True):
            self.assertAllEqual(one, other)


def padded_shortcut():
    """Ends a block with a shortcut of operations instead of layers: strided, and padded with channels."""
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, padding="same", use_bias=False)(inputs)
    y = layers.Conv2D(5, 3, 2, padding="same", use_bias=False)(x)
    y = layers.Conv2D(8, 3, padding="same", use_bias=False)(layers.PReLU(shared_axes=[1, 2])(y))
    x = layers.Add()([y, keras.ops.pad(x[:, ::2, ::2, :], [[0, 0], [0, 0], [0, 0], [2, 2]])])
    x = layers.Dense(small_tasks.CLASSES)(layers.GlobalAveragePooling2D()(layers.ReLU()(x)))
    return keras.Model(inputs, x, name="padded")


class KerasAloneTest(tf.test.TestCase):
    def test_saved_models_load_where_tfcompress_is_not_installed(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        x, y = small_tasks.pictures(40)
        np.save(folder / "x.npy", x)
        paths, expected = [], []
        for model in (small_tasks.trained_network(), padded_shortcut()):
            result = quiet(model, CUT, (x, y), flops_budget=0.6)
            paths.append(folder / f"{model.name}.keras")
            result.model.save(paths[-1])
            expected.append(result.model(x))
        answer = json.loads(run_python("-c", LOAD_WITH_KERAS_ALONE, folder / "x.npy", *paths).splitlines()[-1])
        for one, other in zip(answer, expected, strict=True):
            self.assertAllClose(one, other, rtol=1e-5, atol=1e-5)
