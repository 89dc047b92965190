"""The folder of one run: its settings, its results so far, its checkpoints and logs."""

import contextlib
import json
import os
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any, Self

import keras

from tfcompress import disk, expect
from tfcompress.fingerprint import differences
from tfcompress.plan import Plan, Trail
from tfcompress.process import log
from tfcompress.training import _files
from tfcompress.training._files import DamagedFileError, NoRoomError, RunFolderError
from tfcompress.training.checkpoints import Checkpoints
from tfcompress.training.no_run_folder import NoRunFolder

try:
    import fcntl
except ImportError:  # no such locks on Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["DamagedFileError", "NoRoomError", "NoRunFolder", "RunFolder", "RunFolderError", "open_run"]

_RUN, _LOCK = "run", ".lock"
_OF_A_RUN = (
    *(
        "before.json",
        "search.json",
        "source.keras",
        "student.keras",
        "candidate-1.keras",
        "checkpoints",
        "result",
        "stages",
    ),
    *("before.json.part", "search.json.part", "source.part.keras", "student.part.keras", "candidate-1.part.keras"),
)
_FIRST = ("before", _RUN)  # what is written before any training, the name of the run last
_FORMAT, _NOT_COMPARED = "format", "not_compared"
_FORMAT_NUMBER = 4
_ANEW = "Give another run_dir for the new run, or delete this folder to start anew"


