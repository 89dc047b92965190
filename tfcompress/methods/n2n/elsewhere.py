"""`Elsewhere`: scores students in other processes, which get only paths and plain data."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shutil
import types
from collections.abc import Callable, Sequence
from typing import Any

import keras

from tfcompress.data.elsewhere import NotElsewhere, name_of, written
from tfcompress.methods.n2n.scoring import Scoring
from tfcompress.methods.n2n.weights import KeptStudents
from tfcompress.network import Network
from tfcompress.plan import Plan, Trail
from tfcompress.training import Objective
from tfcompress.workers import Job, RaisedInJob, Workers, opened

__all__ = ["Elsewhere", "NotElsewhere"]

_JOBS = "tfcompress.methods.n2n.jobs"


class Elsewhere:
    """A pool that scores students.

    Args:
        scoring: how students are scored, and for which task.
        workers: the processes.
        weights: the files of students.

    Raises:
        NotElsewhere: data, a model or an objective exists only in this process.
        ImportError, ValueError: as for `tfcompress.workers.opened`.
    """

    def __init__(self, scoring: Scoring, workers: Workers, weights: KeptStudents) -> None:
        self._scoring, self._weights = scoring, weights
        self._networks: dict[int, tuple[Network, pathlib.Path]] = {}
        self._folder = weights.folder / "work"
        shutil.rmtree(self._folder, ignore_errors=True)  # of a search that was killed
        self._folder.mkdir()
        (weights.folder / "best").mkdir(exist_ok=True)
        self._setup = self._folder / "setup.json"
        self._setup.write_text(json.dumps(self._description()), encoding="utf-8")
        temporary = weights.folder if weights.is_temporary else None
        self._pool = opened(workers, self._folder / "pool", temporary)
        try:
            self._try()
        except BaseException:
            self.close()
            raise

    def _description(self) -> dict[str, Any]:
        """Returns everything except the student that a process has to know."""
        task = self._scoring.task
        teacher = self._folder / "teacher.keras"
        objective = _described(task.objective)
        _save(task.teacher, teacher)
        return {
            "data": written(task.splits, self._folder / "data"),
            "teacher": str(teacher),
            "objective": objective,
            "training": dataclasses.asdict(self._scoring.training),
            "inherit": self._scoring.inherit,
            "soft": self._scoring.soft,
            "through_norms": task.control.through_norms,
            "seed": task.seed,
            "modules": _modules(task.teacher, objective),
            "policy": keras.config.dtype_policy().name,
            "is_deterministic": _is_deterministic(),
        }

    def _try(self) -> None:
        """Makes a process open everything, before students depend on it."""
        job = Job(f"{_JOBS}:opened", {"setup": str(self._setup)}, "the opening of the data in another process")
        try:
            (answer,) = self._pool.run([job])
        except RaisedInJob as error:
            raise NotElsewhere(
                f"another process cannot open model or data ({error.words[:300]}). Write layers, losses and functions "
                "of your own in modules that can be imported"
            ) from None
        here = {"params": self._scoring.task.teacher.count_params(), "metric": self._scoring.task.objective.metric_name}
        if answer != here:
            raise NotElsewhere(f"another process read something else: {answer} instead of {here}")

    def train(
        self,
        network: Network,
        students: Sequence[tuple[str, Trail]],
        epochs: int,
        goes_on: bool,
        noted: Callable[[str, float | None, float], None],
    ) -> None:
        """Trains students in parallel.

        Args:
            network: the network that the last plan of each trail applies to.
            students: names and trails.
            epochs: number of epochs.
            goes_on: whether they may be trained further later, or were trained before.
            noted: called with the name of each student, its metric, and the seconds that it took.
        """
        jobs = [
            Job(
                f"{_JOBS}:scored",
                {
                    "setup": str(self._setup),
                    "network": str(self._file_of(network)),
                    "plan": trail.last.to_json(),
                    "params": network.costs.after(trail.last).of(Plan(trail.last.channels)).params,
                    "epochs": epochs,
                    "state": str(self._weights.rungs_of(name)) if goes_on else None,
                    "student": str(self._weights.file_of(name)),
                },
                f"a student ({' '.join(trail.last.to_json().split())[:200]})",
            )
            for name, trail in students
        ]
        for _, trail in students:
            self._weights.add(trail, None)
        self._pool.run(jobs, lambda place, answer: noted(students[place][0], answer["metric"], answer["seconds"]))

    def _file_of(self, network: Network) -> pathlib.Path:
        if id(network) not in self._networks:
            path = self._folder / f"network-{len(self._networks)}.keras"
            _save(network.model, path)
            self._networks[id(network)] = (network, path)
        return self._networks[id(network)][1]

    def close(self) -> None:
        """Ends the processes, and removes the files written for them."""
        self._pool.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _save(model: keras.Model, path: pathlib.Path) -> None:
    try:
        model.save(path)
    except OSError:
        raise
    except Exception as error:  # of layers of the user's own
        words = " ".join(str(error).split())[:200]
        raise NotElsewhere(f"the model cannot be written to a file ({words})") from None


def _described(objective: Objective) -> dict[str, Any]:
    """Returns an objective as JSON data, which `jobs` converts back."""
    metric = objective.metric
    try:
        return {
            "loss": _serialized(objective.loss),
            "metric": metric if metric is None or isinstance(metric, str) else _serialized(metric()),
            "from_logits": objective.from_logits,
            "name": objective.name,
            "description": objective.description,
            "higher_is_better": objective.higher_is_better,
            "loss_weights": _serialized(objective.loss_weights),
            "score": name_of(objective.score, "objective"),
            "weighted": objective.weighted,
        }
    except (TypeError, NotImplementedError) as error:
        words = " ".join(str(error).split())[:200]
        raise NotElsewhere(f"the loss or the metric cannot be written down ({words})") from None


def _serialized(value: Any) -> Any:
    if isinstance(value, types.FunctionType) and not value.__module__.startswith("keras."):
        return {"imported": name_of(value, "loss")}
    serialized = keras.saving.serialize_keras_object(value)
    json.dumps(serialized)
    return serialized


def _modules(model: keras.Model, objective: dict[str, Any]) -> list[str]:
    """Returns the modules of the user's own layers and functions, which a process imports before it reads a model."""
    text = json.dumps([model.get_config(), objective], default=str)
    registered = {
        value for name, value in keras.saving.get_custom_objects().items() if f'"{name}"' in text or f"'{name}'" in text
    }
    own = {layer.__class__ for layer in model._flatten_layers()} | registered
    modules = set()
    for thing in own:
        module = thing.__module__
        if module == "__main__":
            raise NotElsewhere(
                f"{thing.__qualname__} is defined in the script that runs. Write it in a module of its own that can be "
                "imported"
            )
        if module.partition(".")[0] not in ("keras", "tfcompress"):
            modules.add(module)
    return sorted(modules)


def _is_deterministic() -> bool:
    from tensorflow.python.framework import config

    return bool(config.is_op_determinism_enabled())
