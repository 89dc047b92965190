"""Replaces the content of a folder as a whole or not at all, and never at the cost of files that are not ours.

New files are written into a stage, which is a folder inside the target folder. When all are complete they are renamed
into place; if that fails midway, everything is renamed back. A killed process leaves its stage behind, and the next
process that writes there (or `recover`) undoes the unfinished work.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from typing import Self

from tfcompress import disk
from tfcompress.manifest import MANIFEST, ManifestError, foreign, read_manifest, sums_of, write_manifest

try:
    import fcntl
except ImportError:  # no such locks on Windows: what a killed process left stays there
    fcntl = None  # type: ignore[assignment]

__all__ = ["Stage", "recover", "refuse_foreign"]

_PREFIX = ".tfcompress-"
_NEW, _OLD, _MARKER, _JOURNAL = "new", "old", "stage.json", "placing.json"
_MARK = b'{"writer": "tfcompress"}'
_SHOWN = 5


class Stage:
    """New files for a folder; `place` moves them there.

        with Stage("out") as stage:
            (stage.new / "model.keras").write_bytes(content)
            stage.place()

    The folder is created if it is missing, and removed again if nothing was placed in it.

    Attributes:
        folder: the folder that the files are for; a link to a folder counts as that folder.
        new: the folder to write them to.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder = pathlib.Path(folder)
        self._made: list[pathlib.Path] = []
        self._lock: int | None = None

    def __enter__(self) -> Self:
        """Creates the stage. Raises OSError if the folder cannot be written."""
        self._made = _make(self.folder)
        try:
            with _locked(self.folder):
                _recover(self.folder)
                self._stage = pathlib.Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self.folder))
                self._lock = _take(self._stage / _MARKER)
                self.new = self._stage / _NEW
                self.new.mkdir()
        except BaseException as error:
            self._leave()
            _tell_of_room(self.folder, error)
            raise
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        _remove(self._stage)
        self._leave()
        _tell_of_room(self.folder, error)

    def place(self, whole: bool = False) -> None:
        """Moves everything in `new` into the folder, with a manifest.

        Args:
            whole: whether files that an earlier call put there under other names are removed.

        Raises:
            FileExistsError: a file to be replaced, or with `whole` any file in the folder, is not provably ours.
                Nothing has changed then.
            OSError: a file cannot be renamed; everything done so far is undone.
        """
        with _locked(self.folder):
            names = sorted(path.name for path in self.new.iterdir())
            before = refuse_foreign(self.folder, None if whole else names)
            sums = sums_of(self.new)
            kept = {} if whole else {name: old for name, old in before.items() if name.partition("/")[0] not in names}
            write_manifest(self.new, {**kept, **sums})
            # The manifest comes last: a reader that finds it finds the rest.
            names.append(MANIFEST)
            gone = {name.partition("/")[0] for name in before} if whole else set()
            gone = {name for name in gone | set(names) if os.path.lexists(self.folder / name)}
            self._swap(names, sorted(gone), sums)

    def _swap(self, names: list[str], gone: list[str], sums: dict[str, tuple[str, ...]]) -> None:
        old, journal = self._stage / _OLD, self._stage / _JOURNAL
        old.mkdir()
        part = self._stage / f"{_JOURNAL}.part"
        part.write_text(json.dumps({"names": names, "sums": sums}), encoding="utf-8")
        part.replace(journal)
        try:
            for name in gone:
                (self.folder / name).rename(old / name)
            for name in names:
                (self.new / name).rename(self.folder / name)
        except BaseException:
            _roll_back(self.folder, self._stage)
            raise
        journal.unlink()  # from here on, it is done

    def _leave(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        for path in self._made:
            with contextlib.suppress(OSError):  # it holds something now
                path.rmdir()


def refuse_foreign(folder: str | os.PathLike[str], names: Iterable[str] | None = None) -> dict[str, tuple[str, ...]]:
    """Refuses to write over files that are not provably ours; returns the manifest of the folder.

    Args:
        folder: the folder to be written to; it may be missing.
        names: names of the files and folders that will be written; `None` for the folder as a whole.

    Raises:
        FileExistsError: names what is in the way.
    """
    path = pathlib.Path(folder)
    if not path.is_dir():
        if os.path.lexists(path):
            kind = "a link that leads to no folder" if path.is_symlink() else "a file"
            raise FileExistsError(f"Expected a folder. Received: {str(folder)!r}, which is {kind}. Give another name.")
        return {}
    if names is not None:
        names = [*names, MANIFEST]
    strangers = [name for name in foreign(path, names) if not _is_stage(path / name.partition("/")[0])]
    if strangers:
        strangers.sort(key=lambda name: name != MANIFEST)  # a damaged one is why the others are not provably ours
        more = f" and {len(strangers) - _SHOWN} more" if len(strangers) > _SHOWN else ""
        what = "only" if names is None else "under the names to be written only"
        raise FileExistsError(
            f"Expected in {str(folder)!r} {what} files that tfcompress wrote, unchanged. Received: "
            f"{', '.join(strangers[:_SHOWN])}{more}. Nothing was written. Give another folder, or move these away."
        )
    try:
        return read_manifest(path)
    except ManifestError:
        return {}


def recover(folder: str | os.PathLike[str]) -> None:
    """Undoes the unfinished work of killed processes in a folder and removes their stages, as far as possible."""
    path = pathlib.Path(folder)
    if path.is_dir() and any(path.glob(f"{_PREFIX}*")):
        with contextlib.suppress(OSError), _locked(path):
            _recover(path)


def _recover(folder: pathlib.Path) -> None:
    for stage in sorted(folder.glob(f"{_PREFIX}*")):
        with contextlib.suppress(OSError, ValueError):  # what cannot be read or removed stays
            if _is_stage(stage) and _is_dead(stage):
                if (stage / _JOURNAL).exists():
                    _roll_back(folder, stage)
                _remove(stage)


def _roll_back(folder: pathlib.Path, stage: pathlib.Path) -> None:
    """Renames placed files back, then restores the earlier ones; does nothing if somebody changed them meanwhile."""
    journal = json.loads((stage / _JOURNAL).read_text(encoding="utf-8"))
    placed = [name for name in journal["names"] if not os.path.lexists(stage / _NEW / name)]
    before = sorted(path.name for path in (stage / _OLD).iterdir())
    in_the_way = [name for name in before if name not in placed and os.path.lexists(folder / name)]
    if in_the_way or foreign(folder, placed, journal["sums"]):
        return
    for name in reversed(placed):
        if os.path.lexists(folder / name):
            (folder / name).rename(stage / _NEW / name)
    for name in before:
        (stage / _OLD / name).rename(folder / name)
    (stage / _JOURNAL).unlink()


def _tell_of_room(folder: pathlib.Path, error: BaseException | None) -> None:
    """Raises an OSError that says where the disk is full, if that is what an error of Python or TensorFlow means."""
    if isinstance(error, Exception) and disk.is_of_room(error):
        words = disk.missing_room(folder, error)
        full = OSError(f"{words} Nothing in the folder was changed. Make room and try again.")
        full.errno = errno.ENOSPC
        raise full from None


def _make(folder: pathlib.Path) -> list[pathlib.Path]:
    """Creates a folder and its missing parents; returns the new ones, the innermost first."""
    made = []
    for path in [folder, *folder.parents]:
        if os.path.lexists(path):
            break
        made.append(path)
    folder.mkdir(parents=True, exist_ok=True)
    return made


def _is_stage(path: pathlib.Path) -> bool:
    """Whether a folder is a stage: it has its name and marker, or is empty because the process was killed."""
    if not path.name.startswith(_PREFIX) or path.is_symlink() or not path.is_dir():
        return False
    names = os.listdir(path)
    return not names or (_MARKER in names and (path / _MARKER).is_file())


def _is_dead(stage: pathlib.Path) -> bool:
    """Whether the process that made a stage has ended: its lock is released then, even after a sudden end."""
    marker = stage / _MARKER
    if not marker.exists():
        return True
    if fcntl is None or not _MARK.startswith(marker.read_bytes()):
        return False
    descriptor = os.open(marker, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _take(marker: pathlib.Path) -> int:
    """Writes the marker of a stage and locks it; the lock holds until the process closes the marker."""
    descriptor = os.open(marker, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    os.write(descriptor, _MARK)
    if fcntl is not None:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


@contextlib.contextmanager
def _locked(folder: pathlib.Path) -> Iterator[None]:
    """Locks the folder against other threads and processes that write into it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if fcntl is not None:
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove(stage: pathlib.Path) -> None:
    """Removes a stage and the files in it that have our names."""
    if (stage / _JOURNAL).exists():
        return  # it holds what was in the folder before
    for name in (_NEW, _OLD):
        shutil.rmtree(stage / name, ignore_errors=True)
    (stage / f"{_JOURNAL}.part").unlink(missing_ok=True)
    if set(os.listdir(stage)) <= {_MARKER}:
        (stage / _MARKER).unlink(missing_ok=True)
        stage.rmdir()
