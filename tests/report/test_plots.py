"""The plot of a run: what is drawn, and that the file is a picture."""

import pathlib
import tempfile
from unittest import mock

import matplotlib.figure
import numpy as np
import tensorflow as tf

from tfcompress.report import plot_history

HISTORY = {
    "search": {
        "loss": [2.0, 1.0, 0.5],
        "val_accuracy": [0.3, 0.5, 0.6],
        "reward": [None, 0.2, 0.3],
        "reward_best": [None, 0.4, 0.45],
        "flops": [None, 0.48, 0.5],
    },
    "recover": {"loss": [0.6, 0.4], "val_accuracy": [0.55, 0.65]},
}


class PlotHistoryTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def drawn(self, history):
        """`{label: (x, y)}` of the lines with points in the upper picture, and a list of those in the lower one."""
        made = []
        subplots = matplotlib.figure.Figure.subplots

        def recorded(figure, *args, **kwargs):
            made.extend(axes := subplots(figure, *args, **kwargs))
            return axes

        with mock.patch.object(matplotlib.figure.Figure, "subplots", recorded):
            plot_history(history, self.folder / "plot.png", "accuracy")
        points = [
            [(line.get_label(), *map(list, line.get_data())) for line in axes.lines if line.get_marker() == "."]
            for axes in made
        ]
        return points[0], [(x, y) for _, x, y in points[1] if x]

    def test_a_picture_that_can_be_read(self):
        for name in ("plot.png", "plot.jpg"):
            plot_history(HISTORY, self.folder / name, "accuracy")
            picture = tf.io.decode_image((self.folder / name).read_bytes()).numpy()
            self.assertGreaterEqual(min(picture.shape[:2]), 400)
            self.assertGreater(len(np.unique(picture.reshape(-1, picture.shape[-1]), axis=0)), 10)  # not blank
        self.assertCountEqual([path.name for path in self.folder.iterdir()], ["plot.png", "plot.jpg"])

    def test_curves(self):
        """Epochs count on from the search to the recovery, and begin where there is something to show."""
        upper, lower = self.drawn(HISTORY)
        self.assertIn(("mean reward of the episodes", [2, 3], [0.2, 0.3]), upper)
        self.assertIn(("best reward", [2, 3], [0.4, 0.45]), upper)
        self.assertIn(("validation accuracy", [1, 2, 3], [0.3, 0.5, 0.6]), upper)
        self.assertIn(("validation accuracy", [4, 5], [0.55, 0.65]), upper)
        self.assertEqual(lower, [([2, 3], [0.48, 0.5])])

    def test_without_a_search_or_without_anything(self):
        upper, _ = self.drawn({"search": {}, "recover": HISTORY["recover"]})
        self.assertIn(("validation accuracy", [1, 2], [0.55, 0.65]), upper)
        self.drawn({})
        self.assertTrue((self.folder / "plot.png").exists())
