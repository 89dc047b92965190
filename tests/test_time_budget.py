"""`time_budget`: settings that hold a time, by the measured time of a step."""

import types
from unittest import mock

import pytest
import small_tasks

import tfcompress
from tfcompress.methods import N2N, RLAL, Random, Uniform
from tfcompress.time_budget import fitted_settings, given_time, words_for_fitted
from tfcompress.training import PhasePlan, StepTime


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("1h", 3600), ("1 h 30 min", 5400), ("45min", 2700), ("90 s", 90), ("0.5h", 1800), ("2d", 172800), (12, 12.0)],
)
def test_times(given, seconds):
    assert given_time(given) == seconds


@pytest.mark.parametrize(
    ("wrong", "error"),
    [("soon", ValueError), ("1 fortnight", ValueError), ("h", ValueError), (0, ValueError), ([1], TypeError)],
)
def test_what_is_no_time(wrong, error):
    with pytest.raises(error, match=r"Expected `time_budget`.*Received: time_budget="):
        given_time(wrong)


def _in(seconds, method, **phase):
    """What becomes of settings where the one phase is of `epochs` epochs of 10 s each, and compiles for 5 s."""
    phases = lambda self, task: (PhasePlan("training", self.epochs, **phase),)  # noqa: E731
    with mock.patch.object(type(method), "phases", phases):
        return fitted_settings(method, types.SimpleNamespace(), StepTime(10.0, 5.0), seconds)


def test_as_many_epochs_as_the_time_holds():
    """12 epochs take 125 s, 13 take 135 s; by shares of a fiftieth between 5 and 30 each number can be had."""
    assert _in(305, Uniform(epochs=30)) == {}
    assert _in(304, Uniform(epochs=30)) == {"epochs": 29}
    assert _in(130, Uniform(epochs=30)) == {"epochs": 12}
    assert _in(20, Uniform(epochs=30)) == {"epochs": 1}
    assert _in(45, Uniform(epochs=3)) == {}
    with pytest.raises(ValueError, match=r"at least 15 s here. Received: 14 s. Give more time"):
        _in(14, Uniform(epochs=30))


def test_a_search_becomes_shorter_by_the_same_share():
    """N2N: 10 updates become 1 and 30 epochs 5, both by the same share of the way, updates rounded down."""
    changes = _in(185, N2N())  # 18 epochs: half of the way and a fiftieth
    assert changes["epochs"] == 18
    assert changes["updates"] == 1 + 9 * 27 // 50
    assert _in(35, N2N()) == {"updates": 1, "epochs": 3}


def test_settings_that_do_not_go_together_are_passed_over():
    """RLAL trains jointly for four epochs at least."""
    changes = _in(45, RLAL(joint=True))
    assert changes["epochs"] == 4


def test_numbers_that_follow_from_the_data_are_said():
    splits = types.SimpleNamespace(train=types.SimpleNamespace(num_samples=45_000 // 30))
    splits.validation = types.SimpleNamespace(num_samples=372)
    words = words_for_fitted(Random(), types.SimpleNamespace(splits=splits), {"tries": 21}, 60)
    assert words == "time_budget 1 min 0 s: tries 90 -> 21"  # 45,000 images of 30 epochs, 500 for a plan


def test_in_compress_and_when_the_run_goes_on(tmp_path):
    model, data, arguments = (
        small_tasks.trained_network(),
        small_tasks.pictures(96),
        {"flops_budget": 0.6, "verbose": 0},
    )
    steps = mock.patch("tfcompress.workflow.measured_step", return_value=StepTime(10.0, 0.0))
    with steps:
        result = tfcompress.compress(
            model, Uniform(epochs=6, teach=None), data, time_budget=20, run_dir=tmp_path / "run", **arguments
        )
    epochs = result.settings["epochs"]
    assert len(result.history["recover"]["loss"]) == epochs < 6
    assert f"time_budget 20 s: epochs 6 -> {epochs}" in result.notes
    other = mock.patch("tfcompress.workflow.measured_step", return_value=StepTime(100.0, 0.0))
    with other:
        again = tfcompress.compress(
            model, Uniform(epochs=6, teach=None), data, time_budget=20, run_dir=tmp_path / "run", **arguments
        )
    assert again.settings["epochs"] == epochs
    with pytest.raises(tfcompress.training.RunFolderError, match="time_budget"):
        tfcompress.compress(
            model, Uniform(epochs=6, teach=None), data, time_budget=21, run_dir=tmp_path / "run", **arguments
        )
