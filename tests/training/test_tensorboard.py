"""What is written for TensorBoard is on disk at once."""

import pathlib
import tempfile

import tensorflow as tf

from tfcompress import training


def events(folder):
    """`{tag: {step: value}}` of all event files below `folder`."""
    found = {}
    for file in sorted(pathlib.Path(folder).rglob("events.*")):
        for record in tf.data.TFRecordDataset(str(file)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = float(tf.make_ndarray(value.tensor))
    return found


class ScalarsTest(tf.test.TestCase):
    def test_values_are_on_disk_before_close(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        scalars = training.Scalars(folder)
        scalars.write(3, {"reward": 0.5, "macs": 0.25})
        scalars.write(4, {"reward": 0.75})
        self.assertEqual(events(folder), {"reward": {3: 0.5, 4: 0.75}, "macs": {3: 0.25}})
        scalars.close()

    def test_no_folder_no_file(self):
        scalars = training.Scalars(None)
        scalars.write(1, {"reward": 0.5})
        scalars.close()
