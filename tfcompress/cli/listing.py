"""`tfcompress methods`."""

from __future__ import annotations

import argparse
import inspect
from typing import TYPE_CHECKING

from tfcompress.cli.command import Command

if TYPE_CHECKING:
    from tfcompress.methods import Method

__all__ = ["COMMAND"]


def _run(args: argparse.Namespace) -> None:
    del args
    from tfcompress.methods import registered_methods
    from tfcompress.methods.settings import as_text, settings_of

    methods = registered_methods()
    width = max(map(len, methods))
    print("When to choose which:")
    for name, cls in methods.items():
        print(f"  {name.ljust(width)}  {cls.when}".rstrip())
    print()
    for name, cls in methods.items():
        settings = settings_of(cls())
        rows = [(setting.name, as_text(setting.default), setting.description) for setting in settings]
        name_width, default_width = (max((len(row[i]) for row in rows), default=0) for i in (0, 1))
        first_line = (inspect.getdoc(cls) or "").partition("\n")[0]
        print(f"{name}: {first_line}")
        print(f"  presets: {_presets(cls)}")
        for setting, default, description in rows:
            print(f"  {setting.ljust(name_width)} = {default.ljust(default_width)}  {description}".rstrip())
        print()
    print("`tfcompress compress ... --method NAME --preset PRESET --set SETTING=VALUE` changes a setting of a preset.")


def _presets(cls: type[Method]) -> str:
    """Returns the presets of a method; presets of a paper are named after its networks."""
    from tfcompress.methods.settings import as_text

    said = []
    for preset, settings in cls.presets().items():
        values = ", ".join(f"{name}={as_text(value)}" for name, value in settings.items())
        if preset == "balanced":
            values = "the defaults below"
        elif preset == "paper":
            values = f"{cls.__name__}.as_published(), of {', '.join(cls.published())}"
        said.append(f"{preset} ({values})")
    return ", ".join(said)


COMMAND = Command("methods", "the methods, with their settings and defaults", _run)
