"""Extras: what is installed only where it is asked for, and how it is named where it is missing."""

from __future__ import annotations

import importlib
import sys
from typing import Any

__all__ = ["extra", "install_line"]

_EXTRAS = ("rl", "datasets", "plot", "ray", "tfmot", "quantizer", "onnx")


def extra(name: str, module: str, needs: str, advice: str = "") -> Any:
    """Imports a module that an extra of tfcompress installs.

    Args:
        name: of the extra: "rl", "datasets", "plot", "ray", "tfmot", "quantizer" or "onnx".
        module: such as "matplotlib.figure".
        needs: what needs it, to follow "Expected matplotlib, which", such as "pictures are drawn with".
        advice: a sentence on what works without it.

    Returns:
        The module.

    Raises:
        ImportError: it cannot be imported; the message has the line that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        missing = getattr(error, "name", None) in (package, module) and sys.modules.get(package) is None
        reason = "no module of that name" if missing else f"{type(error).__name__}: {error}"
        message = f"Expected {package}, which {needs}. Received: {reason}. Install it with `{install_line(name)}`."
        raise ImportError(f"{message} {advice}" if advice else message, name=package) from error


def install_line(name: str) -> str:
    """The line that installs an extra. Of "rl" it has a second part on Python 3.12 and later (docs/install.md)."""
    if name not in _EXTRAS:
        raise AssertionError(f"no extra {name!r}")
    line = f"pip install 'tfcompress[{name}]'"
    if name == "rl" and sys.version_info >= (3, 12):
        line += " && pip install --no-deps tf-agents==0.18.0"
    return line