class RunFolder:
    """One run on disk, which the same call continues after an interruption.

        with RunFolder("runs/x").open() as run:
            ...  # everything that may be refused
            run.begin({"model": "3f2a...", "seed": 0})
            run.write_json("before", 0.93)

    `run.json` holds the fingerprint, which is everything that decides the outcome (contents of model and data, settings
    of the method, budget, seed); it is compared when the run begins again. All files carry a checksum.

    Raises:
        TypeError, ValueError: an invalid path.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = expect.path("run_dir", path, "a folder").absolute()
        self._lock: int | None = None
        self._made: list[pathlib.Path] = []  # what `open` put there
        self._is_new = False  # whether the run was begun since then
        self._names: tuple[list[str], list[str]] = ([], [])  # of the model's layers, in the first call and in this one

    @property
    def result(self) -> pathlib.Path:
        """The folder of the run's result."""
        return self.path / "result"

    @property
    def is_finished(self) -> bool:
        """Whether the run has a result."""
        return self.result.is_dir()

    def open(self, fingerprint: Mapping[str, Any] | None = None) -> Self:
        """Locks the folder for this process. A folder that is new disappears again if no run begins.

        Args:
            fingerprint: if given, `begin` is called with it at once.

        Raises:
            RunFolderError: the folder cannot be written, another process is using it, or another version of tfcompress
                wrote it.
        """
        self._take()
        try:
            if fingerprint is not None:
                self.begin(fingerprint)
            else:
                _ = self.earlier  # refused here, before data is looked at
        except BaseException:
            self.close()
            raise
        return self

    @property
    def earlier(self) -> dict[str, Any] | None:
        """The fingerprint of the run that began here, or `None` in a new folder.

        Raises:
            RunFolderError: the folder is damaged, or was written by another version of tfcompress.
        """
        if not self.has(_RUN):
            return None
        advice = "Give another folder, or delete this one to start anew."
        try:
            fingerprint = self.read_json(_RUN)
        except DamagedFileError as error:
            if _is_of_old_format(self._json(_RUN)):
                raise RunFolderError(
                    f"Expected a run folder of this version of tfcompress. Received: {self.path}, which an earlier "
                    f"version wrote, whose runs this one cannot continue. {advice}"
                ) from None
            raise RunFolderError(f"{error} {advice}") from None
        stated = fingerprint.pop(_FORMAT, None) if isinstance(fingerprint, dict) else None
        if stated != _FORMAT_NUMBER:
            raise RunFolderError(
                f"Expected a run folder of format {_FORMAT_NUMBER}. Received: {self.path} of format {stated!r}, which "
                f"another version of tfcompress wrote. {advice}"
            )
        return fingerprint

    def begin(self, fingerprint: Mapping[str, Any]) -> None:
        """Begins a run in a new folder, or continues the run in the folder if it has the same fingerprint.

        Args:
            fingerprint: JSON data, possibly nested. `"not_compared"` lists values that cannot be compared between
                calls.

        Raises:
            RunFolderError: the folder cannot be written, or belongs to a run with another fingerprint; the message
                names each difference.
        """
        now = json.loads(json.dumps(fingerprint))  # tuples become lists, as in the file
        then = self.earlier
        if then is None:
            self._refuse_others()
            try:
                self.write_json(_RUN, {_FORMAT: _FORMAT_NUMBER, **now})
            except OSError as error:
                raise _unwritable(self.path, error) from error
            self._is_new = True
            then = now
        elif differing := differences(
            {key: value for key, value in then.items() if key != _NOT_COMPARED},
            {key: value for key, value in now.items() if key != _NOT_COMPARED},
        ):
            raise RunFolderError(
                f"Expected the model and the settings of the run in {self.path}. Received others:\n"
                + "\n".join(f"  {difference}" for difference in differing)
                + f"\n{_ANEW}, or repeat the old call."
            )
        elif unknown := [*then.get(_NOT_COMPARED, ()), *now.get(_NOT_COMPARED, ())]:
            raise RunFolderError(
                f"Expected settings that can be compared with those of the run in {self.path}. Received: "
                f"{'; '.join(dict.fromkeys(unknown))}. It is not known whether these are unchanged. {_ANEW}, or "
                "write them as a function of numbers, text and arrays."
            )
        self._names = _names_in(then), _names_in(now)

    def _refuse_others(self) -> None:
        """Refuses files that a new run would mistake for its own, or overwrite."""
        if present := [name for name in _OF_A_RUN if os.path.lexists(self.path / name)]:
            raise RunFolderError(
                f"Expected a new folder, or that of a run. Received: {self.path} with {', '.join(present)} and without "
                f"{_RUN}.json, which says of which run they are. Nothing was written. Give another run_dir, or move "
                "these away."
            )

    def close(self) -> None:
        """Lets other processes open the folder. The end of the process does the same, even a sudden one."""
        if self._lock is None:
            return
        if not self.has(_RUN):  # nothing was begun: as if the folder had never been opened
            for path in reversed(self._made):
                with contextlib.suppress(OSError):
                    path.rmdir() if path.is_dir() else path.unlink()
        os.close(self._lock)
        self._lock, self._made = None, []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        full = isinstance(error, Exception) and disk.is_of_room(error)
        if isinstance(error, Exception) and not full and self._is_new and not self._has_results():
            # What could be refused only now leaves no trace either, so that the call can be corrected.
            for name in _FIRST:
                self._json(name).unlink(missing_ok=True)
        self.close()
        if isinstance(error, Exception) and full and not isinstance(error, NoRoomError):
            raise _files.no_room(self.path, error) from None

    def _has_results(self) -> bool:
        """Whether there is any file that took work to produce."""
        first = {_LOCK, *(f"{name}.json" for name in _FIRST)}
        files = (path for path in self.path.rglob("*") if path.is_file() and not path.name.startswith("events.out."))
        return any(path.name not in first for path in files)

    def has(self, name: str) -> bool:
        """Whether `write_json(name, ...)` was called in this run."""
        return self._json(name).exists()

    def write_json(self, name: str, obj: Any) -> None:
        """Writes `obj` as `<name>.json`; if the process is killed meanwhile, the old file stays."""
        _files.write_json(self._json(name), obj)

    def read_json(self, name: str) -> Any:
        """Reads the data that `write_json` wrote.

        Raises:
            DamagedFileError: the file differs from what was written.
        """
        return _files.read_json(self._json(name))

    def recall(self, name: str, note: Callable[[str], None]) -> Any:
        """Reads the data of `write_json`; `None` if the file is missing, or damaged (then `note` is called)."""
        try:
            return self.read_json(name) if self.has(name) else None
        except DamagedFileError as error:
            note(f"{error.path} is damaged ({error.why}) and is made again.")
            return None

    def plan_to_json(self, plan: Plan) -> str:
        """Returns a plan as text, with the names that the model's layers had in the call that began the run."""
        return plan.renamed(*reversed(self._names)).to_json()

    def plan_from_json(self, text: str) -> Plan:
        """Reads a plan that `plan_to_json` wrote, with the names that the layers have in this call."""
        return Plan.from_json(text).renamed(*self._names)

    def trail_to_json(self, trail: Trail) -> str:
        """Returns a trail as text, with the names that the model's layers had in the call that began the run."""
        return Trail(tuple(plan.renamed(*reversed(self._names)) for plan in trail)).to_json()

    def trail_from_json(self, text: str) -> Trail:
        """Reads a trail that `trail_to_json` wrote, with the names that the layers have in this call."""
        return Trail(tuple(plan.renamed(*self._names) for plan in Trail.from_json(text)))

    def has_model(self, name: str) -> bool:
        """Whether `save_model(name, ...)` was called in this run."""
        return self._model(name).exists()

    def save_model(self, name: str, model: keras.Model) -> str | None:
        """Writes `model` as `<name>.keras`; if the process is killed meanwhile, the old file stays.

        Returns:
            The file's checksum, for `load_weights`.
        """
        part = self.path / f"{_slug(name)}.part.keras"
        with _files.room(self.path, sum(variable.numpy().nbytes for variable in model.variables)):
            try:
                model.save(part)
                _files.sync(part)
            except Exception:
                part.unlink(missing_ok=True)
                raise
            checksum = _files.sha256(part)
            part.replace(self._model(name))
            _files.sync(self.path)
        return checksum

    def load_weights(self, name: str, model: keras.Model, checksum: str | None = None) -> None:
        """Loads the weights that `save_model` wrote into a model of the same architecture.

        No model is built from the file: Keras might not find the class of a user's own layer, and it refuses to build a
        Lambda.

        Raises:
            DamagedFileError: the file has another checksum.
        """
        path = self._model(name)
        if checksum is not None and _files.sha256(path) != checksum:
            raise DamagedFileError(path, "it has another checksum")
        model.load_weights(path)

    def room(self, size: int) -> contextlib.AbstractContextManager[None]:
        """Returns a context that reports how much room is missing for about `size` bytes: see `NoRoomError`."""
        return _files.room(self.path, size)

    def checkpoints(self, phase: str) -> Checkpoints | None:
        """Returns the checkpoints of one phase of the run."""
        return Checkpoints(self.path / "checkpoints" / _slug(phase))

    def tensorboard(self, phase: str) -> pathlib.Path | None:
        """Returns the folder of the TensorBoard logs of one phase."""
        return self.path / "tensorboard" / _slug(phase)

    def _json(self, name: str) -> pathlib.Path:
        return self.path / f"{_slug(name)}.json"

    def _model(self, name: str) -> pathlib.Path:
        return self.path / f"{_slug(name)}.keras"

    def _take(self) -> None:
        """Creates the folder and locks it; the lock belongs to the system and ends with the process."""
        if self._lock is not None:
            raise RunFolderError(f"Expected a run folder that is not open yet. Received: {self.path}, open already.")
        file = self.path / _LOCK
        try:
            self._made = [path for path in (*reversed(self.path.parents), self.path, file) if not path.exists()]
            self.path.mkdir(parents=True, exist_ok=True)
            while self._lock is None:
                # Opening for writing is at the same time the test that the folder can be written.
                lock = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
                try:
                    _flock(lock, self.path)
                    if _is_there(file, lock):
                        self._lock = lock
                finally:
                    if self._lock is None:  # refused; or another process, which closed the folder, took the file away
                        os.close(lock)
        except OSError as error:
            raise _unwritable(self.path, error) from error


