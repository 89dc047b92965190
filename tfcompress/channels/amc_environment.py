"""The environment of AMC's agent: RLAL's, with the eleven numbers of AMC's state, and bounds on one side only."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from tfcompress.channels.environment import PruningEnvironment

__all__ = ["AMC_STATE_SIZE", "AmcEnvironment"]

AMC_STATE_SIZE = 11


class AmcEnvironment(PruningEnvironment):
    """Turns a sequence of pruning rates into channel counts within the budget, whatever the rates are.

    AMC, Section 3.1 and Algorithm 1. A rate is raised if the budget could not be met otherwise, with all later units at
    their smallest; it is never lowered, so a plan may stay below the budget. Without a budget every rate is applied
    unchanged.
    """

    def _describe(self) -> npt.NDArray[np.float32]:
        """Returns float32 `[units, 7]`: RLAL's five numbers, and height and width of the input, over their largest."""
        layers = [self.costs.groups.layers[unit.groups[0].producers[0]] for unit in self.units]
        sizes = []
        for item in layers:
            shape, axis = item.node.input_shapes[0], item.call.inputs[0].axis
            spatial = [size or 1 for place, size in enumerate(shape) if place not in (0, axis)]
            sizes.append([spatial[0], math.prod(spatial[1:])] if spatial else [1, 1])
        table = np.array(sizes, np.float64)
        return np.hstack([super()._describe(), table / table.max(axis=0)]).astype(np.float32)

    def state(self) -> npt.NDArray[np.float32]:
        """Returns float32 `[11]`, AMC's Section 3.1: t, n, c, h, w, stride, k, FLOPs[t], reduced, rest, a_{t-1}, each
        scaled to [0, 1]. Zeros at the end.

        The numbers are those of the first layer that writes the unit's channels: its index, output and input channels,
        height and width of its input (1 if it has none), stride, kernel, the FLOPs of its channels; the FLOPs that
        earlier actions removed, those of the units to come, and the last rate.
        """
        if self.done:
            return np.zeros(AMC_STATE_SIZE, np.float32)
        at = self._position
        c, n, stride, kernel, flops, h, w = self._descriptions[at]
        total = self.costs.total.macs
        whole, now = self.costs.count("macs", np.stack([self._whole, self._kept])).tolist()
        reduced, rest = (whole - now) / total, self._shares_around()[1]
        numbers = [at / len(self.units), n, c, h, w, stride, kernel, flops, reduced, rest, self._last_rate]
        return np.array(numbers, np.float32)

    def bounds(self) -> tuple[int, int]:
        """Returns the least and the greatest width of the current unit with which the budget can still be met."""
        return 1, super().bounds()[1]
