"""RLAL's running costs: an episode, the agent's share of an epoch, and what alignment adds to training."""

import keras
import measuring
import numpy as np
import tensorflow as tf

from tfcompress import Budget, data, zoo
from tfcompress.agents import PruningAgent
from tfcompress.channels.environment import STATE_SIZE
from tfcompress.importance import l1_norm
from tfcompress.methods import RLAL
from tfcompress.methods.episodes import Episodes
from tfcompress.methods.rlal.alignment import Alignment
from tfcompress.methods.rlal.joint import AgentEpochs, Timetable
from tfcompress.plan import Plan
from tfcompress.rewrite import apply
from tfcompress.task import Task
from tfcompress.training import WeightDecay, fit, infer

BATCH = 250  # of rewards
TRAIN_BATCH = 128
EPISODES_PER_EPOCH = 10


def images(count, seed=0):
    """Random pictures of CIFAR size: float32 `[count, 32, 32, 3]`, int64 `[count]`."""
    rng = np.random.default_rng(seed)
    return rng.random((count, 32, 32, 3), dtype="float32"), rng.integers(0, 10, count)


def task_for(model, splits):
    """A task at half the FLOPs."""
    return Task(apply(model, Plan()), splits, infer(model, splits.validation.take(10)[1]), Budget(flops=0.5))


def alignment_for(task, episodes):
    """RLAL's alignment on what the episodes prune."""
    prunable = tuple(group.name for unit in episodes.environment.units for group in unit.groups)
    return Alignment(1e-4, task.groups, prunable)


def agent_for(epochs):
    """An agent with the paper's settings."""
    return PruningAgent(STATE_SIZE, epochs, RLAL.as_published("resnet56-cifar10").agent, seed=0)


def test_episode(table):
    """Ranking, all actions, bounds and the reward, against one forward pass of the uncut model."""
    model = zoo.resnet56()
    validation = images(1000, seed=1)
    task = task_for(
        model, data.splits(images(10), validation_data=validation, input_shape=model.input_shape, classes=10)
    )
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


class TimedEpisodes(Episodes):
    """Episodes that know how long ranking and rewards took; the rest is the agent's time and the environment's."""

    def __init__(self, *args):
        self.watch = measuring.Stopwatch()
        super().__init__(*args)

    def rank(self):
        with self.watch.running():
            super().rank()

    def reward(self, kept):
        with self.watch.running():
            return super().reward(kept)


class TimedAgentEpochs(AgentEpochs):
    """Notes, epoch by epoch, what the whole callback took, and what of it were ranking and rewards."""

    def __init__(self, task, episodes, *args):
        super().__init__(task, episodes, *args)
        self.timed_episodes = episodes
        self.spans = []

    def on_epoch_begin(self, epoch, logs=None):
        self.timed_episodes.watch.reset()
        whole = measuring.timed(lambda: super(TimedAgentEpochs, self).on_epoch_begin(epoch, logs))
        self.spans.append((whole, self.timed_episodes.watch.total))


class TrainingTime(keras.callbacks.Callback):
    """Notes how long the steps of each epoch took."""

    def __init__(self):
        super().__init__()
        self.spans = []
        self.start = measuring.Span()

    def on_epoch_begin(self, epoch, logs=None):
        self.start = measuring.Span.now()

    def on_epoch_end(self, epoch, logs=None):
        self.spans.append(measuring.Span.now() - self.start)


