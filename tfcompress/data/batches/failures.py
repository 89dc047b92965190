"""Turns TensorFlow's errors, which dump a graph, into one line."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

__all__ = ["clear_error", "is_of_tensorflow", "reading", "reason_of"]

_PYTHON_ERROR = re.compile(r"^\w*(?:Error|Exception): .+$", re.M)
_LONGEST = 200


@runtime_checkable
class _HasMessage(Protocol):
    """An error with a message apart from its printed form, as TensorFlow's errors have."""

    @property
    def message(self) -> str: ...


def is_of_tensorflow(error: BaseException) -> bool:
    """Whether an error comes from TensorFlow's own code and does not mean full memory; does not import TensorFlow."""
    kinds = [f"{kind.__module__}.{kind.__name__}" for kind in type(error).__mro__]
    return any(kind.startswith("tensorflow.") for kind in kinds) and "ResourceExhausted" not in kinds[0]


@contextlib.contextmanager
def reading(what: str) -> Iterator[None]:
    """Turns a TensorFlow error inside the `with` block into one that says in words what could not be read."""
    try:
        yield
    except Exception as error:
        if not is_of_tensorflow(error):
            raise
        raise clear_error(error, what) from None


def clear_error(error: BaseException, what: str) -> ValueError:
    """Returns a ValueError to raise instead of `error`: it says what is wrong with `what` (a batch, in words)."""
    return ValueError(
        f"Expected {what} to be read, and to fit the model and its loss. Received: {reason_of(error)} Look at this "
        "batch: its labels, its shapes, and the code that reads it."
    )


def reason_of(error: BaseException) -> str:
    """Returns the line of an error that says what happened, ending in a full stop.

    TensorFlow's errors begin with places in a graph, and hold the traceback of a Python function that a dataset calls.
    """
    text = str((error.message if isinstance(error, _HasMessage) else None) or error)
    of_python = _PYTHON_ERROR.search(text)
    if of_python:
        line = of_python.group()
    else:
        lines = [line.strip() for line in text.splitlines()]
        last_place = max((i for i, line in enumerate(lines) if line.startswith('File "')), default=-1)
        rest = [line for line in lines[last_place + 1 :] if line and not line.startswith(("[[", "Graph execution"))]
        line = rest[0] if rest else type(error).__name__
        if not text.startswith("Graph") and not type(error).__module__.startswith("tensorflow"):
            line = f"{type(error).__name__}: {line}"
    line = re.sub(r"^\{\{.*?\}\}\s*|\[Op:.*|\s+Label values:.*", "", line)
    line = " ".join(line.split())[:_LONGEST].rstrip(".")
    return f"{line}."
