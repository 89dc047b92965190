"""Rollouts: the actions that a policy over sequences drew, checked and padded to arrays for compiled functions."""

import dataclasses
from collections.abc import Sequence

import numpy as np

__all__ = ["Rollout", "Shapes"]


@dataclasses.dataclass(frozen=True, eq=False)
class Rollout:
    """A trajectory that a policy drew: one student.

    Attributes:
        sequence: float32 `[L, features]`, the policy's input.
        allowed: bool `[L]`, the steps that had a choice.
        classes: int32 `[L]`, the index of each action.
        actions: the actions of the method: bool `[L]`, True for a removed layer, or float32 `[L]`, the
            share that is kept.
    """

    sequence: np.ndarray
    allowed: np.ndarray
    classes: np.ndarray
    actions: np.ndarray


@dataclasses.dataclass(frozen=True)
class Shapes:
    """The shapes that a learner is compiled for.

    Attributes:
        length: maximum number of steps of a sequence.
        width: the number of features of a step.
        choices: the number of action classes.
    """

    length: int
    width: int
    choices: int

    def checked(self, sequence: np.ndarray, allowed: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Returns a sequence as float32 `[L, width]` and its flags as bool `[L]`, all True if they are left out.

        Args:
            sequence: finite numbers `[L, width]`.
            allowed: flags `[L]`.

        Raises:
            ValueError: a shape does not fit, or a number is not finite.
        """
        sequence = np.asarray(sequence, "float32")
        shape = sequence.shape
        fits = len(shape) == 2 and 1 <= shape[0] <= self.length and shape[1] == self.width
        if not fits or not np.isfinite(sequence).all():
            raise ValueError(
                f"Expected a sequence of finite numbers, from [1, {self.width}] to [{self.length}, {self.width}]. "
                f"Received: shape={shape}, sequence={sequence}. Make the learner with the features of the sequence and "
                "the longest sequence's length."
            )
        allowed = np.ones(len(sequence), bool) if allowed is None else np.asarray(allowed, bool)
        if allowed.shape != shape[:1]:
            raise ValueError(
                f"Expected allowed of shape {shape[:1]}. Received: shape={allowed.shape}. Give one flag for each step."
            )
        return sequence, allowed

    def padded(self, sequence: np.ndarray, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns float32 `[length, width]`, and `steps` (False in padding) and `allowed` as bool `[length]`.

        Args:
            sequence: checked.
            allowed: checked.
        """
        pad = (0, self.length - len(sequence))
        return np.pad(sequence, (pad, (0, 0))), np.pad(np.ones(len(sequence), bool), pad), np.pad(allowed, pad)

    def batch(self, rollouts: Sequence[Rollout]) -> tuple[np.ndarray, ...]:
        """Returns rollouts as `sequences`, `steps`, `allowed`, padded, and `classes` int32 `[count, length]`.

        Args:
            rollouts: at least one.

        Raises:
            ValueError: a rollout does not belong to a learner of these shapes.
        """
        rows = []
        for rollout in rollouts:
            sequence, allowed = self.checked(rollout.sequence, rollout.allowed)
            classes = np.asarray(rollout.classes, "int32")
            bounds = np.where(allowed, self.choices, 1)
            if classes.shape != allowed.shape or not ((classes >= 0) & (classes < bounds)).all():
                raise ValueError(
                    f"Expected classes from 0 to {self.choices - 1}, one for each step, and 0 where a step has no "
                    f"choice. Received: classes={classes}. Give what this learner's `rollouts` returned."
                )
            rows.append((*self.padded(sequence, allowed), np.pad(classes, (0, self.length - len(classes)))))
        return tuple(np.stack(column) for column in zip(*rows, strict=True))
