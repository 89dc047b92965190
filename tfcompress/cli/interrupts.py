"""Ctrl-C: said in one line and with exit code 130, whatever the process does when it comes."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self

__all__ = ["Interrupts"]

_CODE = 130  # as shells say it of a process that SIGINT ended


class Interrupts:
    """A context that ends the process with a line where it is interrupted.

    The first signal raises KeyboardInterrupt, so that everything is closed on the way out. Libraries may make another
    exception of it while they are imported, or lose it: whatever is raised after a signal is taken for its
    consequence, and a second signal ends the process at once.

    Attributes:
        came: whether there was a signal.
        words: gives what is kept and how to go on, once that is known.
        traceback: whether to show where it was interrupted.
    """

    def __init__(self) -> None:
        self.came = False
        self.words: Callable[[], str] = lambda: ""
        self.traceback = False
        self._before: object = None

    def __enter__(self) -> Self:
        # A process that was told to ignore the signal (by nohup, or in the background of a script) ignores it.
        if _in_main_thread() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._before = signal.signal(signal.SIGINT, self._come)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self.came and self._before is not None:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        interrupted = isinstance(error, KeyboardInterrupt) or (self.came and not isinstance(error, SystemExit))
        if interrupted and not self.traceback:
            print(self._message(), file=sys.stderr)
            raise SystemExit(_CODE) from None

    def _come(self, number: int, frame: FrameType | None) -> None:
        if self.came:
            os.write(2, f"\n{self._message()}\n".encode())
            os._exit(_CODE)
        self.came = True
        raise KeyboardInterrupt

    def _message(self) -> str:
        words = self.words()
        return f"tfcompress: interrupted; {words}" if words else "tfcompress: interrupted"


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