def test_share_of_the_agent(table):
    """Everything in an epoch's episodes but ranking and rewards, and the learning, against the whole epoch.

    The epoch is RLAL's own, with less of its training: a few of the steps are run, and their time is scaled to all.
    """
    steps, rounds = 6, 3
    model = zoo.resnet56()
    splits = data.splits(images(5000), input_shape=model.input_shape, classes=10, seed=0)
    task = task_for(model, splits)
    episodes = TimedEpisodes(task, l1_norm, 5000)
    alignment = alignment_for(task, episodes)
    agent = agent_for(200)
    timetable = Timetable(start=0, learn=0, end=200)
    joint = TimedAgentEpochs(task, episodes, agent, alignment, timetable, EPISODES_PER_EPOCH, True)
    training = TrainingTime()
    part = data.ArrayBatches(*splits.train.take(steps * TRAIN_BATCH), batch_size=TRAIN_BATCH)
    fit(
        task.model,
        part,
        task.objective,
        optimizer=keras.optimizers.SGD(0.01, momentum=0.9),
        epochs=1 + rounds,
        penalties=[WeightDecay(1e-4), alignment],
        callbacks=[joint, training],
    )
    assert episodes.traces == 1
    assert all(count == 1 for name, count in agent.traces.items() if name != "mean_action")
    all_steps = splits.train.num_batches(TRAIN_BATCH)
    pairs = []
    for (whole, rewards), trained in list(zip(joint.spans, training.spans, strict=True))[1:]:  # the first one compiles
        pairs.append((whole - rewards, whole + trained * (all_steps / steps)))
    note = (
        f"ResNet-56, 5,000 images ({splits.train.num_samples:,} to train on, {splits.validation.num_samples} for each "
        f"reward), {EPISODES_PER_EPOCH} episodes and {agent.settings.updates_per_epoch} updates an epoch; {steps} of "
        f"the {all_steps} training steps were run and their time scaled to all; the validation pass is left out"
    )
    table.add(measuring.ratio_row("agent (acting, learning) / epoch of RLAL", pairs, 0.10, note))


class Alternating(keras.callbacks.Callback):
    """Before each epoch of one `fit` runs an epoch of another, and measures both.

    What `fit` does between its epochs counts as its own: recording, checks, the start of the data.
    """

    def __init__(self, other_epoch):
        super().__init__()
        self._other_epoch = other_epoch
        self._other = self._start = None
        self.pairs = []

    def on_epoch_begin(self, epoch, logs=None):
        self._close()
        self._other = self._other_epoch()
        self._start = measuring.Span.now()

    def on_train_end(self, logs=None):
        self._close()

    def _close(self):
        if self._other is not None:
            self.pairs.append((measuring.Span.now() - self._start, self._other))


def test_joint_training(table):
    """Weight decay, alignment with a half-pruned plan, and everything around `fit`, against Keras' own `fit`."""
    steps, rounds = 16, 5
    model = zoo.resnet20()
    x, y = images(steps * TRAIN_BATCH)
    task = task_for(model, data.splits((x, y), validation_data=images(100), input_shape=model.input_shape, classes=10))
    episodes = Episodes(task, l1_norm, 100)
    alignment = alignment_for(task, episodes)
    alignment.set_plan(episodes.plan(np.maximum(1, task.costs.sizes // 2)))

    def optimizer():
        return keras.optimizers.SGD(0.01, momentum=0.9)

    plain = apply(task.model, Plan())
    plain.compile(optimizer(), task.objective.loss, metrics=task.objective.new_metrics())

    def plain_epoch():
        clock = TrainingTime()
        plain.fit(data.ArrayBatches(x, y, TRAIN_BATCH, shuffle=True), callbacks=[clock], shuffle=False, verbose=0)
        return clock.spans[0]

    alternating = Alternating(plain_epoch)
    fit(
        task.model,
        data.ArrayBatches(x, y, TRAIN_BATCH, shuffle=True),
        task.objective,
        optimizer=optimizer(),
        epochs=1 + rounds,
        penalties=[WeightDecay(1e-4), alignment],
        callbacks=[alternating],
    )
    note = f"ResNet-20, {steps} steps of {TRAIN_BATCH} an epoch; weight decay, and alignment with half the channels"
    table.add(measuring.ratio_row("joint training / plain fit, an epoch", alternating.pairs[1:], 1.10, note))
