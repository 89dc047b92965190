"""Checks of strings, and of paths that a file system can hold."""

from __future__ import annotations

import os
import pathlib
import sys
from typing import Any

from tfcompress.expect.refusing import or_nothing, refuse

__all__ = ["path", "text"]

_PATH_BYTES, _NAME_BYTES = 4095, 255


def text(name: str, value: Any, what: str = "a string", empty: bool = False) -> str:
    """Expects a string that can be written in UTF-8.

    Args:
        name: name of the argument.
        value: the string.
        what: description of the string.
        empty: whether it may be empty.
    """
    if not isinstance(value, str):
        refuse(name, what, value, wrong_type=True)
    if not value and not empty:
        refuse(name, what, value, "Give a string that is not empty.")
    if "\0" in value or not _is_encodable(value):
        refuse(name, what, value, "It holds a zero byte, or half a character, which no file can store.")
    return str(value)


def path(name: str, value: Any, what: str = "a path", or_none: bool = False) -> Any:
    """Expects a path that a file system can hold; "~" is replaced by the home folder.

    Args:
        name: name of the argument.
        value: a string or `os.PathLike`.
        what: description of the path.
        or_none: whether `None` is allowed instead.

    Returns:
        A `pathlib.Path`, or `None` where that is allowed.
    """
    if or_none and value is None:
        return None
    what = or_nothing(f"{what}, a string or pathlib.Path", or_none)
    try:
        plain = os.fspath(value) if isinstance(value, os.PathLike) else value
    except Exception:  # of the object's own
        plain = None
    if not isinstance(plain, str):
        refuse(name, what, value, wrong_type=True)
    if not plain.strip():
        refuse(name, what, value, "Give a path that is not empty; '.' is the current folder.")
    if "\0" in plain or not _is_encodable(plain):
        refuse(name, what, value, "A file name cannot hold a zero byte or half a character.")
    try:
        os.fsencode(plain)
    except UnicodeEncodeError:
        encoding = sys.getfilesystemencoding()
        hint = f"This process writes names in {encoding}: start Python with PYTHONUTF8=1, or name it in ASCII."
        refuse(name, what, ascii(plain), hint)
    too_long = any(len(part.encode()) > _NAME_BYTES for part in plain.split(os.sep))
    if too_long or len(plain.encode()) > _PATH_BYTES:
        refuse(name, what, value, f"A file system holds names of up to {_NAME_BYTES} bytes.")
    try:
        return pathlib.Path(plain).expanduser()
    except RuntimeError:
        refuse(name, what, value, "No home folder is known for it; write the path in full.")


def _is_encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True
