"""A device that does not exist: it takes the time of 16 output channels at once, and the same in every network."""

import contextlib
import math
from unittest import mock

from tfcompress import latency_planning
from tfcompress.costs import latency
from tfcompress.operators import measuring, prediction
from tfcompress.operators.lite_file import LiteFile

OVERHEAD_NS = 1000
EACH_NS = 100


def ns_of(operator):
    """100 ns for an operator, and a hundredth for each multiply-add, as if output channels were a multiple of 16."""
    out = operator.outputs[0].shape
    tiles = 16 * -(-out[-1] // 16)
    if operator.kind in ("CONV_2D", "FULLY_CONNECTED", "DEPTHWISE_CONV_2D"):
        kernel = operator.inputs[1].shape
        read = math.prod(kernel[1:]) if operator.kind != "DEPTHWISE_CONV_2D" else math.prod(kernel[:-1])
        return EACH_NS + 0.01 * math.prod(out[1:-1]) * tiles * read
    return EACH_NS + 0.01 * math.prod(out)


def milliseconds(content, threads=1, **limits):
    """Stands for LiteRT."""
    operators = LiteFile(content).operators
    if [operator.kind for operator in operators] == ["ADD"] and operators[0].outputs[0].shape == (1,):
        return OVERHEAD_NS / 1e6
    return (OVERHEAD_NS + sum(map(ns_of, operators))) / 1e6


def share_of(content, whole, threads=1, **limits):
    """Stands for two files in turn."""
    return milliseconds(content) / milliseconds(whole)


def measure_latency(model, batch=None, threads=1, **settings):
    """Stands for `tfcompress.costs.measure_latency`."""
    ms = milliseconds(model if isinstance(model, bytes) else latency.file_for_latency(model, batch or 1))
    return latency.Latency(ms, 0.0, 1, batch or 1, threads, True)


@contextlib.contextmanager
def tiled_device():
    """Within it, this device is the one that takes tiles."""
    with contextlib.ExitStack() as stack:
        for module, name, stand_in in (
            (measuring, "milliseconds", milliseconds),
            (prediction, "milliseconds", milliseconds),
            (prediction, "share_of", share_of),
            (latency, "measure_latency", measure_latency),
        ):
            stack.enter_context(mock.patch.object(module, name, stand_in))
        stack.enter_context(mock.patch.dict(latency_planning._TABLES, clear=True))
        yield
