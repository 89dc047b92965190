"""The folder of one run: its settings, what it has found so far, its checkpoints and logs."""

import json
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any, Self

import keras
from absl import logging

from tfcompress.training import _files
from tfcompress.training.checkpoints import Checkpoints

try:
    import fcntl
except ImportError:  # no such locks on Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["NoRunFolder", "RunFolder", "RunFolderError", "open_run"]

_RUN, _LOCK = "run", ".lock"


class RunFolderError(ValueError):
    """The folder cannot be used for this run: unwritable, in use, or of another model or other settings."""


class RunFolder:
    """One run on disk, which the same call continues after it was interrupted.

        with RunFolder("runs/x").open({"model": "3f2a...", "seed": 0}) as run:
            run.write_json("plan", plan)

    `run.json` holds the fingerprint, everything that decides the outcome (hash of the model, settings of the method,
    budget, seed), and is compared when the folder is opened again.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = pathlib.Path(path).absolute()
        self._lock: int | None = None

    def open(self, fingerprint: Mapping[str, Any]) -> Self:
        """Makes the folder, or enters the one of an earlier run with the same fingerprint.

        Args:
            fingerprint: JSON data, possibly nested.

        Raises:
            RunFolderError: where the folder cannot be written, another process is using it, or it belongs to a run
                with another fingerprint; the message names each difference.
        """
        self._take()
        try:
            self._compare(fingerprint)
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Lets other processes open the folder. The end of the process, however sudden, does the same."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def has(self, name: str) -> bool:
        """Whether `write_json(name, ...)` was called in this run."""
        return self._json(name).exists()

    def write_json(self, name: str, obj: Any) -> None:
        """Writes `obj` as `<name>.json`; a process killed meanwhile leaves the file as it was."""
        _files.write_text(self._json(name), json.dumps(obj, indent=2) + "\n")

    def read_json(self, name: str) -> Any:
        """What `write_json` wrote."""
        return json.loads(self._json(name).read_text(encoding="utf-8"))

    def has_model(self, name: str) -> bool:
        """Whether `save_model(name, ...)` was called in this run."""
        return self._model(name).exists()

    def save_model(self, name: str, model: keras.Model) -> None:
        """Writes `model` as `<name>.keras`; a process killed meanwhile leaves the file as it was."""
        part = self.path / f"{_slug(name)}.part.keras"
        model.save(part)
        _files.sync(part)
        part.replace(self._model(name))
        _files.sync(self.path)

    def load_weights(self, name: str, model: keras.Model) -> None:
        """Puts the weights that `save_model` wrote into a model of the same architecture.

        No model is made from the file: of a layer of the user's own, Keras might not find the class, and it refuses to
        make a Lambda.
        """
        model.load_weights(self._model(name))

    def checkpoints(self, phase: str) -> Checkpoints | None:
        """The checkpoints of one phase of the run."""
        return Checkpoints(self.path / "checkpoints" / _slug(phase))

    def tensorboard(self, phase: str) -> pathlib.Path | None:
        """Where the TensorBoard logs of one phase go."""
        return self.path / "tensorboard" / _slug(phase)

    def _json(self, name: str) -> pathlib.Path:
        return self.path / f"{_slug(name)}.json"

    def _model(self, name: str) -> pathlib.Path:
        return self.path / f"{_slug(name)}.keras"

    def _take(self) -> None:
        """Makes the folder and locks it; the lock is the system's and ends with the process."""
        if self._lock is not None:
            raise RunFolderError(f"Expected a run folder that is not open yet. Received: {self.path}, open already.")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            # Opening for writing is at the same time the test that the folder can be written.
            lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise RunFolderError(
                f"Expected `run_dir` to be a folder that can be written. Received: run_dir={str(self.path)!r} "
                f"({error.strerror}). Give another folder."
            ) from error
        try:
            _flock(lock, self.path)
        except BaseException:
            os.close(lock)
            raise
        self._lock = lock

    def _compare(self, fingerprint: Mapping[str, Any]) -> None:
        now = json.loads(json.dumps(fingerprint))  # tuples become lists, as in the file
        if not self.has(_RUN):
            try:
                self.write_json(_RUN, now)
            except OSError as error:
                raise RunFolderError(
                    f"Expected `run_dir` to be a folder that can be written. Received: run_dir={str(self.path)!r} "
                    f"({error.strerror}). Give another folder, or make room."
                ) from error
            return
        try:
            then = self.read_json(_RUN)
        except ValueError as error:
            raise RunFolderError(
                f"Expected {self._json(_RUN)} to be what an earlier run wrote. Received: a damaged file ({error}). "
                "Give another folder, or delete this one to start anew."
            ) from error
        differences = _differences(then, now)
        if differences:
            raise RunFolderError(
                f"Expected the model and the settings of the run in {self.path}. Received others:\n"
                + "\n".join(f"  {difference}" for difference in differences)
                + "\nGive another run_dir for the new run, or delete this folder to start anew, or repeat the old call."
            )


