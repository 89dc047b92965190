"""Pictures of a search's candidates: what is drawn, and what trails say of each layer."""

import pathlib
import tempfile
from types import SimpleNamespace
from unittest import mock

import keras
import matplotlib.figure
import numpy as np
import tensorflow as tf
from keras import layers

from tfcompress.costs import Cost
from tfcompress.measured import Measured
from tfcompress.methods import Candidate
from tfcompress.plan import KeepChannels, Plan, Reconfigure, RemoveLayers, ReplaceLayers, Trail
from tfcompress.report import changes, plot_changes, plot_spectrum, spectrum
from tfcompress.report.spectrum import least_of

CHEAP = keras.Sequential(
    [layers.DepthwiseConv2D(3, name="depthwise"), layers.BatchNormalization(), layers.Conv2D(4, 1, name="pointwise")]
)


def replaced(*names, by=CHEAP):
    return tuple(ReplaceLayers.by((name, f"{name}_bn"), by) for name in names)


def candidate(macs, score, *edits, model=None):
    return Candidate(Trail((Plan(edits),)), Cost(macs, macs // 10, 4, {"numbers": 2 * macs}), score, "", model)


def result(*candidates, higher_is_better=True, accuracy=0.9):
    before = Measured(1000, 100, 4, accuracy, "validation", accuracy, {"numbers": 2000})
    after = Measured(400, 40, 4, 0.8, "validation", 0.8, {"numbers": 800})
    return SimpleNamespace(
        candidates=candidates,
        before=before,
        after=after,
        metric="accuracy",
        method="darc",
        seed=3,
        higher_is_better=higher_is_better,
    )


class PictureTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.path = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "plot.png"

    def drawn(self, plot, *args, **settings):
        """The axes and the figure of a picture, which is written and not blank."""
        figures = []
        init = matplotlib.figure.Figure.__init__

        def recorded(figure, *args, **kwargs):
            init(figure, *args, **kwargs)
            figures.append(figure)

        with mock.patch.object(matplotlib.figure.Figure, "__init__", recorded):
            plot(*args, self.path, **settings)
        picture = tf.io.decode_image(self.path.read_bytes()).numpy()
        self.assertGreater(len(np.unique(picture.reshape(-1, picture.shape[-1]), axis=0)), 10)
        self.assertEqual([path.name for path in self.path.parent.iterdir()], ["plot.png"])
        return figures[0].axes[0], figures[0]


class SpectrumTest(PictureTest):
    def points(self, axes):
        return {scatter.get_label(): scatter.get_offsets().tolist() for scatter in axes.collections}

    def test_points_of_trained_and_other_candidates_the_original_and_the_result(self):
        student = keras.Sequential([keras.Input((1,)), layers.Dense(1)])
        made = result(candidate(300, 0.7, model=student), candidate(600, 0.85), candidate(500, None))
        axes, _ = self.drawn(plot_spectrum, made)
        self.assertEqual(
            self.points(axes),
            {
                "candidates, trained": [[300, 0.7]],
                "candidates, not trained": [[600, 0.85]],
                "original": [[1000, 0.9]],
                "result": [[400, 0.8]],
            },
        )
        self.assertEqual(axes.get_ylabel(), "accuracy (validation)")
        self.assertEqual(axes.get_xlabel(), "MACs of the student")
        axes, _ = self.drawn(plot_spectrum, made, cost="numbers")
        self.assertEqual(self.points(axes)["candidates, trained"], [[600, 0.7]])

    def test_a_line_joins_those_that_none_beats(self):
        made = [candidate(*pair) for pair in ((500, 0.6), (300, 0.7), (300, 0.5), (800, 0.9), (600, 0.7), (800, 0.8))]
        axes, _ = self.drawn(plot_spectrum, result(*made))
        self.assertEqual(axes.lines[0].get_xydata().tolist(), [[300, 0.7], [800, 0.9]])
        axes, _ = self.drawn(plot_spectrum, result(*made, higher_is_better=False))
        self.assertEqual(axes.lines[0].get_xydata().tolist(), [[300, 0.5]])

    def test_refused(self):
        with self.assertRaisesRegex(ValueError, "Expected candidates with scores. Received: 1 candidates of 'darc'"):
            plot_spectrum(result(candidate(300, None)), self.path)
        with self.assertRaisesRegex(ValueError, "Expected `cost` to be.*'numbers'.*Received: cost='latency'"):
            plot_spectrum(result(candidate(300, 0.5)), self.path, cost="latency")
        self.assertFalse(self.path.exists())


class LeastTest(tf.test.TestCase):
    def test_the_least_by_each_metric_and_whether_one_student_has_it_all(self):
        original, costs = Cost(1000, 300, 4), [Cost(400, 100, 4), Cost(300, 200, 4)]
        apart = "at least 600 FLOPs (0.3000 of the original) and 100 parameters (0.3334 of the original)"
        self.assertEqual(least_of(costs, original, ("macs",)), "at least 600 FLOPs (0.3000 of the original)")
        self.assertEqual(least_of(costs, original, ("macs", "params")), f"{apart}, which no single one has at once")
        self.assertEqual(least_of([*costs, Cost(300, 100, 8)], original, ("macs", "params")), apart)
        self.assertIn("4 bytes", least_of(costs, original, ("latency_ms",)))


class ChangesTest(PictureTest):
    def test_every_kind_of_edit_in_words(self):
        edits = (
            *replaced("conv1"),
            ReplaceLayers.by_part("mixture", "1x1FC"),
            ReplaceLayers.by(("act",), layers.Identity()),
            RemoveLayers(("conv2", "bn2")),
            Reconfigure("conv3", {"strides": 2, "padding": "same"}),
            KeepChannels("conv4", (0, 1)),
            KeepChannels("conv1", (0,)),
        )
        expected = {
            "conv1": "3x3 DepthwiseConv2D + 1x1 Conv2D",
            "mixture": "1x1FC",
            "act": "Identity",
            "conv2": "removed",
            "bn2": "removed",
            "conv3": "padding=same, strides=2",
            "conv4": "fewer channels",
        }
        self.assertEqual(changes(Trail((Plan(edits[:-1]), Plan(edits[-1:])))), expected)
        self.assertEqual(list(changes(Trail((Plan(edits[:-1]),)))), list(expected))

    def test_rows_in_the_order_of_the_graph_columns_by_cost(self):
        pointwise = layers.Conv2D(4, 1)
        made = result(
            candidate(900, 0.88, *replaced("c")),
            candidate(300, 0.7, *replaced("a"), *replaced("b", by=pointwise), *replaced("c", "d")),
            candidate(600, None, *replaced("d"), RemoveLayers(("e",))),
        )
        axes, figure = self.drawn(plot_changes, made)
        self.assertEqual([label.get_text() for label in axes.get_yticklabels()], ["a", "b", "c", "d", "e"])
        shares = [label.get_text() for label in axes.get_xticklabels()]
        self.assertEqual(shares, ["0.30\n0.700", "0.60", "0.90\n0.880"])
        kinds = [text.get_text() for text in figure.legends[0].get_texts()]
        cheap = "3x3 DepthwiseConv2D + 1x1 Conv2D"
        self.assertEqual(kinds, ["unchanged", cheap, "1x1 Conv2D", "removed"])
        matrix = [[kinds[index] for index in row] for row in axes.images[0].get_array().tolist()]
        self.assertEqual(
            matrix,
            [
                [cheap, "unchanged", "unchanged"],
                ["1x1 Conv2D", "unchanged", "unchanged"],
                [cheap, "unchanged", cheap],
                [cheap, cheap, "unchanged"],
                ["unchanged", "removed", "unchanged"],
            ],
        )

    def test_rows_as_they_are_given_unchanged_layers_too(self):
        made = result(candidate(300, 0.7, *replaced("a", "b")))
        axes, _ = self.drawn(plot_changes, made, layers=["b", "stem", "a"])
        self.assertEqual([label.get_text() for label in axes.get_yticklabels()], ["b", "stem", "a"])
        self.assertEqual(axes.images[0].get_array().tolist(), [[1], [0], [1]])

    def test_many_layers_and_candidates_are_drawn_with_fewer_names(self):
        self.enterContext(mock.patch.multiple(spectrum, _NAMED=4, _WIDEST=3))
        made = [candidate(10 * i, 0.5, *(KeepChannels(f"g{j}", (0,)) for j in range(0, 9, i))) for i in range(1, 5)]
        axes, _ = self.drawn(plot_changes, result(*made))
        self.assertEqual(axes.images[0].get_array().shape, (9, 4))
        self.assertEqual([label.get_text() for label in axes.get_yticklabels()], ["g0", "g3", "g6"])
        self.assertNotIn("0.500", "".join(label.get_text() for label in axes.get_xticklabels()))

    def test_refused(self):
        for made, settings in (
            (result(), {}),
            (result(candidate(300, 0.5)), {}),
            (result(candidate(300, 0.5, *replaced("a"))), {"layers": ["b"]}),
        ):
            with self.assertRaisesRegex(ValueError, "Expected candidates that change layers. Received: . candidates"):
                plot_changes(made, self.path, **settings)
        with self.assertRaisesRegex(ValueError, "Expected `cost`"):
            plot_changes(result(candidate(300, 0.5, *replaced("a"))), self.path, cost="flops")


if __name__ == "__main__":
    tf.test.main()
