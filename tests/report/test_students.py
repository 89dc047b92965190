"""Pictures of a search of students: the means by update, its extremes, and one point for each student that was trained."""

from types import SimpleNamespace
from unittest import mock

import matplotlib.figure
import numpy as np
import pytest
import tensorflow as tf

from tfcompress.report import plot_students, plot_updates

ROWS = [  # stage, update, parameters, accuracy, reward
    ("removal", 1, 500, 0.45, 0.25),
    ("removal", 1, 100, 0.9, 0.75),
    ("removal", 2, None, None, -1.0),
    ("removal", 2, 800, 0.81, 0.5),
    ("shrinkage", 1, 50, 0.36, 0.4),
    ("shrinkage", 2, 25, None, -1.0),
]


def result(rows=ROWS):
    names = ("stage", "update", "params", "accuracy", "reward")
    columns = {f"students: {name}": [row[i] for row in rows] for i, name in enumerate(names)}
    return SimpleNamespace(
        history={"search": columns if rows else {"loss": [1.0]}},
        before=SimpleNamespace(params=1000, validation_accuracy=0.9),
        after=SimpleNamespace(params=50, validation_accuracy=0.8),
        metric="accuracy",
        method="n2n",
        seed=0,
    )


def drawn(plot, path):
    """The panels of a picture, which is written and not blank."""
    made, subplots = [], matplotlib.figure.Figure.subplots

    def recorded(figure, *args, **kwargs):
        axes = subplots(figure, *args, **kwargs)
        made.extend(np.ravel(axes))
        return axes

    with mock.patch.object(matplotlib.figure.Figure, "subplots", recorded):
        plot(result(), path)
    picture = tf.io.decode_image(path.read_bytes()).numpy()
    assert len(np.unique(picture.reshape(-1, picture.shape[-1]), axis=0)) > 10
    return made


def test_each_stage_is_a_panel_with_means_by_update(tmp_path):
    removal, shrinkage = drawn(plot_updates, tmp_path / "updates.png")
    lines = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in removal.lines}
    assert lines["reward"] == ([1, 2], [0.5, -0.25])  # those that were refused count
    assert lines["compression"] == ([1, 2], [pytest.approx(0.7), pytest.approx(0.2)])  # those do not
    assert lines["accuracy"] == ([1, 2], [pytest.approx(0.75), pytest.approx(0.9)])  # of the original's 0.9
    circles = [tuple(place) for collection in removal.collections for place in collection.get_offsets()]
    assert circles == [(1, pytest.approx(0.9)), (2, pytest.approx(0.2))]  # the smallest and the largest
    assert [text.get_text() for text in removal.texts] == ["100", "800"]
    assert list(shrinkage.lines[0].get_xdata()) == [1]  # nothing was trained in its second update
    assert "2 students, 1 trained" in shrinkage.get_title()


def test_each_student_that_was_trained_is_a_point(tmp_path):
    (axes,) = drawn(plot_students, tmp_path / "students.png")
    points = [[tuple(place) for place in collection.get_offsets()] for collection in axes.collections]
    assert points == [[(500, 0.45), (100, 0.9), (800, 0.81)], [(50, 0.36)], [(1000, 0.9)], [(50, 0.8)]]


def test_other_searches_are_refused(tmp_path):
    for plot in (plot_updates, plot_students):
        with pytest.raises(ValueError, match=r"of method='n2n'.*plot_history"):
            plot(result([]), tmp_path / "plot.png")
    with pytest.raises(ValueError, match="Received: none"):
        plot_students(result(ROWS[-1:]), tmp_path / "plot.png")
