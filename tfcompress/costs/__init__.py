"""The cost of a model, counted; also of a plan, without building the model; and limits of it."""

from tfcompress._needs_tensorflow import BACKEND  # noqa: F401
from tfcompress.costs.alternatives import Alternative, alternatives
from tfcompress.costs.budget import Budget, LimitMissed
from tfcompress.costs.counts import Cost, CostModel, LayerCost, ModelCost, cost
from tfcompress.costs.metrics import Metric, Term, register_metric, registered_metrics, unregister_metric

__all__ = [
    "Alternative",
    "Budget",
    "Cost",
    "CostModel",
    "LayerCost",
    "LimitMissed",
    "Metric",
    "ModelCost",
    "Term",
    "alternatives",
    "cost",
    "register_metric",
    "registered_metrics",
    "unregister_metric",
]
