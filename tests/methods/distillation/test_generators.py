"""Networks from images to images: sections from images alone, then a discriminator or the teacher's output."""

import functools
from unittest import mock

import keras
import numpy as np
import small_tasks
import teachers
import tensorflow as tf

from tfcompress.fingerprint import Contents
from tfcompress.methods import LIT, AdversarialSettings, Scratch
from tfcompress.training.teaching import Distillation, DomainCritic

SHORT = {"epochs": 1, "finetune_epochs": 1, "learning_rate": 0.01, "finetune_learning_rate": 0.01, "batch_size": 16}
IMAGES = small_tasks.pictures(40)[0]
DOMAINS = np.eye(3, dtype="float32")[np.arange(40) % 3]


@functools.cache
def without_labels():
    """LIT on images alone: `(result, phases, Distillation models that were made, outputs of the teacher)`."""
    teacher, made = teachers.generator(), []
    init = Distillation.__init__

    def noting(self, *args, **kwargs):
        init(self, *args, **kwargs)
        made.append(self)

    with mock.patch.object(Distillation, "__init__", noting):
        result, phases = teachers.observed(teacher, LIT(**SHORT, beta=0.0), (IMAGES, None), flops_budget=0.5)
    return result, phases, made, teacher


class ImagesAloneTest(tf.test.TestCase):
    def test_three_blocks_to_one(self):
        result, phases, _, teacher = without_labels()
        self.assertLessEqual(result.after.macs, 0.5 * result.before.macs)
        self.assertEqual(result.model.output_shape, teacher.output_shape)
        self.assertLen(phases, 2)

    def test_gradients_and_what_stays(self):
        _, phases, _, teacher = without_labels()
        sections, finetuning = phases
        self.assertNotEmpty(sections.trainable)
        self.assertEmpty([path for path in sections.moved if path.startswith(("stem", "head"))])
        self.assertContainsSubset({"stem/kernel", "head/kernel"}, finetuning.moved)
        self.assertAllEqual(sections.before["stem/kernel"], teacher.get_layer("stem").kernel)
        for phase in phases:
            self.assertEqual(phase.teacher_moved, set())
            for path, gradient in phase.gradients.items():
                self.assertTrue(np.isfinite(gradient).all(), path)
                if not path.endswith("conv1/bias"):  # the normalisation behind it takes it away
                    self.assertGreater(np.abs(gradient).max(), 0, path)

    def test_the_whole_student_is_not_run_for_the_sections(self):
        _, _, (sections, finetuning), _ = without_labels()
        student = sections.student
        for model, expected in ((sections, 0), (finetuning, 1)):
            with teachers.calls_of(student.get_layer("head")) as head:
                model(tf.constant(IMAGES[:4]), training=True)
            self.assertEqual(head.call_count, expected)

    def test_without_a_discriminator_the_teachers_output_is_what_is_learned(self):
        result, (_, finetuning), (_, model), teacher = without_labels()
        x = tf.constant(IMAGES[:8])
        outputs = model(x, training=True)
        loss = model.compute_loss(x=x, y=tf.zeros_like(x), y_pred=outputs, training=True)
        made, wanted = np.array(model.outputs_of(outputs)), np.array(finetuning.teacher(x, training=False))
        self.assertAllClose(loss, ((made - wanted) ** 2).mean(), rtol=1e-4)
        self.assertAllClose(wanted, teacher(x, training=False), rtol=1e-5, atol=1e-6)
        self.assertIn("fine-tuning loss", result.history["recover"])


class DiscriminatorTest(tf.test.TestCase):
    def test_domains_and_a_discriminator_that_stays(self):
        teacher, critic = teachers.generator(domains=3), teachers.discriminator(domains=3)
        before = teachers.weights_of(critic), teachers.weights_of(teacher)
        method = LIT(**SHORT, beta=0.0, discriminator=critic, adversarial=AdversarialSettings(steps=0))
        data = ((IMAGES, DOMAINS), None)
        result, (sections, finetuning) = teachers.observed(teacher, method, data, flops_budget=0.7)
        self.assertEqual(teachers.moved(before[0], critic), set())
        self.assertEqual(teachers.moved(before[1], teacher), set())
        self.assertEqual(finetuning.teacher_moved | sections.teacher_moved, set())
        self.assertContainsSubset(finetuning.trainable, finetuning.moved)
        self.assertEqual(finetuning.trainable, {weight.path for weight in result.model.trainable_weights})

    def test_one_that_learns_does_so_in_place(self):
        critic, learned = teachers.discriminator(), []
        before = teachers.weights_of(critic)
        learn = DomainCritic.learn

        def noting(self, *args):
            learned.append(self)
            return learn(self, *args)

        method = Scratch(
            epochs=1,
            batch_size=18,
            blocks=(1,),
            discriminator=critic,
            adversarial=AdversarialSettings(steps=1),
            optimizer="adam",
            learning_rate=1e-3,
        )
        with mock.patch.object(DomainCritic, "learn", noting):
            result, (training,) = teachers.observed(teachers.generator(), method, (IMAGES, IMAGES))
        self.assertLen(learned, 2)  # steps of 36 images
        self.assertIs(learned[0].discriminator, critic)
        # A constant added to the map of real and made images alike is no matter.
        self.assertEqual(teachers.moved(before, critic), set(before) - {"source/bias"})
        self.assertContainsSubset(training.trainable, training.moved)
        self.assertTrue(np.isfinite(result.history["recover"]["loss"]).all())


class ContentsTest(tf.test.TestCase):
    def test_a_discriminator_that_learns_counts_by_its_architecture(self):
        """Also beside settings that mean nothing without a discriminator."""

        def contents(units, steps=1):
            shape = keras.Input((4,))
            critic = keras.Model(shape, keras.layers.Dense(units)(shape))
            settings = AdversarialSettings(steps=steps)
            return Scratch(discriminator=critic, adversarial=settings).contents(Contents())

        self.assertEqual(contents(2), contents(2))
        self.assertNotEqual(contents(2), contents(3))
        self.assertNotEqual(contents(2, steps=0), contents(2, steps=0))  # fixed: its weights decide too
