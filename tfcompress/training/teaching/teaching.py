"""`Teaching`: what a student learns beside its labels; a setting of methods."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import keras

from tfcompress import expect
from tfcompress.training.teaching.losses import HINT_LOSSES, SoftTargets

__all__ = ["Teach", "Teaching"]

Teach = Literal["auto", "kd"]


@dataclasses.dataclass(frozen=True)
class Teaching:
    """Soft targets and hints for the student of any method, `beta * L_KD + (1 - beta) * L_I`.

    L_KD is Equation (2) of LIT, `alpha * H(labels, student) + (1 - alpha) * soft`; L_I is the sum of the differences at
    the hints, Equation (3), with the student reading its own outputs. `teach="kd"` is `Teaching()`.

    Attributes:
        teacher: a classifier with the model's inputs and classes, which is not changed; `None` for the original model.
        alpha: weight of the labels in L_KD; 1 means no soft targets, and needs a hint.
        tau: temperature of soft targets.
        soft: `"cross_entropy"`, or `"logits"` for the squared error of logits, summed over classes; `"mean_logits"` for
            its mean.
        scale_by_tau: whether the soft term is multiplied by tau^2, as in Hinton et al. (2014).
        hints: names of layers whose outputs are compared with those of the teacher's layers of the same names;
            `"sections"` for the last layer of each section. If pruning made the student's output narrower, a linear
            layer, trained with it and then removed, brings it to the teacher's width (Romero et al. 2015).
        loss: how outputs are compared: `"l2"`, `"l1"` or `"smooth_l1"`.
        relative: whether to compare in units of the root mean square of the teacher's output, so that hints weigh the
            same whatever its scale; False as in LIT and FitNets.
        beta: weight of L_KD beside L_I, above 0 and below 1, if there are hints.

    Raises:
        TypeError, ValueError: a setting has another type, is out of range, or has no effect.
    """

    teacher: keras.Model | None = None
    alpha: float = 0.5
    tau: float = 4.0
    soft: Literal["cross_entropy", "logits", "mean_logits"] = "cross_entropy"
    scale_by_tau: bool = True
    hints: Literal["sections"] | tuple[str, ...] | None = None
    loss: Literal["l2", "l1", "smooth_l1"] = "l2"
    relative: bool = True
    beta: float = 0.75

    def __post_init__(self) -> None:
        expect.settings(self, expect.instance, "teacher", kinds=keras.Model, what="a keras.Model", or_none=True)
        for name, value in dataclasses.asdict(self.soft_targets).items():  # checked, and plain
            object.__setattr__(self, name, value)
        if not isinstance(self.hints, str) or self.hints != "sections":
            names = {"check": expect.text, "what": "names of layers, or 'sections'", "empty": False, "unique": True}
            expect.settings(self, expect.each, "hints", or_none=True, **names)
        expect.settings(self, expect.one_of, "loss", options=tuple(HINT_LOSSES))
        expect.settings(self, expect.flag, "relative")
        expect.settings(self, expect.number, "beta", above=0, below=1)
        if self.soft != "cross_entropy":
            expect.unused(self, ["tau", "scale_by_tau"], f"with soft={self.soft!r}, which has no temperature")
        if self.hints is None:
            expect.unused(self, ["loss", "relative", "beta"], "without hints=")
        if not self.has_soft_targets:
            if self.hints is None:
                expect.refuse("alpha", "below 1 if there are no hints, because nothing would be taught", self.alpha)
            expect.unused(self, ["tau", "soft", "scale_by_tau"], "with alpha=1, which leaves soft targets out")

    @classmethod
    def of(cls, name: str, value: Any, what: str = "'kd', Teaching(...) or None") -> Teaching | None:
        """Returns the teaching that a setting stands for: `None`, a `Teaching`, or `"kd"`.

        Args:
            name: name of the setting.
            value: value of the setting.
            what: the allowed values, in words.
        """
        if value is None or isinstance(value, cls):
            return value
        if not isinstance(value, str):
            expect.refuse(name, what, value, wrong_type=True)
        if value != "kd":
            expect.refuse(name, what, value)
        return cls()

    @property
    def soft_targets(self) -> SoftTargets:
        """The settings of L_KD."""
        return SoftTargets(self.alpha, self.tau, self.soft, self.scale_by_tau)

    @property
    def has_soft_targets(self) -> bool:
        """Whether the student learns from the teacher's outputs."""
        return self.alpha < 1
