"""Pictures of a result by name."""

from __future__ import annotations

import os
from typing import Any

from tfcompress import expect
from tfcompress.report.history import plot_history
from tfcompress.report.layer_plot import plot_structure
from tfcompress.report.plots import plain_text
from tfcompress.report.spectrum import plot_changes, plot_spectrum
from tfcompress.report.stage_table import plot_stages
from tfcompress.report.students import plot_students, plot_updates

__all__ = ["draw"]

_PICTURES = {
    "history": plot_history,
    "structure": plot_structure,
    "spectrum": plot_spectrum,
    "stages": plot_stages,
    "changes": plot_changes,
    "students": plot_students,
    "updates": plot_updates,
}


def draw(result: Any, what: str, path: str | os.PathLike[str] | None) -> Any:
    """Draws the picture with this name, see `Result.plot`."""
    what = expect.one_of("what", what, tuple(_PICTURES), "Give a file as path=.")
    path = expect.path("path", path, or_none=True)
    with plain_text():
        return _PICTURES[what](result, path)
