"""Structures of arrays on disk: inputs and labels that belong to a result."""

import pathlib
from typing import Any

import numpy as np

from tfcompress.training.checkpoints import Checkpoints

__all__ = ["load_arrays", "save_arrays"]


def save_arrays(folder: pathlib.Path, structure: Any) -> None:
    """Writes a structure of arrays: nested dicts, tuples and lists."""
    leaves: list[np.ndarray] = []
    form = _form(structure, leaves)
    Checkpoints(folder).finish(0, {f"{i:03d}": array for i, array in enumerate(leaves)}, {"form": form})


def load_arrays(folder: pathlib.Path) -> Any:
    """Reads the structure that `save_arrays` wrote; None if there is none."""
    stored = Checkpoints(folder).latest()
    return None if stored is None else _filled(stored.info["form"], stored.tensors)


def _form(structure: Any, leaves: list[np.ndarray]) -> Any:
    """Returns the structure as JSON, with the positions of its arrays in `leaves`, to which they are appended."""
    if structure is None:
        return None
    if isinstance(structure, dict):
        return {"dict": [[key, _form(part, leaves)] for key, part in structure.items()]}
    if isinstance(structure, (tuple, list)):
        kind = "tuple" if isinstance(structure, tuple) else "list"
        return {kind: [_form(part, leaves) for part in structure]}
    leaves.append(np.asarray(structure))
    return len(leaves) - 1


def _filled(form: Any, tensors: dict[str, np.ndarray]) -> Any:
    if form is None:
        return None
    if isinstance(form, int):
        return tensors[f"{form:03d}"]
    ((kind, parts),) = form.items()
    if kind == "dict":
        return {key: _filled(part, tensors) for key, part in parts}
    filled = [_filled(part, tensors) for part in parts]
    return tuple(filled) if kind == "tuple" else filled
