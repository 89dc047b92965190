"""A part of the random students of N2N: `random_students.py` draws as many as one likes."""

from unittest import mock

import drawn_students
import pytest
from drawn_students import Failure, Tally

from tfcompress.costs import Cost, CostModel


@pytest.mark.parametrize(("name", "count"), [("chain", 12), ("branched", 12), ("residual", 9), ("resnet18", 3)])
def test_random_students(name, count):
    tally = drawn_students.run(name, count)
    assert sum(tally.built.values()) > count / 3
    assert set(tally.edits) == {"RemoveLayers", "Reconfigure", "KeepChannels"}


def test_a_cost_that_was_not_predicted_is_a_failure():
    with mock.patch.object(CostModel, "of", lambda costs, plan: Cost(1, 1, 4)), pytest.raises(Failure, match="plan 0:"):
        drawn_students.run("chain", 1, tally=Tally())
