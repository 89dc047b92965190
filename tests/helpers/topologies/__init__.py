"""Small models of every topology that the core must cut correctly, each with the fewest MACs it can be cut to.

`smallest` is worked out by hand from the topology: one channel is left of each group, one block of channels of each
grouped convolution. It is written before the code is asked, so that leaving something whole is never a way out.
"""

from topologies import (  # noqa: F401  (each registers its models)
    chains,
    fixed,
    merges,
    operators,
    rearranged,
    sequences,
    structures,
    transformers,
    wrapped,
)
from topologies.registry import TOPOLOGIES, Built, Topology, build

__all__ = ["TOPOLOGIES", "Built", "Topology", "build"]