class NoRunFolder:
    """Stands in where no run folder is wanted: JSON is kept in memory, everything else is dropped."""

    path = None

    def __init__(self) -> None:
        self._json: dict[str, str] = {}

    def close(self) -> None:
        """Does nothing, as there is nothing to release."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def has(self, name: str) -> bool:
        """Whether `write_json(name, ...)` was called."""
        return name in self._json

    def write_json(self, name: str, obj: Any) -> None:
        """Keeps a copy of `obj`."""
        self._json[name] = json.dumps(obj)

    def read_json(self, name: str) -> Any:
        """What `write_json` was given."""
        return json.loads(self._json[name])

    def has_model(self, name: str) -> bool:
        """False: models are not kept."""
        del name
        return False

    def save_model(self, name: str, model: keras.Model) -> None:
        """Keeps nothing: who called has the model."""

    def load_weights(self, name: str, model: keras.Model) -> None:
        """There are none.

        Raises:
            KeyError: always.
        """
        raise KeyError(f"Expected a run with a run_dir. Received: load_weights({name!r}) in a run without one.")

    def checkpoints(self, phase: str) -> Checkpoints | None:
        """None: such a run is not resumed."""
        del phase
        return None

    def tensorboard(self, phase: str) -> pathlib.Path | None:
        """None: such a run writes no logs."""
        del phase
        return None


def open_run(path: str | os.PathLike[str] | None, fingerprint: Mapping[str, Any]) -> RunFolder | NoRunFolder:
    """Opens the run folder `path`, or the stand-in where `path` is None. Use it in a `with` statement."""
    return NoRunFolder() if path is None else RunFolder(path).open(fingerprint)


def _flock(descriptor: int, path: pathlib.Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode(errors="replace").strip()
        raise RunFolderError(
            f"Expected a run folder that no other run is using. Received: run_dir={str(path)!r}, in use by process "
            f"{holder or 'unknown'}. Wait for that run, end it, or give another folder."
        ) from None
    except OSError as error:  # some network file systems have no locks
        logging.warning("Cannot lock %s (%s): do not start a second run in it.", path, error)
        return
    os.truncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def _slug(name: str) -> str:
    """`joint training` -> `joint-training`: a file name on every system."""
    return re.sub(r"[^\w.-]+", "-", name)


def _differences(then: Any, now: Any, key: str = "") -> list[str]:
    """Each key whose value differs, nested ones as `method.epochs`."""
    if isinstance(then, dict) and isinstance(now, dict):
        keys = [*then, *(name for name in now if name not in then)]
        found = []
        for name in keys:
            inner = f"{key}.{name}" if key else name
            found += _differences(then.get(name, _ABSENT), now.get(name, _ABSENT), inner)
        return found
    if then == now or repr(then) == repr(now):  # a NaN is equal to another in its text only
        return []
    return [f"{key}: {then!r} in the folder, {now!r} now"]


class _Absent:
    def __repr__(self) -> str:
        return "absent"


_ABSENT = _Absent()
