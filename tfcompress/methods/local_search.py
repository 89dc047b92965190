"""A local search for widths: moves channels between two units, and keeps what scores better."""

from __future__ import annotations

import numpy as np

from tfcompress.methods.episodes import Episodes
from tfcompress.task import Task

__all__ = ["local_search"]

_LARGEST = 0.2  # share of a unit's channels that one move takes away, at most
_DRAWS = 50  # of a move that changes something


def local_search(
    task: Task, episodes: Episodes, kept: np.ndarray, reward: float, tries: int, rng: np.random.Generator
) -> tuple[np.ndarray, list[float]]:
    """Searches around widths that are within the budget; all widths that it tries are within it, too.

    Two units are drawn: one gives up some of its channels, the other takes as many as the budget then allows.

    Args:
        task: the task, for the display.
        episodes: measures rewards with fixed weights.
        kept: int64 `[groups]`, the widths to start from.
        reward: the reward of these widths.
        tries: number of plans to measure.
        rng: draws the moves.

    Returns:
        The best widths, int64 `[groups]`, and the reward of every plan that was tried.
    """
    rewards: list[float] = []
    units = len(episodes.environment)
    for attempt in range(tries if units > 1 else 0):
        tried = _neighbour(episodes, kept, units, rng)
        if tried is None:
            break
        rewards.append(episodes.reward(tried))
        if rewards[-1] > reward:
            kept, reward = tried, rewards[-1]
        task.progress.doing(f"local search: try {attempt + 1} of {tries}, best reward {reward:.4f}")
    return kept, rewards


def _neighbour(episodes: Episodes, kept: np.ndarray, units: int, rng: np.random.Generator) -> np.ndarray | None:
    """Returns widths after a random move; `None` if hardly any move changes anything."""
    environment = episodes.environment
    for _ in range(_DRAWS):
        narrower, wider = rng.choice(units, 2, replace=False)
        channels = int(rng.integers(1, max(1, round(_LARGEST * environment.units[narrower].size)) + 1))
        moved = environment.moved(kept, int(narrower), int(wider), channels)
        if moved is not None:
            return moved
    return None
