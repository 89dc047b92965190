"""L_KD, L_I and the logits they are worked out on, against numpy on a few numbers."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tfcompress.training.teaching import KDLoss, OutputLoss, SoftTargets, Step, hint_loss, logits_of

STUDENT = np.array([[1.0, -2.0], [0.5, 3.0]], "float32")
TEACHER = np.array([[2.0, 1.0], [-1.0, 0.0]], "float32")


def softmax(logits):
    powers = np.exp(logits)
    return powers / powers.sum(-1, keepdims=True)


def soft_term(student, teacher, tau):
    """The mean over samples of the cross-entropy against the teacher's softened distribution."""
    return -(softmax(teacher / tau) * np.log(softmax(student / tau))).sum(-1).mean()


def network(activation, units=3, two=False):
    inputs = keras.Input((4,))
    outputs = layers.Dense(units, activation=activation)(inputs)
    return keras.Model(inputs, [outputs, outputs] if two else outputs)


class SoftTargetsTest(tf.test.TestCase):
    def test_by_hand(self):
        """At tau = 1 with equal logits each class has 1/2, so H is log 2 whatever the teacher says."""
        even = np.zeros((2, 2), "float32")
        targets = SoftTargets(alpha=0.25, tau=1.0)
        self.assertAllClose(targets(4.0, even, TEACHER), 0.25 * 4 + 0.75 * np.log(2), rtol=1e-6)
        # The student's logits are (log 3, 0), its distribution (3/4, 1/4); the teacher's is (1/4, 3/4).
        student, teacher = np.log([[3.0, 1.0]]).astype("float32"), np.log([[1.0, 3.0]]).astype("float32")
        expected = -(0.25 * np.log(0.75) + 0.75 * np.log(0.25))
        self.assertAllClose(SoftTargets(alpha=0.0, tau=1.0)(4.0, student, teacher), expected, rtol=1e-6)

    def test_weights_temperature_and_its_square(self):
        for alpha in (0.0, 0.3, 1.0):
            for tau in (0.5, 1.0, 6.0):
                soft = soft_term(STUDENT, TEACHER, tau)
                for scale, factor in ((True, tau**2), (False, 1.0)):
                    found = SoftTargets(alpha, tau, scale_by_tau=scale)(1.7, STUDENT, TEACHER)
                    self.assertAllClose(found, alpha * 1.7 + (1 - alpha) * factor * soft, rtol=1e-5, msg=(alpha, tau))

    def test_the_teachers_distribution_is_the_target(self):
        targets = SoftTargets(alpha=0.0, tau=1.0)
        self.assertNotAllClose(targets(0.0, STUDENT, TEACHER), targets(0.0, TEACHER, STUDENT))
        gradient = self.gradient(lambda s: targets(0.0, s, TEACHER))
        self.assertAllClose(gradient, (softmax(STUDENT) - softmax(TEACHER)) / 2, rtol=1e-5)

    def test_the_factor_keeps_the_gradient_at_high_temperatures(self):
        """For tau far above the logits the gradient is (student - teacher), both centred, over classes and samples."""
        gradient = self.gradient(lambda s: SoftTargets(alpha=0.0, tau=1000.0)(0.0, s, TEACHER))
        centred = [logits - logits.mean(-1, keepdims=True) for logits in (STUDENT, TEACHER)]
        self.assertAllClose(gradient, (centred[0] - centred[1]) / 2 / 2, rtol=0.01)
        small = self.gradient(lambda s: SoftTargets(alpha=0.0, tau=1000.0, scale_by_tau=False)(0.0, s, TEACHER))
        self.assertLess(np.abs(small).max(), 2e-6)

    @staticmethod
    def gradient(loss):
        student = tf.constant(STUDENT)
        with tf.GradientTape() as tape:
            tape.watch(student)
            value = loss(student)
        return tape.gradient(value, student).numpy()

    def test_squared_error_of_logits(self):
        """Differences -1, -3, 1.5, 3: (1 + 9 + 2.25 + 9) / 2 samples = 10.625, at any temperature."""
        for tau in (1.0, 6.0):
            self.assertAllClose(SoftTargets(0.0, tau, "logits")(1.0, STUDENT, TEACHER), 10.625)
        self.assertAllClose(SoftTargets(0.4, 6.0, "logits")(1.0, STUDENT, TEACHER), 0.4 + 0.6 * 10.625)
        self.assertAllClose(SoftTargets(0.0, 6.0, "mean_logits")(1.0, STUDENT, TEACHER), 10.625 / STUDENT.shape[-1])

    def test_positions_count_as_samples(self):
        """Maps of classes `[batch, places, classes]`: the mean over places."""
        found = SoftTargets(0.0, 2.0).of_logits(STUDENT[None], TEACHER[None])
        self.assertAllClose(found, SoftTargets(0.0, 2.0).of_logits(STUDENT, TEACHER), rtol=1e-6)

    def test_settings_out_of_range(self):
        for wrong in ({"alpha": 2}, {"alpha": -0.1}, {"tau": 0}, {"tau": -1.0}, {"soft": "kl"}):
            ((name, value),) = wrong.items()
            with self.assertRaisesRegex(ValueError, f"`?{name}`?.*{value}"):
                SoftTargets(**wrong)


