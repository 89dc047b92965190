"""Teaching: any method's student learns from the original model, or from another teacher, where it is asked for."""

import contextlib
import dataclasses
import tempfile
from unittest import mock

import keras
import numpy as np
import small_tasks
import tensorflow as tf
from keras import layers

import tfcompress
from tfcompress.methods import DARC, KD, RLAL, Random, Replaced, Scratch, Teaching, Training, Uniform, phases
from tfcompress.methods.rlal import AgentSettings
from tfcompress.methods.rlal.alignment import Alignment
from tfcompress.plan import KeepChannels, Plan, ReplaceLayers
from tfcompress.rewrite import apply
from tfcompress.training import OwnLoss, PenalizedModel, RunFolderError

SHORT = {"epochs": 1, "batch_size": 32, "keep": "last"}


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def soft_cross_entropy(teacher, student, tau):
    """Of float64 logits `[batch, classes]`; the mean over the batch."""
    return -(softmax(teacher / tau) * np.log(softmax(student / tau))).sum(axis=-1).mean()


def output_of(model, layer, x):
    return np.array(keras.Model(model.inputs, model.get_layer(layer).output)(x, training=False), np.float64)


@contextlib.contextmanager
def nothing_trains():
    with mock.patch.object(phases, "fit", side_effect=AssertionError("trained")):
        yield


class LossTest(tf.test.TestCase):
    """Equations (1) to (3) of LIT, worked out in numpy."""

    def setUp(self):
        super().setUp()
        self.teacher = small_tasks.residual_network(seed=1)
        self.task = small_tasks.task_for(small_tasks.residual_network(seed=2), flops=1.0)
        self.student = self.task.model
        self.x, self.y = (part[:12] for part in small_tasks.pictures())
        self.wanted, self.own = (
            np.array(model(self.x, training=mode), np.float64)
            for model, mode in ((self.teacher, False), (apply(self.student, Plan()), True))
        )

    def loss(self, teaching):
        model = phases.taught(self.student, self.task, teaching)
        return model, float(model.compute_loss(x=self.x, y=self.y, y_pred=model(self.x, training=True), training=True))

    def by_hand(self, alpha, tau):
        hard = -np.log(softmax(self.own)[np.arange(12), self.y]).mean()
        return alpha * hard + (1 - alpha) * tau**2 * soft_cross_entropy(self.wanted, self.own, tau)

    def test_soft_targets(self):
        _, found = self.loss(Teaching(teacher=self.teacher, alpha=0.3, tau=2.0))
        self.assertAllClose(found, self.by_hand(0.3, 2.0), rtol=1e-5)

    def test_kd_is_the_original_at_half_weight(self):
        self.task = dataclasses.replace(self.task, given=self.teacher)
        _, found = self.loss(Uniform(teach="kd").teaching)
        self.assertAllClose(found, self.by_hand(0.5, 4.0), rtol=1e-5)

    def test_hints_beside_labels_alone(self):
        _, found = self.loss(Teaching(teacher=self.teacher, alpha=1, hints=("head",), relative=False, beta=0.4))
        hint = np.square(self.wanted - self.own).mean()
        self.assertAllClose(found, 0.4 * self.by_hand(1, 1) + 0.6 * hint, rtol=1e-5)

    def test_hints_are_relative_to_what_the_teacher_gives(self):
        _, found = self.loss(Teaching(teacher=self.teacher, alpha=1, hints=("head",), beta=0.4))
        hint = np.square(self.wanted - self.own).mean() / np.square(self.wanted).mean()
        self.assertAllClose(found, 0.4 * self.by_hand(1, 1) + 0.6 * hint, rtol=1e-5)

    def test_a_narrower_layer_is_brought_to_the_teachers_width(self):
        narrow = small_tasks.residual_network(seed=2, inner=(3, 4))
        teaching = Teaching(
            teacher=self.teacher, alpha=1, hints=("block1_conv1", "block2_conv1"), loss="l1", relative=False, beta=0.5
        )
        model = phases.taught(narrow, self.task, teaching)
        shapes = [tuple(layer.kernel.shape) for layer in model.regressors]
        self.assertEqual(shapes, [(3, 5), (4, 7)])
        expected = sum(
            np.abs(
                output_of(self.teacher, name, self.x) - self.trained_output(narrow, name) @ np.array(layer.kernel)
            ).mean()
            for name, layer in zip(teaching.hints, model.regressors, strict=True)
        )
        y_pred = model(self.x, training=True)
        model.compute_loss(x=self.x, y=self.y, y_pred=y_pred, training=True)
        found = {metric.name: float(metric.result()) for metric in model.training_metrics}
        self.assertAllClose(found["loss_hints"], expected, rtol=1e-4)

    def trained_output(self, model, layer):
        copy = apply(model, Plan())
        return np.array(keras.Model(copy.inputs, copy.get_layer(layer).output)(self.x, training=True), np.float64)

    def test_the_alignment_penalty_is_added_to_it(self):
        groups = self.task.groups
        alignment = Alignment(0.1, groups, ("block1_conv1",))
        alignment.set_plan(Plan((KeepChannels("block1_conv1", (0, 1, 2)),)))
        model, without = self.loss(Teaching(teacher=self.teacher, alpha=0.3, tau=2.0))
        trained = PenalizedModel(model, [alignment])
        self.task.objective.compile(trained, keras.optimizers.SGD(0.1))
        with tf.GradientTape() as tape:
            y_pred = trained(self.x, training=True)
            whole = trained.compute_loss(x=self.x, y=self.y, y_pred=y_pred, training=True)
        writer, reader = (np.array(self.student.get_layer(name).kernel) for name in ("block1_conv1", "block1_conv2"))
        penalty = 0.1 * (np.linalg.norm(writer[..., 3:]) + np.linalg.norm(reader[:, :, 3:]))
        self.assertAllClose(whole, without + penalty, rtol=1e-4)
        gradients = tape.gradient(whole, self.student.trainable_variables)
        self.assertTrue(all(np.abs(gradient).max() > 0 for gradient in gradients if gradient is not None))
        self.assertNotIn(None, gradients)


class RunTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model, cls.data = small_tasks.trained_block(), small_tasks.pictures()

    def compress(self, method, **settings):
        return tfcompress.compress(self.model, method, self.data, flops_budget=0.6, verbose=0, **settings)

    def test_soft_targets_alone_train_whatever_the_labels_are(self):
        before = [np.array(weight) for weight in self.model.weights]
        x, y = self.data
        weights = []
        for labels in (y, y[::-1].copy()):
            task = small_tasks.task_for(self.model, (x, labels), flops=0.6)
            student = apply(task.model, Plan.keeping_first({"block1_conv1": np.arange(6)}, {"block1_conv1": 3}))
            start = student.get_layer("block1_conv1").get_weights()[0]
            training = Training(**SHORT, learning_rate=0.05, weight_decay=0.0)
            # The same batches, with other labels.
            batches = tf.data.Dataset.from_tensor_slices((x, labels)).batch(32)
            teaching = Teaching(alpha=0.0)
            history = phases.train_student(student, task, training, "p", teaching=teaching, data=batches)
            self.assertIn("loss_outputs", history)
            weights.append(student.get_layer("block1_conv1").get_weights()[0])
            self.assertGreater(np.abs(weights[-1] - start).max(), 1e-4)
        self.assertAllClose(weights[0], weights[1], rtol=1e-5, atol=1e-7)
        for old, weight in zip(before, self.model.weights, strict=True):
            self.assertAllEqual(old, weight)

    def test_recovery_of_random(self):
        result = self.compress(Random(**SHORT, tries=2, teach=Teaching(alpha=0.5, tau=3)))
        self.assertLen(result.history["recover"]["loss_outputs"], 1)
        self.assertLessEqual(result.after.macs, 0.6 * result.before.macs)
        self.assertEqual(result.settings["teach"]["tau"], 3.0)

    def test_the_joint_phase_of_rlal_has_the_untouched_model_for_a_teacher(self):
        seen = []

        def train(model, task, training, phase, **options):
            self.assertIsInstance(model, OwnLoss)
            seen.append((phase, training.epochs, [penalty.name for penalty in options.get("penalties", ())]))
            for callback in options.get("callbacks", ()):
                for epoch in range(training.epochs):
                    callback.on_epoch_begin(epoch)
            for weight in task.model.trainable_variables:  # as training does
                weight.assign_add(keras.ops.ones_like(weight))
            return {}

        agent = AgentSettings(updates_per_epoch=1)
        method = RLAL(epochs=4, finetune_epochs=2, episodes_per_epoch=1, joint=True, teach="kd", agent=agent)
        distillation = phases.Distillation
        with (
            mock.patch.object(phases, "train_phase", train),
            mock.patch.object(phases, "Distillation", side_effect=distillation) as made,
        ):
            self.compress(method)
        self.assertEqual(seen, [("joint training", 4, ["alignment"]), ("fine-tuning", 2, [])])
        self.assertLen(made.call_args_list, 2)
        for call in made.call_args_list:
            for wanted, weight in zip(self.model.weights, call.args[1].weights, strict=True):
                self.assertAllEqual(wanted, weight)

    def test_a_run_goes_on_with_its_regressors(self):
        method = Uniform(**SHORT | {"epochs": 2}, teach=Teaching(alpha=0.5, hints=("block1_conv1",)))
        whole = self.compress(method)
        train_phase = phases.train_phase

        class Stop(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                if epoch == 1:
                    raise KeyboardInterrupt

        def stopped(*args, **options):
            return train_phase(*args, **{**options, "callbacks": [Stop()]})

        folder = self.enterContext(tempfile.TemporaryDirectory())
        with mock.patch.object(phases, "train_phase", stopped), self.assertRaises(KeyboardInterrupt):
            self.compress(method, run_dir=folder)
        with self.assertRaisesRegex(RunFolderError, "teach"):
            self.compress(dataclasses.replace(method, teach="kd"), run_dir=folder)
        again = self.compress(method, run_dir=folder)
        for wanted, weight in zip(whole.model.get_weights(), again.model.get_weights(), strict=True):
            self.assertAllClose(wanted, weight, rtol=1e-5, atol=1e-6)
        self.assertAllClose(whole.history["recover"]["loss_hints"], again.history["recover"]["loss_hints"], rtol=1e-5)


class RefusalTest(tf.test.TestCase):
    def refused(self, message, method, model=None, data=None):
        model = small_tasks.residual_network() if model is None else model
        with nothing_trains(), self.assertRaisesRegex(ValueError, message):
            tfcompress.compress(model, method, data or small_tasks.pictures(), flops_budget=0.6, verbose=0)

    def test_a_model_without_classes_before_any_training(self):
        for method in (Uniform(teach="kd"), Random(teach="kd"), RLAL(teach="kd")):
            self.refused("Expected a classifier.*mean_squared_error.*by hints alone", method, *small_tasks.regression())

    def test_a_model_without_classes_takes_hints(self):
        model, data = small_tasks.regression()
        method = Uniform(**SHORT, learning_rate=1e-3, teach=Teaching(alpha=1, hints=("wide",)))
        result = tfcompress.compress(model, method, data, flops_budget=0.6, verbose=0)
        self.assertTrue(np.isfinite(result.history["recover"]["loss_hints"]).all())

    def test_a_teacher_of_other_shapes(self):
        x = keras.Input((6, 6, 1))
        other = keras.Model(x, layers.Dense(small_tasks.CLASSES)(layers.Flatten()(x)), name="other")
        self.refused(r"\(8, 8, 1\).*'other'.*\(6, 6, 1\)", Uniform(teach=Teaching(teacher=other)))
        x = keras.Input((8, 8, 1))
        other = keras.Model(x, layers.Dense(9)(layers.Flatten()(x)), name="other")
        self.refused(r"\(4,\).*'other'.*\(9,\)", Uniform(teach=Teaching(teacher=other)))
        other = keras.Model(x, layers.Dense(4)(layers.Flatten()(x)), name="other")
        self.refused("'other' too.*'stem'", Uniform(teach=Teaching(teacher=other, hints=("stem",))))

    def test_hints_that_there_are_not(self):
        self.refused("hints.*'stam'.*stem", Uniform(teach=Teaching(hints=("stam",))))

    def test_hints_of_layers_that_may_be_replaced(self):
        hints = Teaching(hints=("block1_conv1", "bn1"))
        for method in (DARC(teach=hints), Replaced(teach=hints)):
            self.refused(r"the student keeps.*\['block1_conv1'\].*exclude=", method)

    def test_hints_of_layers_in_whose_place_others_stand(self):
        """A method of one's own decides what it replaces in its search."""
        task = small_tasks.task_for(small_tasks.residual_network(), flops=1.0)
        new = layers.Conv2D(5, 1, name="new")
        student = apply(task.model, Plan((ReplaceLayers.by(("block1_conv1",), new),)))
        with self.assertRaisesRegex(ValueError, r"keeps.*\['block1_conv1'\].*'block1_conv1_new'.*Name later"):
            phases.taught(student, task, Teaching(alpha=1, hints=("block1_conv1",)))
        phases.taught(student, task, Teaching(alpha=1, hints=("bn1",)))

    def test_samples_without_weight_teach_nothing(self):
        x, y = small_tasks.pictures()
        method = Uniform(**SHORT, teach=Teaching(hints=("stem",)))
        data = (x, y, np.zeros(len(x), "float32"))
        history = tfcompress.compress(small_tasks.trained_block(), method, data, flops_budget=0.6, verbose=0).history[
            "recover"
        ]
        self.assertAllEqual(history["loss_outputs"] + history["loss_hints"], np.zeros_like(history["loss_hints"] * 2))

    def test_settings(self):
        for wrong in ("dk", 3, Teaching):
            with self.assertRaisesRegex(ValueError, "Expected `teach`.*Received"):
                Uniform(teach=wrong)
        for wrong, message in (
            ({"alpha": 1}, "nothing would be taught"),
            ({"alpha": 1, "hints": ("a",), "tau": 2}, "leaves soft targets out"),
            ({"beta": 0.5}, "without hints="),
            ({"hints": ("a", "a")}, "hints"),
            ({"hints": ("a",), "beta": 1}, "beta"),
            ({"teacher": "resnet"}, "teacher"),
        ):
            with self.assertRaisesRegex(ValueError, message):
                Teaching(**wrong)
        with self.assertRaisesRegex(ValueError, "alpha.*with teach="):
            KD(alpha=0.3, teach="kd")
        discriminator = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten()])
        with self.assertRaisesRegex(ValueError, "teach.*discriminator"):
            Scratch(discriminator=discriminator, teach="kd")


class TrainingTest(tf.test.TestCase):
    def test_methods_hold_a_training(self):
        training = Training(epochs=3, optimizer="adam", keep="last")
        method = Uniform(**dataclasses.asdict(training))
        self.assertEqual(method.training, training)
        self.assertEqual(dataclasses.replace(method, epochs=7).training, dataclasses.replace(training, epochs=7))
        self.assertEqual(method.settings()["optimizer"], "adam")
        self.assertIsInstance(training.new_optimizer(0.1), keras.optimizers.Adam)
        with self.assertRaisesRegex(TypeError, "epoch"):
            Uniform(epoch=3)

    def test_no_method_trains_by_inheritance(self):
        for cls in tfcompress.methods.registered_methods().values():
            inherited = {name for base in cls.__mro__[1:] for name in vars(base)}
            self.assertFalse(inherited & {"train", "fit", "new_optimizer", "schedule_for", "train_on_outputs"}, cls)


if __name__ == "__main__":
    tf.test.main()
