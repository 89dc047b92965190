"""What a model costs, counted; also of a plan, without building the model."""

from tfcompress.costs.counts import Cost, CostModel, LayerCost, ModelCost, cost

__all__ = ["Cost", "CostModel", "LayerCost", "ModelCost", "cost"]
