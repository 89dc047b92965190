"""RLAL's published settings: Section 4.1 and appendix B of the paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfcompress.methods.channel_pruner import PAPERS
from tfcompress.methods.rlal.settings import AgentSettings

__all__ = ["PUBLISHED"]

_AGENT = AgentSettings(
    actor_learning_rate=1e-4,
    critic_learning_rate=1e-3,
    environment_learning_rate=1e-3,
    hidden=(300, 300),
    entropy_coefficient=0.1,
    updates_per_epoch=128,  # Algorithm 1 shows one, with which the agent does not learn; see `AgentSettings`
    use_environment_model=True,
    standardise_rewards=False,
    first_policy="middle",
)

_BOTH: dict[str, Any] = {
    **PAPERS,
    "joint": True,
    "decay": 0.1,
    "episodes_per_epoch": 10,
    "alignment": 1e-4,
    "scale_alignment": False,
    "recalibrate_batches": 0,
    "rescore_best": False,
    "criterion": "l1_norm",
    "agent": _AGENT,
}

_CIFAR: dict[str, Any] = {
    **_BOTH,
    "epochs": 200,
    "finetune_epochs": 200,
    "batch_size": 128,
    "learning_rate": 0.1,
    "schedule": "step",
    "milestones": (100, 150),
    "reference_epochs": 200,
    "agent_epochs": (10, 20, 90),
    "reward_images": 5000,
}

PUBLISHED: Mapping[str, Mapping[str, Any]] = {
    "resnet56-cifar10": _CIFAR,
    "mobilenetv2-cifar10": _CIFAR,
    "resnet-imagenet": {
        **_BOTH,
        "epochs": 90,
        "finetune_epochs": 90,
        "batch_size": 256,  # the paper gives it for MobileNetV2 alone
        "learning_rate": 0.1,
        "schedule": "step",
        "milestones": (30, 60),
        "reference_epochs": 90,
        "agent_epochs": (10, 20, 70),
        "reward_images": 50_000,
    },
    "mobilenetv2-imagenet": {
        **_BOTH,
        "epochs": 155,
        "finetune_epochs": 155,
        "batch_size": 256,
        "learning_rate": 0.05,
        "schedule": "cosine",
        "reference_epochs": 155,
        "agent_epochs": (10, 20, 90),
        "reward_images": 50_000,
    },
}
"""The exact settings for each network, except for the number of the agent's updates."""
