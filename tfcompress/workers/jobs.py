"""`Job`: a function by its name and what it is called with; and the error of one that cannot be done."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

__all__ = ["Job", "JobError", "RaisedInJob"]


class JobError(RuntimeError):
    """A job that raised an error, or whose process died each time that it was run."""


class RaisedInJob(JobError):
    """An error that a job raised.

    Attributes:
        words: its kind and its message.
    """

    def __init__(self, name: str, words: str, traceback: str) -> None:
        super().__init__(f"Expected an answer of {name}. Received: {words}\n{traceback}")
        self.words = words


@dataclasses.dataclass(frozen=True)
class Job:
    """A call that can be made in any process.

    Attributes:
        function: `module:name` of a function that can be imported.
        arguments: what it is called with, by name: JSON data.
        name: of the job, for messages.
    """

    function: str
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    name: str = "a job"

    def to_json(self, note: str) -> str:
        """The job as text.

        Args:
            note: path of the file in which its process says why it ended.
        """
        return json.dumps({"function": self.function, "arguments": dict(self.arguments), "note": note})
