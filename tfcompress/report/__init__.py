"""Tables and plots for people to read."""

from tfcompress.report.inspect import describe, inspect
from tfcompress.report.plots import plot_history

__all__ = ["describe", "inspect", "plot_history"]
