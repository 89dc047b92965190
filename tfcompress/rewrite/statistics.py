"""BatchNormalization statistics of a model, computed anew along its own path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfcompress.network import Network
from tfcompress.plan import Plan
from tfcompress.rewrite.subnetwork import Subnetwork

__all__ = ["reestimate_statistics"]


def reestimate_statistics(network: Network, batches: Sequence[Any]) -> bool:
    """Sets the running statistics of a model to their means over some batches of inputs, in place.

    After layers or channels were removed, the rest still has the statistics of its earlier inputs.

    Args:
        network: network of the model.
        batches: batches of inputs, structures of arrays `[batch, ...]`.

    Returns:
        Whether the model has such statistics; without any, or without batches, nothing is run.
    """
    subnetwork = Subnetwork(network.model, network.groups, prunable=())  # nothing is cut, so all widths are known
    if not subnetwork.statistics or not batches:
        return False
    for variable, value in zip(subnetwork.statistics, subnetwork.recalibrate(Plan(), batches), strict=True):
        variable.assign(value)
    return True
