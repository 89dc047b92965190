"""N2N's reward on numbers worked out by hand."""

import pytest

from tfcompress.costs import Cost
from tfcompress.methods.n2n.reward import RELAXATIONS, constrained, reward
from tfcompress.methods.n2n.students import Scored
from tfcompress.plan import Plan, Trail


@pytest.mark.parametrize(
    ("params", "accuracy", "expected"),
    [
        (75, 1.0, 0.4375),  # C = 0.25: 0.25 * 1.75
        (0, 0.25, 0.25),  # C = 1: 1 * 1 * 0.25
        (50, 0.8, 0.6),  # C = 0.5: 0.75 * 0.8
        (100, 1.0, 0.0),
    ],
)
def test_compression_times_accuracy(params, accuracy, expected):
    assert reward(params, 100, accuracy, 1.0) == pytest.approx(expected)
    assert reward(params, 100, accuracy / 2, 0.5) == pytest.approx(expected)  # accuracy is a share of the teacher's


def test_a_broken_constraint_takes_the_reward_away_gradually():
    assert constrained(0.6, True, 0.0) == 0.6
    assert constrained(0.6, False, 0.0) == -1.0
    assert constrained(0.6, False, 1.0) == pytest.approx(0.6)
    assert constrained(0.6, False, 0.25) == pytest.approx(0.25 * 1.6 - 1)


@pytest.mark.parametrize("name", sorted(RELAXATIONS))
def test_epsilon_never_rises_and_ends_at_0(name):
    values = [RELAXATIONS[name](update, 100) for update in range(100)]
    assert values == sorted(values, reverse=True)
    assert values[0] == (0 if name == "strict" else 1)
    assert values[50:] == [0.0] * 50


def test_a_relaxed_constraint_is_strict_in_the_second_half_of_a_search_of_any_length():
    assert [RELAXATIONS["relaxed"](update, 8) for update in range(8)] == [1, 0.75, 0.5, 0.25, 0, 0, 0, 0]
    assert [RELAXATIONS["relaxed"](update, 1) for update in range(1)] == [1]


def test_degenerate_students_earn_minus_one():
    trail, teacher = Trail((Plan(),)), Cost(10, 100, 400)
    assert Scored(trail, "shapes do not fit").reward(teacher, 1.0) == -1
    scored = Scored(trail, "", Cost(5, 50, 200), 0.8, within=False)
    assert scored.reward(teacher, 1.0) == -1
    assert scored.reward(teacher, 1.0, epsilon=1.0) == pytest.approx(0.6)
