"""Methods that change weights and leave the architecture: sparsity, clusters and quantization-aware training."""

from tfcompress.methods.weights.cluster import Cluster
from tfcompress.methods.weights.magnitude import Magnitude
from tfcompress.methods.weights.qat import QAT

__all__ = ["QAT", "Cluster", "Magnitude"]
