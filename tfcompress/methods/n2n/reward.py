"""N2N's reward (Ashok et al. 2018, section 3.3): compression times accuracy, and -1 for invalid students."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["DEGENERATE", "RELAXATIONS", "constrained", "reward"]

DEGENERATE = -1.0


def reward(params: int, teacher_params: int, accuracy: float, teacher_accuracy: float) -> float:
    """`R = C (2 - C) * A / A_teacher` with `C = 1 - params / teacher_params`.

    Args:
        params, teacher_params: trainable parameters of the student and of its teacher; the student has fewer.
        accuracy, teacher_accuracy: accuracies on the validation split, from 0 to 1; the teacher's is above 0.
    """
    compression = 1 - params / teacher_params
    return compression * (2 - compression) * accuracy / teacher_accuracy


def constrained(value: float, within: bool, epsilon: float) -> float:
    """Returns the reward under a constraint `A x <= b` that is enforced gradually (section 3.3.1).

    Args:
        value: `R` of the student.
        within: whether the student meets the constraint.
        epsilon: share of the reward that a student keeps if it does not: 1 for all of it, 0 for nothing.

    Returns:
        `R`, or `epsilon (R + 1) - 1`.
    """
    return value if within else epsilon * (value + 1) - 1


def _strict(update: int, updates: int) -> float:
    return 0.0


def _linear(update: int, updates: int) -> float:
    return max(0.0, 1 - 2 * update / updates)


def _released(update: int, updates: int) -> float:
    return float(max(0.0, 1 - update / 15) ** 4)


RELAXATIONS: dict[str, Callable[[int, int], float]] = {"strict": _strict, "relaxed": _linear, "released": _released}
"""Functions for epsilon by update, counted from 0, and the number of updates: it falls from 1 to 0 and never rises
again. "relaxed" is strict in the second half of any search: after 50 of the paper's 100 updates."""
