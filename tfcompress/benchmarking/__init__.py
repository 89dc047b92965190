"""Files side by side: latency, memory, size, and what XNNPACK leaves.

Names are loaded when they are first used: the processes that measure a TFLite file import this package without
TensorFlow.
"""

from typing import TYPE_CHECKING, Any

from tfcompress._lazy import loader

if TYPE_CHECKING:
    from tfcompress.benchmarking.comparing import benchmark
    from tfcompress.benchmarking.table import Benchmark, FileBenchmark

__all__ = ["Benchmark", "FileBenchmark", "benchmark"]

_load = loader(__name__, {"Benchmark": "table", "FileBenchmark": "table", "benchmark": "comparing"})


def __getattr__(name: str) -> Any:
    return _load(name)
