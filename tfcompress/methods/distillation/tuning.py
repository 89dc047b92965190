"""Sets tau, then alpha, then beta on the validation split, as in section 3 of LIT."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

from tfcompress import expect

__all__ = ["Tuning", "one_after_the_other"]


@dataclasses.dataclass(frozen=True)
class Tuning:
    """The values to try, with a training from the same start for each; the paper gives no values or epochs. Decided.

    Attributes:
        epochs: length of each training.
        taus: temperatures; each trains with L_KD.
        alphas: weights of the labels, with the best tau; each trains with L_KD.
        betas: weights of L_KD beside L_I, with the best of both; each trains sections.

    Raises:
        TypeError, ValueError: there are no values, or a value has another type or is out of range.
    """

    epochs: int = 10
    taus: tuple[float, ...] = (2.0, 4.0, 6.0, 8.0)
    alphas: tuple[float, ...] = (0.5, 0.8, 0.9, 0.95)
    betas: tuple[float, ...] = (0.02, 0.25, 0.5, 0.75)

    def __post_init__(self) -> None:
        expect.settings(self, expect.whole, "epochs", least=1)
        limits: dict[str, dict[str, Any]] = {
            "taus": {"what": "numbers above 0, at least one", "above": 0},
            "alphas": {"what": "numbers from 0 to 1, at least one", "at_least": 0, "at_most": 1},
            "betas": {"what": "numbers of at least 0 and below 1, at least one", "at_least": 0, "below": 1},
        }
        for name, limit in limits.items():
            expect.settings(self, expect.each, name, check=expect.number, empty=False, **limit)

    @property
    def trainings(self) -> tuple[tuple[str, float], ...]:
        """`(setting, value)` of each training, in order."""
        return tuple(
            (name, value)
            for name, values in (("tau", self.taus), ("alpha", self.alphas), ("beta", self.betas))
            for value in values
        )


def one_after_the_other(
    tuning: Tuning, score: Callable[[str, dict[str, float]], float], note: Callable[[str], None]
) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """Returns the best value of each setting, tried in order with the earlier ones fixed.

    Args:
        tuning: the values to try.
        score: score of `(the setting being tried, all settings so far)`; higher is better.
        note: called with the results in words.

    Returns:
        The settings, and the scores of all values of each.
    """
    best: dict[str, float] = {}
    scores: dict[str, list[float]] = {}
    choices: Iterable[tuple[str, tuple[float, ...]]] = (
        ("tau", tuning.taus),
        ("alpha", tuning.alphas),
        ("beta", tuning.betas),
    )
    for name, values in choices:
        scores[name] = [score(name, {**best, name: value}) for value in values]
        best[name] = values[max(range(len(values)), key=lambda i: scores[name][i])]
        pairs = ", ".join(f"{value:g}: {result:.4f}" for value, result in zip(values, scores[name], strict=True))
        note(f"tuned {name} = {best[name]:g} on the validation split ({pairs})")
    return best, scores
