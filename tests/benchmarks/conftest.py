"""Collects the rows of all benchmarks, and prints them as one table at the end."""

import os
import pathlib
import platform
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from measuring import Table

_TABLE = Table()


@pytest.fixture(scope="session")
def table():
    """The table that benchmarks add their rows to."""
    return _TABLE


def pytest_terminal_summary(terminalreporter):
    """Prints the table and the conditions of the run."""
    if not _TABLE.rows:
        return
    import keras
    import tensorflow as tf

    terminalreporter.section("benchmarks")
    for line in _TABLE.lines():
        terminalreporter.write_line(line)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    terminalreporter.write_line(
        f"\nSeconds: wall time, CPU time of the process in brackets. Python {platform.python_version()}, tensorflow "
        f"{tf.__version__}, keras {keras.__version__}; {len(os.sched_getaffinity(0))} cores, load at the end {load}."
    )
