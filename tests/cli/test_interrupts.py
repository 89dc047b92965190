"""Ctrl-C: a line that says how to go on, exit code 130, and no traceback."""

import contextlib
import io
import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest
import small_tasks

from tfcompress import cli
from tfcompress.cli import entry
from tfcompress.cli.interrupts import Interrupts

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def heard():
    """Signals are heard, and so they are in processes begun here, also where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_run_that_is_interrupted_says_how_it_goes_on(tmp_path):
    small_tasks.three_convolutions().save(tmp_path / "model.keras")
    x, y = small_tasks.pictures()
    np.savez(tmp_path / "set.npz", x=x, y=y)
    command = [*(sys.executable, "-m", "tfcompress.cli", "compress", "model.keras", "--method", "uniform")]
    command += ["--flops-budget", "0.5", "--epochs", "2000", "--data", "set.npz", "--preprocess", "none"]
    process = subprocess.Popen(
        [*command, "--run-dir", "run"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        for line in process.stdout:
            if "1/2000" in line:  # the first epoch is done
                break
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert said.splitlines()[-1] == (
        "tfcompress: interrupted; the same command goes on, after the last epoch that is finished in the run folder run"
    )
    assert "Traceback" not in said
    assert (tmp_path / "run").is_dir()


@pytest.fixture
def main(monkeypatch):
    """Runs the command with something in its place; returns the exit code and what was said."""

    def call(work, *argv):
        monkeypatch.setattr(entry, "_run", work)
        with contextlib.redirect_stderr(io.StringIO()) as said, pytest.raises(SystemExit) as ended:
            cli.main([*argv, "methods"])
        return ended.value.code, said.getvalue()

    return call


def test_what_follows_a_signal_counts_as_its_consequence(main):
    def imports(args, interrupts):
        with contextlib.suppress(KeyboardInterrupt):  # as some libraries do while they are imported
            signal.raise_signal(signal.SIGINT)
        raise ImportError("half of it")

    assert main(imports) == (130, "tfcompress: interrupted; nothing of the unfinished work is kept\n")


def test_without_a_signal_all_is_as_before(main):
    before = signal.getsignal(signal.SIGINT)
    assert main(lambda args, interrupts: 1) == (1, "")
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_signal_ends_the_process_at_once():
    code = """
import contextlib, signal
from tfcompress.cli.interrupts import Interrupts
with Interrupts() as interrupts:
    interrupts.words = lambda: "it goes on"
    with contextlib.suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    with contextlib.suppress(BaseException):
        signal.raise_signal(signal.SIGINT)
    print("still here")
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "\ntfcompress: interrupted; it goes on\n")


def test_where_it_was_interrupted_is_shown_on_demand(monkeypatch):
    def interrupted(args, interrupts):
        raise KeyboardInterrupt

    monkeypatch.setattr(entry, "_run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cli.main(["--debug", "methods"])


def test_a_process_that_ignores_the_signal_goes_on_ignoring_it():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Interrupts():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
