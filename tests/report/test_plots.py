"""The plots of a run and of a sensitivity: what is drawn, and that the file is a picture."""

import pathlib
import tempfile
from types import SimpleNamespace
from unittest import mock

import matplotlib.figure
import numpy as np
import tensorflow as tf

from tfcompress.measured import Measured
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


def result(history, metric="accuracy", higher_is_better=True):
    """As much of a result as the picture reads."""
    before = Measured(1000, 100, 400, 0.9, "test", 0.875)
    after = Measured(500, 40, 160, 0.85, "test", 0.8)
    model = SimpleNamespace(name="net")
    return SimpleNamespace(
        model=model,
        method="rlal",
        seed=7,
        history=history,
        metric=metric,
        higher_is_better=higher_is_better,
        before=before,
        after=after,
    )


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
            plot_history(result(history), self.folder / "plot.png")
        points = [
            [(line.get_label(), *map(list, line.get_data())) for line in axes.lines if line.get_marker() == "."]
            for axes in made
        ]
        self.assertNotIn([], points[1:])  # no empty picture below
        return points[0], [(x, y) for lower in points[1:] for _, x, y in lower]

    def test_a_picture_that_can_be_read(self):
        for name in ("plot.png", "plot.jpg"):
            plot_history(result(HISTORY), self.folder / name)
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

    def test_the_original_the_metric_a_title_and_whole_epochs(self):
        figure = plot_history(result(HISTORY, metric="accuracy"))
        axes = figure.axes[0]
        original = {line.get_label(): list(line.get_ydata()) for line in axes.lines}["original (0.875)"]
        self.assertEqual(original, [0.875, 0.875])  # of the validation split, as the curves are
        self.assertEqual(axes.get_ylabel(), "accuracy (validation)")
        title = "net: rlal, seed 7\naccuracy (test) 0.9000 → 0.8500 with 50.0% of the MACs"
        self.assertEqual(figure.get_suptitle(), title)
        ticks = figure.axes[-1].get_xticks()
        self.assertAllEqual(ticks, np.round(ticks))
        self.assertStartsWith(figure._repr_png_(), b"\x89PNG")  # Jupyter shows it

    def test_epochs_behind_episodes_have_room_and_are_counted_anew(self):
        figure = plot_history(result({"search": {"reward": [0.5] * 96}, "recover": HISTORY["recover"]}))
        axes = figure.axes[-1]
        left, cut, right = axes.transData.transform([(0.5, 0), (96.5, 0), (98.5, 0)])[:, 0]
        self.assertAllClose((right - cut) / (right - left), 0.4)
        labels = [label.get_text() for label in axes.get_xticklabels()]
        self.assertEqual(labels[-2:], ["1", "2"])
        self.assertAllEqual(axes.get_xticks()[-2:], [97, 98])
        self.assertLen(figure.axes, 1)  # FLOPs that were not written, or stay the same, have no panel
        self.assertEqual(axes.get_xlabel(), "episode of the search, then epoch of the recovery")

    def test_phases_of_a_training_one_behind_the_other(self):
        """As LIT has them; the star is the epoch whose weights are kept."""
        recover = {
            "val_accuracy": [0.2, 0.3],
            "fine-tuning accuracy": [0.5, 0.6],
            "fine-tuning val_accuracy": [0.4, 0.5],
        }
        figure = plot_history(result({"search": {}, "recover": recover | {"fine-tuning kept": [0.0, 1.0]}}))
        lines = [(line.get_label(), *map(list, line.get_data())) for line in figure.axes[0].lines]
        self.assertIn(("validation accuracy", [1, 2], [0.2, 0.3]), lines)
        self.assertIn(("validation accuracy", [3, 4], [0.4, 0.5]), lines)
        self.assertIn(("training accuracy", [3, 4], [0.5, 0.6]), lines)
        self.assertIn(("epoch whose weights are kept", [4], [0.5]), lines)
        self.assertEqual([text.get_text() for text in figure.axes[0].texts], ["recovery", "fine-tuning"])

    def test_students_of_a_search_and_steps_of_a_pruning(self):
        recover = {"val_accuracy": [0.9]}
        figure = plot_history(result({"search": {"students: accuracy": [0.5, None, 0.7]}, "recover": recover}))
        lines = [tuple(map(list, line.get_data())) for line in figure.axes[0].lines]
        self.assertIn(([1, 3], [0.5, 0.7]), lines)
        self.assertIn(([4], [0.9]), lines)
        steps = {"step": [1, 2], "metric": [0.8, 0.75], "macs": [900, 700]}
        figure = plot_history(result({"search": steps, "recover": {}}))
        self.assertAllClose(figure.axes[1].lines[0].get_ydata(), [0.9, 0.7])
        unmeasured = plot_history(
            result({"search": steps | {"metric": [None, None], "macs": [700, 700]}, "recover": recover})
        )
        self.assertEqual(list(unmeasured.axes[0].lines[0].get_xdata()), [1])

    def test_rewards_where_less_of_the_metric_is_better(self):
        """A reward is the negative of such a metric; where it is of another scale it has a panel of its own."""
        figure = plot_history(result({"search": {"reward": [-0.5, -0.2, -0.3]}, "recover": {}}, "mse", False))
        lines = {line.get_label(): list(line.get_ydata()) for line in figure.axes[0].lines}
        self.assertEqual(lines["reward of the episode"], [0.5, 0.2, 0.3])
        self.assertEqual(lines["best reward"], [0.5, 0.2, 0.2])
        own = {"reward": [-9.0, -8.0], "metric": [-0.4, -0.3]}
        figure = plot_history(result({"search": own, "recover": {}}, "mse", False))
        self.assertEqual([list(axes.lines[0].get_ydata()) for axes in figure.axes], [[0.4, 0.3], [-9.0, -8.0]])

    def test_the_loss_where_there_is_no_metric(self):
        figure = plot_history(result({"search": {}, "recover": {"val_loss": [0.5, float("nan"), 0.3]}}, ""))
        self.assertIn([1, 3], [list(line.get_xdata()) for line in figure.axes[0].lines])
        self.assertEqual(figure.axes[0].get_ylabel(), "loss (validation)")
        self.assertEqual(figure.get_suptitle(), "net: rlal, seed 7\n50.0% of the MACs")

    def test_nothing_that_is_a_number(self):
        nothing = result({"search": {}, "recover": {"val_accuracy": [float("nan")]}})
        nothing.before = Measured(1000, 100, 400, None, "validation", None)
        self.assertLen(plot_history(nothing).axes, 1)

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
