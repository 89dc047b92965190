"""Results side by side: the table, the picture, and what can be compared."""

import dataclasses
import pathlib

import pytest
import shown_results

import tfcompress
from tfcompress.measured import Measured
from tfcompress.report.comparison import Compared, Comparison, costs_of

BEFORE = Measured(1000, 200, 800, 0.9, "test", 0.875, {}, {"latency_ms": 4.0})


def compared(name, macs, accuracy, before=BEFORE, metric="accuracy", latency=2.0):
    measured = {} if latency is None else {"latency_ms": latency}
    split = "validation" if accuracy is None else "test"
    after = Measured(macs, 50, 200, accuracy, split, 0.5, {}, measured)
    return Compared(name, "uniform", 0, metric, True, before, after)


def points(figure):
    """`{label: (x, y)}` of the points."""
    return {dots.get_label(): tuple(dots.get_offsets()[0].tolist()) for dots in figure.axes[0].collections}


def test_the_table():
    made = Comparison([compared("a", 500, 0.8), compared("b<i>", 250, 0.95, latency=5.0)])
    assert made.rows() == [
        ("", "MACs", "", "parameters", "", "bytes of weights", "", "latency (ms)", "", "accuracy (test)", ""),
        ("original", "1,000", "", "200", "", "800", "", "4", "", "0.9000", ""),
        ("a", "500", "50.0%", "50", "25.0%", "200", "25.0%", "2", "50.0%", "0.8000", "-0.1000"),
        ("b<i>", "250", "25.0%", "50", "25.0%", "200", "25.0%", "5", "125.0%", "0.9500", "+0.0500"),
    ]
    lines = str(made).splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [
        ["original", "1,000", "200"],
        ["a", "500", "50.0%"],
        ["b<i>", "250", "25.0%"],
    ]
    assert '<th scope="row">b&lt;i&gt;</th><td>250</td>' in made._repr_html_()


def test_the_picture(tmp_path):
    made = Comparison([compared("a", 500, 0.8), compared("b", 250, 0.95)])
    figure = made.plot(tmp_path / "plot.png")
    assert points(figure) == {"original": (1000, 0.9), "a": (500, 0.8), "b": (250, 0.95)}
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("MACs", "accuracy (test)")
    assert [path.name for path in tmp_path.iterdir()] == ["plot.png"]
    assert points(made.plot(cost="latency_ms")) == {"original": (4, 0.9), "a": (2, 0.8), "b": (2, 0.95)}


def test_without_a_test_split_the_validation_split_counts():
    made = Comparison([compared("a", 500, 0.8), compared("b", 250, None)])
    assert (made.split, made.rows()[1][-2]) == ("validation", "0.8750")
    assert points(made.plot())["a"] == (500, 0.5)


def test_one_original_whatever_was_held_out_of_its_data():
    """Another seed holds out other samples, and no latency is measured twice the same."""
    again = dataclasses.replace(BEFORE, validation_accuracy=0.8, measurements={"latency_ms": 4.125})
    made = Comparison([compared("a", 500, 0.8), compared("b", 250, 0.95, again)])
    assert [row[0] for row in made.rows()] == ["", "original", "a", "b"]


def test_several_originals_and_metrics():
    other = dataclasses.replace(BEFORE, macs=3000)
    made = Comparison([compared("a", 500, 0.8), compared("b", 250, 0.7, other), compared("c", 250, 0.1, metric="mse")])
    table = {row[0]: row for row in made.rows()}
    assert [name for name in table if "original" in name] == ["original of a", "original of b", "original of c"]
    assert table["b"][1:3] == ("250", "8.3%")
    assert table[""][-2:] == ("mse (test)", "")
    assert table["a"][-4:] == ("0.8000", "-0.1000", "-", "")
    with pytest.raises(ValueError, match=r"with the same metric. Received: metrics \['accuracy', 'mse'\]"):
        made.plot()


def test_what_not_all_know_is_in_the_table_alone():
    made = Comparison([compared("a", 500, 0.8), compared("b", 250, 0.7, latency=None)])
    assert "latency_ms" not in made.costs
    assert [row[7:9] for row in made.rows()[2:]] == [("2", "50.0%"), ("-", "")]
    with pytest.raises(ValueError, match=r"'bytes'.*Received: cost='latency_ms'. Some of the results do not have it"):
        made.plot(cost="latency_ms")
    with pytest.raises(ValueError, match=r"path of a picture.*Write cost='params'"):
        made.plot("params")
    with pytest.raises(TypeError, match=r"^Expected `cost`"):
        made.plot(cost=5)


def test_results_and_folders(tmp_path, monkeypatch):
    """A folder is read without its models, and called after itself; what has one name gets another."""
    result = shown_results.with_fields()
    result.save(tmp_path / "runs" / "first" / "result")
    result.save(tmp_path / "second")
    monkeypatch.setattr("keras.saving.load_model", None)
    made = tfcompress.compare([tmp_path / "runs" / "first", str(tmp_path / "second"), result])
    assert [row[0] for row in made.rows()[1:]] == ["original", "first", "second", "uniform"]
    assert len({row[1:] for row in made.rows()[2:]}) == 1
    assert made.costs == ("macs", "params", "bytes", "latency_ms")
    names = [each.name for each in tfcompress.compare([result, result, dataclasses.replace(result, seed=4)]).results]
    assert names == ["uniform, seed 3 (1)", "uniform, seed 3 (2)", "uniform, seed 4"]
    monkeypatch.chdir(tmp_path)
    twice = tfcompress.compare(["second", pathlib.Path("runs/first/result"), tmp_path / "second"]).results
    assert [each.name for each in twice] == ["second", "first", str(tmp_path / "second")]
    named = tfcompress.compare({"one": result, "two": tmp_path / "second"})
    assert [each.name for each in named.results] == ["one", "two"]


def test_what_is_no_result(tmp_path):
    for wrong in (5, "runs", shown_results.with_fields(), [5], None, {1: "a"}):
        with pytest.raises(TypeError, match=r"^Expected `results`"):
            tfcompress.compare(wrong)
    with pytest.raises(ValueError, match="at least one"):
        tfcompress.compare([])
    with pytest.raises(FileNotFoundError, match="Expected the folder of a saved result"):
        tfcompress.compare([tmp_path])


def test_further_metrics_are_no_costs():
    """A model compiled with F1 beside its accuracy has a table and a picture as any other."""
    side = dataclasses.replace(compared("a", 500, 0.8).after, metrics={"f1": 0.7})
    assert "f1" not in costs_of(side)
    result = dataclasses.replace(compared("a", 500, 0.8), after=side)
    assert "f1" not in str(Comparison([result]))
