"""StarGAN's losses by numpy, on discriminators whose gradients are known."""

import keras
import numpy as np
import small_tasks
import teachers
import tensorflow as tf
from keras import layers

from tfcompress.training.teaching import Adversarial, Distillation, DomainCritic, Step, check_discriminator

REAL = small_tasks.pictures(6, seed=4)[0]
DOMAINS = np.eye(3, dtype="float32")[[0, 1, 2, 0, 1, 2]]


def linear_discriminator(weights, domains=0):
    """The map is `weights . pixels`; the domain logits are a multiple of the first pixels."""
    image = keras.Input((8, 8, 1))
    flat = layers.Flatten()(image)
    source = layers.Dense(1, use_bias=False, name="source")(flat)
    outputs = [source, layers.Dense(domains, use_bias=False, name="domains")(flat)] if domains else source
    model = keras.Model(image, outputs)
    model.get_layer("source").kernel.assign(weights[:, None])
    return model


def cross_entropy(wanted, logits):
    return -(wanted * (logits - np.log(np.exp(logits).sum(-1, keepdims=True)))).sum(-1).mean()


class AdversarialTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.made = small_tasks.pictures(6, seed=6)[0]

    def step(self, fed, teacher=None, y=None, x=None):
        return Step(x=fed if x is None else x, fed=fed, y=y, outputs=self.made, teacher=teacher)

    def test_without_domains_the_teacher_is_the_measure(self):
        generator, critic = teachers.generator(), teachers.discriminator()
        loss = Adversarial(generator, critic, reconstruction_weight=3.0)
        self.assertTrue(loss.needs_teacher)
        self.assertFalse(loss.has_domains)
        expected = -np.array(critic(self.made)).mean() + 3 * np.abs(self.made - REAL).mean()
        self.assertAllClose(loss(self.step(REAL, teacher=REAL)), expected, rtol=1e-5)

    def test_against_labels(self):
        loss = Adversarial(teachers.generator(), teachers.discriminator(), against_labels=True)
        self.assertFalse(loss.needs_teacher)
        expected = -np.array(loss.discriminator(self.made)).mean() + 10 * np.abs(self.made - REAL).mean()
        self.assertAllClose(loss(self.step(REAL, y=REAL)), expected, rtol=1e-5)

    def test_with_domains_images_go_back_to_their_own(self):
        """Equation (6): what was made from `fed` is translated back to the domains that the images had."""
        generator, critic = teachers.generator(domains=3), teachers.discriminator(domains=3)
        loss = Adversarial(generator, critic, domain_weight=2.0, reconstruction_weight=3.0)
        self.assertTrue(loss.has_domains)
        self.assertFalse(loss.needs_teacher)
        asked = DOMAINS[::-1].copy()
        source, logits = (np.array(found) for found in critic(self.made))
        back = np.array(generator([self.made, DOMAINS], training=False))
        expected = -source.mean() + 2 * cross_entropy(asked, logits) + 3 * np.abs(back - REAL).mean()
        for layer in generator.layers:
            layer.trainable = False  # so that BatchNormalization uses its statistics in the way back too
        self.assertAllClose(loss(self.step([REAL, asked], x=[REAL, DOMAINS])), expected, rtol=1e-4)

    def test_domains_that_do_not_exclude_each_other(self):
        generator, critic = teachers.generator(domains=3), teachers.discriminator(domains=3)
        loss = Adversarial(generator, critic, reconstruction_weight=0.0, exclusive=False)
        wanted = np.array([[1, 1, 0]] * 6, "float32")
        source, z = (np.array(found) for found in critic(self.made))
        each = np.log1p(np.exp(z)) - wanted * z
        found = float(loss(self.step([REAL, wanted])))
        self.assertTrue(
            any(np.isclose(found, -source.mean() + total, rtol=1e-4) for total in (each.sum(-1).mean(), each.mean())),
            found,
        )

    def test_discriminators_that_do_not_fit(self):
        plain, told = teachers.generator(), teachers.generator(domains=3)
        for generator, critic, message in (
            (plain, teachers.discriminator(size=12), "12"),
            (told, teachers.discriminator(), "domain"),
            (told, teachers.discriminator(domains=2), "2"),
        ):
            with self.assertRaisesRegex(ValueError, message):
                check_discriminator(generator, critic)
        with self.assertRaisesRegex(TypeError, "lambda|function"):
            check_discriminator(plain, lambda images: images)
        check_discriminator(plain, teachers.discriminator())
        check_discriminator(told, teachers.discriminator(domains=3))


