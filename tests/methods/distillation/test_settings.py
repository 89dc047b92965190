"""Settings that go together, and those that do not: refused before anything is trained."""

from unittest import mock

import keras
import numpy as np
import teachers
import tensorflow as tf
from keras import layers

from tfcompress.methods import KD, LIT, AdversarialSettings, Hint, Scratch, phases
from tfcompress.methods.distillation.students import even_blocks
from tfcompress.training import Cosine, Objective, PenalizedModel, StepDecay
from tfcompress.training.teaching import Adversarial, Step, computing_in, logits_of


class ConstructionTest(tf.test.TestCase):
    def test_blocks(self):
        for blocks in ((), 3, ((),), (0, 1), ((2, 2), 1), "33"):
            with self.assertRaisesRegex(ValueError, "Expected `blocks`.*Received"):
                LIT(blocks=blocks)
        for rising in (((2, 2), (3, 3)), ((1, 2), (2, 1))):
            with self.assertRaisesRegex(ValueError, "no section gains blocks"):
                KD(blocks=rising)
        self.assertEqual(LIT(blocks=[[3, 3], [1, 2]]).blocks, ((3, 3), (1, 2)))

    def test_what_would_do_nothing(self):
        with self.assertRaisesRegex(ValueError, "no temperature"):
            LIT(tune=True, soft="logits")
        with self.assertRaisesRegex(ValueError, "each once"):
            LIT(hints=(1, 1))

    def test_a_cosine_holds_in_every_phase(self):
        second = {"finetune_epochs": 5, "finetune_learning_rate": 0.2, "finetune_reference_epochs": 10}
        cosine = LIT(schedule="cosine", finetune_milestones=(1,), **second).finetuning
        self.assertEqual(cosine.schedule_for(), Cosine(0.2))
        steps = LIT(schedule="step", decay=0.5, finetune_milestones=(2, 4), **second).finetuning
        self.assertEqual(steps.schedule_for(), StepDecay(0.2, (1, 2), 0.5))


class TogetherTest(tf.test.TestCase):
    def refused(self, message, model, method, data=None, **settings):
        trained = mock.patch.object(phases, "train_phase", side_effect=AssertionError("trained"))
        with trained, self.assertRaisesRegex(ValueError, f"(?s){message}"):
            teachers.compress(model, method, data, **settings)

    def test_refused(self):
        model = teachers.classifier(blocks=(2, 2))
        self.refused("grouped convolutions.*cardinality=2", model, KD(cardinality=2), flops_budget=1.0)
        self.refused("not in sections=.*blocks=", model, LIT(sections=(2,), blocks=(1, 1)))
        self.refused("while .*section1.* are not trained", model, LIT(sections=(2,), hints=(1,)), flops_budget=0.9)
        points = ("stem_relu", "missing")
        self.refused("sections.*or `split_points`", model, Hint(split_points=points, sections=(1,)), flops_budget=0.9)
        self.refused("belong to other samples", model, LIT(shuffled_inputs=(0,)), flops_budget=0.9)
        self.refused("belong to other samples", model, Scratch(shuffled_inputs=(0,)), flops_budget=0.9)

    def test_inputs_shuffled_beside_a_discriminator(self):
        generator, critic = teachers.generator(domains=2), teachers.discriminator(domains=2)
        images = np.random.default_rng(0).random((24, 8, 8, 1), dtype="float32")
        domains = np.eye(2, dtype="float32")[np.arange(24) % 2]
        method = LIT(beta=0, blocks=(1,), discriminator=critic, shuffled_inputs=(0,))
        self.refused("the second input, the domains", generator, method, ((images, domains), images))

    def test_only_sections_that_may_lose_blocks_lose_groups(self):
        model = teachers.classifier(groups=4, inner=8)
        result = None
        with mock.patch.object(phases, "train_phase", return_value={}):
            result = teachers.compress(model, KD(cardinality=2, sections=(2,)), flops_budget=1.0)
        groups = [layer.groups for layer in result.model.layers if getattr(layer, "groups", 1) > 1]
        self.assertEqual(groups, [4, 4, 4, 2, 2, 2])


class EvenTest(tf.test.TestCase):
    def blocks(self, most, free=(True, True, True), counts=(5, 5, 5)):
        sections = mock.Mock(blocks=counts)
        return even_blocks(sections, lambda blocks: sum(blocks) <= most, free)

    def test_one_by_one_from_where_most_is_left(self):
        self.assertEqual(self.blocks(15), (5, 5, 5))
        self.assertEqual(self.blocks(14), (5, 5, 4))
        self.assertEqual(self.blocks(7), (3, 2, 2))
        self.assertEqual(self.blocks(3), (1, 1, 1))
        self.assertIsNone(self.blocks(2))
        self.assertEqual(self.blocks(11, free=(True, False, True)), (3, 5, 3))
        self.assertEqual(self.blocks(6, free=(True, True), counts=(2, 8)), (1, 5))  # shares: 2/2, 8/8 to 1/2, 5/8


class PrecisionTest(tf.test.TestCase):
    def test_float16_losses_are_scaled_and_outputs_stay_float32(self):
        model = teachers.classifier(blocks=(1, 1), activation="softmax")
        loss = keras.losses.SparseCategoricalCrossentropy()
        with computing_in("mixed_float16", [model]):
            self.assertEqual(model.layers[-1].compute_dtype, "float32")
            self.assertEqual(model.layers[1].compute_dtype, "float16")
            trained = PenalizedModel(model)
            Objective(loss, None).compile(trained, keras.optimizers.SGD(0.1))
            self.assertIsInstance(trained.optimizer, keras.optimizers.LossScaleOptimizer)
        self.assertEqual({layer.compute_dtype for layer in model.layers}, {"float32"})

    def test_a_generator_in_bfloat16_against_a_discriminator(self):
        images = np.random.default_rng(0).random((24, 8, 8, 1), dtype="float32")
        domains = np.eye(2, dtype="float32")[np.arange(24) % 2]
        method = LIT(
            beta=0,
            blocks=(1,),
            epochs=1,
            finetune_epochs=1,
            learning_rate=0.01,
            discriminator=teachers.discriminator(domains=2),
            adversarial=AdversarialSettings(steps=1),
            mixed_precision="mixed_bfloat16",
        )
        result = teachers.compress(teachers.generator(domains=2), method, ((images, domains), images))
        self.assertTrue(np.isfinite(result.history["recover"]["fine-tuning loss"]).all())

    def test_losses_of_half_precision_images_are_float32(self):
        generator, critic = teachers.generator(), teachers.discriminator()
        images = tf.random.stateless_uniform((4, 8, 8, 1), (1, 2))
        half = tf.cast(images, tf.bfloat16)
        loss = Adversarial(generator, critic)(Step(images, images, images, half, images))
        self.assertEqual(loss.dtype, tf.float32)


class BinaryTest(tf.test.TestCase):
    def test_logits_and_probabilities_of_several_answers_are_distilled_alike(self):
        x = keras.Input((3,))
        dense = layers.Dense(2)
        linear = keras.Model(x, dense(x))
        sigmoid = keras.Model(x, layers.Activation("sigmoid")(dense(x)))
        inputs = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
        found = [
            keras.ops.softmax(logits_of(model, binary=True)(model(inputs)), axis=-1) for model in (linear, sigmoid)
        ]
        self.assertEqual(found[0].shape, (5, 2, 2))
        self.assertAllClose(found[0], found[1], atol=1e-5)
        self.assertAllClose(found[0][..., 1], tf.sigmoid(linear(inputs)), atol=1e-6)


if __name__ == "__main__":
    tf.test.main()