class HintLossTest(tf.test.TestCase):
    def test_on_four_numbers(self):
        """Differences -1, -3, 1.5, 3; smooth L1: 1/2, 3 - 1/2, 1.5 - 1/2, 3 - 1/2."""
        for name, expected in (("l2", 21.25 / 4), ("l1", 8.5 / 4), ("smooth_l1", (0.5 + 2.5 + 1.0 + 2.5) / 4)):
            found = hint_loss(name, TEACHER, STUDENT)
            self.assertEqual(found.shape, ())
            self.assertAllClose(found, expected, msg=name)
            self.assertAllClose(hint_loss(name, TEACHER.reshape(2, 1, 1, 2), STUDENT.reshape(2, 1, 1, 2)), expected)

    def test_small_differences_of_smooth_l1_are_squared(self):
        self.assertAllClose(hint_loss("smooth_l1", np.zeros((1, 2)), np.array([[0.5, -0.2]])), (0.125 + 0.02) / 2)

    def test_relative_to_what_the_teacher_gives(self):
        """The teacher's mean square is (9 + 16) / 4 = 2.5^2; differences 0, 2, -1, 0 are 0, 0.8, -0.4, 0 of that."""
        teacher, student = np.array([[3.0, 4.0], [0.0, 0.0]]), np.array([[3.0, 2.0], [1.0, 0.0]])
        for name, expected in (("l2", 0.8 / 4), ("l1", 1.2 / 4), ("smooth_l1", 0.4 / 4)):
            for scale in (1.0, 1000.0, 0.001):
                found = hint_loss(name, scale * teacher, scale * student, relative=True)
                self.assertAllClose(found, expected, rtol=1e-5, msg=name)
        zeros = np.zeros_like(teacher)
        self.assertAllClose(hint_loss("l2", teacher, zeros, relative=True), 1.0, rtol=1e-6)
        # Relative to nothing is as it is.
        self.assertAllClose(hint_loss("l2", zeros, student, relative=True), 14 / 4, rtol=1e-6)

    def test_low_precision_is_compared_in_float32(self):
        """In bfloat16, with 8 bits, the mean of 1,000 ones would not be 1."""
        teacher, student = (tf.cast(tf.fill((1, 1000), value), "bfloat16") for value in (3.0, 2.0))
        found = hint_loss("l2", teacher, student)
        self.assertEqual(found.dtype, tf.float32)
        self.assertAllClose(found, 1.0)


class LogitsTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        keras.utils.set_random_seed(4)
        self.x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")

    def of(self, model, **settings):
        logits = np.array(logits_of(model, **settings)(model(self.x)))
        self.assertEqual(logits.dtype, "float32")
        return logits

    def test_logits_stay(self):
        model = network(None)
        self.assertAllEqual(self.of(model), model(self.x))

    def test_probabilities_give_logits_of_the_same_distribution_at_any_temperature(self):
        model = network("softmax")
        dense = model.layers[-1]
        before = self.x @ dense.kernel.numpy() + dense.bias.numpy()
        for tau in (1.0, 0.5, 6.0):
            self.assertAllClose(softmax(self.of(model) / tau), softmax(before / tau), rtol=1e-4)

    def test_softmax_as_a_layer_and_as_an_operation(self):
        inputs = keras.Input((4,))
        logits = layers.Dense(3)(inputs)
        for outputs in (layers.Softmax()(logits), layers.Activation("softmax")(logits), keras.ops.softmax(logits)):
            model = keras.Model(inputs, outputs)
            self.assertAllClose(softmax(self.of(model)), model(self.x), rtol=1e-5)

    def test_normalized_logits_are_the_same_for_logits_and_probabilities(self):
        model = network(None)
        head = model.layers[-1]
        probabilities = keras.Model(model.input, layers.Softmax()(model.output))
        found = self.of(model, normalized=True)
        self.assertAllClose(np.exp(found).sum(-1), np.ones(5), rtol=1e-5)
        self.assertAllClose(found, np.log(softmax(self.x @ head.kernel.numpy() + head.bias.numpy())), rtol=1e-4)
        self.assertAllClose(self.of(probabilities, normalized=True), found, rtol=1e-4, atol=1e-5)

    def test_one_probability_is_two_classes_the_second_of_which_it_speaks_of(self):
        model = network("sigmoid", 1)
        p = np.array(model(self.x))
        logits = self.of(model)
        self.assertEqual(logits.shape, (5, 1, 2))
        self.assertAllClose(softmax(logits)[:, 0], np.concatenate([1 - p, p], -1), rtol=1e-4)

    def test_several_probabilities_of_their_own(self):
        model = network("sigmoid", 3)
        p = np.array(model(self.x))
        logits = self.of(model)
        self.assertEqual(logits.shape, (5, 3, 2))
        self.assertAllClose(softmax(logits), np.stack([1 - p, p], -1), rtol=1e-4)

    def test_probabilities_of_zero_give_finite_losses_and_gradients(self):
        model = network("softmax")
        logits = logits_of(model)
        before = tf.constant([[0.0, 300.0, -300.0]])
        with tf.GradientTape() as tape:
            tape.watch(before)
            loss = SoftTargets(0.0, 2.0).of_logits(logits(tf.nn.softmax(before)), tf.constant([[1.0, 2.0, 3.0]]))
        self.assertAllInRange(loss, 0.0, 1000.0)
        self.assertAllEqual(np.isfinite(tape.gradient(loss, before)), np.ones((1, 3), bool))

    def test_other_outputs_are_refused(self):
        for activation in ("relu", "tanh"):
            with self.assertRaisesRegex(ValueError, activation):
                logits_of(network(activation))
        with self.assertRaisesRegex(ValueError, "one output.*several outputs"):
            logits_of(network(None, two=True))


class OutputsTest(tf.test.TestCase):
    def step(self, outputs, teacher, y=None):
        return Step(x=None, fed=None, y=y, outputs=outputs, teacher=teacher)

    def test_kd_of_logits_and_probabilities(self):
        """The student gives logits, the teacher probabilities: the same as if both gave logits."""
        targets = SoftTargets(0.3, 2.0)

        def hard(y, outputs):
            return keras.ops.mean(keras.ops.abs(outputs - y))

        expected = 0.3 * np.abs(STUDENT - 1).mean() + 0.7 * 4 * soft_term(STUDENT, TEACHER, 2.0)
        for activation, teacher in ((None, TEACHER), ("softmax", softmax(TEACHER))):
            loss = KDLoss(network(None, 2), network(activation, 2), targets, hard)
            self.assertTrue(loss.needs_teacher)
            self.assertAllClose(loss(self.step(STUDENT, teacher, y=1.0)), expected, rtol=1e-5)

    def test_squared_error_does_not_see_what_probabilities_lose(self):
        """The logarithm of probabilities is the logits up to a constant a sample, which must not count as an error."""
        loss = KDLoss(network(None, 2), network("softmax", 2), SoftTargets(0.0, 1.0, "logits"), lambda y, outputs: 0.0)
        same = loss(self.step(STUDENT + np.float32(5.0), softmax(STUDENT)))
        self.assertAllClose(same, 0.0, atol=1e-9)

    def test_kd_refuses_what_has_no_logits(self):
        for models in ((network("relu", 2), network(None, 2)), (network(None, 2), network("relu", 2))):
            with self.assertRaisesRegex(ValueError, "relu"):
                KDLoss(*models, SoftTargets(), lambda y, outputs: 0.0)

    def test_output_loss(self):
        self.assertAllClose(OutputLoss()(self.step(STUDENT, TEACHER)), 21.25 / 4)
        self.assertAllClose(OutputLoss("l1")(self.step(STUDENT, TEACHER)), 8.5 / 4)
        several = self.step([STUDENT, STUDENT], [TEACHER, STUDENT - 1])
        self.assertAllClose(OutputLoss("l1")(several), 8.5 / 4 + 1)