class CriticTest(tf.test.TestCase):
    def test_gradient_penalty_of_a_linear_map(self):
        """The gradient is the weights everywhere; with norm 3: (3 - 1)^2."""
        weights = np.random.default_rng(0).normal(size=64).astype("float32")
        for norm, expected in ((3.0, 4.0), (1.0, 0.0), (0.5, 0.25)):
            critic = DomainCritic(linear_discriminator(norm * weights / np.linalg.norm(weights)))
            found = critic.gradient_penalty(tf.constant(REAL), tf.constant(REAL[::-1].copy()))
            self.assertAllClose(found, expected, rtol=1e-3, atol=1e-5)

    def test_it_learns_to_tell_real_from_made_and_changes_nothing_else(self):
        generator, discriminator = teachers.generator(), teachers.discriminator()
        critic = DomainCritic(discriminator, steps=3, learning_rate=0.02)
        before, own = teachers.weights_of(generator), teachers.weights_of(discriminator)

        def gap():
            return float(tf.reduce_mean(discriminator(REAL)) - tf.reduce_mean(discriminator(generator(REAL))))

        gaps = [gap()]
        for _ in range(2):
            critic.learn(REAL, lambda inputs: inputs, generator)
            gaps.append(gap())
        self.assertEqual(teachers.moved(before, generator), set())
        self.assertEqual(
            teachers.moved(own, discriminator) & {"down/kernel", "source/kernel"}, {"down/kernel", "source/kernel"}
        )
        self.assertGreater(gaps[-1], gaps[0] + 0.05)

    def test_domains_are_learned_on_real_images(self):
        discriminator = teachers.discriminator(domains=3)
        critic = DomainCritic(discriminator, steps=3, learning_rate=0.02)

        def entropy():
            return cross_entropy(DOMAINS, np.array(discriminator(REAL)[1]))

        before = entropy()
        for _ in range(2):
            critic.learn([REAL, DOMAINS], lambda inputs: inputs, teachers.generator(domains=3))
        self.assertLess(entropy(), 0.95 * before)

    def test_each_step_sees_other_translations(self):
        seen = []

        def feed(inputs):
            seen.append(inputs)
            return inputs

        DomainCritic(teachers.discriminator(), steps=3).learn(REAL, feed, teachers.generator())
        self.assertLen(seen, 3)

    def test_it_goes_on_from_its_state_whatever_the_global_one(self):
        def learned(global_seed, steps, state=None):
            critic = DomainCritic(teachers.discriminator(), steps=2, learning_rate=0.01, seed=3)
            generator = teachers.generator()
            keras.utils.set_random_seed(global_seed)
            if state is not None:
                critic.load_state_dict(state)
            for _ in range(steps):
                critic.learn(REAL, lambda inputs: inputs, generator)
            return critic.state_dict()

        half = learned(1, 1)
        whole, continued = learned(2, 2), learned(3, 1, half)
        self.assertEqual(whole.keys(), continued.keys())
        for name, value in whole.items():
            self.assertAllClose(value, continued[name], rtol=1e-5, atol=1e-7, msg=name)
        self.assertNotAllClose(whole["model:0"], half["model:0"])


class ShufflingTest(tf.test.TestCase):
    def test_domains_are_shuffled_images_are_not(self):
        generator = teachers.generator(domains=3)
        model = Distillation(
            generator,
            teachers.generator(domains=3, seed=2),
            outputs_loss=Adversarial(generator, teachers.discriminator(domains=3)),
            shuffled_inputs=(1,),
        )
        seen = [model.feed([REAL, DOMAINS]) for _ in range(8)]
        for images, domains in seen:
            self.assertAllEqual(images, REAL)
            self.assertAllEqual(np.sort(np.argmax(domains, -1)), [0, 0, 1, 1, 2, 2])
        self.assertGreater(len({np.array(domains).tobytes() for _, domains in seen}), 3)

    def test_gradients_reach_every_weight_of_the_generator_and_none_of_the_discriminator(self):
        generator, critic = teachers.generator(domains=3), teachers.discriminator(domains=3)
        loss = Adversarial(generator, critic)
        model = Distillation(generator, teachers.generator(domains=3, seed=2), outputs_loss=loss, shuffled_inputs=(1,))
        x = [tf.constant(REAL), tf.constant(DOMAINS)]
        with tf.GradientTape() as tape:
            value = model.compute_loss(x=x, y=REAL, y_pred=model(x, training=True), training=True)
        weights = model.trainable_weights
        self.assertEqual({id(w) for w in weights}, {id(w) for w in generator.trainable_weights})
        for weight, gradient in zip(weights, tape.gradient(value, weights), strict=True):
            self.assertTrue(np.isfinite(gradient).all(), weight.path)
            # A bias before a normalisation changes nothing.
            if not weight.path.endswith("conv1/bias"):
                self.assertGreater(float(np.abs(gradient).max()), 0, weight.path)
