"""The screen for lines of a long run: a terminal, a notebook, or a file, which gets only finished lines."""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["Notebook", "Plain", "Screen", "Terminal", "screen_of"]

_NOTEBOOK_COLUMNS = 100


class Screen:
    """A stream of text with lines that stay, and lines that the next one replaces.

    Args:
        stream: anything with `write`.

    Attributes:
        updates: whether `update` shows anything.
    """

    updates = False

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    @property
    def columns(self) -> int | None:
        """Number of characters that fit into a line; `None` for any number."""
        return None

    def line(self, text: str) -> None:
        """Shows a line that stays."""
        self._write(f"{text}\n")

    def update(self, text: str) -> None:
        """Shows a temporary line, in place of the last temporary one."""

    def keep(self) -> None:
        """Makes the temporary line stay."""

    def clear(self) -> None:
        """Removes the temporary line."""

    def _write(self, text: str) -> None:
        self._stream.write(text)
        if flush := getattr(self._stream, "flush", None):
            flush()


class Plain(Screen):
    """A file, a pipe, or a program without a terminal: shows only lines that stay."""


class Terminal(Screen):
    """A terminal, in which one line is overwritten."""

    updates = True

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._shown = ""

    @property
    def columns(self) -> int | None:
        """Width of the window minus one: a line that fills the window would wrap, and could not be overwritten."""
        return shutil.get_terminal_size().columns - 1

    def line(self, text: str) -> None:
        """Shows a line that stays, in place of the temporary one."""
        self.clear()
        super().line(text)

    def update(self, text: str) -> None:
        """Overwrites the temporary line."""
        self._shown = text[: self.columns]
        self._write(f"\r{self._shown}\x1b[K")

    def keep(self) -> None:
        """Ends the line."""
        if self._shown:
            self._write("\n")
            self._shown = ""

    def clear(self) -> None:
        """Empties the line."""
        if self._shown:
            self._write("\r\x1b[K")
            self._shown = ""


class Notebook(Screen):
    """The output of a notebook cell, in which one output is replaced; a saved notebook holds only its last state.

    Args:
        stream: the stream for lines that stay.
        display: IPython's function of that name.
    """

    updates = True

    def __init__(self, stream: Any, display: Callable[..., Any]) -> None:
        super().__init__(stream)
        self._display = display
        self._output: Any = None

    @property
    def columns(self) -> int | None:
        """Approximate width of a cell, which scrolls if that is too much."""
        return _NOTEBOOK_COLUMNS

    def line(self, text: str) -> None:
        """Shows a line that stays, in place of the temporary one."""
        if self._output is None:
            super().line(text)
            return
        self.update(text)
        self._output = None

    def update(self, text: str) -> None:
        """Replaces the output."""
        shown = {"text/plain": text}
        if self._output is None:
            self._output = self._display(shown, raw=True, display_id=True)
        else:
            self._output.update(shown, raw=True)

    def keep(self) -> None:
        """Leaves the output unchanged."""
        self._output = None

    def clear(self) -> None:
        """Empties the output, so that the next line uses it."""
        if self._output is not None:
            self.update("")


def screen_of(stream: Any, in_place: bool = True) -> Screen:
    """Returns the screen for a stream: one that updates in place if it is a terminal or the output of a notebook.

    Args:
        stream: the stream; if it does not say whether it is a terminal, it counts as a file.
        in_place: `False` to show only lines that stay.
    """
    if not in_place:
        return Plain(stream)
    if _is_terminal(stream):
        return Terminal(stream)
    display = _display_of_notebook() if stream is sys.stdout and not _is_file(stream) else None
    return Plain(stream) if display is None else Notebook(stream, display)


def _is_terminal(stream: Any) -> bool:
    isatty = getattr(stream, "isatty", None)
    return isatty is not None and bool(isatty())


def _is_file(stream: Any) -> bool:
    """Whether a stream is one of Python's own; a kernel's stream is not, unless it was redirected."""
    return isinstance(stream, (io.StringIO, io.TextIOWrapper))


def _display_of_notebook() -> Callable[..., Any] | None:
    """Returns IPython's `display` if this process is a notebook kernel; `None` in an IPython terminal."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if getattr(shell, "kernel", None) is None:
        return None
    with contextlib.suppress(ImportError):
        from IPython.display import display

        return display  # type: ignore[no-any-return]
    return None
