"""The even rate of a budget, and moves of channels between units, with MACs worked out by hand."""

import itertools
import types

import keras
import numpy as np
import pytest
from keras import layers

from tfcompress import Budget, Control
from tfcompress.channels import pruning_units
from tfcompress.channels.environment import PruningEnvironment
from tfcompress.costs import CostModel
from tfcompress.graph import ChannelGroups, LayerGraph
from tfcompress.methods.local_search import local_search

SIZES = (6, 5, 7)


def macs(a, b, c):
    """Of the chain 2 -> a -> b -> c -> 3: whole it has 98."""
    return 2 * a + a * b + b * c + 3 * c


@pytest.fixture(name="costs", scope="module")
def costs_of_a_chain():
    x = inputs = keras.Input((2,))
    for name, size in zip("abc", SIZES, strict=True):
        x = layers.Dense(size, "relu", name=name)(x)
    return CostModel(ChannelGroups.of(LayerGraph.from_keras(keras.Model(inputs, layers.Dense(3, name="end")(x)))))


def environment(costs, limit, **control):
    widths = Control.of(**control).widths(costs.groups)
    return PruningEnvironment(costs, pruning_units(costs.groups), Budget({"macs": limit}), widths)


def move(env, kept, *how):
    found = env.moved(np.array(kept), *how)
    return None if found is None else tuple(found.tolist())


def test_the_formula(costs):
    assert costs.total.macs == macs(*SIZES) == 98
    assert [int(costs.count("macs", kept)) for kept in ((3, 3, 4), (1, 5, 2))] == [39, macs(1, 5, 2)]


@pytest.mark.parametrize(
    ("limit", "rate"),
    [
        (98, 0.0),
        (40, 0.5),  # (3, 3, 4): 39; at 3/7, before it, (4, 3, 4): 44
        (39, 0.5),
        (38, 0.575),  # 4 of 7 go at 4/7 = 0.5714: (3, 3, 3): 6 + 9 + 9 + 9 = 33
        (7, 0.86),  # one channel of each; 6 of 7 go at 0.857
    ],
)
def test_the_even_rate_is_the_least_that_meets_the_budget(costs, limit, rate):
    env = environment(costs, limit)
    assert env.even_rate() == pytest.approx(rate)
    kept = [max(1, size - int(rate * size + 1e-6)) for size in SIZES]
    assert macs(*kept) <= limit


def test_the_even_rate_under_limits(costs):
    """Of c 4 channels stay at least. At 0.6 (3, 2, 4) has 6 + 6 + 8 + 12 = 32, and before it (3, 3, 4) 39."""
    assert environment(costs, 38, ratio_limits={"c": 0.45}).even_rate() == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("kept", "narrower", "wider", "channels", "expected"),
    [
        ((3, 3, 4), 2, 0, 1, (4, 3, 3)),  # 5 a + 18 <= 40
        ((3, 3, 4), 0, 1, 1, (2, 4, 4)),  # 6 b + 16 <= 40
        ((3, 3, 4), 1, 0, 2, (6, 1, 4)),  # 3 a + 16 <= 40 would be 8: the group has 6
        ((3, 3, 4), 0, 2, 9, (1, 3, 5)),  # one channel stays; 6 c + 5 <= 40
        ((6, 1, 4), 1, 0, 1, None),  # nothing to give up
        ((5, 2, 4), 2, 1, 1, None),  # 8 b + 19 <= 40: no wider than before
    ],
)
def test_a_move_by_hand(costs, kept, narrower, wider, channels, expected):
    assert move(environment(costs, 40), kept, narrower, wider, channels) == expected


@pytest.mark.parametrize("control", [{}, {"round_to": 2}, {"ratio_limits": {"a": (0.2, 0.5), "c": 0.6}}])
def test_moves_stay_within_budget_and_limits(costs, control):
    env, rng, tried = environment(costs, 45, **control), np.random.default_rng(0), 0
    allowed = Control.of(**control).widths(costs.groups)
    choices = [set(allowed.floor(np.arange(1, size + 1), [g]).tolist()) for g, size in enumerate(SIZES)]
    env.reset()
    while not env.done:
        env.step(rng.random())
    kept = env.kept
    for _ in range(60):
        narrower, wider = rng.choice(3, 2, replace=False)
        moved = env.moved(kept, int(narrower), int(wider), int(rng.integers(1, 4)))
        if moved is not None:
            assert macs(*moved.tolist()) <= 45
            assert all(width in choice for width, choice in zip(moved.tolist(), choices, strict=True))
            assert moved[narrower] < kept[narrower] and moved[wider] > kept[wider]
            kept, tried = moved, tried + 1
    assert tried > 5


class MadeUp:
    """Episodes whose reward is highest at (2, 4, 4), which has exactly 40 MACs."""

    def __init__(self, env):
        self.environment, self.tried = env, []

    def reward(self, kept):
        self.tried.append(tuple(kept.tolist()))
        return self.worth(self.tried[-1])

    @staticmethod
    def worth(kept):
        return -float(sum((width - best) ** 2 for width, best in zip(kept, (2, 4, 4), strict=True)))


def searched(costs, seed, tries=40, start=(1, 3, 5)):
    task = types.SimpleNamespace(progress=types.SimpleNamespace(doing=lambda text: None))
    episodes = MadeUp(environment(costs, 40))
    kept, rewards = local_search(
        task, episodes, np.array(start), episodes.worth(start), tries, np.random.default_rng(seed)
    )
    return tuple(kept.tolist()), rewards, episodes


@pytest.mark.parametrize("seed", range(4))
def test_a_local_search_finds_the_best_of_all_plans(costs, seed):
    plans = itertools.product(*(range(1, size + 1) for size in SIZES))
    best = max((plan for plan in plans if macs(*plan) <= 40), key=MadeUp.worth)
    kept, rewards, episodes = searched(costs, seed)
    assert kept == best == (2, 4, 4)
    assert rewards == [MadeUp.worth(plan) for plan in episodes.tried] and max(rewards) == MadeUp.worth(best)
    assert len(rewards) <= 40 and max(macs(*plan) for plan in episodes.tried) <= 40


def test_a_seed_tries_the_same_moves(costs):
    assert searched(costs, 1)[2].tried == searched(costs, 1)[2].tried != searched(costs, 2)[2].tried


def test_where_nothing_is_better_the_widths_stay(costs):
    kept, rewards, _ = searched(costs, 0, tries=5, start=(2, 4, 4))
    assert kept == (2, 4, 4) and len(rewards) == 5 and max(rewards) < 0


def test_nothing_to_try(costs):
    assert searched(costs, 0, tries=0)[:2] == ((1, 3, 5), [])
    alone = environment(costs, 40, only="a") if macs(1, 5, 7) <= 40 else environment(costs, 80, only="a")
    task = types.SimpleNamespace(progress=types.SimpleNamespace(doing=lambda text: None))
    kept = np.array([2, 5, 7])
    found, rewards = local_search(task, MadeUp(alone), kept, 0.0, 5, np.random.default_rng(0))
    assert found.tolist() == kept.tolist() and rewards == []
