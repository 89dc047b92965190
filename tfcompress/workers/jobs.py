"""`Job`: a function by name with its arguments; and the errors of jobs that fail."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

__all__ = ["Job", "JobError", "RaisedInJob"]


class JobError(RuntimeError):
    """A job raised an error, or its process died each time that it was run."""


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
        arguments: its arguments by name, as JSON data.
        name: name of the job, for messages.
    """

    function: str
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    name: str = "a job"

    def to_json(self, note: str) -> str:
        """Returns the job as text.

        Args:
            note: path of the file in which its process says why it ended.
        """
        return json.dumps({"function": self.function, "arguments": dict(self.arguments), "note": note})
