"""A stage: decide, edit, recover. One method applied to a task's model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from tfcompress.candidates import candidate_from_dict, candidate_to_dict, named
from tfcompress.holding import Held, held
from tfcompress.methods import Method, Search
from tfcompress.plan import Plan, Trail
from tfcompress.rewrite import apply, replay
from tfcompress.rewrite.trails import check_end
from tfcompress.rewrite.verify import verify
from tfcompress.streams import Stream
from tfcompress.task import Task
from tfcompress.training import DamagedFileError, seed_layers
from tfcompress.training.thawing import cut_layers, thawed, to_thaw, words_for

__all__ = ["Recovered", "run_stage"]

_SAMPLES, _TOLERANCE = 8, 1e-3  # by which a student is compared with its source


@dataclasses.dataclass(frozen=True, eq=False)
class Recovered:
    """The outcome of a stage: a student, and how it was made.

    Attributes:
        student: the finished model.
        search: what the method decided.
        history: logs of the recovery, by name.
        files: TFLite files that the method made beside the student, by what they are.
    """

    student: keras.Model
    search: Search
    history: dict[str, list[Any]]
    files: Mapping[str, bytes] = dataclasses.field(default_factory=dict)


def run_stage(method: Method, task: Task, callbacks: Sequence[keras.callbacks.Callback] = ()) -> Recovered:
    """Decides, edits, and recovers.

    Args:
        method: the method.
        task: the task.
        callbacks: the user's, called in the recovery only: a search that they stopped early would find nothing.
    """
    decided = _decide(method, task)
    search = decided.search
    student = _edit(search, task)
    if decided.numbers:  # training changes none of these: too much is told before it
        task.budget.check_measured(task.measured_before, decided.numbers, student)
    history = _recover(method, student, search, task, callbacks)
    return Recovered(student, search, history, dict(task.files))


def _decide(method: Method, task: Task) -> Held:
    """Runs the method's search, or reads it back if an interrupted run had finished it."""
    if not method.stores_search:
        return _searched(method, task)
    stored = task.run.recall("search", task.progress.note) if task.run.has_model("source") else None
    if stored is not None:
        try:
            search = _restored(stored, task)
        except DamagedFileError as error:
            task.progress.note(f"{error.path} is damaged ({error.why}) and is made again.")
        except FileNotFoundError as error:
            task.progress.note(f"{error.filename} is missing and is made again.")
        else:
            task.progress.note("the search was finished before, taken from the run folder")
            for text in stored.get("said", ()):
                task.say(text)
            return Held(search, stored.get("measured", {}))
    before = len(task.said)
    decided = _searched(method, task)
    if decided.search.teacher is not None:
        raise RuntimeError(
            f"Expected stores_search = False of method {method.name!r}, whose search returns a teacher, which a run "
            "folder cannot keep. Received: stores_search = True. Set it to False in the class."
        )
    _store(decided, task, task.said[before:])
    return decided


def _searched(method: Method, task: Task) -> Held:
    """Runs the search, held to what is measured, and checked."""
    decided = held(method, task, task.measured_before)
    return dataclasses.replace(decided, search=_checked(decided.search, task))


def _checked(search: Search, task: Task) -> Search:
    """Checks that the trained models of a search match their trails; names its candidates' weights files."""
    original = task.network_of(task.original)
    if search.student is not None:
        check_end(original, search.trail, task.network_of(search.student))
    elif len(search.trail) > 1 and search.source is task.model:
        raise RuntimeError(
            f"Expected the source that the first {len(search.trail) - 1} of {len(search.trail)} plans lead to, as the "
            "last plan is applied to it. Received: the task's model. Give Search the model that was cut on the way, "
            "such as tfcompress.rewrite.replay(task.model, Trail(plans[:-1])), or a trained student."
        )
    for candidate in search.candidates:
        is_student = candidate.model is search.student and candidate.trail == search.trail
        if candidate.model is not None and not is_student:
            check_end(original, candidate.trail, task.network_of(candidate.model))
    return dataclasses.replace(search, candidates=named(search.candidates))


def _models(search: Search) -> dict[str, keras.Model]:
    """Returns the models of a search to keep in a run folder, by their names there; the source first."""
    student = {} if search.student is None else {"student": search.student}
    trained = {c.trail.files[-1].removesuffix(".keras"): c.model for c in search.candidates if c.model is not None}
    return {"source": search.source, **student, **trained}


def _store(decided: Held, task: Task, said: Sequence[str]) -> None:
    """Writes a search into the run folder: its models, and then what they are; and what it said on its way."""
    search = decided.search
    sums = {name: task.run.save_model(name, model) for name, model in _models(search).items()}
    stored = {
        "trail": task.run.trail_to_json(search.trail),
        "steps": 0 if search.source is task.model else len(search.trail) - 1,
        "candidates": [candidate_to_dict(candidate, task.run.trail_to_json) for candidate in search.candidates],
        "history": search.history,
        "notes": list(search.notes),
        "said": list(said),
        "models": sums,
        "measured": dict(decided.numbers),
    }
    task.run.write_json("search", stored)


def _restored(stored: dict[str, Any], task: Task) -> Search:
    """Reads a search that `_store` wrote: models are rebuilt by their trails, weights are read from files.

    Raises:
        DamagedFileError, FileNotFoundError: a file differs from what was written, or is missing.
    """
    run, sums = task.run, stored["models"]
    trail = run.trail_from_json(stored["trail"])

    def rebuilt(name: str, plans: Trail) -> keras.Model:
        model = replay(task.model, plans, through_norms=task.control.through_norms, seed=task.seed)
        run.load_weights(name, model, sums[name])
        return model

    candidates = []
    for entry in stored["candidates"]:
        candidate = candidate_from_dict(entry, run.trail_from_json)
        name = candidate.trail.last.weights.removesuffix(".keras")
        model = rebuilt(name, candidate.trail) if name in sums else None
        candidates.append(dataclasses.replace(candidate, model=model))
    student = rebuilt("student", trail) if "student" in sums else None
    if steps := stored["steps"]:
        source = rebuilt("source", Trail(trail.plans[:steps]))
    else:  # last, as the others begin with the model as it was
        source = task.model
        run.load_weights("source", source, sums["source"])
    return Search(source, trail, tuple(candidates), stored["history"], tuple(stored["notes"]), student=student)


def _edit(search: Search, task: Task) -> keras.Model:
    """Returns the student: the source with the trail's last plan carried out and verified; or the trained one."""
    if search.student is not None:
        # A copy, as it may be a candidate's model too.
        student = apply(search.student, Plan(), task.network_of(search.student).groups)
        seed_layers(student, task.seed, Stream.STUDENT)
        return student
    task.progress.doing("building the student and comparing it with its source")
    source = task.network_of(search.source)
    student = apply(source.model, search.plan, source.groups, seed=task.seed)
    seed_layers(student, task.seed, Stream.STUDENT)
    inputs = task.splits.calibration.take(_SAMPLES)[0]
    verify(source, search.plan, task.network_of(student), inputs, tolerance=_TOLERANCE)
    return student


def _recover(
    method: Method, student: keras.Model, search: Search, task: Task, callbacks: Sequence[keras.callbacks.Callback]
) -> dict[str, list[Any]]:
    """Runs the method's recovery, which also trains frozen layers whose weights changed."""
    network = task.network_of(student)
    layers = to_thaw(network, cut_layers(task.groups.graph, network, search.trail))
    if layers:
        task.say(words_for(layers))
    with thawed(student, layers):
        return method.recover(student, task.on(search.teacher or search.source, callbacks))
