"""A result put together by hand, without training: a small network of which one channel group was cut."""

import dataclasses
import functools

import keras
import small_tasks

from tfcompress import Plan, Result, Trail
from tfcompress.measured import Measured
from tfcompress.methods import Candidate, Uniform
from tfcompress.network import Network
from tfcompress.report.layers import layers_of
from tfcompress.rewrite import apply

PLAN = Plan.keeping({"block1_conv1": (0, 3)})  # 2 of 5 channels
HISTORY = {"loss": [0.9, 0.4], "accuracy": [0.5, 0.7], "val_accuracy": [0.6, 0.75], "kept": [0.0, 1.0]}


def network(name="small"):
    keras.utils.set_random_seed(0)
    made = small_tasks.residual_network(activation="softmax")
    return made if name == "small" else keras.Model(made.inputs, made.outputs, name=name)


def result(plan=PLAN, source=None, **fields):
    """The result of a plan for a network; `fields` in place of what it would have."""
    source = Network(source or network())
    student = apply(source.model, plan, source.groups)
    before, after = source.costs.total, Network(student).costs.total
    made = {
        "model": student,
        "trail": Trail((plan,)).ending_with("model.keras"),
        "candidates": (Candidate(Trail((plan,)), after, 0.7, "uniform"),),
        "before": Measured.of(before, 0.875, 0.9, {"latency_ms": 2.0}),
        "after": Measured.of(after, 0.8125, 0.75, {"latency_ms": 1.5}),
        "history": {"search": {}, "recover": HISTORY},
        "metric": "accuracy",
        "method": "uniform",
        "settings": Uniform(epochs=2).settings(),
        "seed": 3,
        "budget": {"macs": 0.9},
        "control": {},
        "notes": ("training: 72 images\nvalidation: 24 images", "preset balanced, except epochs=2"),
        "calibration": small_tasks.pictures(4)[0],
        "layers_before": layers_of(source),
    }
    return Result(**{**made, **fields})


@functools.cache
def _plain():
    return result()


def with_fields(**fields):
    """The result with other fields, of one model for all."""
    return dataclasses.replace(_plain(), **fields)
