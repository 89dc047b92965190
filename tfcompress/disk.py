"""Errors of a full disk: recognises them, and words their message."""

from __future__ import annotations

import errno
import os
import pathlib
import shutil

__all__ = ["is_of_room", "missing_room"]

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_ROOM_WORDS = ("No space left on device", "Disk quota exceeded", "File too large", "errno = 28", "errno = 122")


def is_of_room(error: BaseException | None) -> bool:
    """Whether an error of Python, h5py or TensorFlow, or one of its causes, comes from a full disk."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            return True
        if any(words in str(error) for words in _NO_ROOM_WORDS):
            return True
        seen.append(error)
        error = error.__cause__ or error.__context__
    return False


def missing_room(folder: pathlib.Path, error: BaseException, size: int = 0) -> str:
    """Returns a message: where the disk is full, and how many of the `size` bytes needed are missing (0: not known)."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    needed = f" of about {_in_words(size)}" if size else ""
    received = f"{_in_words(free)} free"
    if size > free:
        received += f", {_in_words(size - free)} too few"
    reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "No space left on device"
    return f"Expected room on the disk{needed} for the files in {folder}. Received: {received} ({reason})."


def _in_words(size: int) -> str:
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size} bytes"
