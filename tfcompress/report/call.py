"""The call of `compress` that a result came from, as text."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Mapping
from typing import Any

import keras

from tfcompress import methods
from tfcompress.methods import registered_methods

__all__ = ["call_of"]

_NAME = re.compile(r"\w+(\.[\w<>]+)+")  # of a function or a class, with its module
_GIVEN = ("as given", "given by the caller")  # how the note on an objective ends that the call gave
_LONG = 88
_BUDGETS = {"params": "params_budget", "latency_ms": "latency_budget", "file_bytes": "size_budget"}


def call_of(result: Any) -> str:
    """Returns, as Python, the call that makes a result again; model and data, which it does not hold, are names.

    Args:
        result: a `Result`, which may be a loaded one.
    """
    method, remarks = _stages(result) if result.stages else _method(result)
    said = [line for note in result.notes if note.startswith("training: ") for line in note.splitlines()]
    given = [note for note in result.notes if note.endswith(_GIVEN)]
    controls = _control(result)
    imports = ["import keras"] if any("keras.layers." in line for line in controls) else []
    lines = [
        *imports,
        "import tfcompress",
        "",
        "result = tfcompress.compress(",
        f"    model,  # {result.model.name}, as it was given",
        f"    {method},",
        *(f"    # {line}" for line in remarks),
        "    data,",
        *(f"    # {line}" for line in said),
        *(f"    {line}," for line in (*_budget(result), *_split(result), *controls)),
        *(f"    # objective= was given: {note}" for note in given),
        f"    seed={result.seed},",
        ")",
    ]
    return "\n".join(lines)


def _method(result: Any) -> tuple[str, list[str]]:
    """Returns the method as an expression, and comments on settings that cannot be written as text."""
    cls = registered_methods().get(result.method)
    if cls is None or not hasattr(methods, cls.__name__):
        settings = ", ".join(f"{name}={_text(value)}" for name, value in result.settings.items())
        return repr(result.method), [f"its settings: {settings}"] if settings else []
    made = {preset: cls.with_preset(preset) for preset in cls.presets()}
    changes = {preset: _changes(method.settings(), result.settings) for preset, method in made.items()}
    preset = min(made, key=lambda name: (len(changes[name]), name != "balanced"))
    arguments, remarks = [] if preset == "balanced" else [repr(preset)], []
    for name, value in changes[preset].items():
        said = _setting(getattr(made[preset], name, None), value)
        if said is None:
            remarks.append(f"{name}= was {_text(value)}")
        else:
            arguments.append(f"{name}={said}")
    if not arguments:
        return repr(result.method), remarks
    maker = "" if preset == "balanced" else ".with_preset"
    line = f"tfcompress.methods.{cls.__name__}{maker}({', '.join(arguments)})"
    if len(line) > _LONG:
        inside = "".join(f"        {argument},\n" for argument in arguments)
        line = f"tfcompress.methods.{cls.__name__}{maker}(\n{inside}    )"
    return line, remarks


def _stages(result: Any) -> tuple[str, list[str]]:
    """Returns the methods of a flow as a list, and comments on settings that cannot be written as text."""
    lines, remarks = [], []
    for stage in result.stages:
        method, said = _method(stage)
        lines.append("        " + method.replace("\n", "\n    ") + ",")
        remarks += [f"{stage.method}: {remark}" for remark in said]
    return "[\n" + "\n".join(lines) + "\n    ]", remarks


def _split(result: Any) -> list[str]:
    """Returns the split of a flow's budget as an argument, if it was given."""
    split = result.settings.get("split") if result.stages else None
    return [] if split is None else [f"split={_text(split)}"]


def _changes(given: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in given or given[name] != value}


def _setting(default: Any, value: Any) -> str | None:
    """Returns a setting as an expression; `None` if that is impossible, as for a model or a user's function."""
    if isinstance(value, str) and _NAME.fullmatch(value) and value.partition(".")[0] in sys.modules:
        return value if value.startswith("tfcompress.") else None
    if not isinstance(value, Mapping):
        return _text(value)
    home, fields = value.get("name"), {name: inner for name, inner in value.items() if name != "name"}
    if home is None and dataclasses.is_dataclass(default):
        home = f"{type(default).__module__}.{type(default).__qualname__}"
        fields = _changes(_plain_fields(default), fields)
    if home is None or not home.startswith("tfcompress."):
        return None
    inner = {name: _setting(getattr(default, name, None), each) for name, each in fields.items()}
    if None in inner.values():
        return None
    return f"{home}({', '.join(f'{name}={said}' for name, said in inner.items())})"


def _plain_fields(owner: Any) -> dict[str, Any]:
    values = {field.name: getattr(owner, field.name) for field in dataclasses.fields(owner)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _text(value: Any) -> str:
    """Returns plain data as Python; lists become the tuples that they were."""
    if isinstance(value, (list, tuple)):
        return f"({', '.join(map(_text, value))}{',' if len(value) == 1 else ''})"
    return repr(value)


def _budget(result: Any) -> list[str]:
    """Returns the limits as arguments."""
    others, lines = {}, []
    for metric, limit in result.budget.items():
        if metric == "macs":
            lines.append(f"flops_budget={2 * limit if isinstance(limit, int) else limit!r}")
        elif metric in _BUDGETS:
            lines.append(f"{_BUDGETS[metric]}={limit!r}")
        else:
            others[metric] = limit
    return [*lines, f"budget={others!r}"] if others else lines


def _control(result: Any) -> list[str]:
    """Returns the control as arguments; a name of a Keras class that is not a layer's name becomes the class."""
    layers = {facts.name for facts in result.layers_before}

    def said(pattern: str) -> str:
        is_class = pattern not in layers and isinstance(getattr(keras.layers, pattern, None), type)
        return f"keras.layers.{pattern}" if is_class else repr(pattern)

    lines = []
    for name, value in result.control.items():
        if name in ("exclude", "only"):
            lines.append(f"{name}=({''.join(f'{said(pattern)}, ' for pattern in value).rstrip()})")
        elif name == "ratio_limits":
            pairs = ", ".join(f"{said(pattern)}: {_text(limits)}" for pattern, limits in value.items())
            lines.append(f"ratio_limits={{{pairs}}}")
        else:
            lines.append(f"{name}={value!r}")
    return lines
