"""`teach=` of methods that teach already: in the place of L_KD where all of the student is trained, and nowhere else."""

import keras
import numpy as np
import teachers
import tensorflow as tf

from tfcompress.methods import KD, LIT, BornAgain, Hint, Scratch, Teaching

# One batch and no learning: the loss of the epoch is that of the weights that the phase begins with.
STILL = {"epochs": 1, "learning_rate": 1e-12, "batch_size": 30, "weight_decay": 0.0}
STILL_LIT = {**STILL, "finetune_epochs": 1, "finetune_learning_rate": 1e-12}
SHORT = {"epochs": 1, "learning_rate": 0.05, "batch_size": 30}
ALPHA, TAU, BETA = 0.3, 2.0, 0.4


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def kd_by_hand(labels, student, teacher, alpha, tau):
    """Equation (2) of LIT of float64 logits `[batch, classes]`."""
    hard = -log_softmax(student)[np.arange(len(labels)), labels].mean()
    soft = -(np.exp(log_softmax(teacher / tau)) * log_softmax(student / tau)).sum(-1).mean()
    return alpha * hard + (1 - alpha) * tau**2 * soft


def outputs_of(model, names, x, training):
    """float64 outputs of layers."""
    read = keras.Model(model.inputs, [model.get_layer(name).output for name in names])
    return [np.array(output, np.float64) for output in keras.tree.flatten(read([x], training=training))]


class TeachTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.original = teachers.classifier(blocks=(2,), widths=(6,))
        cls.original.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
        cls.another = teachers.classifier(blocks=(2,), widths=(6,), seed=9)
        cls.data = teachers.small_tasks.pictures(30)
        cls.validation = teachers.small_tasks.pictures(10, seed=2)

    def observed(self, method):
        """`(history, phases)` of a run that leaves both teachers as they were."""
        before = [teachers.weights_of(model) for model in (self.original, self.another)]
        result, phases = teachers.observed(self.original, method, self.data, validation_data=self.validation)
        for old, model in zip(before, (self.original, self.another), strict=True):
            self.assertEqual(teachers.moved(old, model), set())
        return result.history["recover"], phases

    def at_the_start(self, phase, blocks=(1,)):
        """The student with the weights that a phase begins with."""
        student = teachers.classifier(blocks, widths=(6,), seed=3)
        for weight in student.weights:
            weight.assign(phase.before[weight.path])
        return student

    def test_a_teaching_without_meaning_is_refused(self):
        teaching = Teaching(teacher=self.another)
        with self.assertRaisesRegex(ValueError, "no teacher in teach= with several generations.*generations=2"):
            BornAgain(generations=2, teach=teaching)
        self.assertEqual(BornAgain(generations=1, teach=teaching).generations, 1)
        with self.assertRaisesRegex(ValueError, "Expected no `tau` with beta=0 and teach="):
            LIT(beta=0, tau=3.0, teach="kd")
        self.assertEqual(LIT(beta=0.5, tau=3.0, teach="kd").tau, 3.0)

    def test_another_teacher_by_numpy(self):
        """Equation (2) of LIT, with the teacher, alpha and tau of the teaching; hint and sections come before it."""
        teach = Teaching(teacher=self.another, alpha=ALPHA, tau=TAU)
        x, y = self.data
        (wanted,) = outputs_of(self.another, ["head"], x, training=False)
        for method, prefix in (
            (KD(**STILL, blocks=(1,), teach=teach), ""),
            (Scratch(**STILL, blocks=(1,), teach=teach), ""),
            (Hint(**STILL, hint_epochs=1, blocks=(1,), teach=teach), ""),
            (BornAgain(**STILL, teach=teach), ""),
            (LIT(**STILL_LIT, blocks=(1,), teach=teach), "fine-tuning "),
        ):
            with self.subTest(method.name):
                history, phases = self.observed(method)
                student = self.at_the_start(phases[-1], (2,) if method.name == "born_again" else (1,))
                (own,) = outputs_of(student, ["head"], x, training=True)
                expected = kd_by_hand(y, own, wanted, ALPHA, TAU)
                self.assertAllClose(history[f"{prefix}loss_outputs"], [expected], rtol=1e-4)
                self.assertNotIn(f"{prefix}loss_hints", history)
                # Every weight of the student learns from it.
                self.assertEqual(phases[-1].trainable, {weight.path for weight in student.trainable_weights})
                for path, gradient in phases[-1].gradients.items():
                    self.assertGreater(np.abs(gradient).max(), 0, path)

    def test_hints_by_numpy(self):
        """`beta * L_KD + (1 - beta) * L_I`; what the last block gives, the first gives in the student."""
        hints = ("stem_relu", "section1_block2_relu")
        teach = Teaching(alpha=ALPHA, tau=TAU, hints=hints, loss="l1", relative=False, beta=BETA)
        x, y = self.data
        wanted, *targets = outputs_of(self.original, ["head", *hints], x, training=False)
        for method, prefix in (
            (KD(**STILL, blocks=(1,), teach=teach), ""),
            (LIT(**STILL_LIT, blocks=(1,), teach=teach), "fine-tuning "),
        ):
            with self.subTest(method.name):
                history, phases = self.observed(method)
                student = self.at_the_start(phases[-1])
                own, *given = outputs_of(student, ["head", "stem_relu", "section1_block1_relu"], x, training=True)
                on_outputs = kd_by_hand(y, own, wanted, ALPHA, TAU)
                on_hints = sum(np.abs(a - b).mean() for a, b in zip(targets, given, strict=True))
                self.assertAllClose(history[f"{prefix}loss_outputs"], [on_outputs], rtol=1e-4)
                self.assertAllClose(history[f"{prefix}loss_hints"], [on_hints], rtol=1e-4)
                whole = BETA * on_outputs + (1 - BETA) * on_hints
                self.assertAllClose(history[f"{prefix}loss"], [whole], rtol=1e-4)

    def test_kd_is_what_they_do_anyway(self):
        (plain,), (taught,) = (self.observed(KD(**SHORT, blocks=(1,), teach=teach))[1] for teach in (None, "kd"))
        self.assertIn("stem/kernel", plain.moved)
        for path, weight in plain.after.items():
            self.assertAllEqual(weight, taught.after[path], path)

    def test_the_first_phase_of_lit_has_its_own_settings(self):
        method = {**SHORT, "batch_size": 15, "finetune_epochs": 1, "blocks": (1,), "alpha": 0.5, "tau": 3.0}
        plain, _ = self.observed(LIT(**method))
        taught, _ = self.observed(LIT(**method, teach=Teaching(teacher=self.another, alpha=0.0)))
        for name in ("loss", "loss_outputs", "loss_hints"):
            self.assertEqual(plain[name], taught[name], name)
        self.assertGreater(abs(plain["fine-tuning loss"][0] - taught["fine-tuning loss"][0]), 0.1)

    def test_each_generation_learns_from_the_one_before(self):
        _, phases = self.observed(BornAgain(**SHORT, generations=2, teach=Teaching(alpha=0.5, hints="sections")))
        first, second = phases
        for path in ("stem/kernel", "head/kernel"):
            self.assertIn(path, first.moved)
        self.assertAllEqual(second.teacher.get_layer("stem").kernel, first.after["stem/kernel"])


if __name__ == "__main__":
    tf.test.main()
