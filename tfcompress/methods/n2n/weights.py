"""`KeptStudents`: weights of the best students so far, in memory or in files, and states to continue training from."""

from __future__ import annotations

import hashlib
import pathlib
import shutil
import tempfile

import keras

from tfcompress.methods.n2n.scoring import Scoring
from tfcompress.network import Network
from tfcompress.plan import Trail
from tfcompress.task import Task

__all__ = ["KeptStudents", "key_of"]


def key_of(task: Task, trail: Trail) -> str:
    """Returns the name under which a student is kept: the same if a stage changes nothing about the one before."""
    plans = tuple(plan for plan in trail.plans if len(plan)) or trail.plans[:1]
    return hashlib.sha256(task.run.trail_to_json(Trail(plans)).encode()).hexdigest()


class KeptStudents:
    """Students with weights: the best of each stage, and those of the last update, one of which may become the best.

    Args:
        task: the task, whose run folder has the files; without a run folder they are in a temporary folder.
        scoring: builds students.
    """

    def __init__(self, task: Task, scoring: Scoring) -> None:
        self._task, self._scoring = task, scoring
        self._folder: pathlib.Path | None = None
        self._new: dict[str, keras.Model | None] = {}  # of the last update; None where the weights are in a file
        self._kept: dict[str, tuple[str, keras.Model | None]] = {}  # by stage

    @property
    def is_temporary(self) -> bool:
        """Whether the folder is removed when this process ends."""
        return self._task.run.path is None

    @property
    def folder(self) -> pathlib.Path:
        """The folder, which is created when it is first needed."""
        if self._folder is None:
            run = self._task.run.path
            self._folder = pathlib.Path(tempfile.mkdtemp(prefix="tfcompress-")) if run is None else run / "students"
            self._folder.mkdir(exist_ok=True)
        return self._folder

    def begin(self) -> None:
        """Begins another update."""
        self._new.clear()

    def add(self, trail: Trail, student: keras.Model | None) -> None:
        """Adds a student of this update; `None` if its weights are in its file."""
        self._new[key_of(self._task, trail)] = student

    def file_of(self, key: str) -> pathlib.Path:
        """Returns the file of a student."""
        return self.folder / "best" / f"{key}.keras"

    def rungs_of(self, key: str) -> pathlib.Path:
        """Returns the folder of the state from which a student is trained further."""
        return self.folder / "rungs" / key

    def forget_rungs(self, key: str) -> None:
        """Drops the training state of a student that is not trained further."""
        if self._folder is not None:
            shutil.rmtree(self.rungs_of(key), ignore_errors=True)

    def keep(self, stage: str, trail: Trail | None) -> None:
        """Keeps the best student of a stage so far, and drops the others."""
        dropped = set(self._new)
        if trail is not None:
            key = key_of(self._task, trail)
            before, model = self._kept.get(stage, ("", None))
            if key != before:
                dropped.add(before)
                model = self._new.get(key)
            self._kept[stage] = (key, model)
        kept = {key for key, _ in self._kept.values()}
        for key in dropped - kept - {""}:
            if self._folder is not None:
                self.file_of(key).unlink(missing_ok=True)
        self._new.clear()

    def model_of(self, network: Network, trail: Trail) -> keras.Model | None:
        """Returns a kept student with its weights; `None` if they are lost."""
        key = key_of(self._task, trail)
        for name, model in self._kept.values():
            if name == key and model is not None:
                return model
        if (self.is_temporary and self._folder is None) or not self.file_of(key).exists():
            return None
        student = self._scoring.built(network, trail.last)
        try:
            student.load_weights(self.file_of(key))
        except (OSError, ValueError, KeyError) as error:
            self._task.progress.note(f"{self.file_of(key)} is damaged ({' '.join(str(error).split())[:100]}).")
            return None
        return student

    def close(self, finished: bool) -> None:
        """Removes the files, except those that an interrupted search continues from."""
        if self._folder is None:
            return
        if finished or self.is_temporary:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = None
