"""LiteRT as measurements use it: timed invocations, inputs, operators that XNNPACK leaves, and refusals in words.

Nothing here loads TensorFlow or Keras, so that a process of its own can measure the memory that a file takes.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["names_of", "numbers", "operators_outside_xnnpack", "timed", "unrunnable"]

_AGREEING = 3  # rounds
_RESOLUTION_MS = 1e-4  # differences below the clock's own steps say nothing
_DELEGATE = "DELEGATE"  # LiteRT's name for a part of the graph that XNNPACK took


def timed(
    invoke: Callable[[], Any],
    warm_up: int,
    runs: int,
    tolerance: float,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
    limit: Callable[[], float] = time.monotonic,
) -> tuple[list[float], bool]:
    """Times calls as described in `measure_latency`.

    Args:
        invoke: the function to time.
        warm_up, runs, tolerance, seconds: as for `measure_latency`.
        clock: returns seconds for timing a call.
        limit: returns seconds for the time limit.

    Returns:
        Milliseconds of the calls that count, and whether three rounds agreed.
    """
    for _ in range(warm_up):
        invoke()
    end = limit() + seconds
    rounds: list[list[float]] = []
    while True:
        rounds.append([])
        while len(rounds[-1]) < runs and (limit() < end or sum(map(len, rounds)) < _AGREEING):
            start = clock()
            invoke()
            rounds[-1].append(1e3 * (clock() - start))
        if len(rounds[-1]) < runs:
            return [each for part in rounds for each in part], False
        medians = [float(np.median(part)) for part in rounds[-_AGREEING:]]
        apart = max(medians) - min(medians)
        if len(medians) == _AGREEING and apart <= max(tolerance * float(np.median(medians)), _RESOLUTION_MS):
            return [each for part in rounds[-_AGREEING:] for each in part], True


def names_of(enum: type) -> dict[int, str]:
    """Returns the names of an enum of LiteRT's schema, such as `BuiltinOperator`, by their numbers."""
    return {value: name for name, value in vars(enum).items() if isinstance(value, int)}


def numbers(shape: Any, dtype: Any, generator: np.random.Generator) -> Any:
    """Returns an input of a shape and dtype: normal numbers, and zeros for integers."""
    kind = np.dtype(dtype)
    return (generator.standard_normal(shape) if kind.kind == "f" else np.zeros(shape)).astype(kind)


def operators_outside_xnnpack(interpreter: Any) -> tuple[int, dict[str, int]]:
    """Returns the number of operators in the file, and those that LiteRT's own kernels run, by name with their number.

    LiteRT keeps a replaced operator in its list. Those that still run are found backwards from the outputs, where what
    XNNPACK computes stands before the operator that it replaced.

    Args:
        interpreter: an interpreter with allocated tensors, by which time XNNPACK has taken what it takes.
    """
    nodes = interpreter._get_ops_details()
    operators = [node for node in nodes if node["op_name"] != _DELEGATE]
    delegates = [node for node in nodes if node["op_name"] == _DELEGATE]
    writers = {int(tensor): node for node in (*operators, *delegates) for tensor in node["outputs"]}
    reached: dict[int, Any] = {node["index"]: node for node in operators if not len(node["outputs"])}
    wanted = [int(detail["index"]) for detail in interpreter.get_output_details()]
    wanted += [int(tensor) for node in reached.values() for tensor in node["inputs"]]
    while wanted:
        node = writers.get(wanted.pop())
        if node is not None and node["index"] not in reached:
            reached[node["index"]] = node
            wanted += map(int, node["inputs"])
    outside = Counter(node["op_name"] for node in reached.values() if node["op_name"] != _DELEGATE)
    return len(operators), dict(sorted(outside.items()))


def unrunnable(text: str) -> str:
    """Returns a message for LiteRT's error about a file, with the operator by name."""
    named = re.findall(r"custom op: (\w+)|Node number \d+ \((\w+)\)", text)
    operators = sorted({custom or builtin for custom, builtin in named})
    first = " ".join(text.split())[:200] or "nothing"
    what = f"a file with {', '.join(operators)}, which LiteRT cannot run" if operators else "a file that it cannot run"
    return (
        f"Expected a TFLite file that LiteRT runs. Received: {what} ({first}). Convert it with only built-in operators."
    )
