"""Candidates as JSON data, and the names of the files that hold their weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

from tfcompress.costs import Cost
from tfcompress.methods import Candidate
from tfcompress.plan import Trail

__all__ = ["candidate_from_dict", "candidate_to_dict", "named"]


def named(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Returns the candidates; the trail of each one with a model names its weights file in the run folder."""
    return tuple(
        candidate
        if candidate.model is None
        else dataclasses.replace(candidate, trail=candidate.trail.ending_with(f"candidate-{number}.keras"))
        for number, candidate in enumerate(candidates, start=1)
    )


def candidate_to_dict(candidate: Candidate, to_json: Callable[[Trail], str] = Trail.to_json) -> dict[str, Any]:
    """Returns a candidate as JSON data, without its model.

    Args:
        candidate: the candidate.
        to_json: writes a trail as text.
    """
    cost = {field.name: getattr(candidate.cost, field.name) for field in dataclasses.fields(Cost)}
    return {"trail": to_json(candidate.trail), "cost": cost, "score": candidate.score, "origin": candidate.origin}


def candidate_from_dict(data: dict[str, Any], from_json: Callable[[str], Trail] = Trail.from_json) -> Candidate:
    """Reads a candidate from the data of `candidate_to_dict`; it has no model yet."""
    return Candidate(from_json(data["trail"]), Cost(**data["cost"]), data["score"], data["origin"])