def open_run(
    path: str | os.PathLike[str] | None, fingerprint: Mapping[str, Any] | None = None
) -> RunFolder | NoRunFolder:
    """Opens the run folder `path`, or the substitute if `path` is None. Use it in a `with` statement."""
    return NoRunFolder() if path is None else RunFolder(path).open(fingerprint)


def _unwritable(path: pathlib.Path, error: OSError) -> RunFolderError:
    return RunFolderError(
        f"Expected `run_dir` to be a folder that can be written. Received: run_dir={str(path)!r} "
        f"({error.strerror or error}). Give another folder, or make room."
    )


def _is_there(path: pathlib.Path, descriptor: int) -> bool:
    """Whether an open file still is the file at this path."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _is_of_old_format(path: pathlib.Path) -> bool:
    """Whether a run.json has the first format, which had no checksum."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return isinstance(data, dict) and {"model", "method"} <= data.keys()


def _names_in(fingerprint: Mapping[str, Any]) -> list[str]:
    model = fingerprint.get("model")
    return list(model["names"]) if isinstance(model, Mapping) else []


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
        log.warning("Cannot lock %s (%s): do not start a second run in it.", path, error)
        return
    if not re.fullmatch(rb"\d*\n?", os.pread(descriptor, 32, 0)):
        raise RunFolderError(
            f"Expected {path / _LOCK} to be a lock of tfcompress. Received: another file. Give another run_dir."
        )
    os.truncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def _slug(name: str) -> str:
    """Returns a file name that is valid on every system: `joint training` -> `joint-training`."""
    return re.sub(r"[^\w.-]+", "-", name)
