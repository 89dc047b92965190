"""What is not installed is named with the line that installs it, before any work."""

import pathlib
import re
import sys
import tomllib
import types

import keras
import numpy as np
import pytest
import shown_results
import small_tasks
from absl.testing import flagsaver

import tfcompress
from tfcompress import cli, expect, report
from tfcompress.agents import _tf_agents
from tfcompress.data.named.builders import known_builder
from tfcompress.methods import N2N
from tfcompress.report.plots import plot_sensitivity
from tfcompress.tfmot_bridge import _tfmot
from tfcompress.workers import Workers

ROOT = pathlib.Path(__file__).resolve().parents[1]


def line(extra):
    return rf"pip install 'tfcompress\[{extra}\]'"


class Unread(keras.utils.PyDataset):
    """Batches that nobody is to read."""

    def __len__(self):
        return 4

    def __getitem__(self, number):
        raise AssertionError("read")


@pytest.fixture
def hidden(monkeypatch):
    """Hides packages, as if they were not installed."""

    def hide(*packages):
        for name in list(sys.modules):
            if name.partition(".")[0] in packages:
                monkeypatch.setitem(sys.modules, name, None)
        for name in packages:
            monkeypatch.setitem(sys.modules, name, None)

    return hide


def test_a_module_that_is_there_and_one_that_is_not(hidden):
    assert expect.extra("plot", "json", "is read with").dumps([1]) == "[1]"
    hidden("matplotlib")
    with pytest.raises(ImportError) as refused:
        expect.extra("plot", "matplotlib.figure", "pictures are drawn with", "Tables need none.")
    assert str(refused.value) == (
        "Expected matplotlib, which pictures are drawn with. Received: no module of that name. Install it with "
        "`pip install 'tfcompress[plot]'`. Tables need none."
    )


def test_a_module_that_misses_another_says_which(monkeypatch, tmp_path):
    (tmp_path / "half_there.py").write_text("import nowhere_to_be_seen\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ImportError, match=r"half_there, which .*Received: .*No module named 'nowhere_to_be_seen'"):
        expect.extra("plot", "half_there", "pictures are drawn with")


def test_lines_that_install(monkeypatch):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {"rl", "datasets", "plot", "ray", "tfmot"} <= set(extras)  # the names that `expect.extra` takes
    assert extras["all"] == ["tfcompress[rl,datasets,plot,tfmot]"]
    for version, more in (((3, 11), ""), ((3, 12), " && pip install --no-deps tf-agents==0.18.0")):
        monkeypatch.setattr(sys, "version_info", version)
        # The agents import nothing of the package, and so say it themselves.
        assert expect.install_line("rl") == f"pip install 'tfcompress[rl]'{more}" == _tf_agents._how_to_install()
        assert expect.install_line("plot") == "pip install 'tfcompress[plot]'"


@pytest.mark.parametrize("method", ["rlal", "amc", "n2n"])
def test_agents_are_missed_before_data_are_read(method, hidden, monkeypatch):
    monkeypatch.setattr(_tf_agents, "_import_all", _tf_agents._import_all.__wrapped__)
    hidden("tf_agents")
    data = Unread()
    with pytest.raises(ImportError, match=f"^Expected tf-agents 0.18.*{line('rl')}.*The other methods work"):
        tfcompress.compress(
            small_tasks.residual_network(), method, data, validation_data=data, flops_budget=0.5, verbose=0
        )


def test_tfmot_is_missed_before_data_are_read(hidden, monkeypatch):
    monkeypatch.setattr(_tfmot, "_import_all", _tfmot._import_all.__wrapped__)
    hidden("tensorflow_model_optimization")
    data = Unread()
    with pytest.raises(
        ImportError, match=f"^Expected tensorflow_model_optimization, .*{line('tfmot')}.*other methods work"
    ):
        tfcompress.compress(small_tasks.residual_network(), "magnitude", data, validation_data=data, verbose=0)


@pytest.mark.parametrize("package", ["pebble", "psutil"])
def test_workers_are_missed_before_data_are_read(package, hidden):
    hidden(package)
    data = Unread()
    with pytest.raises(ImportError, match=f"^Expected {package}.*{line('rl')}"):
        tfcompress.compress(
            *(small_tasks.residual_network(), N2N(random=True, workers=2), data),
            **{"validation_data": data, "flops_budget": 0.5, "verbose": 0},
        )
    with pytest.raises(ImportError, match=line("rl")):
        Workers(2).check()


def test_names_of_data(hidden):
    hidden("tensorflow_datasets", "sklearn")
    for name in ("cifar10", "digits", "imdb_reviews"):
        with pytest.raises(ImportError, match=f"^Expected (tensorflow_datasets|sklearn), .*{name}.*{line('datasets')}"):
            tfcompress.data.load(name)
    with pytest.raises(ImportError, match=line("datasets")):
        tfcompress.data.load_text("imdb_reviews")
    with pytest.raises(ImportError, match=r"Arrays, datasets, folders of images and .npz files"):
        known_builder("cifar10", None)
    with pytest.raises(ImportError, match=line("datasets")):
        tfcompress.compress(small_tasks.residual_network(), "uniform", "cifar10", flops_budget=0.5, verbose=0)


def test_data_of_ones_own_need_no_names(hidden, tmp_path, monkeypatch):
    hidden("tensorflow_datasets", "sklearn")
    monkeypatch.chdir(tmp_path)
    x, y = small_tasks.pictures(8)
    np.savez("cifar10.npz", x=x, y=y)
    assert tfcompress.data.load("cifar10.npz").arrays.train[0].shape == (8, 8, 8, 1)


def test_pictures(hidden):
    hidden("matplotlib")
    result = shown_results.with_fields()
    sensitivity = types.SimpleNamespace()
    for draw in (
        result.plot,
        lambda: result.plot("structure"),
        lambda: report.plot_history(result),
        lambda: report.plot_spectrum(result),
        lambda: report.plot_changes(result),
        lambda: report.plot_lines({"a": ([1], [2])}, None, "x", "y"),
        lambda: plot_sensitivity(sensitivity),
        lambda: tfcompress.compare({"a": result}).plot(),
    ):
        with pytest.raises(ImportError, match=f"^Expected matplotlib, which pictures are drawn with.*{line('plot')}"):
            draw()


def test_a_plot_on_the_command_line_is_refused_before_the_work(hidden, capsys, tmp_path):
    hidden("matplotlib")
    model = tmp_path / "model.keras"
    small_tasks.residual_network().save(model)
    plot = ["--plot", str(tmp_path / "plot.png")]
    for command in (["compare", "nowhere"], ["sensitivity", str(model), "--data", "no_such_data"]):
        with flagsaver.flagsaver(), pytest.raises(SystemExit) as ended:
            cli.main([*command, *plot])
        assert ended.value.code == 1
        assert re.fullmatch(f"tfcompress: error: Expected matplotlib.*{line('plot')}.*\n", capsys.readouterr().err)


def test_a_report_is_written_without_pictures_and_says_why(hidden, tmp_path):
    hidden("matplotlib")
    page = tmp_path / "report.html"
    shown_results.with_fields().report(page)
    text = page.read_text()
    assert "<svg" not in text and "data:image" not in text
    assert text.count("pip install &#x27;tfcompress[plot]&#x27;") == 2  # history and structure
    assert "Before and after" in text and "block1_conv1" in text
