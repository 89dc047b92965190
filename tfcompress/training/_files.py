"""Files that are either complete or absent, whenever the process is killed, and whose damage is detected."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from tfcompress import disk

__all__ = [
    "DamagedFileError",
    "NoRoomError",
    "RunFolderError",
    "no_room",
    "read_json",
    "room",
    "sha256",
    "sync",
    "write_json",
]

_SUM, _CONTENT = "sha256", "content"


class RunFolderError(ValueError):
    """The folder cannot be used for this run: unwritable, full, damaged, in use, or of another model or settings."""


class DamagedFileError(RunFolderError):
    """A file of a run that differs from what was written.

    Attributes:
        path: the file.
    """

    def __init__(self, path: pathlib.Path, why: str):
        super().__init__(f"Expected {path} to be as it was written. Received: a damaged file ({why}).")
        self.path = path
        self.why = why


class NoRoomError(RunFolderError, OSError):
    """The disk is full. Everything written before is complete, and the same call continues from there."""

    def __init__(self, message: str):
        super().__init__(message)
        self.errno = errno.ENOSPC


def sync(path: pathlib.Path) -> None:
    """Waits until a file's content, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: pathlib.Path, content: Any) -> None:
    """Writes JSON data and its checksum.

    It is written to another file and renamed to `path`, so that a reader sees the old file or the new one, never a
    part.
    """
    text = _text(content)
    part = path.with_name(path.name + ".part")
    with room(path.parent, len(text)):
        try:
            part.write_text(text, encoding="utf-8")
            sync(part)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        part.replace(path)
        sync(path.parent)


def read_json(path: pathlib.Path) -> Any:
    """Reads the data that `write_json` wrote.

    Raises:
        DamagedFileError: the file differs from what was written.
    """
    try:
        text = path.read_text(encoding="utf-8")
        data = json.loads(text)
        content = data[_CONTENT]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedFileError(path, f"{type(error).__name__}: {error}") from None
    if text != _text(content):
        raise DamagedFileError(path, "it has another checksum")
    return content


def _text(content: Any) -> str:
    checksum = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    return json.dumps({_SUM: checksum, _CONTENT: content}, indent=1) + "\n"


def sha256(path: pathlib.Path) -> str:
    """Returns the hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def room(folder: pathlib.Path, size: int = 0) -> Iterator[None]:
    """Turns the errors of a full disk into one that says where, and how much room is missing.

    Args:
        folder: the folder to write to.
        size: about how many bytes are needed; 0 if that is not known.

    Raises:
        NoRoomError: the disk, a quota, or a limit of this process has no room for it.
    """
    try:
        yield
    except NoRoomError:
        raise
    except Exception as error:
        if not disk.is_of_room(error):
            raise
        raise no_room(folder, error, size) from None


def no_room(folder: pathlib.Path, error: Exception, size: int = 0) -> NoRoomError:
    """Returns the error of a full disk: where, and how many of the `size` bytes needed are missing."""
    return NoRoomError(
        f"{disk.missing_room(folder, error, size)} Make room and repeat the same call: it goes on from the last state "
        "that was written."
    )
