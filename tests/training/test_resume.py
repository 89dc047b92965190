"""An interrupted training, continued, ends where the uninterrupted one ends, bit for bit."""

import importlib.util
import io
import pathlib
import signal
import subprocess
import sys
import tempfile
from unittest import mock

import keras
import numpy as np
import tensorflow as tf

from tfcompress import training

SCRIPT = pathlib.Path(__file__).with_name("resumed_run.py")
_SPEC = importlib.util.spec_from_file_location("resumed_run", SCRIPT)
resumed_run = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(resumed_run)


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


def stop():
    raise Killed


class ResumeTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with tempfile.TemporaryDirectory() as folder:
            cls.expected = resumed_run.train(folder)

    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.checkpoints = self.folder / "checkpoints" / "joint"

    def interrupt(self, *where):
        with self.assertRaises(Killed):
            resumed_run.train(self.folder, [resumed_run.Interrupt(*where, stop)])

    def assert_same(self, outcome, expected=None):
        expected = expected or self.expected
        self.assertEqual(set(outcome), set(expected))
        for name, values in expected.items():
            self.assertEqual(outcome[name].tobytes(), values.tobytes(), name)

    def continued(self):
        """Continues the run; returns the outcome and the epochs that were trained."""
        epochs = []
        note = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: epochs.append(epoch))
        return resumed_run.train(self.folder, [note]), epochs

    def test_the_run_is_not_trivial(self):
        self.assertLen({values.tobytes() for name, values in self.expected.items() if name.startswith("history")}, 8)
        self.assertNotAllEqual(self.expected["history/drawn"][:2], self.expected["history/drawn"][2:])

    def test_interrupted_within_an_epoch(self):
        self.interrupt("step", 2, 1)
        outcome, epochs = self.continued()
        self.assertEqual(epochs, [2, 3])
        self.assert_same(outcome)

    def test_interrupted_in_the_first_epoch_and_twice(self):
        self.interrupt("step", 0, 2)
        self.interrupt("step", 1, 0)
        self.interrupt("step", 3, 2)
        outcome, epochs = self.continued()
        self.assertEqual(epochs, [3])
        self.assert_same(outcome)

    def test_interrupted_by_a_callback_at_the_end_of_an_epoch(self):
        self.interrupt("epoch", 1, None)  # after training, before the checkpoint
        outcome, epochs = self.continued()
        self.assertEqual(epochs, [1, 2, 3])
        self.assert_same(outcome)

    def test_interrupted_while_the_end_is_written(self):
        with mock.patch.object(training.Checkpoints, "finish", side_effect=Killed), self.assertRaises(Killed):
            resumed_run.train(self.folder)
        outcome, epochs = self.continued()
        self.assertEqual(epochs, [])
        self.assert_same(outcome)

    def test_a_finished_phase_returns_at_once(self):
        resumed_run.train(self.folder)
        with mock.patch.object(keras.Model, "fit", side_effect=AssertionError):
            outcome, epochs = self.continued()
        self.assertEqual(epochs, [])
        without_optimizer = {k: v for k, v in self.expected.items() if not k.startswith("optimizer")}
        self.assert_same(outcome, without_optimizer)

    def test_a_damaged_newest_checkpoint_costs_one_epoch_and_is_said(self):
        self.interrupt("step", 3, 0)
        file = self.checkpoints / "epoch-00003" / "tensors.data-00000-of-00001"
        content = bytearray(file.read_bytes())
        content[100] ^= 4
        file.write_bytes(bytes(content))
        stream = io.StringIO()
        with mock.patch.object(resumed_run.training, "Phase", _with_progress(stream)):
            outcome, epochs = self.continued()
        self.assertEqual(epochs, [2, 3])
        self.assert_same(outcome)
        self.assertRegex(stream.getvalue(), "epoch-00003 is damaged .* epoch-00002, is used instead")
        self.assertIn("joint: going on with epoch 3 of 4", stream.getvalue())

    def test_early_stopping_stays_stopped_with_the_weights_it_restored(self):
        class Stop(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                self.model.stop_training = epoch == 1

            def on_train_end(self, logs=None):
                self.model.inner.layers[-1].bias.assign([7.0, 8.0, 9.0])

        first = resumed_run.train(self.folder, [Stop()])
        self.assertLen(first["history/loss"], 2)
        outcome, epochs = self.continued()
        self.assertEqual(epochs, [])
        self.assertEqual(outcome["history/loss"].tobytes(), first["history/loss"].tobytes())
        self.assertAllEqual(outcome["model/8"], [7.0, 8.0, 9.0])

    def test_stopped_early_and_killed_before_the_end_was_written(self):
        class Stop(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                self.model.stop_training = epoch == 1

        with mock.patch.object(training.Checkpoints, "finish", side_effect=Killed), self.assertRaises(Killed):
            resumed_run.train(self.folder, [Stop()])
        outcome, epochs = self.continued()
        self.assertEqual(epochs, [])
        self.assertLen(outcome["history/loss"], 2)

    def test_kill_9_with_deterministic_operations(self):
        killed, whole = self.folder / "killed", self.folder / "whole"
        command = [sys.executable, str(SCRIPT), str(killed), str(whole)]
        run = subprocess.run(command, capture_output=True, check=False, text=True)
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertEqual(run.stdout.split(), [str(-signal.SIGKILL), "0", "0"])
        self.assertTrue((killed / "checkpoints" / "joint" / "finished").is_dir())
        outcome, expected = (dict(np.load(folder / "outcome.npz")) for folder in (killed, whole))
        self.assert_same(outcome, expected)


def _with_progress(stream):
    phase = training.Phase
    return lambda *args, **kwargs: phase(*args, **kwargs, progress=training.Progress(2, stream))
