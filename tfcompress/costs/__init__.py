"""What a model costs, counted; also of a plan, without building the model."""

from tfcompress._needs_tensorflow import BACKEND  # noqa: F401
from tfcompress.costs.counts import Cost, CostModel, LayerCost, ModelCost, cost

__all__ = ["Cost", "CostModel", "LayerCost", "ModelCost", "cost"]
