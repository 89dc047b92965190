"""Latency of one file as a share of another's, on a clock that the test moves."""

from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest

from tfcompress.operators import measuring

LONG, SHORT = b"long", b"short"  # 8 and 2 ms


class Machine:
    """A processor whose speed is another after each of its calls, by a function of the number of calls before."""

    def __init__(self, slowness):
        self.now, self.calls, self.slowness = 0, 0, slowness

    def running(self, content, threads):
        def invoke():
            self.now += round(1e6 * (8 if content == LONG else 2) * self.slowness(self.calls))
            self.calls += 1

        return SimpleNamespace(invoke=invoke), 1


def share_of(slowness, content=SHORT, whole=LONG, **limits):
    machine = Machine(slowness)
    clock = SimpleNamespace(thread_time_ns=lambda: machine.now, monotonic=lambda: machine.now / 1e9)
    with (
        mock.patch.object(measuring, "running", machine.running),
        mock.patch.object(measuring, "time", clock),
    ):
        return measuring.share_of(content, whole, **limits), machine


def test_the_share_of_two_files_either_way_round():
    assert share_of(lambda calls: 1)[0] == pytest.approx(0.25)
    assert share_of(lambda calls: 1, LONG, SHORT)[0] == pytest.approx(4)


def test_a_machine_that_becomes_twice_as_slow_midway_changes_one_round_alone():
    # One after the other the same files would be 8 and 4 ms: a share of 0.5.
    assert share_of(lambda calls: 1 + (calls >= 150))[0] == pytest.approx(0.25)


def test_a_machine_that_slows_down_all_the_time_favours_the_first_and_the_second_in_turn():
    share, _ = share_of(lambda calls: 1 + calls / 100)
    # A round is 20 calls: the second file's are 10 calls later, so a round is off by up to 0.1 at first, the other way
    # round in the next; the median of an odd number of rounds lies between.
    assert share == pytest.approx(0.25, rel=0.05)


def test_rounds_end_with_the_time_and_no_more_are_made_than_asked_for():
    # Two calls show how long a round takes: here 10 ms for each pair.
    assert share_of(lambda calls: 1, seconds=0.25)[1].calls == 2 + 3 * 2 * 8  # 250 ms are 3 rounds of 8 pairs
    assert share_of(lambda calls: 1, rounds=5, seconds=100.0)[1].calls == 2 + 5 * 2 * 10


def test_of_slow_files_three_rounds_of_one_call_are_made_whatever_the_limit():
    share, machine = share_of(lambda calls: 1000, seconds=0.5)  # 8 and 2 seconds a call
    assert (share, machine.calls) == (pytest.approx(0.25), 2 + 3 * 2)


def test_calls_that_were_held_up_do_not_count():
    held_up = set(np.random.default_rng(0).choice(np.arange(2, 302), 60, replace=False).tolist())
    assert share_of(lambda calls: 1 + 20 * (calls in held_up))[0] == pytest.approx(0.25)
