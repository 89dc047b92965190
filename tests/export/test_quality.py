"""What marks a file: tolerances worked out by hand, and int8 files that are wrong."""

import json
import math
import warnings

import keras
import numpy as np
import pytest

from tfcompress.export import ExportedFile, MetricError, export
from tfcompress.export.differences import relative_error
from tfcompress.export.quality import drop_tolerance
from tfcompress.export.report import ExportReport

SCALES = np.array([1.0, 1.0, 1e3, 1e3], "float32")
RNG = np.random.default_rng(0)


def right(y, outputs):
    return np.mean(np.argmax(outputs, -1) == y)


@pytest.fixture(scope="module")
def features():
    """A classifier by hand on columns of very different size, which one range for the whole input cannot hold."""
    x = RNG.normal(size=(64, 4)).astype("float32") * SCALES
    y = (x[:, 0] + x[:, 1] > 0).astype("int64")
    i = keras.Input((4,))
    dense = keras.layers.Dense(2)
    model = keras.Model(i, dense(i))
    dense.set_weights([np.array([[-1, 1], [-1, 1], [0, 0], [0, 0]], "float32"), np.zeros(2, "float32")])
    return model, x, y


def test_a_wrong_int8_file_is_marked_said_and_warned_of(features, tmp_path):
    model, x, y = features
    with pytest.warns(UserWarning, match=r"\(!\) model_int8.tflite does not .*its right is 0\.\d+, that of the Keras"):
        report = export(
            model, tmp_path, "tflite", (None, "int8"), x, samples=x, labels=y, metric=right, on_mismatch="warn"
        )
    exact, int8 = report.files
    assert (report.metric_name, report.metric, exact.metric) == ("right", 1.0, 1.0)
    assert not exact.suspect and int8.suspect
    assert int8.metric < 0.8
    lines = report.summary().splitlines()
    assert lines[0].split()[-1] == "right"
    assert [line.split()[-1] for line in lines[2:4]] == ["1.0000", f"{int8.metric:.4f}"]
    assert "right of the Keras model: 1.0000." in lines
    assert any(line.startswith("(!) model_int8.tflite") for line in lines)
    content = json.loads(report.to_json())
    assert content["metric"] == 1.0 and content["files"][1]["metric"] == int8.metric


def test_a_sound_int8_file_is_not_marked(features, tmp_path):
    model, x, y = features
    x = x / SCALES
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        report = export(model, tmp_path, "tflite", ("int8", "dynamic", "float16"), x, samples=x, labels=y, metric=right)
    assert [file.suspect for file in report.files] == [False] * 3
    assert min(file.metric for file in report.files) > 0.95


def test_top1_and_relative_error_mark_without_labels(features, tmp_path):
    model, x, _ = features
    with pytest.warns(UserWarning, match="its outputs differ by .*; its top-1 answers agree on"):
        report = export(model, tmp_path, "tflite", "int8", x, on_mismatch="warn")
    assert report.files[0].suspect and report.metric is None


def test_a_keras_metric_and_errors_of_which_less_is_better(tmp_path):
    x = np.linspace(-1, 1, 32, dtype="float32")[:, None]
    i = keras.Input((1,))
    model = keras.Model(i, keras.layers.Dense(1, kernel_initializer="ones")(i))
    metric = keras.metrics.MeanAbsoluteError()
    report = export(
        model,
        tmp_path,
        ("keras", "tflite"),
        "float16",
        samples=x,
        labels=x + 0.5,
        metric=metric,
        higher_is_better=False,
    )
    assert report.metric_name == "mean_absolute_error"
    np.testing.assert_allclose([report.metric, *(file.metric for file in report.files)], 0.5, rtol=1e-3)
    assert not any(file.suspect for file in report.files)


def test_relative_error_by_hand():
    one, other = np.array([3.0, 4.0]), np.array([3.0, 4.5])
    assert relative_error([one], [other]) == pytest.approx(0.1)  # 0.5 of 5
    assert relative_error([one, one], [one, other]) == pytest.approx(0.1)
    assert relative_error([one], [np.array([np.nan, 4.0])]) == math.inf
    assert relative_error([one], [np.array([3.0])]) == math.inf
    assert relative_error([np.array([3.0, np.inf])], [np.array([3.3, np.inf])]) == pytest.approx(0.1)
    assert relative_error([np.zeros(2)], [np.zeros(2)]) == 0.0


def test_tolerated_drops_by_hand():
    # 256 samples of which none changed: two points of 0.9. Of which 16 changed: 1.5 x 4 / 256 more.
    assert drop_tolerance(0.9, True, 256, 1.0) == pytest.approx(0.018)
    assert drop_tolerance(1.0, True, 256, 240 / 256) == pytest.approx(0.02 + 6 / 256)
    assert drop_tolerance(4.0, True, 100, None) == pytest.approx(0.08 + 0.015)
    assert drop_tolerance(0.5, False, 100, None) == pytest.approx(0.125)


def test_bad_labels_and_metrics_are_refused_before_anything_is_written(features, tmp_path):
    model, x, y = features
    for arguments, kind, message in (
        ({"samples": x, "labels": y}, ValueError, "together. Received: only samples and labels"),
        ({"labels": y, "metric": right}, ValueError, "together. Received: only labels and metric"),
        ({"metric": right}, ValueError, "together. Received: only metric"),
        ({"samples": x, "labels": y[:5], "metric": right}, ValueError, r"each of 64 samples. Received: \[5\]"),
        ({"samples": x, "labels": y, "metric": 3}, TypeError, "a function .*Received: metric=3"),
        ({"samples": x, "labels": y, "metric": lambda y, o: o}, MetricError, r"\(metric\) to give one number"),
        ({"samples": x, "labels": y, "metric": lambda y: 1.0}, MetricError, "Received: TypeError"),
    ):
        with pytest.raises(kind, match=message):
            export(model, tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def test_the_column_of_a_metric_in_the_table():
    files = (ExportedFile("o/model.keras", "keras", None, 1, 0.0, 1.0, 5, metric=0.25),)
    lines = ExportReport(files, 1.0, (), "accuracy", 0.5).summary().splitlines()
    assert lines[0].endswith("samples  accuracy") and lines[2].endswith("5    0.2500")
    assert lines[-1] == "accuracy of the Keras model: 0.5000."
