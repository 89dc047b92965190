"""The environment of RLAL's agent: an episode goes once over the pruning units and ends at the budget.

Section 3.2 and appendix A of RLAL. Plain numpy: an episode takes a few milliseconds without the reward.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tfcompress.channels.control import Control, Widths
from tfcompress.channels.feasibility import INSIDE_BLOCKS, inside_units, reachable
from tfcompress.channels.units import PruningUnit
from tfcompress.costs import Budget, CostModel
from tfcompress.costs.metrics import LOOKED_UP

__all__ = ["STATE_SIZE", "PruningEnvironment"]

STATE_SIZE = 9


class PruningEnvironment:
    """Turns a sequence of pruning rates into channel counts that meet the budget, whatever the rates are.

    Equations (12) and (13) of RLAL bound a rate by the FLOPs of single layers. Here the cost of the whole plan is used
    instead, which is the same if layers are independent, and also right if they are not (VGG). Channels are whole
    numbers, so the removal is rounded up at the lower bound, and every later unit's smallest width is reserved: the
    finished plan is never above the budget, and below it by less than the cost of one channel of the last unit (of one
    step, if channels are removed in multiples).

    Args:
        costs: the model's cost model.
        units: the units that the actions prune, in order.
        budget: upper limits for the finished model.
        allowed: the widths that groups may have; all by default. Units without a choice are left out.

    Attributes:
        units: the units that the agent acts on.

    Raises:
        ValueError: no units, or a budget that cannot be reached by pruning only the units.
    """

    def __init__(
        self,
        costs: CostModel,
        units: tuple[PruningUnit, ...],
        budget: Budget,
        allowed: Widths | None = None,
    ) -> None:
        self._allowed = Control().widths(costs.groups) if allowed is None else allowed
        index = {name: i for i, name in enumerate(costs.groups.groups)}
        pairs = [(unit, np.array([index[group.name] for group in unit.groups])) for unit in units]
        pairs = [(unit, groups) for unit, groups in pairs if self._allowed.free[groups].any()]
        if not pairs:
            raise ValueError(
                "Expected a model with prunable channels. Received one in which every channel is fixed or left out. "
                "tfcompress.inspect(model) shows why."
            )
        self.costs, self.units, self.limits = costs, tuple(unit for unit, _ in pairs), budget.limits(costs.total)
        self._groups = [groups for _, groups in pairs]
        self._widest = [
            int(groups[np.argmax(costs.sizes[groups] * self._allowed.free[groups])]) for groups in self._groups
        ]
        self._check_outside()
        least = reachable(costs, inside_units(self._allowed, costs.groups, self.units))
        budget.check_reachable(costs.total, least, INSIDE_BLOCKS)
        # Where the agent has no say: groups of other units that have one width only, below their size.
        self._whole = self._allowed.greatest.copy()
        self._smallest = self._whole.copy()
        for groups in self._groups:
            self._smallest[groups] = self._allowed.least[groups]
        self._descriptions = self._describe()
        self._kept = self._whole.copy()
        self._position = 0
        self._last_rate = 0.0

    def _check_outside(self) -> None:
        """Refuses settings that ask for pruning outside of the units."""
        outside = self._allowed.greatest < self.costs.sizes
        outside[np.concatenate(self._groups)] = False
        if outside.any():
            name = list(self.costs.groups.groups)[int(outside.argmax())]
            raise ValueError(
                "Expected minimum ratios only for channels inside blocks, which this method prunes. Received: one for "
                f"{name!r}, between blocks. Remove it from ratio_limits, or choose method='uniform'."
            )

    def _describe(self) -> npt.NDArray[np.float32]:
        """Returns float32 `[units, 5]`: the constant parts of the state: input, output, stride, kernel, FLOPs."""
        rows = []
        for unit, groups in zip(self.units, self._groups, strict=True):
            item = self.costs.groups.layers[unit.groups[0].producers[0]]
            what = item.handler.describe(item.call)
            without = self.costs.sizes.copy()
            without[groups] = 0
            macs = self.costs.total.macs - int(self.costs.count("macs", without))
            rows.append([len(item.call.inputs[0]), unit.size, what["stride"], what["kernel_size"], macs])
        table = np.array(rows, dtype=np.float64)
        widest = table[:, :2].max()
        scale = np.array([widest, widest, table[:, 2].max(), table[:, 3].max(), self.costs.total.macs])
        return (table / scale).astype(np.float32)

    def __len__(self) -> int:
        return len(self.units)

    @property
    def done(self) -> bool:
        """Whether every unit has been pruned."""
        return self._position == len(self.units)

    @property
    def kept(self) -> npt.NDArray[np.int64]:
        """int64 `[groups]`: channels that each group keeps so far."""
        return self._kept.copy()

    def reset(self) -> npt.NDArray[np.float32]:
        """Begins an episode with the unpruned model; returns the first state."""
        self._kept = self._whole.copy()
        self._position = 0
        self._last_rate = 0.0
        return self.state()

    def state(self) -> npt.NDArray[np.float32]:
        """Returns float32 `[9]`, Equation (1) of RLAL: index, input and output channels, stride, kernel, FLOPs of this
        unit, FLOPs of the units before (pruned) and after (whole), last rate; each scaled to about [0, 1]. Zeros at the
        end.
        """
        if self.done:
            return np.zeros(STATE_SIZE, np.float32)
        at = self._position
        return np.array(
            [at / len(self.units), *self._descriptions[at], *self._shares_around(), self._last_rate], dtype=np.float32
        )

    def _shares_around(self) -> tuple[float, float]:
        """Returns shares of the model's FLOPs of the units before the current one (pruned) and after it (whole)."""
        at = self._position
        # The cost of a part is the total without the other units; what no unit prunes is in all three and cancels.
        none = self.costs.sizes.copy()
        none[np.concatenate(self._groups)] = 0
        before, after = none.copy(), none.copy()
        for unit, groups in enumerate(self._groups):
            part = before if unit < at else after if unit > at else none
            part[groups] = self._kept[groups] if unit != at else 0
        nothing, spent, left = self.costs.count("macs", np.stack([none, before, after])).tolist()
        total = self.costs.total.macs
        return (spent - nothing) / total, (left - nothing) / total

    def widths(self, unit: int, width: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Returns int64 `[..., groups of the unit]`: its groups' widths if the widest one with a choice is `width`."""
        groups, widest = self._groups[unit], self._widest[unit]
        share = self._allowed.floor(np.asarray(width)[..., None], [widest]) / self.costs.sizes[widest]
        return self._allowed.rounded(np.ceil(self.costs.sizes[groups] * share - 1e-9), groups)

    def _fits(self, kept: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Returns bool `[...]`: whether widths `[..., groups]` are within the budget."""
        fits = np.ones(kept.shape[:-1], dtype=bool)
        for metric, limit in self.limits.items():
            fits &= self.costs.count(metric, kept) <= limit
        return fits

    def even_rate(self) -> float:
        """Returns the pruning rate, equal for all units, that meets the budget; 1 if none does."""
        rates = np.linspace(0, 1, 201)
        kept = np.repeat(self._whole[None], len(rates), axis=0)
        for unit, groups in enumerate(self._groups):
            size = self.costs.sizes[self._widest[unit]]
            kept[:, groups] = self.widths(unit, np.maximum(1, size - np.floor(rates * size + 1e-6)))
        fits = self._fits(kept)
        return float(rates[fits.argmax()]) if fits.any() else 1.0

    def moved(
        self, kept: npt.NDArray[np.int64], narrower: int, wider: int, channels: int
    ) -> npt.NDArray[np.int64] | None:
        """Returns int64 `[groups]`: the widths after one unit gave up channels and another took as many as then fit.

        Args:
            kept: widths `[groups]` within the budget.
            narrower: the unit that gives up channels.
            wider: the unit that becomes as wide as the budget allows.
            channels: number of channels to give up; fewer if fewer may be removed.

        Returns:
            `None` if nothing moves.
        """
        moved = kept.copy()
        now = int(kept[self._widest[narrower]])
        moved[self._groups[narrower]] = self.widths(narrower, max(1, now - channels))
        size = int(self.costs.sizes[self._widest[wider]])
        tried = np.repeat(moved[None], size, axis=0)
        tried[:, self._groups[wider]] = self.widths(wider, np.arange(1, size + 1))
        fits = self._fits(tried)
        if not fits.any():
            return None
        moved = tried[int(fits.nonzero()[0][-1])]
        grown = (moved > kept).any() and (moved[self._groups[narrower]] < kept[self._groups[narrower]]).any()
        return moved if grown else None

    def bounds(self) -> tuple[int, int]:
        """Returns the least and the greatest width of the current unit that can still meet the budget exactly."""
        least, greatest, _ = self._bounds()
        return least, greatest

    def _bounds(self) -> tuple[int, int, npt.NDArray[np.int64]]:
        """Returns `bounds`, and all widths of the current unit that can meet the budget, ascending."""
        at = self._position
        groups = self._groups[at]
        size = self.costs.sizes[self._widest[at]]
        candidates = np.repeat(self._kept[None], size, axis=0)
        candidates[:, groups] = self.widths(at, np.arange(1, size + 1))
        whole = candidates.copy()
        for later in self._groups[at + 1 :]:
            candidates[:, later] = self._smallest[later]
            whole[:, later] = self._whole[later]
        fitting = np.flatnonzero(self._fits(candidates)) + 1
        reaches = np.zeros(len(candidates), dtype=bool)
        for metric, limit in self.limits.items():
            reaches |= self.costs.count(metric, whole) >= limit
        greatest = int(fitting[-1])
        least = int(reaches.argmax()) + 1 if reaches.any() else len(candidates)
        return min(least, greatest), greatest, fitting

    def step(self, rate: float) -> tuple[npt.NDArray[np.float32], float]:
        """Prunes the current unit.

        Args:
            rate: share of its channels to remove, in [0, 1]; it is clipped to the bounds.

        Returns:
            The next state, and the rate that was applied.
        """
        widest = self._widest[self._position]
        size = self.costs.sizes[widest]
        least, greatest = self.bounds()
        removed = int(np.floor(np.clip(rate, 0.0, 1.0) * size + 1e-6))
        width = int(np.clip(size - removed, least, greatest))
        if LOOKED_UP in self.limits:  # latency may fall where a width grows: not all widths between are within it
            fitting = self._bounds()[2]
            width = int(fitting[max(0, int(np.searchsorted(fitting, width, "right")) - 1)])
        self._kept[self._groups[self._position]] = self.widths(self._position, width)
        self._last_rate = float((size - self._kept[widest]) / size)
        self._position += 1
        return self.state(), self._last_rate
