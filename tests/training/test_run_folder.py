"""The run folder: fingerprint, lock, files."""

import os
import pathlib
import subprocess
import sys
import tempfile
from unittest import mock

import keras
import numpy as np
import tensorflow as tf

from tfcompress import KeepChannels, Plan, training

FINGERPRINT = {"model": "3f2a", "method": {"name": "rlal", "epochs": 200, "milestones": (100, 150)}, "budget": 0.5}


class RunFolderTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.path = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "runs" / "x"

    def opened(self, fingerprint=FINGERPRINT):
        run = training.open_run(self.path, fingerprint)
        self.addCleanup(run.close)
        return run

    def test_makes_the_folder_and_enters_it_again(self):
        with self.opened() as run:
            run.write_json("plan", {"edits": [1, 2]})
        with self.opened() as run:
            self.assertTrue(run.has("plan"))
            self.assertEqual(run.read_json("plan"), {"edits": [1, 2]})
            self.assertFalse(run.has("search"))

    def test_other_settings_are_refused_and_each_is_named(self):
        self.opened().close()
        other = {"model": "77aa", "method": {"name": "rlal", "epochs": 90, "seed": 1}, "budget": 0.5}
        with self.assertRaises(training.RunFolderError) as caught:
            self.opened(other)
        message = str(caught.exception)
        self.assertIn("model: '3f2a' in the folder, '77aa' now", message)
        self.assertIn("method.epochs: 200 in the folder, 90 now", message)
        self.assertIn("method.milestones: [100, 150] in the folder, absent now", message)
        self.assertIn("method.seed: absent in the folder, 1 now", message)
        self.assertNotIn("budget", message)
        self.assertIn("delete this folder", message)
        self.opened().close()  # still the folder of the first, and not left locked

    def test_a_path_below_a_file_is_refused(self):
        self.path.parent.mkdir(parents=True)
        self.path.write_text("a regular file")
        with self.assertRaisesRegex(training.RunFolderError, "can be written. Received: run_dir=.*Give another"):
            training.open_run(self.path / "run", FINGERPRINT)

    def test_a_folder_without_room_is_refused(self):
        with (
            mock.patch("pathlib.Path.write_text", side_effect=OSError(28, "No space left on device")),
            self.assertRaisesRegex(training.RunFolderError, "No space left on device"),
        ):
            self.opened()
        self.opened().close()

    def test_a_damaged_run_file_is_refused(self):
        self.opened().close()
        (self.path / "run.json").write_text('{"model": ')
        with self.assertRaisesRegex(training.RunFolderError, "damaged file"):
            self.opened()

    def test_each_bit_of_a_file_counts(self):
        run = self.opened()
        run.write_json("plan", {"a": [1.5, float("nan"), "\u00e4"]})
        file = self.path / "plan.json"
        content = file.read_bytes()
        for bit in range(0, 8 * len(content), 3):
            changed = bytearray(content)
            changed[bit // 8] ^= 1 << bit % 8
            file.write_bytes(changed)
            with self.assertRaisesRegex(training.DamagedFileError, "plan.json to be as it was written"):
                run.read_json("plan")
        notes = []
        self.assertIsNone(run.recall("plan", notes.append))
        self.assertRegex(notes[0], "plan.json is damaged .* is made again")

    def test_what_fails_before_anything_was_made_leaves_no_trace(self):
        for error, left in ((ValueError("no"), False), (OSError("no"), False), (KeyboardInterrupt(), True)):
            with self.assertRaises(type(error)), training.open_run(self.path) as run:
                run.begin(FINGERPRINT)
                run.write_json("before", 1)
                raise error
            self.assertEqual(self.path.exists(), left)
        with self.assertRaisesRegex(ValueError, "no"), self.opened() as run:  # an earlier run is not of this one
            raise ValueError("no")
        self.assertTrue((self.path / "run.json").exists())

    def test_plans_follow_the_names_of_layers(self):
        plan = KeepChannels("dense_1", (0, 2))
        with training.open_run(
            self.path, {"model": {"names": ["dense", "dense_1"], "architecture": [], "weights": []}}
        ) as run:
            text = run.plan_to_json(Plan((plan,)))
        now = {"model": {"names": ["dense_7", "dense_8"], "architecture": [], "weights": []}}
        with training.open_run(self.path, now) as run:
            there = run.plan_from_json(text)
            self.assertEqual([edit.group for edit in there], ["dense_8"])
            self.assertEqual(run.plan_to_json(there), text)  # in the names of the first call, for the third one

    def test_a_second_run_at_once_is_refused_and_a_killed_one_leaves_no_lock(self):
        code = (
            "import fcntl, os, sys, time\n"
            "lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)\n"
            "fcntl.flock(lock, fcntl.LOCK_EX)\n"
            "os.ftruncate(lock, 0)\n"
            "os.write(lock, str(os.getpid()).encode())\n"
            "print('locked', flush=True)\n"
            "time.sleep(600)\n"
        )
        self.opened().close()
        other = subprocess.Popen([sys.executable, "-c", code, str(self.path / ".lock")], stdout=subprocess.PIPE)
        try:
            self.assertEqual(other.stdout.readline(), b"locked\n")
            with self.assertRaisesRegex(training.RunFolderError, f"in use by process {other.pid}. Wait"):
                self.opened()
        finally:
            other.kill()
            other.wait()
            other.stdout.close()
        (self.path / ".lock").write_text("1234567890\n")  # a longer number than that of this process
        self.opened().close()
        self.assertEqual((self.path / ".lock").read_text(), f"{os.getpid()}\n")

    def test_a_kill_while_writing_json_leaves_the_old_file(self):
        run = self.opened()
        run.write_json("result", 1)
        killed = mock.patch("tfcompress.training._files.sync", side_effect=KeyboardInterrupt)
        with killed, self.assertRaises(KeyboardInterrupt):
            run.write_json("result", 2)
        self.assertEqual(run.read_json("result"), 1)

    def test_models_come_back(self):
        run = self.opened()
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        self.assertFalse(run.has_model("best student"))
        run.save_model("best student", model)
        self.assertTrue(run.has_model("best student"))
        x = np.ones((1, 3), "float32")
        other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        run.load_weights("best student", other)
        self.assertAllEqual(other(x), model(x))
        self.assertEqual(sorted(p.name for p in self.path.glob("*.keras")), ["best-student.keras"])

    def test_each_phase_has_its_own_folders(self):
        run = self.opened()
        self.assertEqual(run.checkpoints("joint training").folder, self.path / "checkpoints" / "joint-training")
        self.assertEqual(run.tensorboard("fine-tuning"), self.path / "tensorboard" / "fine-tuning")

    def test_without_a_folder(self):
        with training.open_run(None, FINGERPRINT) as run:
            run.write_json("plan", {"a": (1,)})
            self.assertTrue(run.has("plan"))
            self.assertEqual(run.read_json("plan"), {"a": [1]})
            self.assertIsNone(run.checkpoints("joint"))
            self.assertIsNone(run.tensorboard("joint"))
            model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
            run.save_model("m", model)
            self.assertFalse(run.has_model("m"))
            with self.assertRaisesRegex(KeyError, "run_dir"):
                run.load_weights("m", model)
