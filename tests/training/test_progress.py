"""Progress lines, with a clock that the test sets."""

import io
import sys

import tensorflow as tf

from tfcompress import training
from tfcompress.training.progress import duration


class Terminal(io.StringIO):
    def isatty(self):
        return True


class ProgressTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.now = 1000.0

    def progress(self, verbose, stream=None, phases=()):
        self.stream = stream or io.StringIO()
        progress = training.Progress(verbose, self.stream, lambda: self.now)
        progress.plan(phases)
        return progress

    def lines(self):
        return self.stream.getvalue().splitlines()

    def test_estimate_of_the_whole_run_after_the_first_steps(self):
        progress = self.progress(1, phases=[("joint training", 200), ("search", 10, 0.5), ("fine-tuning", 100, 0.25)])
        progress.begin("joint training", 200, steps=60)
        self.assertEqual(
            self.lines(), ["joint training: epoch 1 of 200, preparing (the first step compiles, it takes longer)"]
        )
        self.now += 30  # the first step compiles: it is not part of the estimate
        for step in range(1, 7):
            self.assertEqual(progress.due(step), step in (1, 6))
            if progress.due(step):
                progress.step(step, {"loss": 1.0})
            self.now += 0.5
        # 60 steps of 0.5 s are 30 s: 200 x 30 s = 100 min, 10 x 15 s = 2 min 30 s, 100 x 7.5 s = 12 min 30 s
        self.assertLen(self.lines(), 2)
        self.assertEqual(
            self.lines()[1],
            "about 1 h 55 min to go: joint training 200 epochs (1 h 40 min), search 10 epochs (2 min 30 s), "
            "fine-tuning 100 epochs (12 min 30 s)",
        )
        self.assertFalse(progress.due(7))
        self.now += 26.5
        progress.epoch_done(1, {"loss": 0.5})  # 29.5 s after the first of 60 steps
        self.assertEqual(
            self.lines()[2],
            "joint training  epoch 1/200  loss 0.5000  30 s an epoch  left 1 h 39 min, of the whole run 1 h 54 min",
        )

    def test_lines_of_epochs_with_time_left(self):
        progress = self.progress(2, phases=[("joint", 4, 2.0), ("fine", 10, 1.0)])
        progress.begin("joint", 4, steps=3)
        self.now += 100  # compiling included
        progress.epoch_done(1, {"loss": 2.5, "accuracy": 0.5})
        self.now += 60
        progress.epoch_done(2, {"loss": 1.25, "accuracy": 0.625, "val_accuracy": 0.6, "reward": 0.55, "macs": 0.5})
        progress.end()
        self.assertEqual(
            self.lines()[1:],
            [
                "about 13 min 20 s to go: joint 3 epochs (5 min 0 s), fine 10 epochs (8 min 20 s)",
                "joint  epoch 1/4  loss 2.5000  accuracy 0.5000  1 min 40 s an epoch  left 5 min 0 s, "
                "of the whole run 13 min 20 s",
                # the second epoch is the measure: 2 x 60 s and 10 x 60 s / 2
                "joint  epoch 2/4  loss 1.2500  accuracy 0.6250  val_accuracy 0.6000  reward 0.5500  macs 0.5000  "
                "1 min 0 s an epoch  left 2 min 0 s, of the whole run 7 min 0 s",
            ],
        )

    def test_a_phase_that_counts_no_epochs(self):
        progress = self.progress(2, phases=[training.PhasePlan("sensitivity", 3, unit="group")])
        progress.begin("sensitivity", 3, steps=2)
        self.now += 10
        progress.step(0, {"accuracy": 0.75})  # what compiles
        self.now += 4
        progress.epoch_done(1, {"accuracy": 0.5})
        self.assertStartsWith(self.lines()[0], "sensitivity: group 1 of 3, ")
        self.assertEqual(
            self.lines()[1:],
            [
                "about 8.0 s to go: sensitivity 2 groups (8.0 s)",
                "sensitivity  group 1/3  accuracy 0.5000  4.0 s a group  left 8.0 s",
            ],
        )

    def test_resumed_and_skipped_phases(self):
        progress = self.progress(1, phases=[("joint", 4), ("fine", 10)])
        progress.skip("joint")
        progress.begin("fine", 10, steps=5, done=6)
        self.now += 10
        progress.epoch_done(7, {"loss": 1.0})
        self.assertEqual(self.lines()[0], "joint: finished before, taken from the run folder")
        self.assertStartsWith(self.lines()[1], "fine: going on with epoch 7 of 10")
        self.assertEqual(self.lines()[2], "about 30 s to go: fine 3 epochs (30 s)")
        self.assertEndsWith(self.lines()[3], "left 30 s")

    def test_a_terminal_has_one_line_that_is_updated(self):
        progress = self.progress(1, Terminal())
        progress.begin("fine", 2, steps=100)
        progress.doing("validation")
        self.now += 1
        self.assertTrue(progress.due(3))
        progress.step(3, {"loss": 0.25})
        self.assertFalse(progress.due(4))
        self.now += 0.6
        self.assertTrue(progress.due(5))
        progress.note("a word in between")
        progress.step(7, {"loss": 0.25})
        progress.end()
        preparing, between, last = self.stream.getvalue().split("\n")[:3]
        self.assertStartsWith(preparing, "fine: epoch 1 of 2")
        self.assertEqual(
            between,
            "\rfine  epoch 1/2  validation\x1b[K"
            "\rfine  epoch 1/2  step 3/100  loss 0.2500\x1b[K"
            "\r\x1b[Ka word in between",
        )
        self.assertEqual(last, "\rfine  epoch 1/2  step 7/100  loss 0.2500\x1b[K")

    def test_a_terminal_line_never_wraps(self):
        progress = self.progress(1, Terminal())
        progress.begin("fine", 2)
        progress.epoch_done(1, {f"value_{i}": 0.5 for i in range(100)})
        self.assertLess(len(self.stream.getvalue().split("\r")[-1]), 300)

    def test_silent(self):
        progress = self.progress(0, Terminal())
        progress.begin("fine", 2, steps=5)
        self.assertFalse(progress.due(1))
        progress.step(1, {})
        progress.epoch_done(1, {"loss": 1.0})
        progress.doing("x")
        progress.note("x")
        progress.skip("x")
        progress.end()
        self.assertEqual(self.stream.getvalue(), "")

    def test_a_standard_output_that_is_none_or_can_only_write(self):
        class OnlyWrites:
            def __init__(self):
                self.text = ""

            def write(self, text):
                self.text += text

        real = sys.stdout
        self.addCleanup(setattr, sys, "stdout", real)
        for stream in (None, OnlyWrites()):
            sys.stdout = stream
            for verbose in (0, 1, 2):
                progress = training.Progress(verbose)
                progress.begin("fine", 2, steps=5)
                progress.doing("validation")
                progress.step(1, {"loss": 1.0})
                progress.note("x")
                progress.epoch_done(1, {"loss": 1.0})
                progress.end()
        sys.stdout = real
        self.assertEqual(stream.text.count("epoch 1/2"), 2)
        self.assertNotIn("\r", stream.text)

    def test_bad_settings(self):
        with self.assertRaisesRegex(ValueError, "verbose=3"):
            training.Progress(3)
        with self.assertRaisesRegex(ValueError, "above 0"):
            training.Progress(0).plan([("joint", 3, 0.0)])

    def test_duration(self):
        self.assertEqual(
            [duration(s) for s in (0.44, 12.4, 60, 200, 3600, 7800, 90000)],
            ["0.4 s", "12 s", "1 min 0 s", "3 min 20 s", "1 h 0 min", "2 h 10 min", "1 d 1 h"],
        )
