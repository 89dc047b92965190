"""Progress lines, with a clock that the test sets."""

import contextlib
import io
import os
import sys
import threading
import time
import types
from unittest import mock

import tensorflow as tf

from tfcompress import training
from tfcompress.training import duration
from tfcompress.training.forecast import Forecast


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
            "joint training  epoch 1/200  left 1 h 54 min (1 h 39 min of this phase)  loss 0.5000  30 s an epoch",
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
                "joint  epoch 1/4  left 13 min 20 s (5 min 0 s of this phase)  loss 2.5000  accuracy 0.5000  "
                "1 min 40 s an epoch",
                # the second epoch is the measure: 2 x 60 s and 10 x 60 s / 2
                "joint  epoch 2/4  left 7 min 0 s (2 min 0 s of this phase)  loss 1.2500  accuracy 0.6250  "
                "val_accuracy 0.6000  reward 0.5500  macs 0.5000  1 min 0 s an epoch",
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
                "sensitivity  group 1/3  left 8.0 s  accuracy 0.5000  4.0 s a group",
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
        self.assertStartsWith(self.lines()[3], "fine  epoch 7/10  left 30 s  ")

    def shown(self):
        """What a terminal shows in the end: of each line what was written last."""
        return [line.split("\r")[-1].replace("\x1b[K", "") for line in self.stream.getvalue().split("\n")]

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
        between, last = self.stream.getvalue().split("\n")[:2]
        self.assertEqual(
            between,
            "\rfine 1/2 [..........]  preparing the first step\x1b[K"
            "\rfine 1/2 [..........]  validation\x1b[K"
            "\rfine 1/2 [..........]  loss 0.2500  step 3/100\x1b[K"
            "\r\x1b[Ka word in between",
        )
        # 0.6 s for 4 steps: 15 s an epoch, of which 7 of 200 steps are done
        self.assertEqual(last, "\rfine 1/2 [..........]  left 29 s  loss 0.2500  step 7/100\x1b[K")

    def test_the_line_of_a_terminal_begins_with_what_matters_and_fits(self):
        values = {"loss": 0.5, "val_accuracy": 0.75, "accuracy": 0.25, "reward": 0.125}
        needed = "left 7 min  loss 0.5000  val_accuracy 0.7500 (best)"
        for columns, expected in (
            (200, f"fine-tuning 3/10 [###.......]  {needed}  accuracy 0.2500  reward 0.1250"),
            (81, f"fine-tuning 3/10 [##......]  {needed}"),  # 80 less the 69 of the others and the 3 of " []"
            (74, f"fine-tuning 3/10  {needed}"),
            (60, "fine-tuning 3/10 [###.......]  left 7 min  loss 0.5000"),
        ):
            with (
                self.subTest(columns=columns),
                mock.patch("shutil.get_terminal_size", return_value=os.terminal_size((columns, 24))),
            ):
                progress = self.progress(1, Terminal())
                progress.begin("fine-tuning", 10, done=2)
                self.now += 60
                progress.epoch_done(3, values, best="val_accuracy")
                self.assertEqual(self.shown()[-1], expected)

    def test_between_validations_the_last_one_stays_with_the_loss_of_now(self):
        progress = self.progress(1, Terminal(), [("fine", 2)])
        progress.begin("fine", 2, steps=4)
        self.now += 8
        progress.epoch_done(1, {"loss": 1.0, "val_accuracy": 0.5}, best="val_accuracy")
        self.now += 6  # three quarters of the second epoch: 2 s are left
        progress.step(3, {"loss": 0.5})
        line = "fine 2/2 [########..]  left 2.0 s  loss 0.5000  val_accuracy 0.5000 (best)  step 3/4"
        with mock.patch("shutil.get_terminal_size", return_value=os.terminal_size((120, 24))):
            progress.step(3, {"loss": 0.5})
        self.assertEqual(self.shown()[-1], line)

    def test_what_takes_long_shows_that_it_is_alive(self):
        progress = self.progress(1, Terminal())
        progress.doing("reading the data")
        self.assertEqual(self.shown()[-1], "reading the data")
        self.now += 75
        progress.tick()
        self.assertEqual(self.shown()[-1], "reading the data, 1 min 15 s")
        progress.begin("search", 4)
        progress.doing("episode 3 of 40")
        self.now += 5
        progress.tick()
        self.assertEqual(self.shown()[-1], "search 1/4 [..........]  episode 3 of 40, 5.0 s")
        progress.end()
        before = self.stream.getvalue()
        self.now += 5
        progress.tick()  # nothing is going on
        self.assertEqual(self.stream.getvalue(), before)

    def test_between_phases_only_what_goes_on_is_shown(self):
        progress = self.progress(1, Terminal())
        progress.begin("fine", 1)
        progress.epoch_done(1, {"loss": 1.0})
        progress.end()
        progress.doing("measuring")
        self.assertEqual(self.shown()[-2:], ["fine 1/1 [##########]  left 0.0 s  loss 1.0000", "measuring"])
        progress.end()
        progress.note("the end")
        self.assertEqual(self.shown()[-2:], ["the end", ""])

    def test_a_file_is_told_once_a_minute(self):
        progress = self.progress(1)
        progress.begin("search", 4)
        progress.doing("episode 3 of 40")
        for _ in range(150):
            self.now += 1
            progress.tick()
        self.assertEqual(
            self.lines()[1:],
            ["search  epoch 1/4  episode 3 of 40, 1 min 0 s", "search  epoch 1/4  episode 3 of 40, 2 min 0 s"],
        )

    def test_the_thread_that_ticks_ends_with_the_run(self):
        before = threading.active_count()
        progress = self.progress(1, Terminal())
        with self.assertRaises(KeyError), progress:
            progress.doing("x")
            self.assertEqual(threading.active_count(), before + 1)
            raise KeyError
        for _ in range(100):
            if threading.active_count() == before:
                break
            time.sleep(0.05)
        self.assertEqual(threading.active_count(), before)
        self.assertEndsWith(self.stream.getvalue(), "\r\x1b[K")  # what is said next has the line

    def test_a_notebook_has_one_output_that_is_exchanged(self):
        outputs = []

        class Output:
            def __init__(self, data):
                outputs.append(data["text/plain"])
                self.number = len(outputs) - 1

            def update(self, data, raw):
                outputs[self.number] = data["text/plain"]

        class OfKernel(io.TextIOBase):
            text = ""

            def write(self, text):
                self.text += text

        shell = types.SimpleNamespace(kernel=object())
        shown = types.SimpleNamespace(display=lambda data, raw, display_id: Output(data))
        fakes = {"IPython": types.SimpleNamespace(get_ipython=lambda: shell), "IPython.display": shown}
        cell = OfKernel()
        with mock.patch.dict(sys.modules, fakes), mock.patch.object(sys, "stdout", cell):
            progress = training.Progress(1, clock=lambda: self.now)
            progress.note("model     m")
            progress.begin("fine", 2)
            for number in (1, 2):
                self.now += 1
                progress.epoch_done(number, {"loss": number})
            progress.note("a word")  # in the place of the line
            progress.doing("validation")
            progress.end()
            with contextlib.redirect_stdout(io.StringIO()) as redirected:
                training.Progress(1).doing("x")
            one_a_line = training.Progress(2)
            one_a_line.doing("x")
        self.assertEqual(cell.text, "model     m\n")
        self.assertEqual(outputs[0], "about 1.0 s to go: fine 1 epochs (1.0 s)")  # in the place of "preparing"
        self.assertEqual(outputs[1:], ["a word", ""])  # what was going on is taken away
        self.assertEqual(redirected.getvalue(), "")

    def test_a_terminal_line_never_wraps(self):
        progress = self.progress(1, Terminal())
        progress.begin("fine", 2)
        progress.epoch_done(1, {f"value_{i}": 0.5 for i in range(100)})
        self.assertLess(len(self.stream.getvalue().split("\r")[-1]), 300)

    def test_the_header_is_wrapped_where_a_screen_has_an_edge(self):
        text = " ".join(["word"] * 20)
        progress = self.progress(1)
        progress.header({"model": "m", "plan": text})
        self.assertEqual(self.lines(), ["model     m", f"plan      {text}"])
        with mock.patch("shutil.get_terminal_size", return_value=os.terminal_size((61, 24))):
            progress = self.progress(1, Terminal())
            progress.header({"plan": text})
        ten = " ".join(["word"] * 10)  # 49 characters after the 10 of the label, of 60
        self.assertEqual(self.lines(), [f"plan      {ten}", f"          {ten}"])

    def test_the_time_that_was_measured_beforehand(self):
        measured = training.StepTime(epoch_s=30.0, compile_s=5.0)
        phases = [training.PhasePlan("search", 4, 0.5, unit="round"), training.PhasePlan("fine", 10, 1.5, builds=2)]
        progress = self.progress(1, Terminal())
        progress.plan(phases, measured=measured)
        progress.begin("search", 4)
        # 4 x 15 s with one compilation of 5 s, and 10 x 45 s with two: 8 min 45 s
        self.assertEqual(self.shown()[-1], "search 1/4 [..........]  left 9 min  preparing the first step")
        forecast = Forecast(phases, measured)
        forecast.begin("search", 4, 0)
        self.assertEqual(forecast.left(), (65.0, 525.0))
        self.assertEqual(forecast.left(elapsed=2), (63.0, 523.0))
        self.assertEqual(forecast.left(0.5, elapsed=9), (52.5, 512.5))
        forecast.took(11.0, 1)
        self.assertEqual(forecast.left(), (33.0, 493.0))  # rounds say nothing of what fine-tuning takes
        forecast.begin("search", 4, 0)
        forecast.took(70.0, 1, compiled=True)
        self.assertEqual(forecast.left(), (45.0, 505.0))  # as measured beforehand, and compiled
        forecast.begin("fine", 10, 0)
        forecast.took(30.0, 1)
        self.assertEqual(forecast.left(), (270.0, 270.0))

    def test_a_time_that_is_far_from_what_was_said_is_said(self):
        """After two of four epochs, which were to take 15 s each, and before ten of 45 s and a compilation of 5 s.

        That would be 2 x 15 + 10 x 45 + 5 s = 485 s; with epochs of s seconds it is 2 s + 30 s + 5: half as much again
        from 22.6 s on, and less by as much up to 9.9 s.
        """
        phases = [training.PhasePlan("joint", 4, 0.5), training.PhasePlan("fine", 10, 1.5)]
        for seconds, told in ((9, True), (11, False), (22, False), (24, True)):
            with self.subTest(seconds=seconds):
                progress = self.progress(2)
                progress.plan(phases, measured=training.StepTime(epoch_s=30.0, compile_s=5.0))
                progress.begin("joint", 4)
                self.now += 500  # with compiling
                progress.epoch_done(1, {})
                self.now += seconds
                progress.epoch_done(2, {})
                self.assertEqual("measured: about" in self.stream.getvalue(), told)

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
