"""What LIT is compared with: from scratch, distilled, born again; what each trains, and from where."""

import functools

import keras
import numpy as np
import teachers
import tensorflow as tf

from tfcompress import cost
from tfcompress.methods import KD, LIT, BornAgain, Hint, Scratch

SHORT = {"epochs": 1, "learning_rate": 0.05}
METHODS = {
    "scratch": Scratch(**SHORT, blocks=(1, 1)),
    "kd": KD(**SHORT, start="fresh", blocks=(1, 1)),
    "kd on logits": KD(**SHORT, start="fresh", blocks=(1, 1), soft="logits"),
    "born_again": BornAgain(**SHORT),
    "hint": Hint(**SHORT, start="fresh", hint_epochs=1, blocks=(1, 1)),
}


@functools.cache
def teacher():
    model = teachers.classifier(blocks=(2, 2), activation="softmax")
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@functools.cache
def run(name):
    """`(result, phases, what moved of the user's model)`."""
    before = teachers.weights_of(teacher())
    result, phases = teachers.observed(teacher(), METHODS[name], seed=1)
    return result, phases, teachers.moved(before, teacher())


class BaselinesTest(tf.test.TestCase):
    def test_teachers_and_the_users_model_stay(self):
        for name in METHODS:
            _, phases, moved = run(name)
            self.assertEqual(moved, set(), name)
            for phase in phases:
                self.assertEqual(phase.teacher_moved, set(), name)

    def test_all_weights_begin_afresh(self):
        before = teachers.weights_of(teacher())
        for name in METHODS:
            _, phases, _ = run(name)
            for path, value in phases[0].before.items():
                if path.endswith("kernel") and path in before:
                    self.assertNotAllClose(value, before[path], msg=f"{name}: {path}")
                elif path.endswith("moving_variance"):
                    self.assertAllEqual(value, np.ones_like(value), f"{name}: {path}")

    def test_all_weights_learn_and_gradients_are_finite_and_not_zero(self):
        for name in METHODS:
            result, phases, _ = run(name)
            weights = {weight.path for weight in result.model.trainable_weights}
            last = phases[-1]
            self.assertEqual(last.trainable, weights, name)
            self.assertContainsSubset(weights, last.moved)
            for path, gradient in [item for phase in phases for item in phase.gradients.items()]:
                self.assertIsNotNone(gradient, f"{name}: {path}")
                self.assertTrue(np.isfinite(gradient).all(), f"{name}: {path}")
                self.assertGreater(np.abs(gradient).max(), 0, f"{name}: {path}")

    def test_the_same_student_for_all_but_the_born_again(self):
        expected = cost(teachers.classifier(blocks=(1, 1), activation="softmax"))
        for name in ("scratch", "kd", "hint"):
            self.assertEqual(cost(run(name)[0].model), expected)

    def test_born_again_has_the_teachers_architecture(self):
        result, _, _ = run("born_again")
        self.assertEqual(
            [(layer.name, type(layer)) for layer in result.model.layers],
            [(layer.name, type(layer)) for layer in teacher().layers],
        )
        self.assertEqual(result.after.macs, result.before.macs)
        self.assertEmpty(result.trail.last)

    def test_losses_by_name(self):
        for name, expected in (("scratch", False), ("kd", True)):
            history = run(name)[0].history["recover"]
            self.assertIn("loss", history)
            self.assertEqual("loss_outputs" in history, expected)
            self.assertNotIn("loss_hints", history)

    def test_the_loss_of_kd_before_the_first_step(self):
        """One batch and no learning: the loss of the epoch is Equation (2), by numpy."""
        student = teachers.classifier(blocks=(1, 1), seed=5, activation="softmax")
        x, y = teachers.small_tasks.pictures(30)
        method = KD(epochs=1, learning_rate=1e-12, batch_size=30, student=student, alpha=0.3, tau=2.0, weight_decay=0.0)
        validation = teachers.small_tasks.pictures(10, seed=2)
        result, _ = teachers.observed(teacher(), method, (x, y), validation_data=validation)
        copy = teachers.classifier(blocks=(1, 1), seed=5)
        logits = np.array(copy(x, training=True))
        wanted = np.log(np.array(teacher()(x, training=False)))

        def log_softmax(z):
            return z - np.log(np.exp(z).sum(-1, keepdims=True))

        hard = -log_softmax(logits)[np.arange(30), y].mean()
        soft = -(np.exp(log_softmax(wanted / 2)) * log_softmax(logits / 2)).sum(-1).mean()
        self.assertAllClose(result.history["recover"]["loss_outputs"][0], 0.3 * hard + 0.7 * 4 * soft, rtol=1e-3)

    def test_generations(self):
        """Each learns from the one before, and begins with other weights."""
        small = teachers.classifier(blocks=(1, 2))
        result, phases = teachers.observed(small, BornAgain(**SHORT, generations=3))
        self.assertLen(phases, 3)
        kernels = [small.get_layer("stem").kernel, *(phase.after["stem/kernel"] for phase in phases)]
        for phase, kernel in zip(phases, kernels, strict=False):
            self.assertAllEqual(phase.teacher.get_layer("stem").kernel, kernel)
            self.assertEqual(phase.teacher_moved, set())
        first, second, third = (phase.before["stem/kernel"] for phase in phases)
        for one, other in ((first, second), (second, third), (first, third), (second, kernels[1])):
            self.assertNotAllClose(one, other)
        self.assertEqual(len(result.model.layers), len(small.layers))

    def test_names_stand_for_the_papers_settings(self):
        """Appendix A."""
        resnext = LIT.as_published("resnext", cardinality=16)
        self.assertEqual((resnext.epochs, resnext.milestones), (200, (100, 145, 175)))
        self.assertEqual((resnext.finetune_epochs, resnext.finetune_milestones), (125, (65, 95, 110)))
        self.assertEqual((resnext.beta, resnext.cardinality), (0.5, 16))
        vdcnn = LIT.as_published("vdcnn")
        self.assertEqual((vdcnn.epochs, vdcnn.milestones, vdcnn.decay), (15, (3, 6, 9, 12), 0.5))
        self.assertEqual((vdcnn.finetune_epochs, vdcnn.finetune_milestones), (10, (4, 8)))
        self.assertEqual((vdcnn.learning_rate, vdcnn.finetune_learning_rate), (0.01, 0.000625))
        self.assertEqual((vdcnn.beta, vdcnn.alpha, vdcnn.batch_size), (0.02, 0.98, 128))
        stargan = LIT.as_published("stargan")
        self.assertEqual((stargan.epochs, stargan.milestones, stargan.batch_size), (16, (8,), 16))
        self.assertEqual((stargan.finetune_epochs, stargan.finetune_milestones), (10, (5,)))
        self.assertEqual((stargan.learning_rate, stargan.finetune_learning_rate), (1e-4, 5e-5))
        self.assertEqual(stargan.beta, 0.0)
        self.assertEqual(
            (KD.as_published("resnext").epochs, KD.as_published("resnext").milestones), (300, (100, 175, 225))
        )
        self.assertEqual((KD.as_published("vdcnn").epochs, KD.as_published("vdcnn").alpha), (18, 0.98))
        self.assertEqual((Scratch.as_published("resnext").epochs, Scratch.as_published("vdcnn").epochs), (300, 15))
        with self.assertRaisesRegex(ValueError, "vgg"):
            LIT.as_published("vgg")
        with self.assertRaises(ValueError):
            KD.as_published("stargan")

    def test_schedules(self):
        """Milestones of 250 epochs, in 25."""
        rates = KD(epochs=25, learning_rate=0.1, schedule="step").training.schedule_for()
        found = [float(rates(epoch, 25)) for epoch in (0, 9, 10, 17, 18, 24)]
        self.assertAllClose(found, [0.1, 0.1, 0.01, 0.01, 0.001, 0.001], rtol=1e-5)


class SequenceTest(tf.test.TestCase):
    def test_students_that_are_given_one_after_the_other(self):
        students = (teachers.classifier(blocks=(1, 2), seed=3), teachers.classifier(blocks=(1, 1), seed=4))
        before = [teachers.weights_of(model) for model in students]
        result, phases = teachers.observed(teachers.classifier(blocks=(2, 2)), KD(**SHORT, student=students))
        self.assertLen(phases, 2)
        for old, model, phase in zip(before, students, phases, strict=True):
            self.assertEqual(teachers.moved(old, model), set())
            self.assertAllEqual(phase.before["stem/kernel"], old["stem/kernel"])
        self.assertAllEqual(phases[1].teacher.get_layer("stem").kernel, phases[0].after["stem/kernel"])
        self.assertEqual(cost(result.model), cost(students[1]))
        self.assertIsInstance(result.model, keras.Model)
