"""tfcompress makes trained Keras networks small and fast.

    result = tfcompress.compress(model, method="rlal", flops_budget=0.5, data="cifar10")

Names are loaded when they are first used, so that parts which need nothing but Keras (`tfcompress.zoo`) also run where
TensorFlow is not installed.
"""

from typing import TYPE_CHECKING, Any

from tfcompress._lazy import loader

if TYPE_CHECKING:
    from tfcompress.benchmarking import Benchmark, FileBenchmark, benchmark
    from tfcompress.channels import Control
    from tfcompress.comparing import compare
    from tfcompress.costs import Budget, Cost, cost
    from tfcompress.plan import KeepChannels, Plan, Reconfigure, RemoveLayers, ReplaceLayers, Trail
    from tfcompress.report.inspect import inspect
    from tfcompress.report.inspection import Inspection
    from tfcompress.report.sensitivity import Sensitivity, sensitivity
    from tfcompress.result import Result
    from tfcompress.training import Objective
    from tfcompress.workflow import compress

__version__ = "0.1.0"

_HOMES = {
    "Benchmark": "benchmarking",
    "Budget": "costs",
    "Control": "channels",
    "Cost": "costs",
    "FileBenchmark": "benchmarking",
    "Inspection": "report",
    "KeepChannels": "plan",
    "Objective": "training",
    "Plan": "plan",
    "Reconfigure": "plan",
    "RemoveLayers": "plan",
    "ReplaceLayers": "plan",
    "Result": "result",
    "Sensitivity": "report",
    "Trail": "plan",
    "benchmark": "benchmarking",
    "compare": "comparing",
    "compress": "workflow",
    "cost": "costs",
    "inspect": "report",
    "sensitivity": "report",
}
_PLAIN = ("KeepChannels", "Plan", "Reconfigure", "RemoveLayers", "ReplaceLayers", "Trail")  # data that know no Keras
_PACKAGES = (
    "costs", "data", "export", "graph", "importance", "layers", "methods", "replacements", "rewrite", "training", "zoo",
)  # fmt: skip

__all__ = [
    "Benchmark",
    "Budget",
    "Control",
    "Cost",
    "FileBenchmark",
    "Inspection",
    "KeepChannels",
    "Objective",
    "Plan",
    "Reconfigure",
    "RemoveLayers",
    "ReplaceLayers",
    "Result",
    "Sensitivity",
    "Trail",
    "__version__",
    "benchmark",
    "compare",
    "compress",
    "cost",
    "inspect",
    "sensitivity",
]


_load = loader(__name__, _HOMES, ("_needs_tensorflow", *_PACKAGES))


def __getattr__(name: str) -> Any:
    if name in _HOMES and name not in _PLAIN:
        _load("_needs_tensorflow")
    return _load(name)


def __dir__() -> list[str]:
    return sorted([*__all__, *_PACKAGES])
