"""N2N's published settings: sections 4 and 10.2 of the paper, and decisions where it leaves them open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["PUBLISHED", "TRAININGS"]

_BOTH: dict[str, Any] = {
    "schedule": "step",
    "decay": 0.1,
    "momentum": 0.9,
    "nesterov": False,
    "weight_decay": 1e-4,
    "keep": "last",
}
# Decided: with its rate of 0.01 the optimizer is SGD, with 0.001 Adam; momentum and weight decay of `_BOTH`.
_CIFAR = {
    **_BOTH,
    "epochs": 150,
    "reference_epochs": 150,
    "milestones": (80, 120),
    "batch_size": 128,
    "optimizer": "adam",
    "learning_rate": 0.001,
}
_MNIST = {
    **_BOTH,
    "epochs": 50,
    "reference_epochs": 50,
    "milestones": (30,),
    "batch_size": 64,
    "optimizer": "sgd",
    "learning_rate": 0.01,
}
# "It was reduced to 0.001 after the 50th epoch", which is the last one. Decided: batches of 64.
_CALTECH = {**_MNIST, "milestones": ()}

TRAININGS: Mapping[str, Mapping[str, Any]] = {
    "resnet18-cifar10": _CIFAR,
    "resnet34-cifar10": _CIFAR,
    "vgg19-cifar10": _CIFAR,
    "resnet18-cifar100": _CIFAR,
    "resnet34-cifar100": _CIFAR,
    "resnet18-svhn": _CIFAR,
    "vgg13-mnist": _MNIST,
    "conv4-mnist": _MNIST,
    "resnet18-caltech256": _CALTECH,
}
"""The training of each teacher (section 10.2). Decided: its students are trained fully in the same way."""

_SEARCH: dict[str, Any] = {
    "stage": "both",
    "updates": 100,
    "rollouts": 5,
    "score_epochs": 5,
    "score_rate": 5e-4,  # decided
    "score_on": "logits",
    "removal_rate": 0.003,
    "shrinkage_rate": None,  # 0.01 of the text, or with as_released=True 0.1
    "baseline_decay": 0.95,  # decided
    "actor_critic": False,
    "constraint": None,  # "strict", or with as_released=True "relaxed"
    "soft_weight": 0.1,  # decided
    "inherit": False,
    "halving": None,
    "teach": None,
}

PUBLISHED: Mapping[str, Mapping[str, Any]] = {name: {**training, **_SEARCH} for name, training in TRAININGS.items()}
"""All settings for each teacher."""
