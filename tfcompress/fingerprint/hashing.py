"""SHA-256 of JSON data and of arrays, the same in every process."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

__all__ = ["SHA256", "array_digest", "digest", "update_with_array"]

SHA256 = "sha256:"
_CHUNK = 2**26  # bytes of an array that are copied at once, where its memory has gaps


def digest(data: Any) -> str:
    """Returns the hash of JSON data, as `sha256:...`."""
    return SHA256 + hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def array_digest(array: Any) -> str:
    """Returns the hash of an array's dtype, shape and contents, as `sha256:...`.

    Raises:
        TypeError: an array of objects other than text, bytes and numbers.
    """
    hasher = hashlib.sha256()
    update_with_array(hasher, np.asarray(array))
    return SHA256 + hasher.hexdigest()


def update_with_array(hasher: Any, array: np.ndarray) -> None:
    """Adds an array to a hash of `hashlib`; about a second for 10^9 bytes."""
    hasher.update(f"{array.dtype.str if array.dtype.kind != 'V' else array.dtype}{array.shape}".encode())
    if array.dtype.kind == "O":
        for item in array.ravel().tolist():
            if not isinstance(item, (str, bytes, int, float, bool, type(None))):
                raise TypeError(f"an array of objects of the class {type(item).__name__}")
            hasher.update(f"{type(item).__name__} {item!r}\n".encode())
    elif array.flags.c_contiguous or array.ndim == 0:
        hasher.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    else:
        rows = max(1, _CHUNK // max(1, array.nbytes // max(1, len(array))))
        for start in range(0, len(array), rows):
            hasher.update(np.ascontiguousarray(array[start : start + rows]).reshape(-1).view(np.uint8).data)
