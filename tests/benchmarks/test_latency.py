"""Latency of pruned networks in LiteRT: speed at half the multiply-adds, budgets that are met, and predictions.

Ratios of measurements on one thread, which count the time that the thread computes. Weights are noise.
"""

import measuring
import numpy as np
import pytest

from tfcompress.network import Network
from tfcompress.operators import LatencyPrediction, OperatorTable


def predicted(latency_budgets, name):
    network = Network(latency_budgets.NETWORKS[name]())
    prediction = LatencyPrediction(network, OperatorTable())
    network.costs.look_up(latency_budgets.COLUMN, prediction.lookups)
    return network, prediction


@pytest.mark.parametrize("name", ["resnet56", "mobilenet_v2"])
def test_predicted_against_measured(table, recipe, name):
    latency_budgets = recipe("latency_budgets")
    network, prediction = predicted(latency_budgets, name)
    off = latency_budgets.errors(network, prediction)
    note = f"median error {np.median(off):.1%}, worst {off.max():.1%}, of 30 random plans"
    for near, least in ((0.1, 0.95), (0.05, 0.8)):
        row = f"{name}: share of predictions within {near:.0%}", f"{np.mean(off <= near):.2f}", f"{least} asked"
        table.add(measuring.Row(*row, "-", "-", None, note))
    assert np.mean(off <= 0.1) >= 0.9


@pytest.mark.parametrize("name", ["resnet56", "mobilenet_v2", "resnet50"])
def test_speed_and_budget(table, recipe, name):
    latency_budgets = recipe("latency_budgets")
    network, prediction = predicted(latency_budgets, name)
    for multiple, _, half, _, quarter, latency, _ in latency_budgets.speeds(network, prediction):
        note = f"round_to={multiple}; latency_budget=0.5 measures {latency}"
        for what, times, asked in (("half", half, "1.7 asked"), ("a quarter of", quarter, "2.8 asked")):
            row = f"{name}: times as fast at {what} the MACs", times, asked
            table.add(measuring.Row(*row, "-", "-", None, note))
        assert float(latency) <= 0.5 or multiple != "auto"
