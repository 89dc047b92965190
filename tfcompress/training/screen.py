"""Where lines of a long run go: a terminal, a notebook, or a file, which shows a line when it is finished."""

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
    """A stream of text in which a line stays, or is there until the next one.

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
        """How many characters fit beside one another; `None` for any number."""
        return None

    def line(self, text: str) -> None:
        """Shows a line that stays."""
        self._write(f"{text}\n")

    def update(self, text: str) -> None:
        """Shows a line in the place of the one that was there for a while."""

    def keep(self) -> None:
        """Makes the line that is there for a while stay."""

    def clear(self) -> None:
        """Takes the line away that is there for a while."""

    def _write(self, text: str) -> None:
        self._stream.write(text)
        if flush := getattr(self._stream, "flush", None):
            flush()


class Plain(Screen):
    """A file, a pipe, or a program without a terminal: lines that stay alone."""


class Terminal(Screen):
    """A terminal, in which one line is written over."""

    updates = True

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._shown = ""

    @property
    def columns(self) -> int | None:
        """One less than the window has: a line that fills it would wrap, and could not be written over."""
        return shutil.get_terminal_size().columns - 1

    def line(self, text: str) -> None:
        """Shows a line that stays, in the place of the one that was there for a while."""
        self.clear()
        super().line(text)

    def update(self, text: str) -> None:
        """Writes over the line that was there."""
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
    """The output of a cell, in which one output is exchanged; a saved notebook holds its last state alone.

    Args:
        stream: for lines that stay.
        display: IPython's function of that name.
    """

    updates = True

    def __init__(self, stream: Any, display: Callable[..., Any]) -> None:
        super().__init__(stream)
        self._display = display
        self._output: Any = None

    @property
    def columns(self) -> int | None:
        """A cell is about as wide, and scrolls where it is not."""
        return _NOTEBOOK_COLUMNS

    def line(self, text: str) -> None:
        """Shows a line that stays, in the place of the one that was there for a while."""
        if self._output is None:
            super().line(text)
            return
        self.update(text)
        self._output = None

    def update(self, text: str) -> None:
        """Exchanges the output."""
        shown = {"text/plain": text}
        if self._output is None:
            self._output = self._display(shown, raw=True, display_id=True)
        else:
            self._output.update(shown, raw=True)

    def keep(self) -> None:
        """Leaves the output as it is."""
        self._output = None

    def clear(self) -> None:
        """Empties the output, which the next line takes."""
        if self._output is not None:
            self.update("")


def screen_of(stream: Any, in_place: bool = True) -> Screen:
    """Returns what shows lines in a stream: in place where that is a terminal or the output of a notebook.

    Args:
        stream: one that does not say whether it is a terminal is taken for a file.
        in_place: `False` for lines that stay alone.
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
    """Whether a stream is Python's own: that of a kernel is not, unless it was redirected."""
    return isinstance(stream, (io.StringIO, io.TextIOWrapper))


def _display_of_notebook() -> Callable[..., Any] | None:
    """IPython's `display`, where this process is the kernel of a notebook; `None` in an IPython of a terminal."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if getattr(shell, "kernel", None) is None:
        return None
    with contextlib.suppress(ImportError):
        from IPython.display import display

        return display  # type: ignore[no-any-return]
    return None
