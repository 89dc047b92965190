"""Learning rates worked out by hand."""

import tensorflow as tf

from tfcompress import training


class SchedulesTest(tf.test.TestCase):
    def test_step_decay_is_multiplied_from_the_milestone_on(self):
        schedule = training.StepDecay(0.1, (100, 150))
        rates = [schedule(epoch, 200) for epoch in (0, 99, 100, 149, 150, 199)]
        self.assertAllClose(rates, [0.1, 0.1, 0.01, 0.01, 0.001, 0.001], rtol=1e-12)

    def test_step_decay_with_a_factor_of_a_half(self):
        schedule = training.StepDecay(0.01, [3, 6, 9, 12], factor=0.5)  # VDCNN of LIT
        self.assertAllClose([schedule(epoch, 15) for epoch in (2, 3, 6, 14)], [0.01, 0.005, 0.0025, 0.000625])

    def test_cosine_by_hand(self):
        schedule = training.Cosine(0.05)
        # cos(0) = 1, cos(pi / 4) = 0.70710678, cos(pi / 2) = 0, cos(3 pi / 4) = -0.70710678
        self.assertAllClose([schedule(epoch, 4) for epoch in range(4)], [0.05, 0.0426776695, 0.025, 0.0073223305])

    def test_constant(self):
        self.assertEqual([training.Constant(0.3)(epoch, 9) for epoch in (0, 8)], [0.3, 0.3])

    def test_scaled_keeps_the_share_and_rounds_up(self):
        self.assertEqual(training.scaled((100, 150), of=200, to=200), (100, 150))
        self.assertEqual(training.scaled((100, 150), of=200, to=12), (6, 9))
        self.assertEqual(training.scaled((100, 150), of=200, to=5), (3, 4))
        # One epoch is trained at the first learning rate, not behind both milestones.
        schedule = training.StepDecay(0.1, training.scaled((100, 150), of=200, to=1))
        self.assertEqual(schedule(0, 1), 0.1)

    def test_bad_settings_are_refused(self):
        with self.assertRaisesRegex(ValueError, "above 0. Received: initial=-0.1"):
            training.Constant(-0.1)
        with self.assertRaisesRegex(ValueError, "initial=nan"):
            training.Cosine(float("nan"))
        with self.assertRaisesRegex(ValueError, "factor=0"):
            training.StepDecay(0.1, (1,), factor=0)
        with self.assertRaisesRegex(ValueError, "to=0"):
            training.scaled((1,), of=10, to=0)
