"""`tfcompress methods`."""

from __future__ import annotations

import argparse
import inspect

from tfcompress.cli.command import Command

__all__ = ["COMMAND"]


def _run(args: argparse.Namespace) -> None:
    del args
    from tfcompress.methods import registered_methods
    from tfcompress.methods.settings import as_text, settings_of

    for name, cls in registered_methods().items():
        settings = settings_of(cls())
        rows = [(setting.name, as_text(setting.default), setting.description) for setting in settings]
        name_width, default_width = (max((len(row[i]) for row in rows), default=0) for i in (0, 1))
        first_line = (inspect.getdoc(cls) or "").partition("\n")[0]
        print(f"{name}: {first_line}")
        for setting, default, description in rows:
            print(f"  {setting.ljust(name_width)} = {default.ljust(default_width)}  {description}".rstrip())
        print()
    print("`tfcompress compress ... --method NAME --set SETTING=VALUE` changes a setting.")


COMMAND = Command("methods", "the methods, with their settings and defaults", _run)
