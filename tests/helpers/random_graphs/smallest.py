"""The smallest draft that still fails.

Hypothesis would find it too, but it knows nothing of steps and settings, and every try builds a few models.
"""

import dataclasses

__all__ = ["smallest"]


def smallest(draft, fails):
    """Leaves out of a draft, and lowers to 0, whatever can go while `fails(draft)` is true."""
    while True:
        lower = next((candidate for candidate in _lower(draft) if fails(candidate)), None)
        if lower is None:
            return draft
        draft = lower


def _lower(draft):
    """Simpler drafts, those that are much simpler first."""

    def but(**changes):
        return dataclasses.replace(draft, **changes)

    steps, count = draft.steps, len(draft.steps)
    size = count
    while size:
        for start in reversed(range(0, count - size + 1, size)):
            yield but(steps=steps[:start] + steps[start + size :])
        size //= 2
    for index in range(len(draft.inputs) if len(draft.inputs) > 1 else 0):
        yield but(inputs=draft.inputs[:index] + draft.inputs[index + 1 :])
    if draft.through_norms:
        yield but(through_norms=False)
    if draft.fresh:
        yield but(fresh=False)
    for name in ("edits", "ends", "cuts"):
        for numbers in _lower_numbers(getattr(draft, name)):
            yield but(**{name: numbers})
    for index, (kind, shape) in enumerate(draft.inputs):
        if shape:
            yield but(inputs=(*draft.inputs[:index], (kind, 0), *draft.inputs[index + 1 :]))
    for index, step in enumerate(steps):
        for lower in _lower_steps(step):
            yield but(steps=(*steps[:index], lower, *steps[index + 1 :]))


def _lower_steps(step):
    for index in range(len(step.inner) if len(step.inner) > 1 else 0):
        yield dataclasses.replace(step, inner=step.inner[:index] + step.inner[index + 1 :])
    if step.operand:
        yield dataclasses.replace(step, operand=0)
    for numbers in _lower_numbers(step.settings):
        yield dataclasses.replace(step, settings=numbers)
    for index, inner in enumerate(step.inner):
        for lower in _lower_steps(inner):
            yield dataclasses.replace(step, inner=(*step.inner[:index], lower, *step.inner[index + 1 :]))


def _lower_numbers(numbers):
    """All 0, then one of them."""
    if any(numbers):
        yield (0,) * len(numbers)
    if sum(map(bool, numbers)) > 1:
        for index, number in enumerate(numbers):
            if number:
                yield (*numbers[:index], 0, *numbers[index + 1 :])
