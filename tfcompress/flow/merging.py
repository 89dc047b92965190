"""The result of a flow, put together from those of its stages."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from tfcompress.channels import Control
from tfcompress.costs import Budget
from tfcompress.finished_stage import FinishedStage
from tfcompress.flow.split import Shares
from tfcompress.flow.stages import label_of, name_of
from tfcompress.measured import Measured
from tfcompress.methods import Method
from tfcompress.plan import Plan, Trail
from tfcompress.report.layers import LayerFacts
from tfcompress.result import Result
from tfcompress.result_files import MODEL
from tfcompress.task import WARNING

__all__ = ["merged", "stage_of"]


def stage_of(result: Result, limits: Mapping[str, int], seconds: float | None) -> FinishedStage:
    """Returns the figures of a stage from its result."""
    return FinishedStage(
        method=result.method,
        settings=result.settings,
        limits=dict(limits),
        before=result.before,
        after=result.after,
        history=result.history,
        notes=result.notes,
        plans=len(result.trail),
        seconds=seconds,
    )


def merged(
    last: Result,
    stages: Sequence[FinishedStage],
    plans: Sequence[Plan],
    methods: Sequence[Method],
    before: Measured,
    after: Measured,
    layers_before: tuple[LayerFacts, ...],
    layers: Sequence[str],
    budget: Budget,
    control: Control,
    shares: Shares,
    notes: Sequence[str],
) -> Result:
    """Returns the result of a flow: the model that the last stage left, and how all stages led to it.

    Args:
        last: the result of the last stage.
        stages: all stages.
        plans: the plans of the stages before the last.
        methods: the methods of the stages.
        before: measurements of the model that was given.
        after: those of the finished model.
        layers_before: its layers.
        layers: the names of all its layers, in the order of its graph.
        budget: the whole budget.
        control: what may be pruned.
        shares: the shares that `split` gave.
        notes: remarks on the flow.
    """
    labels = [label_of(number, method) for number, method in enumerate(methods, start=1)]
    # What an earlier stage trained is not in the file of the result: by these plans the architecture is built, and
    # the weights are those of the last plan.
    front = tuple(plans)
    settings = {label: stage.settings for label, stage in zip(labels, stages, strict=True)}
    split = {} if all(share is None for share in shares) else {"split": list(shares)}
    return dataclasses.replace(
        last,
        trail=Trail((*front, *last.trail.plans)).ending_with(MODEL).of_layers(layers),
        candidates=tuple(
            dataclasses.replace(each, trail=Trail((*front, *each.trail.plans))) for each in last.candidates
        ),
        before=before,
        after=after,
        history={"search": {}, "recover": _histories(labels, stages)},
        method=name_of(methods),
        settings={**split, **settings},
        budget=dict(budget),
        control=control.settings(),
        notes=_notes(labels, stages, notes),
        layers_before=layers_before,
        stages=tuple(stages),
    )


def _histories(labels: Sequence[str], stages: Sequence[FinishedStage]) -> dict[str, list[Any]]:
    """Returns the logs of all stages by name, in their order: "1-lit: loss", "2-rlal search: reward"."""
    logs: dict[str, list[Any]] = {}
    for label, stage in zip(labels, stages, strict=True):
        for part, title in (("search", f"{label} search"), ("recover", label)):
            logs |= {f"{title}: {name}": values for name, values in stage.history.get(part, {}).items()}
    return logs


def _notes(labels: Sequence[str], stages: Sequence[FinishedStage], notes: Sequence[str]) -> tuple[str, ...]:
    """Returns the notes of the flow, those that all stages have, and those of each with its name in front."""
    shared = [note for note in dict.fromkeys(stages[0].notes) if all(note in stage.notes for stage in stages)]
    own = []
    for label, stage in zip(labels, stages, strict=True):
        for note in dict.fromkeys(stage.notes):
            if note not in shared:
                is_warning = note.startswith(WARNING)
                own.append(f"{WARNING}{label}: {note.removeprefix(WARNING)}" if is_warning else f"{label}: {note}")
    return (*notes, *shared, *own)
