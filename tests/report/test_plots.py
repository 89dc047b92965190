"""The plots of a run and of a sensitivity: what is drawn, and that the file is a picture."""

import pathlib
import tempfile
from unittest import mock

import matplotlib.figure
import numpy as np
import tensorflow as tf

from tfcompress.report import Sensitivity, plot_history, plot_lines

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
            made.extend((axes := subplots(figure, *args, **kwargs)).flat)
            return axes

        with mock.patch.object(matplotlib.figure.Figure, "subplots", recorded):
            plot_history(history, self.folder / "plot.png", "accuracy")
        points = [
            [(line.get_label(), *map(list, line.get_data())) for line in axes.lines if line.get_marker() == "."]
            for axes in made
        ]
        self.assertNotIn([], points[1:])  # no empty picture below
        return points[0], [(x, y) for lower in points[1:] for _, x, y in lower]

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

    def test_what_joint_training_tells_of_the_plan_that_it_follows(self):
        more = {"removed_norm": [None, 21.5, 4.0], "reward_followed": [None, 0.4, 0.55]}
        upper, lower = self.drawn({**HISTORY, "search": {**HISTORY["search"], **more}})
        self.assertIn(("metric of the plan that the weights follow", [2, 3], [0.4, 0.55]), upper)
        self.assertEqual(lower, [([2, 3], [0.48, 0.5]), ([2, 3], [21.5, 4.0])])

    def test_a_search_on_weights_that_stay_is_drawn_by_plans(self):
        """Three episodes, two moves, and then the recovery."""
        search = {"reward": [0.2, 0.4, 0.3], "metric": [0.2, 0.4, 0.3], "flops": [0.5, 0.48, 0.49]}
        search |= {"critic_loss": [None, 1.0, 2.0], "local_search": [0.35, 0.45]}
        upper, lower = self.drawn({"search": search, "recover": HISTORY["recover"]})
        self.assertEqual(
            upper,
            [
                ("reward of the episode", [1, 2, 3], [0.2, 0.4, 0.3]),
                ("reward after a move of channels", [4, 5], [0.35, 0.45]),
                ("best reward", [1, 2, 3, 4, 5], [0.2, 0.4, 0.4, 0.4, 0.45]),
                ("validation accuracy", [6, 7], [0.55, 0.65]),
            ],
        )
        self.assertEqual(lower, [([1, 2, 3], [0.5, 0.48, 0.49])])

    def test_rewards_alone(self):
        """As random search has them; without moves there is no line for them."""
        upper, lower = self.drawn({"search": {"reward": [0.2, 0.4], "local_search": []}, "recover": {}})
        self.assertEqual([label for label, *_ in upper], ["reward of the episode", "best reward"])
        self.assertEqual(lower, [])

    def test_without_a_search_or_without_anything(self):
        upper, _ = self.drawn({"search": {}, "recover": HISTORY["recover"]})
        self.assertIn(("validation accuracy", [1, 2], [0.55, 0.65]), upper)
        self.drawn({})
        self.assertTrue((self.folder / "plot.png").exists())


def measured(groups, keep_ratios=(0.25, 0.5)):
    """A sensitivity: group i loses i thousandths at the last ratio, and twice that at the first."""
    lost = np.arange(groups)[:, np.newaxis] * np.linspace(0.002, 0.001, len(keep_ratios))
    return Sensitivity(
        keep_ratios=keep_ratios,
        groups=tuple(f"group{i}" for i in range(groups)),
        sizes=np.full(groups, 8),
        kept=np.full((groups, len(keep_ratios)), 4),
        accuracy=0.9 - lost,
        baseline=0.9,
        macs=np.full((groups, len(keep_ratios)), 0.5),
        total_macs=1000,
        metric="accuracy",
        samples=10,
        model="net",
    )


class PlotSensitivityTest(tf.test.TestCase):
    def drawn(self, sensitivity):
        """The lines of the picture, the names in its legend, and the number of its axes."""
        path = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "plot.png"
        made = []
        legend = matplotlib.figure.Figure.legend
        with mock.patch.object(
            matplotlib.figure.Figure, "legend", lambda figure, **kwargs: made.append((figure, legend(figure, **kwargs)))
        ):
            sensitivity.plot(path)
        self.assertEqual([file.name for file in path.parent.iterdir()], ["plot.png"])
        picture = tf.io.decode_image(path.read_bytes()).numpy()
        self.assertGreater(len(np.unique(picture.reshape(-1, picture.shape[-1]), axis=0)), 10)  # not blank
        ((figure, shown),) = made
        return figure.axes[0].lines, [text.get_text() for text in shown.get_texts()], len(figure.axes)

    def test_a_line_for_each_group_from_the_whole_model_on(self):
        lines, names, axes = self.drawn(measured(3))
        self.assertEqual((names, axes), (["group0", "group1", "group2", "whole model"], 1))
        x, y = lines[2].get_data()
        self.assertAllClose(x, [1.0, 0.5, 0.25])  # in this order whatever that of the ratios is
        self.assertAllClose(y, [0.9, 0.9 - 0.002, 0.9 - 0.004])
        self.assertLen({line.get_color() for line in lines[:3]}, 3)

    def test_of_many_groups_those_that_lose_most_are_named(self):
        lines, names, axes = self.drawn(measured(60))
        self.assertEqual(names, [*(f"group{i}" for i in range(50, 60)), "whole model"])
        self.assertLen(lines, 60 + 1)
        self.assertEqual(axes, 2)  # the scale of colors beside it
        self.assertGreater(lines[55].get_linewidth(), lines[5].get_linewidth())

    def test_twenty_are_all_named(self):
        _, names, _ = self.drawn(measured(20))
        self.assertLen(names, 20 + 1)


class PlotLinesTest(tf.test.TestCase):
    def test_a_line_for_each_name(self):
        path = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "plot.png"
        made = []
        subplots = matplotlib.figure.Figure.subplots
        with mock.patch.object(
            matplotlib.figure.Figure, "subplots", lambda figure: made.append(subplots(figure)) or made[-1]
        ):
            plot_lines({"kd": ([10, 1000], [0.5, 0.75]), "lit": ([100], [1.0])}, path, "KiB", "accuracy", "log")
        (axes,) = made
        lines = {line.get_label(): [list(values) for values in line.get_data()] for line in axes.lines}
        self.assertEqual(lines, {"kd": [[10, 1000], [0.5, 0.75]], "lit": [[100], [1.0]]})
        self.assertLen({line.get_color() for line in axes.lines}, 2)
        self.assertEqual((axes.get_xlabel(), axes.get_ylabel(), axes.get_xscale()), ("KiB", "accuracy", "log"))
        picture = tf.io.decode_image(path.read_bytes()).numpy()
        self.assertGreater(len(np.unique(picture.reshape(-1, picture.shape[-1]), axis=0)), 10)  # not blank


if __name__ == "__main__":
    tf.test.main()
