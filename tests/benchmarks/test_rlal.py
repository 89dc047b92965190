"""RLAL's running costs: an episode, the agent's share of an epoch, and what alignment adds to training."""

import measuring
import numpy as np
import tensorflow as tf

from tfcompress import Budget, data, zoo
from tfcompress.agents.environment import STATE_SIZE
from tfcompress.agents.sac import AgentSettings, PruningAgent
from tfcompress.costs import CostModel
from tfcompress.graph import ChannelGroups, LayerGraph
from tfcompress.importance import l1_norm
from tfcompress.methods.episodes import Episodes
from tfcompress.plan import Plan
from tfcompress.rewrite import apply
from tfcompress.task import Task
from tfcompress.training import infer

BATCH = 250  # of rewards
TRAIN_BATCH = 128
EPISODES_PER_EPOCH = 10


def images(count, seed=0):
    """Random pictures of CIFAR size: float32 `[count, 32, 32, 3]`, int64 `[count]`."""
    rng = np.random.default_rng(seed)
    return rng.random((count, 32, 32, 3), dtype="float32"), rng.integers(0, 10, count)


def task_for(model, training, validation):
    """A task at half the FLOPs, with so many random images."""
    splits = data.splits(
        images(training), validation_data=images(validation, 1), input_shape=model.input_shape, classes=10, seed=0
    )
    costs = CostModel(ChannelGroups.of(LayerGraph.from_keras(model)))
    limits = Budget(flops=0.5).limits(costs.total, costs.smallest)
    return Task(apply(model, Plan()), splits, infer(model, splits.validation.take(10)[1]), limits)


def agent_for(epochs):
    """An agent with the paper's settings."""
    return PruningAgent(STATE_SIZE, epochs, AgentSettings(), seed=0)


def test_episode(table):
    """Ranking, all actions, bounds and the reward, against one forward pass of the uncut model."""
    task = task_for(zoo.resnet56(), TRAIN_BATCH, 1000)
    episodes = Episodes(task, l1_norm, None)
    agent = agent_for(200)
    agent.start_epoch(50)  # z of a later epoch costs more
    x, _ = (tf.convert_to_tensor(array) for array in task.splits.validation.take(1000))
    forward = tf.function(lambda batch: task.model(batch, training=False), reduce_retracing=True)
    shares = []

    def episode():
        episodes.rank()
        played = episodes.play(agent.act)
        shares.append(task.costs.count("macs", played.kept) / task.costs.total.macs)

    def whole_model():
        for start in range(0, len(x), BATCH):
            forward(x[start : start + BATCH]).numpy()

    episode()
    assert episodes.traces == 1
    pairs = measuring.interleaved(lambda: measuring.timed(episode), lambda: measuring.timed(whole_model), pairs=9)
    assert episodes.traces == 1  # no plan traced anything anew
    assert agent.traces["sampled_action"] == 1
    assert 0.499 < min(shares) <= max(shares) <= 0.5
    note = f"{len(episodes.environment)} actions, 1,000 images in batches of {BATCH}, ResNet-56, half the FLOPs"
    table.add(measuring.ratio_row("RLAL episode / forward pass of the uncut model", pairs, 1.0, note))
