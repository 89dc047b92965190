"""Methods that change weights and leave the architecture: magnitude pruning, on tensorflow-model-optimization."""

from tfcompress.methods.weights.magnitude import Magnitude

__all__ = ["Magnitude"]
