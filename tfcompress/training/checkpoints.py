"""Checkpoints that survive a kill at any moment and detect damaged files."""

import json
import pathlib
import re
import shutil
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfcompress import expect
from tfcompress.process import log
from tfcompress.training import _files

__all__ = ["Checkpoint", "Checkpoints"]

_TENSORS, _INFO, _SUMS = "tensors", "info.json", "sha256.json"
_FINISHED = "finished"
_EPOCH = re.compile(r"epoch-(\d{5,})")


class Checkpoint(NamedTuple):
    """The contents of a checkpoint.

    Attributes:
        epoch: number of epochs that were finished when it was written.
        tensors: the state, by name.
        info: plain JSON data.
        finished: whether the phase is finished.
    """

    epoch: int
    tensors: dict[str, np.ndarray]
    info: dict[str, Any]
    finished: bool


class Checkpoints:
    """The checkpoints of one phase in a folder; the newest few are kept.

    Each is a folder of its own, `epoch-00012` after 12 epochs: tensors in TensorFlow's checkpoint format (plain
    numbers, no pickle), `info.json`, and the SHA-256 of every file. It is written under another name and renamed when
    it is complete; only then older ones are removed. `finished` is the state at the end of the phase.

    Args:
        folder: their folder; the first `save` creates it.
        keep: number of checkpoints to keep, 2 or more, so that there is one before a damaged one.
    """

    def __init__(self, folder: str | pathlib.Path, keep: int = 2):
        self.folder = expect.path("folder", folder)
        self.keep = expect.whole("keep", keep, least=2)
        self.skipped: list[str] = []
        """Messages about checkpoints that `latest` found damaged."""

    def save(self, epoch: int, tensors: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> None:
        """Writes the state after `epoch` finished epochs, and removes all but the newest `keep` checkpoints.

        Checkpoints of later epochs are removed too: a run that saves epoch 11 could not use that of epoch 12.
        """
        name = f"epoch-{epoch:05d}"
        self._write(name, tensors, {"epoch": epoch, "info": dict(info)})
        names = self._names()
        own = names.index(name)
        for surplus in names[own + 1 :] + names[: max(0, own + 1 - self.keep)]:
            self._remove(surplus)

    def finish(self, epoch: int, tensors: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> None:
        """Writes the state at the end of the phase, and keeps one epoch's checkpoint too."""
        self._write(_FINISHED, tensors, {"epoch": epoch, "info": dict(info)})
        for older in self._names()[:-2]:
            self._remove(older)

    def latest(self) -> Checkpoint | None:
        """Returns the newest intact checkpoint, or None if there is none.

        Each damaged one is skipped, with a warning in the log and a message in `skipped`.
        """
        self.skipped = []
        for name in reversed(self._names()):
            try:
                checkpoint = self._read(name)
            except (OSError, ValueError, KeyError, TypeError, AttributeError, tf.errors.OpError) as error:
                message = f"Checkpoint {self.folder / name} is damaged ({error})"
                self.skipped.append(message)
                continue
            self._say_skipped(f"the one before it, {name}, is used instead")
            return checkpoint
        self._say_skipped("there is no other one, so this phase starts from its beginning")
        return None

    def _say_skipped(self, consequence: str) -> None:
        self.skipped = [f"{message}; {consequence}." for message in self.skipped]
        for message in self.skipped:
            log.warning("%s", message)

    def _names(self) -> list[str]:
        """Returns the names of complete checkpoints, oldest first."""
        if not self.folder.is_dir():
            return []
        names = [path.name for path in self.folder.iterdir()]
        epochs = sorted((name for name in names if _EPOCH.fullmatch(name)), key=lambda name: int(name[6:]))
        return epochs + [name for name in names if name == _FINISHED]

    def _write(self, name: str, tensors: Mapping[str, np.ndarray], content: Mapping[str, Any]) -> None:
        size = sum(tensor.nbytes for tensor in tensors.values())
        part = self.folder / f"{name}.part"
        with _files.room(self.folder, size):
            self.folder.mkdir(parents=True, exist_ok=True)
            for left_over in self.folder.glob("*.part"):
                shutil.rmtree(left_over, ignore_errors=True)
            part.mkdir()
            try:
                self._write_files(part, tensors, content)
            except Exception:
                shutil.rmtree(part, ignore_errors=True)
                raise
            if (self.folder / name).exists():  # a damaged one that was skipped
                self._remove(name)
            part.rename(self.folder / name)
            _files.sync(self.folder)

    @staticmethod
    def _write_files(part: pathlib.Path, tensors: Mapping[str, np.ndarray], content: Mapping[str, Any]) -> None:
        _write_tensors(part / _TENSORS, tensors)
        (part / _INFO).write_text(json.dumps(content), encoding="utf-8")
        sums = {path.name: _files.sha256(path) for path in sorted(part.iterdir())}
        (part / _SUMS).write_text(json.dumps(sums), encoding="utf-8")
        for path in part.iterdir():
            _files.sync(path)
        _files.sync(part)

    def _read(self, name: str) -> Checkpoint:
        folder = self.folder / name
        sums = json.loads((folder / _SUMS).read_text(encoding="utf-8"))
        for file, expected in sums.items():
            if not (folder / file).is_file():
                raise ValueError(f"{file} is missing")
            if _files.sha256(folder / file) != expected:
                raise ValueError(f"{file} differs from what was written")
        if _INFO not in sums:
            raise ValueError(f"{_SUMS} differs from what was written")
        content = json.loads((folder / _INFO).read_text(encoding="utf-8"))
        return Checkpoint(content["epoch"], _read_tensors(folder / _TENSORS), content["info"], name == _FINISHED)

    def _remove(self, name: str) -> None:
        # Renamed first, so that a kill on the way does not leave a checkpoint with half its files.
        doomed = self.folder / f"{name}.old.part"
        shutil.rmtree(doomed, ignore_errors=True)
        (self.folder / name).rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def _write_tensors(prefix: pathlib.Path, tensors: Mapping[str, np.ndarray]) -> None:
    if not tensors:
        return
    with tf.device("CPU:0"):
        tf.raw_ops.SaveV2(
            prefix=str(prefix),
            tensor_names=list(tensors),
            shape_and_slices=[""] * len(tensors),
            tensors=list(tensors.values()),
        )


def _read_tensors(prefix: pathlib.Path) -> dict[str, np.ndarray]:
    if not prefix.with_suffix(".index").exists():
        return {}
    reader = tf.train.load_checkpoint(str(prefix))
    return {name: np.asarray(reader.get_tensor(name)) for name in reader.get_variable_to_shape_map()}
