"""Tables and plots for people to read."""

from tfcompress._needs_tensorflow import BACKEND  # noqa: F401
from tfcompress.report.history import plot_history
from tfcompress.report.inspect import describe, inspect
from tfcompress.report.inspection import Inspection
from tfcompress.report.plots import plot_lines, plot_sensitivity
from tfcompress.report.sensitivity import Sensitivity, sensitivity
from tfcompress.report.spectrum import changes, plot_changes, plot_spectrum
from tfcompress.report.students import plot_students, plot_updates

__all__ = [
    "Inspection",
    "Sensitivity",
    "changes",
    "describe",
    "inspect",
    "plot_changes",
    "plot_history",
    "plot_lines",
    "plot_sensitivity",
    "plot_spectrum",
    "plot_students",
    "plot_updates",
    "sensitivity",
]
