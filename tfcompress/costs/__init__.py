"""Costs: of a model or of a plan, counted without building the model; and limits for them."""

from tfcompress._needs_tensorflow import BACKEND  # noqa: F401
from tfcompress.costs.alternatives import Alternative, alternatives
from tfcompress.costs.budget import Budget, LimitMissed
from tfcompress.costs.counts import Cost, CostModel, LayerCost, ModelCost, cost
from tfcompress.costs.file_size import FileSize
from tfcompress.costs.latency import Latency, device, measure_latency
from tfcompress.costs.latency_table import LatencyTable, PartLatency, latency_of_parts
from tfcompress.costs.lookups import Lookup
from tfcompress.costs.metrics import Metric, Term, register_metric, registered_metrics, unregister_metric
from tfcompress.costs.parts import CostPart

__all__ = [
    "Alternative",
    "Budget",
    "Cost",
    "CostModel",
    "CostPart",
    "FileSize",
    "Latency",
    "LatencyTable",
    "LayerCost",
    "LimitMissed",
    "Lookup",
    "Metric",
    "ModelCost",
    "PartLatency",
    "Term",
    "alternatives",
    "cost",
    "device",
    "latency_of_parts",
    "measure_latency",
    "register_metric",
    "registered_metrics",
    "unregister_metric",
]
