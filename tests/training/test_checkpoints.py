"""Checkpoints: round trip, removal, damage, and kills on the way."""

import pathlib
import tempfile
from unittest import mock

import ml_dtypes
import numpy as np
import tensorflow as tf

from tfcompress import training

TENSORS = {
    "model/0": np.array([[1.5, -2.0], [3.25, 0.0]], "float32"),
    "optimizer/0": np.array(7, "int64"),
    "buffer/empty": np.zeros((0, 3), "float64"),
    "buffer/mask": np.array([True, False]),
    "seed": np.array([1, 2**63], "uint64"),
    "text": np.frombuffer(b"state", "uint8"),
    "half": np.array([0.5, 2.0], ml_dtypes.bfloat16),
}


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


class CheckpointsTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "checkpoints" / "joint"
        self.checkpoints = training.Checkpoints(self.folder)

    def names(self):
        return sorted(path.name for path in self.folder.iterdir())

    def save(self, *epochs):
        for epoch in epochs:
            self.checkpoints.save(epoch, {"x": np.array([epoch], "float32")}, {"rows": [0.1 * epoch]})

    def test_round_trip_of_every_dtype(self):
        info = {"rows": [{"loss": 0.1 + 0.2}, {"loss": 1e-300}], "stopped": False}
        self.checkpoints.save(12, TENSORS, info)
        latest = training.Checkpoints(self.folder).latest()
        self.assertEqual((latest.epoch, latest.info, latest.finished), (12, info, False))
        self.assertEqual(set(latest.tensors), set(TENSORS))
        for name, tensor in TENSORS.items():
            self.assertEqual(latest.tensors[name].dtype, tensor.dtype)
            self.assertEqual(latest.tensors[name].shape, tensor.shape)
            self.assertEqual(latest.tensors[name].tobytes(), tensor.tobytes())

    def test_nothing_there(self):
        self.assertIsNone(self.checkpoints.latest())
        self.assertEqual(self.checkpoints.skipped, [])

    def test_keeps_the_newest_two_in_order_of_number(self):
        self.save(9, 10, 99999, 100000)
        self.assertEqual(self.names(), ["epoch-100000", "epoch-99999"])
        self.assertEqual(self.checkpoints.latest().epoch, 100000)
        with self.assertRaisesRegex(ValueError, "keep=1"):
            training.Checkpoints(self.folder, keep=1)

    def test_finished_comes_last_and_keeps_one_epoch(self):
        self.save(1, 2, 3)
        self.checkpoints.finish(3, {"x": np.array([8.0])}, {"rows": []})
        self.assertEqual(self.names(), ["epoch-00003", "finished"])
        latest = self.checkpoints.latest()
        self.assertEqual((latest.epoch, latest.finished), (3, True))
        self.assertAllEqual(latest.tensors["x"], [8.0])

    def damage(self, file, how):
        data = bytearray(file.read_bytes())
        if how == "flip":
            data[len(data) // 2] ^= 1
        elif how == "truncate":
            data = data[: len(data) // 2]
        file.write_bytes(bytes(data))
        if how == "delete":
            file.unlink()

    def test_damage_of_any_file_falls_back_to_the_one_before_and_says_so(self):
        self.save(1, 2)
        whole = {path.name: path.read_bytes() for path in (self.folder / "epoch-00002").iterdir()}
        self.assertLen(whole, 4)
        for name, content in whole.items():
            for how in ("flip", "truncate", "delete"):
                file = self.folder / "epoch-00002" / name
                self.damage(file, how)
                with self.assertLogs("absl", "WARNING") as logs:
                    latest = self.checkpoints.latest()
                self.assertEqual(latest.epoch, 1, (name, how))
                self.assertAllEqual(latest.tensors["x"], [1.0])
                self.assertLen(self.checkpoints.skipped, 1)
                self.assertRegex(self.checkpoints.skipped[0], "epoch-00002 is damaged .*epoch-00001, is used instead")
                self.assertIn("epoch-00002 is damaged", logs.output[0])
                file.write_bytes(content)
        self.assertEqual(self.checkpoints.latest().epoch, 2)
        self.assertEqual(self.checkpoints.skipped, [])

    def test_all_damaged(self):
        self.save(1, 2)
        for folder in self.folder.iterdir():
            self.damage(folder / "info.json", "flip")
        self.assertIsNone(self.checkpoints.latest())
        self.assertLen(self.checkpoints.skipped, 2)
        self.assertIn("starts from its beginning", self.checkpoints.skipped[0])

    def test_a_damaged_checkpoint_is_replaced_and_damaged_later_ones_go(self):
        self.save(2, 3)
        self.checkpoints.finish(3, {}, {})
        self.damage(self.folder / "finished" / "info.json", "flip")
        self.damage(self.folder / "epoch-00003" / "info.json", "flip")
        self.assertIsNone(self.checkpoints.latest())
        self.save(1)  # starts anew: what is there from later epochs was no use
        self.assertEqual(self.names(), ["epoch-00001"])
        self.save(2, 3)
        self.damage(self.folder / "epoch-00003" / "info.json", "flip")
        self.save(3)
        self.assertEqual(self.checkpoints.latest().epoch, 3)
        self.assertEqual(self.names(), ["epoch-00002", "epoch-00003"])

    def test_a_kill_while_writing_leaves_the_ones_before(self):
        self.save(1, 2)
        steps = ["SaveV2", "sha256", "sync", "rename"]
        targets = {
            "SaveV2": "tensorflow.raw_ops.SaveV2",
            "sha256": "tfcompress.training._files.sha256",
            "sync": "tfcompress.training._files.sync",
            "rename": "pathlib.Path.rename",
        }
        for step in steps:
            with mock.patch(targets[step], side_effect=Killed), self.assertRaises(Killed):
                self.save(3)
            self.assertEqual(self.names(), ["epoch-00001", "epoch-00002", "epoch-00003.part"])
            self.assertEqual(self.checkpoints.latest().epoch, 2)
            self.assertEqual(self.checkpoints.skipped, [])
        self.save(3)
        self.assertEqual(self.names(), ["epoch-00002", "epoch-00003"])

    def test_a_kill_while_removing_leaves_the_new_one(self):
        self.save(1, 2)
        with mock.patch("shutil.rmtree", side_effect=Killed), self.assertRaises(Killed):
            self.save(3)
        self.assertEqual(self.checkpoints.latest().epoch, 3)
        self.assertEqual(self.checkpoints.skipped, [])
        self.save(4)
        self.assertEqual(self.names(), ["epoch-00003", "epoch-00004"])
